package cli

import (
	"io"
	"os"
	"path/filepath"
	"regexp"
	"strings"
	"testing"
)

func TestTheRunbookNamesCommandsThatExist(t *testing.T) {
	t.Parallel()
	text, err := os.ReadFile(filepath.Join("..", "..", "..", "..", "docs", "runbook.md"))
	if err != nil {
		t.Fatal(err)
	}
	all := regexp.MustCompile("`armlet ([^`]+)`").FindAllStringSubmatch(string(text), -1)
	if len(all) == 0 {
		t.Fatal("it names none")
	}
	root := newRoot(&app{out: io.Discard, err: io.Discard})
	for _, m := range all {
		words := strings.Fields(m[1])
		found, rest, err := root.Find(words)
		if err != nil || found.HasSubCommands() {
			t.Errorf("`armlet %s`: there is no such command (%v)", m[1], err)
			continue
		}
		if want := strings.Fields(found.Use)[1:]; len(rest) > len(want) {
			t.Errorf("`armlet %s` takes %v", m[1], want)
		}
	}
}
