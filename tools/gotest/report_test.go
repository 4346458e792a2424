package main

import (
	"strings"
	"testing"
	"time"
)

const passing = `{"Action":"start","Package":"m/a"}
{"Action":"run","Package":"m/a","Test":"TestOne"}
{"Action":"output","Package":"m/a","Test":"TestOne","Output":"=== RUN   TestOne\n"}
{"Action":"output","Package":"m/a","Test":"TestOne","Output":"    chatter\n"}
{"Action":"pass","Package":"m/a","Test":"TestOne"}
{"Action":"output","Package":"m/a","Output":"PASS\n"}
{"Action":"output","Package":"m/a","Output":"ok  \tm/a\t0.01s\n"}
{"Action":"pass","Package":"m/a"}
{"Action":"output","Package":"m/none","Output":"?   \tm/none\t[no test files]\n"}
{"Action":"skip","Package":"m/none"}
`

const failing = `{"Action":"run","Package":"m/b","Test":"TestTwo"}
{"Action":"run","Package":"m/b","Test":"TestTwo/sub"}
{"Action":"output","Package":"m/b","Test":"TestTwo/sub","Output":"    b_test.go:7: got 1, want 2\n"}
{"Action":"fail","Package":"m/b","Test":"TestTwo/sub"}
{"Action":"fail","Package":"m/b","Test":"TestTwo"}
{"Action":"output","Package":"m/b","Output":"FAIL\tm/b\t0.01s\n"}
{"Action":"fail","Package":"m/b"}
`

const skipping = `{"Action":"run","Package":"m/c","Test":"TestThree"}
{"Action":"output","Package":"m/c","Test":"TestThree","Output":"    c_test.go:5: no database here\n"}
{"Action":"skip","Package":"m/c","Test":"TestThree"}
{"Action":"output","Package":"m/c","Output":"ok  \tm/c\t0.01s\n"}
{"Action":"pass","Package":"m/c"}
`

const crashing = `{"Action":"run","Package":"m/d","Test":"TestFour"}
{"Action":"output","Package":"m/d","Test":"TestFour","Output":"panic: out of luck\n"}
{"Action":"output","Package":"m/d","Output":"FAIL\tm/d\t0.01s\n"}
{"Action":"fail","Package":"m/d"}
`

const unbuildable = `{"ImportPath":"m/e [m/e.test]","Action":"build-output","Output":"e/e.go:3:1: undefined: x\n"}
{"ImportPath":"m/e [m/e.test]","Action":"build-fail"}
{"Action":"output","Package":"m/e","Output":"FAIL\tm/e [build failed]\n"}
{"Action":"fail","Package":"m/e","FailedBuild":"m/e [m/e.test]"}
`

func TestTheVerdictAndWhatIsShown(t *testing.T) {
	for name, c := range map[string]struct {
		events string
		good   bool
		shows  []string
		hides  []string
	}{
		"a passing run shows only closing lines": {
			passing, true, []string{"ok  \tm/a\t0.01s", "PASS: 1 tests passed"}, []string{"chatter", "=== RUN", "m/none\t"},
		},
		"a failure shows its output and fails": {
			passing + failing, false,
			[]string{"got 1, want 2", "FAIL\tm/b", "FAIL: 1 tests passed, 2 failed", "failed   m/b TestTwo/sub"}, []string{"chatter"},
		},
		"a skip fails although go test passes": {
			passing + skipping, false, []string{"no database here", "1 skipped", "skipped  m/c TestThree"}, []string{"chatter"},
		},
		"a test that never ended counts as failed": {
			passing + crashing, false, []string{"out of luck", "failed   m/d TestFour"}, nil,
		},
		"a package that does not build shows the compiler": {
			passing + unbuildable, false, []string{"undefined: x", "failed   m/e"}, nil,
		},
		"a run without a single test fails": {"", false, []string{"no test passed at all"}, nil},
	} {
		t.Run(name, func(t *testing.T) {
			var out strings.Builder
			report := NewReport(&out)
			if err := report.Read(strings.NewReader(c.events)); err != nil {
				t.Fatal(err)
			}
			if good := report.Close(1, time.Second); good != c.good {
				t.Errorf("good = %v, want %v", good, c.good)
			}
			for _, want := range c.shows {
				if !strings.Contains(out.String(), want) {
					t.Errorf("the report does not show %q:\n%s", want, out.String())
				}
			}
			for _, want := range c.hides {
				if strings.Contains(out.String(), want) {
					t.Errorf("the report shows %q:\n%s", want, out.String())
				}
			}
		})
	}
}

func TestAModuleThatCannotBeTestedFailsTheRun(t *testing.T) {
	var out strings.Builder
	report := NewReport(&out)
	if err := report.Read(strings.NewReader(passing)); err != nil {
		t.Fatal(err)
	}
	report.Broken("services/x", test(t.Context(), t.TempDir(), []string{"test", "-no-such-flag"}, report))
	if report.Close(2, time.Second) {
		t.Errorf("the run passed:\n%s", out.String())
	}
	if !strings.Contains(out.String(), "broken   services/x: go test") {
		t.Errorf("the report does not name the module:\n%s", out.String())
	}
}
