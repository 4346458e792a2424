package main

import (
	"bytes"
	"os"
	"path/filepath"
	"testing"
)

func TestTheFilesAreWhatTheProgramWrites(t *testing.T) {
	t.Parallel()
	folder := filepath.Join("..", "..", "deploy", "grafana", "dashboards")
	files, err := os.ReadDir(folder)
	if err != nil {
		t.Fatal(err)
	}
	if len(files) != len(all()) {
		t.Errorf("%s has %d files, not %d", folder, len(files), len(all()))
	}
	for name, d := range all() {
		want, err := render(d)
		if err != nil {
			t.Fatal(err)
		}
		got, err := os.ReadFile(filepath.Join(folder, name+".json"))
		if err != nil || !bytes.Equal(got, want) {
			t.Errorf("%s.json is not what this program writes (%v): run make gen", name, err)
		}
	}
}
