package fault_test

import (
	"errors"
	"fmt"
	"io"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"

	"github.com/armlet-pay/armlet/platform/fault"
)

func TestCopiesLeaveTheOriginalAsItWas(t *testing.T) {
	base := fault.New(fault.Aborted, "BUSY", "try again")
	one := base.WithMeta("a", "1")
	two := one.WithMeta("b", "2").WithField("name").WithCause(io.EOF)

	if base.Meta != nil || base.Field != "" || errors.Unwrap(base) != nil {
		t.Errorf("the original changed: %+v", base)
	}
	if diff := cmp.Diff(map[string]string{"a": "1"}, one.Meta); diff != "" {
		t.Errorf("the first copy changed: %s", diff)
	}
	if diff := cmp.Diff(map[string]string{"a": "1", "b": "2"}, two.Meta); diff != "" {
		t.Errorf("the second copy: %s", diff)
	}
	if !errors.Is(two, base) || !errors.Is(two, io.EOF) {
		t.Errorf("%v is neither its original nor its cause", two)
	}
}

func TestIsComparesKindAndReason(t *testing.T) {
	gone := fault.New(fault.NotFound, "GONE", "gone")
	for name, c := range map[string]struct {
		err  error
		want bool
	}{
		"same kind and reason, other message": {fault.New(fault.NotFound, "GONE", "%s is gone", "x"), true},
		"wrapped":                             {fmt.Errorf("read: %w", gone), true},
		"other reason":                        {fault.New(fault.NotFound, "LOST", "gone"), false},
		"other kind":                          {fault.New(fault.Invalid, "GONE", "gone"), false},
		"not a fault":                         {io.EOF, false},
	} {
		t.Run(name, func(t *testing.T) {
			if got := errors.Is(c.err, gone); got != c.want {
				t.Errorf("errors.Is = %v, want %v", got, c.want)
			}
		})
	}
}

func TestReasonAndKindAreFoundThroughWrapping(t *testing.T) {
	wrapped := fmt.Errorf("outer: %w", fault.InvalidField("amount.minor_units", "must be above %d", 0))
	if r, k := fault.ReasonOf(wrapped), fault.KindOf(wrapped); r != fault.ReasonInvalidField || k != fault.Invalid {
		t.Errorf("got %s, %s", r, k)
	}
	if e, ok := fault.As(wrapped); !ok || e.Field != "amount.minor_units" || e.Message != "must be above 0" {
		t.Errorf("got %+v", e)
	}
	if r, k := fault.ReasonOf(io.EOF), fault.KindOf(io.EOF); r != "" || k != fault.Internal {
		t.Errorf("an error that is no fault gives %q, %s", r, k)
	}
	if _, ok := fault.As(nil); ok {
		t.Error("nil is a fault")
	}
}

func TestAMessageWithoutArgumentsIsTakenLiterally(t *testing.T) {
	literal := "100% of it"
	if e := fault.New(fault.Invalid, "R", literal); e.Message != literal {
		t.Errorf("got %q", e.Message)
	}
}

func TestErrorTextHasFieldAndCauseForTheLog(t *testing.T) {
	err := fault.InvalidField("name", "is empty").WithCause(io.ErrUnexpectedEOF)
	for _, part := range []string{"INVALID_FIELD", "name", "is empty", "unexpected EOF"} {
		if !strings.Contains(err.Error(), part) {
			t.Errorf("%q lacks %q", err.Error(), part)
		}
	}
}

func TestEveryKindHasAName(t *testing.T) {
	seen := map[string]bool{}
	for k := fault.Internal; k <= fault.Unimplemented; k++ {
		if k.String() == "" || seen[k.String()] {
			t.Errorf("kind %d has the name %q", k, k)
		}
		seen[k.String()] = true
	}
	if got := fault.Kind(200).String(); got != "kind 200" {
		t.Errorf("an unknown kind is called %q", got)
	}
}
