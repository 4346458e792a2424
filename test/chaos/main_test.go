package chaos

import (
	"os"
	"testing"

	"github.com/armlet-pay/armlet/test/programs"
)

func TestMain(m *testing.M) {
	code := m.Run()
	programs.Remove()
	os.Exit(code)
}

func must(t testing.TB, err error) {
	t.Helper()
	if err != nil {
		t.Fatal(err)
	}
}
