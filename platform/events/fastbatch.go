package events

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"strconv"
	"strings"
	"sync"
	"time"

	"github.com/nats-io/nats.go"
	"github.com/nats-io/nats.go/jetstream"
)

// fewest is how many events are sent as a batch; fewer are sent one by one, for which the server needs no more.
const fewest = 8

// The operations of a fast batch, which stand in the reply subject.
const (
	opStart  = "0"
	opAppend = "1"
	opCommit = "2"
)

// errNoBatch is a batch that is not known to be stored as a whole.
var errNoBatch = errors.New("the server did not take the whole batch")

// batcher publishes many messages under one acknowledgement: fast batches of JetStream (ADR-50 of NATS, server 2.14), which know
// Nats-Msg-Id as other messages do. A message that the stream does not take ends its batch; those before it are stored.
//
// The protocol is in the reply subject: <inbox>.<batch>.<most messages between two flow messages>.<what to do after a gap>.<sequence>.
// <operation>.$FI. The flow messages are not needed: what is in flight is bounded by the number of batches.
type batcher struct {
	conn  *nats.Conn
	inbox string
	sub   *nats.Subscription
	lost  chan nats.Status
	last  uint64 // number of the last batch

	mu      sync.Mutex
	waiting map[string]chan batchAnswer

	msg    nats.Msg // used again for each message; the client has copied it when its publish returns
	values []string
	reply  []byte
}

// batchAnswer is how many messages from the first on a batch has stored, or why it has none.
type batchAnswer struct {
	Type  string              `json:"type"` // of what is no answer yet: flow, gap, error of a message
	Batch string              `json:"batch"`
	Count int                 `json:"count"`
	Error *jetstream.APIError `json:"error"`
}

func newBatcher(conn *nats.Conn) (*batcher, error) {
	b := &batcher{conn: conn, inbox: conn.NewInbox(), waiting: map[string]chan batchAnswer{}}
	sub, err := conn.Subscribe(b.inbox+".>", b.answered)
	if err != nil {
		return nil, fmt.Errorf("listen for acknowledgements: %w", err)
	}
	b.sub, b.lost = sub, conn.StatusChanged(nats.DISCONNECTED, nats.RECONNECTING, nats.CLOSED)
	return b, nil
}

func (b *batcher) close() {
	_ = b.sub.Unsubscribe()
	b.conn.RemoveStatusListener(b.lost)
}

// send sends rows as one batch, to be stored by the stream alone. Its error is that of the client, after which nothing is
// known of any of them.
func (b *batcher) send(rows []row, stream string) (<-chan batchAnswer, error) {
	b.last++
	id := strconv.FormatUint(b.last, 10)
	answer := make(chan batchAnswer, 1)
	b.mu.Lock()
	b.waiting[id] = answer
	b.mu.Unlock()
	for i, e := range rows {
		if err := b.fill(e); err != nil {
			b.forget(id)
			return nil, err
		}
		op := opAppend
		switch i {
		case len(rows) - 1:
			op = opCommit
		case 0:
			// The others follow it, since they are in its batch.
			b.msg.Header[jetstream.ExpectedStreamHeader] = []string{stream}
			op = opStart
		}
		b.reply = append(append(append(b.reply[:0], b.inbox...), '.'), id...)
		b.reply = strconv.AppendInt(append(b.reply, ".65535.fail."...), int64(i+1), 10)
		b.reply = append(append(append(b.reply, '.'), op...), ".$FI"...)
		b.msg.Reply = string(b.reply)
		if err := b.conn.PublishMsg(&b.msg); err != nil {
			b.forget(id)
			return nil, err
		}
	}
	return answer, nil
}

// fill makes msg the message of a row.
func (b *batcher) fill(e row) (err error) {
	b.msg.Subject, b.msg.Data = e.subject, e.data
	if b.msg.Header == nil {
		b.msg.Header = nats.Header{}
	}
	clear(b.msg.Header)
	if b.values, err = parseHeaders(b.msg.Header, b.values[:0], e.headers); err != nil {
		return fmt.Errorf("%w: headers: %w", errBadRow, err)
	}
	b.values = append(b.values, e.id)
	b.msg.Header[jetstream.MsgIDHeader] = b.values[len(b.values)-1:]
	return nil
}

func (b *batcher) forget(id string) {
	b.mu.Lock()
	defer b.mu.Unlock()
	delete(b.waiting, id)
}

// answered takes what the server says of a batch. Of messages that follow the one that ended it, it says something too.
func (b *batcher) answered(msg *nats.Msg) {
	id, _, _ := strings.Cut(strings.TrimPrefix(msg.Subject, b.inbox+"."), ".")
	var answer batchAnswer
	if len(msg.Data) > 0 { // else nobody took the message
		if err := json.Unmarshal(msg.Data, &answer); err != nil || answer.Type != "" {
			return
		}
	}
	b.mu.Lock()
	waiting := b.waiting[id]
	delete(b.waiting, id)
	b.mu.Unlock()
	if waiting != nil {
		waiting <- answer
	}
}

// wait waits for the answer to a batch of n messages, of which stored are surely in the stream, from the first on. Its error
// is an outage.
func (b *batcher) wait(ctx context.Context, answers <-chan batchAnswer, deadline time.Time, n int) (stored int, err error) {
	late := time.NewTimer(time.Until(deadline))
	defer late.Stop()
	select {
	case answer := <-answers:
		if answer.Error != nil {
			return 0, fmt.Errorf("%w: %w", errNoBatch, answer.Error)
		}
		if answer.Count < n {
			return answer.Count, errNoBatch
		}
		return n, nil
	case <-b.lost:
		return 0, fmt.Errorf("%w: %w", errNoAck, nats.ErrDisconnected)
	case <-late.C:
		return 0, errNoAck
	case <-ctx.Done():
		return 0, fmt.Errorf("%w: %w", errNoAck, ctx.Err())
	}
}
