package wire_test

import (
	"bytes"
	"errors"
	"slices"
	"testing"
	"time"

	"github.com/armlet-pay/armlet/proto/wire"
)

var noon = time.Date(2026, 1, 1, 12, 0, 0, 0, time.UTC)

func message(n int) []byte {
	b := make([]byte, n)
	for i := range b {
		b[i] = byte(i + 1)
	}
	return b
}

func TestFramesAreTheOnesInTheText(t *testing.T) {
	frames := must(wire.Fragment(message(40), 7, 23))(t)
	want := [][]byte{
		join([]byte{0x80, 7, 0, 40}, message(40)[:16]),
		join([]byte{0x01, 7}, message(40)[16:34]),
		join([]byte{0x42, 7}, message(40)[34:]),
	}
	if !slices.EqualFunc(frames, want, bytes.Equal) {
		t.Errorf("got %x\nwant %x", frames, want)
	}
	single := must(wire.Fragment(message(16), 255, 23))(t)
	if len(single) != 1 || !bytes.Equal(single[0], join([]byte{0xC0, 255, 0, 16}, message(16))) {
		t.Errorf("single frame: %x", single)
	}
}

func TestEveryMessageSurvivesEveryMTU(t *testing.T) {
	for _, mtu := range []int{23, 24, 50, 185, 247, 263, 517} {
		var r wire.Reassembler
		for n := 1; n <= wire.MaxMessage; n++ {
			frames := must(wire.Fragment(message(n), byte(n), mtu))(t)
			for i, frame := range frames {
				if len(frame) > mtu-3 {
					t.Fatalf("MTU %d: frame of %d bytes", mtu, len(frame))
				}
				got, err := r.Push(frame, noon)
				if err != nil {
					t.Fatalf("MTU %d, %d bytes, frame %d: %v", mtu, n, i, err)
				}
				if last := i == len(frames)-1; last != (got != nil) || last && !bytes.Equal(got, message(n)) {
					t.Fatalf("MTU %d, %d bytes, frame %d: got %x", mtu, n, i, got)
				}
			}
		}
	}
}

func TestFragmentRefusesWhatDoesNotFit(t *testing.T) {
	for _, tt := range []struct {
		n, mtu int
		want   error
	}{
		{0, 23, wire.ErrMessageSize}, {257, 517, wire.ErrMessageSize}, {10, 22, wire.ErrMTU}, {10, 0, wire.ErrMTU}, {10, -1, wire.ErrMTU},
	} {
		if _, err := wire.Fragment(message(tt.n), 0, tt.mtu); !errors.Is(err, tt.want) {
			t.Errorf("%d bytes at MTU %d: %v, want %v", tt.n, tt.mtu, err, tt.want)
		}
	}
}

// step is a frame that arrives some time after noon.
type step struct {
	frame []byte
	at    time.Duration
	want  error
}

func TestReassemblyIsInOrderOnly(t *testing.T) {
	frames := must(wire.Fragment(message(40), 7, 23))(t)
	first, second, third := frames[0], frames[1], frames[2]
	other := slices.Clone(second)
	other[1] = 8
	for name, steps := range map[string][]step{
		"gap":                    {{first, 0, nil}, {third, 0, wire.ErrOutOfOrder}, {second, 0, wire.ErrOutOfOrder}},
		"repeat":                 {{first, 0, nil}, {second, 0, nil}, {second, 0, wire.ErrOutOfOrder}, {third, 0, wire.ErrOutOfOrder}},
		"no beginning":           {{second, 0, wire.ErrOutOfOrder}},
		"another message":        {{first, 0, nil}, {other, 0, wire.ErrOutOfOrder}, {second, 0, wire.ErrOutOfOrder}},
		"two idle seconds":       {{first, 0, nil}, {second, 2 * time.Second, wire.ErrIdle}, {second, 2 * time.Second, wire.ErrOutOfOrder}},
		"empty frame":            {{first, 0, nil}, {nil, 0, wire.ErrFrame}, {second, 0, wire.ErrOutOfOrder}},
		"header only":            {{first, 0, nil}, {[]byte{0x01, 7}, 0, wire.ErrFrame}, {second, 0, wire.ErrOutOfOrder}},
		"FIRST without payload":  {{[]byte{0x80, 7, 0, 40}, 0, wire.ErrFrame}},
		"FIRST with index":       {{[]byte{0x81, 7, 0, 40, 1}, 0, wire.ErrFrame}},
		"bad FIRST in between":   {{first, 0, nil}, {[]byte{0x80, 7, 0}, 0, wire.ErrFrame}, {second, 0, wire.ErrOutOfOrder}},
		"257 bytes announced":    {{[]byte{0x80, 7, 1, 1, 1}, 0, wire.ErrMessageSize}},
		"65535 bytes announced":  {{[]byte{0x80, 7, 255, 255, 1}, 0, wire.ErrMessageSize}},
		"0 bytes announced":      {{[]byte{0xC0, 7, 0, 0, 1}, 0, wire.ErrMessageSize}},
		"LAST too early":         {{[]byte{0xC0, 7, 0, 2, 1}, 0, wire.ErrMessageSize}},
		"more than announced":    {{[]byte{0x80, 7, 0, 2, 1}, 0, nil}, {[]byte{0x01, 7, 2, 3}, 0, wire.ErrMessageSize}},
		"LAST with too much":     {{[]byte{0x80, 7, 0, 2, 1}, 0, nil}, {[]byte{0x41, 7, 2, 3}, 0, wire.ErrMessageSize}},
		"all there, LAST absent": {{[]byte{0x80, 7, 0, 1, 1}, 0, nil}, {[]byte{0x41, 7, 2}, 0, wire.ErrMessageSize}},
	} {
		var r wire.Reassembler
		for i, s := range steps {
			got, err := r.Push(s.frame, noon.Add(s.at))
			if got != nil || !errors.Is(err, s.want) || s.want == nil && err != nil {
				t.Errorf("%s, frame %d: %x, %v; want %v", name, i, got, err, s.want)
			}
		}
		var got []byte
		for _, frame := range frames { // whatever happened, a new beginning works
			var err error
			if got, err = r.Push(frame, noon.Add(time.Hour)); err != nil {
				t.Errorf("%s, afterwards: %v", name, err)
			}
		}
		if !bytes.Equal(got, message(40)) {
			t.Errorf("%s, afterwards: %x", name, got)
		}
	}
}

func TestANewFirstFrameReplacesAPartialMessage(t *testing.T) {
	old := must(wire.Fragment(message(40), 7, 23))(t)
	young := must(wire.Fragment(message(30), 8, 23))(t)
	var r wire.Reassembler
	for i, frame := range [][]byte{old[0], old[1], young[0]} {
		if got, err := r.Push(frame, noon); got != nil || err != nil {
			t.Fatalf("frame %d: %x, %v", i, got, err)
		}
	}
	if got, err := r.Push(young[1], noon); err != nil || !bytes.Equal(got, message(30)) {
		t.Errorf("got %x, %v", got, err)
	}
}

func TestIdleTimeCountsFromTheLastFrame(t *testing.T) {
	frames := must(wire.Fragment(message(60), 1, 23))(t)
	var r wire.Reassembler
	now := noon
	for i, frame := range frames {
		got, err := r.Push(frame, now)
		if err != nil {
			t.Fatalf("frame %d: %v", i, err)
		}
		if i == len(frames)-1 && !bytes.Equal(got, message(60)) {
			t.Errorf("got %x", got)
		}
		now = now.Add(wire.IdleTimeout - time.Nanosecond)
	}
}

func TestResetForgetsAPartialMessage(t *testing.T) {
	frames := must(wire.Fragment(message(40), 7, 23))(t)
	var r wire.Reassembler
	if _, err := r.Push(frames[0], noon); err != nil {
		t.Fatal(err)
	}
	r.Reset()
	if _, err := r.Push(frames[1], noon); !errors.Is(err, wire.ErrOutOfOrder) {
		t.Errorf("after Reset: %v", err)
	}
}

func TestMessagesBelongToTheCaller(t *testing.T) {
	frames := must(wire.Fragment(message(10), 1, 23))(t)
	var r wire.Reassembler
	got := must(r.Push(frames[0], noon))(t)
	kept := slices.Clone(got)
	frames[0][5] ^= 1
	must(r.Push(must(wire.Fragment(message(200)[100:110], 2, 23))(t)[0], noon))(t)
	if !bytes.Equal(got, kept) {
		t.Error("a message changes after it was returned")
	}
}
