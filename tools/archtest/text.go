package archtest

import (
	"go/ast"
	"go/token"
	"slices"
	"strings"
	"unicode"
)

const (
	maxLines   = 700
	maxMethods = 8
)

// packageComments wants every package to say what it is for.
func packageComments(t *Tree) []Finding {
	var out []Finding
	for _, p := range t.Packages {
		said := slices.ContainsFunc(p.Files, func(f *File) bool {
			return f.AST.Doc != nil && strings.TrimSpace(f.AST.Doc.Text()) != ""
		})
		generated := !slices.ContainsFunc(p.Files, func(f *File) bool { return !f.Generated })
		if !said && !generated {
			out = append(out, at(p.Dir, "has no package comment: say what the package is for"))
		}
	}
	return out
}

// fileSize bounds the files that people read.
func fileSize(t *Tree) []Finding {
	var out []Finding
	for _, p := range t.Packages {
		for _, f := range p.Files {
			if !f.Generated && f.Lines > maxLines {
				out = append(out, at(f.Path, "has %d lines; split it by subject (most files stay under 400, none goes over %d)", f.Lines, maxLines))
			}
		}
	}
	return out
}

// interfaceSize bounds interfaces from both sides: one without methods says
// nothing, one with many cannot be fulfilled by anything but the original.
func interfaceSize(t *Tree) []Finding {
	var out []Finding
	for _, p := range t.Packages {
		local := map[string]*ast.InterfaceType{}
		eachInterface(p, func(spec *ast.TypeSpec, it *ast.InterfaceType) { local[spec.Name.Name] = it })
		eachInterface(p, func(spec *ast.TypeSpec, it *ast.InterfaceType) {
			n, constraint := methods(it, local, map[*ast.InterfaceType]bool{})
			if !constraint && (n < 1 || n > maxMethods) {
				out = append(out, at(t.pos(spec.Pos()), "interface %s has %d methods; between 1 and %d are allowed", spec.Name.Name, n, maxMethods))
			}
		})
	}
	return out
}

func eachInterface(p *Package, do func(*ast.TypeSpec, *ast.InterfaceType)) {
	for _, f := range p.Files {
		if f.Generated || f.Test {
			continue
		}
		ast.Inspect(f.AST, func(n ast.Node) bool {
			if spec, ok := n.(*ast.TypeSpec); ok {
				if it, ok := spec.Type.(*ast.InterfaceType); ok {
					do(spec, it)
				}
			}
			return true
		})
	}
}

// methods counts what an interface asks for. An embedded interface of another
// package counts as one method, the least it can have. A set of types is a
// constraint, not an interface.
func methods(it *ast.InterfaceType, local map[string]*ast.InterfaceType, seen map[*ast.InterfaceType]bool) (n int, constraint bool) {
	if seen[it] {
		return 0, false
	}
	seen[it] = true
	for _, field := range it.Methods.List {
		switch of := field.Type.(type) {
		case *ast.FuncType:
			n += len(field.Names)
		case *ast.UnaryExpr, *ast.BinaryExpr:
			return 0, true
		case *ast.Ident:
			embedded := local[of.Name]
			if embedded == nil {
				return 0, true // comparable, or a single type
			}
			more, set := methods(embedded, local, seen)
			if set {
				return 0, true
			}
			n += more
		default:
			n++
		}
	}
	return n, false
}

// noSkips: a test that does not run proves nothing. What a test needs is provided
// (tools/testdeps.sh) or the test fails.
func noSkips(t *Tree) []Finding {
	var out []Finding
	for _, p := range t.Packages {
		for _, f := range p.Files {
			if !f.Test && !slices.ContainsFunc(f.Imports, func(i Import) bool { return i.Path == "testing" }) {
				continue
			}
			ast.Inspect(f.AST, func(n ast.Node) bool {
				sel, ok := n.(*ast.SelectorExpr)
				if ok && slices.Contains([]string{"Skip", "Skipf", "SkipNow"}, sel.Sel.Name) {
					out = append(out, at(t.pos(sel.Sel.Pos()), "skips a test; provide what it needs, or let it fail and say what is missing"))
				}
				return true
			})
		}
	}
	return out
}

// businessWords are the nouns of what Armlet does, in the singular. Who calls
// (partner, account, merchant, terminal, wearer) is missing on purpose: these are
// the fields of a verified caller, which rpc carries.
var businessWords = []string{
	"payment", "refund", "capture", "ledger", "posting", "settlement", "wallet", "money", "currency",
	"voucher", "campaign", "redemption", "alert", "band", "wristband", "device", "lot", "wrist", "gesture", "tap",
	"challenge",
}

// platformWords keeps business out of the plumbing: an exported name of platform
// that speaks of payments belongs into a service.
func platformWords(t *Tree) []Finding {
	var out []Finding
	for _, p := range t.Packages {
		if !within(p.Dir, "platform") {
			continue
		}
		for _, f := range p.Files {
			if f.Test {
				continue
			}
			out = append(out, wordIn(t, f.AST.Name)...)
			for _, name := range exported(f.AST) {
				out = append(out, wordIn(t, name)...)
			}
		}
	}
	return out
}

func wordIn(t *Tree, name *ast.Ident) []Finding {
	var out []Finding
	for _, word := range words(name.Name) {
		if slices.Contains(businessWords, word) || slices.Contains(businessWords, strings.TrimSuffix(word, "s")) {
			out = append(out, at(t.pos(name.Pos()), "%s speaks of %q; platform has no business words: move it to the service it serves", name.Name, word))
		}
	}
	return out
}

// exported are the names that a file declares for others: at the top level, and
// the fields and methods of its types.
func exported(f *ast.File) []*ast.Ident {
	var all []*ast.Ident
	add := func(names ...*ast.Ident) {
		for _, n := range names {
			if n.IsExported() {
				all = append(all, n)
			}
		}
	}
	for _, decl := range f.Decls {
		switch d := decl.(type) {
		case *ast.FuncDecl:
			add(d.Name)
		case *ast.GenDecl:
			if d.Tok == token.IMPORT {
				continue
			}
			for _, spec := range d.Specs {
				switch s := spec.(type) {
				case *ast.ValueSpec:
					add(s.Names...)
				case *ast.TypeSpec:
					add(s.Name)
					add(members(s.Type)...)
				}
			}
		}
	}
	return all
}

func members(of ast.Expr) []*ast.Ident {
	var fields *ast.FieldList
	switch t := of.(type) {
	case *ast.StructType:
		fields = t.Fields
	case *ast.InterfaceType:
		fields = t.Methods
	default:
		return nil
	}
	var all []*ast.Ident
	for _, f := range fields.List {
		all = append(all, f.Names...)
	}
	return all
}

// words splits a Go name: "NewHTTPServer" gives new, http and server.
func words(name string) []string {
	var all []string
	runes := []rune(name)
	start := 0
	for i := 1; i <= len(runes); i++ {
		if i < len(runes) && !boundary(runes, i) {
			continue
		}
		if word := strings.Trim(strings.ToLower(string(runes[start:i])), "_0123456789"); word != "" {
			all = append(all, word)
		}
		start = i
	}
	return all
}

func boundary(runes []rune, i int) bool {
	before, here := runes[i-1], runes[i]
	if here == '_' || before == '_' {
		return true
	}
	if !unicode.IsUpper(here) {
		return false
	}
	return !unicode.IsUpper(before) || (i+1 < len(runes) && unicode.IsLower(runes[i+1]))
}
