// Package archtest checks that the tree follows the rules of ARCHITECTURE.md:
// who may import whom, what a service looks like, how large things may grow.
//
// A rule is a pure function over a loaded [Tree], so that each can be seen to
// fail on a small tree made for it (rules_test.go). The repository itself is
// checked by TestTheRepositoryFollowsTheRules.
//
// The tree is parsed, not compiled: every file counts, whatever its build tags,
// and a tree that does not build yet still gets clear messages.
package archtest

import (
	"cmp"
	"fmt"
	"slices"
)

// Finding is one place where the tree breaks a rule.
type Finding struct {
	Rule string
	Path string // file or folder, with a line where there is one
	Text string // what is wrong and what to do
}

func (f Finding) String() string { return fmt.Sprintf("%s: %s [%s]", f.Path, f.Text, f.Rule) }

// Rule is one thing that must hold everywhere.
type Rule struct {
	Name  string
	Check func(*Tree) []Finding
}

// Rules are all of them.
var Rules = []Rule{
	{"layers", layers},
	{"domain-purity", domainPurity},
	{"service-shape", serviceShape},
	{"migrations", migrations},
	{"package-comments", packageComments},
	{"file-size", fileSize},
	{"interface-size", interfaceSize},
	{"replaces", replaces},
	{"workspace", workspace},
	{"no-skips", noSkips},
	{"platform-words", platformWords},
}

// Check runs all rules and sorts what they find by place.
func Check(t *Tree) []Finding {
	var all []Finding
	for _, rule := range Rules {
		for _, f := range rule.Check(t) {
			f.Rule = rule.Name
			all = append(all, f)
		}
	}
	slices.SortFunc(all, func(a, b Finding) int {
		return cmp.Or(cmp.Compare(a.Path, b.Path), cmp.Compare(a.Rule, b.Rule), cmp.Compare(a.Text, b.Text))
	})
	return slices.Compact(all)
}

func at(path, format string, a ...any) Finding {
	return Finding{Path: path, Text: fmt.Sprintf(format, a...)}
}
