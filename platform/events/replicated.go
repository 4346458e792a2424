package events

import (
	"context"
	"errors"

	"github.com/nats-io/nats.go/jetstream"
)

// Replicated returns js with every stream that is made or brought up to date through it kept on so many nodes of a cluster, as
// are the consumers of a stream: 1, 3 or 5, of which the server takes as many as it has nodes. With three, one may be lost.
func Replicated(js jetstream.JetStream, replicas int) jetstream.JetStream {
	return replicated{js, replicas}
}

// CheckReplicas says what is wrong with a number of replicas.
func CheckReplicas(replicas int) error {
	if replicas != 1 && replicas != 3 && replicas != 5 {
		return errors.New("wants 1, or in a cluster of NATS servers 3 or 5")
	}
	return nil
}

type replicated struct {
	jetstream.JetStream
	replicas int
}

func (r replicated) CreateStream(ctx context.Context, cfg jetstream.StreamConfig) (jetstream.Stream, error) {
	cfg.Replicas = r.replicas
	return r.JetStream.CreateStream(ctx, cfg)
}

func (r replicated) UpdateStream(ctx context.Context, cfg jetstream.StreamConfig) (jetstream.Stream, error) {
	cfg.Replicas = r.replicas
	return r.JetStream.UpdateStream(ctx, cfg)
}

func (r replicated) CreateOrUpdateStream(ctx context.Context, cfg jetstream.StreamConfig) (jetstream.Stream, error) {
	cfg.Replicas = r.replicas
	return r.JetStream.CreateOrUpdateStream(ctx, cfg)
}
