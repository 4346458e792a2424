package story

import (
	"fmt"
	"io"
	"time"
)

// teller prints the story: a line for each step with what happened and how long
// it took. The first error ends the story and is kept with the step's name.
type teller struct {
	out   io.Writer
	step  int
	begin time.Time
	err   error
}

// Failure is the step at which the story went wrong.
type Failure struct {
	Step string
	Err  error
}

func (f *Failure) Error() string { return fmt.Sprintf("the demo failed at %q: %v", f.Step, f.Err) }

// Unwrap is the cause.
func (f *Failure) Unwrap() error { return f.Err }

// tell runs one step unless an earlier one failed.
func (t *teller) tell(what string, do func() (string, error)) {
	if t.err != nil {
		return
	}
	t.step++
	begin := time.Now()
	detail, err := do()
	took := ms(time.Since(begin))
	if err != nil {
		t.err = &Failure{what, err}
		fmt.Fprintf(t.out, " ✗ %2d  %-46s %10s  %v\n", t.step, what, took, err)
		return
	}
	fmt.Fprintf(t.out, " ✓ %2d  %-46s %10s  %s\n", t.step, what, took, detail)
}

// note prints a line below a step.
func (t *teller) note(format string, a ...any) {
	if t.err == nil {
		fmt.Fprintf(t.out, "       "+format+"\n", a...)
	}
}

func ms(d time.Duration) string { return fmt.Sprintf("%.1f ms", float64(d.Microseconds())/1000) }
