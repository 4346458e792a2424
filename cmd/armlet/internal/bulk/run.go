package bulk

import (
	"context"
	"errors"
	"fmt"
	"io"
	"sync"
	"time"

	"google.golang.org/grpc/codes"
	"google.golang.org/grpc/status"

	devicesv1 "github.com/armlet-pay/armlet/proto/gen/armlet/devices/v1"
	"github.com/armlet-pay/armlet/sdk"
)

const (
	// chunkRows and chunkBytes are the most that a chunk holds; a registry takes messages of 1 MiB. An import that is taken up by a
	// later version of this program has to be cut the same way.
	chunkRows  = 2000
	chunkBytes = 512 << 10
	// rowOverhead and labelOverhead are what the message costs beyond the row's own bytes, generously.
	rowOverhead   = 16
	labelOverhead = 8
	// inFlight is how many chunks may wait for their answers.
	inFlight = 4

	firstPause = 100 * time.Millisecond
	mostPause  = 5 * time.Second
)

// Import is one import of a file.
type Import struct {
	Registry devicesv1.DeviceRegistryServiceClient
	File     *File
	Journal  *Journal
	Header   *devicesv1.ImportHeader
	// Answer is how long an answer may take before the connection counts as broken.
	Answer time.Duration
	// Patience is how long it is tried to go on without getting any further.
	Patience time.Duration
	// Progress is told how far the import is, after every answer; Broken, why it has to be taken up again. Both may be nil.
	Progress func(rows, refused uint64)
	Broken   func(err error)

	chunkRows int // 0 for the constant; tests have smaller chunks
}

var errSilent = status.Error(codes.Unavailable, "the registry does not answer")

// Run brings the rows. It begins behind the last answer that the journal has, and the registry answers what it applied before as it
// did then: nothing is brought twice, and every refused row is written down once, also when an earlier run began the import.
func (i *Import) Run(ctx context.Context) (*devicesv1.ImportSummary, error) {
	pause, since := firstPause, time.Now()
	for {
		before := i.Journal.Chunk()
		summary, err := i.stream(ctx)
		if err == nil {
			return summary, nil
		}
		further := i.Journal.Chunk() > before
		if ctx.Err() != nil || !passing(err, further) {
			return nil, err
		}
		if further {
			pause, since = firstPause, time.Now()
		}
		if time.Since(since)+pause > i.Patience {
			return nil, err
		}
		if i.Broken != nil {
			i.Broken(err)
		}
		select {
		case <-time.After(pause):
		case <-ctx.Done():
			return nil, ctx.Err()
		}
		pause = min(2*pause, mostPause)
	}
}

// passing reports whether another attempt may succeed. A stream ends with its access token, and the next has a new one.
func passing(err error, further bool) bool {
	reason := sdk.Reason(err)
	switch status.Code(err) {
	case codes.Unavailable, codes.Aborted, codes.DeadlineExceeded, codes.Internal, codes.Canceled:
		return true
	case codes.Unauthenticated:
		return further || reason == "" // without a reason it is the token that could not be got
	case codes.ResourceExhausted:
		return reason == "GRANT_LIMIT_EXCEEDED"
	case codes.Unknown:
		return errors.Is(err, io.EOF)
	}
	return false
}

// own is a failure on this side of the connection, which is not passing.
type own struct{ error }

// stream is one stream of the import.
func (i *Import) stream(ctx context.Context) (*devicesv1.ImportSummary, error) {
	ctx, cancel := context.WithCancelCause(ctx)
	defer cancel(nil)
	silence := time.AfterFunc(i.Answer, func() { cancel(errSilent) })
	defer silence.Stop()
	alive := func() { silence.Reset(i.Answer) }

	stream, err := i.Registry.ImportDevices(ctx)
	if err != nil {
		return nil, i.because(ctx, err)
	}
	header := &devicesv1.ImportDevicesRequest{Message: &devicesv1.ImportDevicesRequest_Header{Header: i.Header}}
	if err := stream.Send(header); err != nil && !errors.Is(err, io.EOF) { // EOF: receiving tells why
		return nil, i.because(ctx, err)
	}
	answer, err := stream.Recv()
	if err != nil {
		return nil, i.because(ctx, err)
	}
	if err := i.resume(answer.GetResume().GetLastSequence()); err != nil {
		return nil, err
	}
	alive()
	sent, first := make(chan chunk, inFlight), i.Journal.Chunk()
	var sender sync.WaitGroup
	sender.Go(func() {
		defer close(sent)
		var mine own
		if err := i.send(ctx, stream, first, sent, alive); errors.As(err, &mine) {
			cancel(err)
		}
	})
	summary, err := i.receive(stream, sent, alive)
	cancel(nil)
	sender.Wait()
	return summary, i.because(ctx, err)
}

// because is the reason for which this side ended the stream, if it did.
func (i *Import) because(ctx context.Context, err error) error {
	var mine own
	switch cause := context.Cause(ctx); {
	case err == nil:
		return nil
	case errors.As(cause, &mine):
		return mine.error
	case errors.Is(cause, errSilent):
		return errSilent
	}
	return err
}

// resume decides where to begin. A registry that knows less than the journal was set back; of a dry run it knows nothing.
func (i *Import) resume(last uint64) error {
	if last < i.Journal.Chunk() {
		return i.Journal.Restart()
	}
	return nil
}

type sender interface {
	Send(m *devicesv1.ImportDevicesRequest) error
}

// send sends the chunks behind the first ones, and finish. What goes wrong with the connection is for the receiver to tell.
func (i *Import) send(ctx context.Context, stream sender, first uint64, sent chan<- chunk, alive func()) error {
	s, err := i.File.source()
	if err != nil {
		return own{err}
	}
	cut := &cutter{source: s, rows: i.chunkRows}
	if cut.rows == 0 {
		cut.rows = chunkRows
	}
	for sequence := uint64(1); ; sequence++ {
		c, err := cut.next(sequence)
		if err != nil {
			return own{fmt.Errorf("%s: %w", i.File.Name, err)}
		}
		alive()
		if len(c.rows) == 0 {
			return stream.Send(&devicesv1.ImportDevicesRequest{Message: &devicesv1.ImportDevicesRequest_Finish{Finish: &devicesv1.ImportFinish{}}})
		}
		if sequence <= first {
			continue
		}
		select {
		case sent <- c:
		case <-ctx.Done():
			return ctx.Err()
		}
		if err := stream.Send(c.message()); err != nil {
			return err
		}
	}
}

type receiver interface {
	Recv() (*devicesv1.ImportDevicesResponse, error)
}

// receive takes the answers until the summary.
func (i *Import) receive(stream receiver, sent <-chan chunk, alive func()) (*devicesv1.ImportSummary, error) {
	for {
		answer, err := stream.Recv()
		if err != nil {
			return nil, err
		}
		alive()
		if summary := answer.GetSummary(); summary != nil {
			return summary, nil
		}
		ack := answer.GetAck()
		c, ok := <-sent
		if !ok || ack.GetSequence() != c.sequence {
			return nil, fmt.Errorf("the registry answered chunk %d where chunk %d was due", ack.GetSequence(), c.sequence)
		}
		if err := i.Journal.add(c, ack.GetFailures()); err != nil {
			return nil, err
		}
		if i.Progress != nil {
			i.Progress(i.Journal.at.Rows, i.Journal.at.Refused)
		}
	}
}

// chunk is what was sent and not yet answered.
type chunk struct {
	sequence uint64
	rows     []row
}

func (c chunk) message() *devicesv1.ImportDevicesRequest {
	rows := make([]*devicesv1.ImportRow, len(c.rows))
	for n, r := range c.rows {
		rows[n] = r.message
	}
	return &devicesv1.ImportDevicesRequest{Message: &devicesv1.ImportDevicesRequest_Chunk{
		Chunk: &devicesv1.ImportChunk{Sequence: c.sequence, Rows: rows},
	}}
}

// cutter cuts a file into chunks, always in the same places.
type cutter struct {
	source  *source
	rows    int  // the most in a chunk
	left    *row // begins the next chunk
	encoded []byte
}

// next is the next chunk; one without rows at the end.
func (k *cutter) next(sequence uint64) (chunk, error) {
	c, size := chunk{sequence: sequence}, 0
	for len(c.rows) < k.rows {
		r := k.left
		if k.left = nil; r == nil {
			read, err := k.source.next()
			if errors.Is(err, io.EOF) {
				return c, nil
			}
			if err != nil {
				return c, err
			}
			r = &read
		}
		k.encoded = appendRow(k.encoded[:0], r.message)
		size += len(k.encoded) + rowOverhead + labelOverhead*len(r.message.GetLabels())
		if size > chunkBytes && len(c.rows) > 0 {
			k.left = r
			return c, nil
		}
		c.rows = append(c.rows, *r)
	}
	return c, nil
}
