package wire

import (
	"encoding/binary"
	"time"
)

// Limits of the GATT framing.
const (
	// MaxMessage is the largest message in bytes.
	MaxMessage = 256
	// MinMTU is the smallest ATT_MTU of Bluetooth Low Energy, in bytes.
	MinMTU = 23
	// IdleTimeout is how long a partial message may wait for its next frame.
	IdleTimeout = 2 * time.Second
)

const (
	frameFirst = 0x80
	frameLast  = 0x40
	frameIndex = 0x3F

	attHeader   = 3 // opcode and handle, before every frame
	frameHeader = 2
	firstHeader = frameHeader + 2
)

// Fragment cuts a message of 1 to MaxMessage bytes into frames for a link with
// the given ATT_MTU. messageID rolls: it differs from that of the message
// before. It returns ErrMTU or ErrMessageSize.
func Fragment(message []byte, messageID uint8, attMTU int) ([][]byte, error) {
	if attMTU < MinMTU {
		return nil, ErrMTU
	}
	if len(message) == 0 || len(message) > MaxMessage {
		return nil, ErrMessageSize
	}
	size := attMTU - attHeader
	var frames [][]byte
	// The smallest MTU needs 15 frames for the largest message, so the index of 6
	// bits cannot overflow.
	for rest := message; len(rest) > 0; {
		frame := []byte{byte(len(frames)), messageID}
		if len(frames) == 0 {
			frame[0] |= frameFirst
			frame = binary.BigEndian.AppendUint16(frame, uint16(len(message)))
		}
		n := min(len(rest), size-len(frame))
		frame = append(frame, rest[:n]...)
		if rest = rest[n:]; len(rest) == 0 {
			frame[0] |= frameLast
		}
		frames = append(frames, frame)
	}
	return frames, nil
}

// Reassembler puts frames back together, one message at a time and in order
// only. Whatever does not fit drops the partial message; the sender starts over
// with a FIRST frame. The zero Reassembler is ready. It is not safe for
// concurrent use.
type Reassembler struct {
	partial   []byte // nil when no message has begun
	total     int
	messageID uint8
	next      byte
	heard     time.Time
}

// Push takes the next frame, which arrived at now. It returns the message when
// the frame completes it, and nil before that; the message belongs to the
// caller. A FIRST frame silently replaces a partial message. The errors are
// ErrFrame, ErrMessageSize, ErrOutOfOrder and ErrIdle; after each of them there
// is no partial message.
func (r *Reassembler) Push(frame []byte, now time.Time) ([]byte, error) {
	message, err := r.push(frame, now)
	if err != nil || message != nil {
		r.Reset()
	}
	return message, err
}

// Reset forgets a partial message, as after a lost connection.
func (r *Reassembler) Reset() { *r = Reassembler{} }

func (r *Reassembler) push(frame []byte, now time.Time) ([]byte, error) {
	if len(frame) <= frameHeader {
		return nil, ErrFrame
	}
	index, payload := frame[0]&frameIndex, frame[frameHeader:]
	if frame[0]&frameFirst != 0 {
		if index != 0 || len(frame) <= firstHeader {
			return nil, ErrFrame
		}
		total := int(binary.BigEndian.Uint16(payload))
		if total > MaxMessage {
			return nil, ErrMessageSize
		}
		payload = frame[firstHeader:]
		*r = Reassembler{total: total, messageID: frame[1], partial: make([]byte, 0, total)}
	} else {
		if err := r.continues(index, frame[1], now); err != nil {
			return nil, err
		}
	}
	return r.add(payload, frame[0]&frameLast != 0, now)
}

// continues says whether a frame that is not FIRST is the awaited one.
func (r *Reassembler) continues(index, messageID byte, now time.Time) error {
	switch {
	case r.partial == nil || index != r.next || messageID != r.messageID:
		return ErrOutOfOrder
	case now.Sub(r.heard) >= IdleTimeout:
		return ErrIdle
	}
	return nil
}

func (r *Reassembler) add(payload []byte, last bool, now time.Time) ([]byte, error) {
	size := len(r.partial) + len(payload)
	if size > r.total || last && size != r.total {
		return nil, ErrMessageSize
	}
	r.partial = append(r.partial, payload...)
	r.next++
	r.heard = now
	if !last {
		return nil, nil
	}
	return r.partial, nil
}
