package archtest_test

import (
	"os"
	"path/filepath"
	"testing"

	"github.com/armlet-pay/armlet/tools/archtest"
)

func TestTheRepositoryFollowsTheRules(t *testing.T) {
	root, err := filepath.Abs(filepath.Join("..", ".."))
	if err != nil {
		t.Fatal(err)
	}
	tree, err := archtest.Load(os.DirFS(root))
	if err != nil {
		t.Fatal(err)
	}
	if len(tree.Packages) < 10 || tree.Work == "" {
		t.Fatalf("%s does not look like the repository: %d packages, go.work has %d bytes", root, len(tree.Packages), len(tree.Work))
	}
	for _, f := range archtest.Check(tree) {
		t.Error(f)
	}
}
