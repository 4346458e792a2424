package archtest

import (
	"bytes"
	"fmt"
	"go/ast"
	"go/parser"
	"go/token"
	"io/fs"
	"path"
	"regexp"
	"slices"
	"strconv"
	"strings"
)

// Tree is the repository as the rules see it. All paths are relative to its
// root and use slashes.
type Tree struct {
	Modules  []Module
	Packages []*Package
	Work     string          // the text of go.work
	Files    map[string]bool // every file, Go or not
	Dirs     map[string]bool
	fset     *token.FileSet
	byPath   map[string]*Package
}

// Module is a folder with a go.mod.
type Module struct {
	Dir, Path string
	Replaces  []string // the module paths on the left of its replace lines
}

// Package is a folder with Go files; an external test package counts with the
// package it tests.
type Package struct {
	Dir, Path string
	Files     []*File
}

// File is one Go file.
type File struct {
	Path      string
	Test      bool
	Generated bool
	Lines     int
	AST       *ast.File
	Imports   []Import
}

// Import is one import of a file; Name is how the file calls the package.
type Import struct {
	Path, Name string
	Pos        token.Pos
}

var (
	// skippedDirs hold nothing that was written by hand for this tree.
	skippedDirs = []string{"bin", "data", "testdata", "vendor", "node_modules"}

	moduleLine  = regexp.MustCompile(`(?m)^module\s+(\S+)`)
	replaceLine = regexp.MustCompile(`(?m)^(?:replace\s+|\s+)(\S+)(?:\s+v\S+)?\s+=>`)
	lastElement = regexp.MustCompile(`/v[0-9]+$`)
)

// Load reads the tree that fsys holds.
func Load(fsys fs.FS) (*Tree, error) {
	t := &Tree{Files: map[string]bool{}, Dirs: map[string]bool{}, fset: token.NewFileSet(), byPath: map[string]*Package{}}
	dirs := map[string][]string{}
	err := fs.WalkDir(fsys, ".", func(name string, entry fs.DirEntry, err error) error {
		if err != nil {
			return err
		}
		base := path.Base(name)
		if entry.IsDir() {
			if name != "." && (strings.HasPrefix(base, ".") || slices.Contains(skippedDirs, base)) {
				return fs.SkipDir
			}
			t.Dirs[name] = true
			return nil
		}
		t.Files[name] = true
		if strings.HasSuffix(base, ".go") {
			dirs[path.Dir(name)] = append(dirs[path.Dir(name)], name)
		}
		return nil
	})
	if err != nil {
		return nil, fmt.Errorf("archtest: walk the tree: %w", err)
	}
	if err := t.loadModules(fsys); err != nil {
		return nil, err
	}
	for dir, names := range dirs {
		if err := t.loadPackage(fsys, dir, names); err != nil {
			return nil, err
		}
	}
	slices.SortFunc(t.Packages, func(a, b *Package) int { return strings.Compare(a.Dir, b.Dir) })
	return t, nil
}

func (t *Tree) loadModules(fsys fs.FS) error {
	for name := range t.Files {
		if name == "go.work" {
			text, err := fs.ReadFile(fsys, name)
			if err != nil {
				return fmt.Errorf("archtest: %w", err)
			}
			t.Work = string(text)
		}
		if path.Base(name) != "go.mod" {
			continue
		}
		text, err := fs.ReadFile(fsys, name)
		if err != nil {
			return fmt.Errorf("archtest: %w", err)
		}
		found := moduleLine.FindSubmatch(text)
		if found == nil {
			return fmt.Errorf("archtest: %s has no module line", name)
		}
		m := Module{Dir: path.Dir(name), Path: string(found[1])}
		for _, r := range replaceLine.FindAllSubmatch(text, -1) {
			m.Replaces = append(m.Replaces, string(r[1]))
		}
		t.Modules = append(t.Modules, m)
	}
	slices.SortFunc(t.Modules, func(a, b Module) int { return strings.Compare(a.Dir, b.Dir) })
	return nil
}

func (t *Tree) loadPackage(fsys fs.FS, dir string, names []string) error {
	p := &Package{Dir: dir, Path: t.importPath(dir)}
	for _, name := range names {
		src, err := fs.ReadFile(fsys, name)
		if err != nil {
			return fmt.Errorf("archtest: %w", err)
		}
		parsed, err := parser.ParseFile(t.fset, name, src, parser.ParseComments|parser.SkipObjectResolution)
		if err != nil {
			return fmt.Errorf("archtest: %w", err)
		}
		f := &File{
			Path: name, AST: parsed, Lines: bytes.Count(src, []byte("\n")),
			Test: strings.HasSuffix(name, "_test.go"), Generated: ast.IsGenerated(parsed),
		}
		for _, spec := range parsed.Imports {
			f.Imports = append(f.Imports, toImport(spec))
		}
		p.Files = append(p.Files, f)
	}
	t.Packages = append(t.Packages, p)
	t.byPath[p.Path] = p
	return nil
}

func toImport(spec *ast.ImportSpec) Import {
	// The parser has already refused a path that is not a string.
	of, _ := strconv.Unquote(spec.Path.Value)
	i := Import{Path: of, Name: path.Base(lastElement.ReplaceAllString(of, "")), Pos: spec.Pos()}
	if spec.Name != nil {
		i.Name = spec.Name.Name
	}
	return i
}

// importPath is the innermost module's path and the rest of the folder.
func (t *Tree) importPath(dir string) string {
	best := Module{Dir: "", Path: ""}
	for _, m := range t.Modules {
		if (dir == m.Dir || strings.HasPrefix(dir, m.Dir+"/")) && len(m.Dir) > len(best.Dir) {
			best = m
		}
	}
	return best.Path + strings.TrimPrefix(dir, best.Dir)
}

// pos says where in a file something stands.
func (t *Tree) pos(p token.Pos) string {
	where := t.fset.Position(p)
	return fmt.Sprintf("%s:%d", where.Filename, where.Line)
}

// children are the names of the folders right under dir, sorted.
func (t *Tree) children(dir string) []string {
	var names []string
	for d := range t.Dirs {
		if path.Dir(d) == dir && d != "." {
			names = append(names, path.Base(d))
		}
	}
	slices.Sort(names)
	return names
}

// services are the folders of services/.
func (t *Tree) services() []string { return t.children("services") }

// std tells the standard library's packages: their first element has no dot.
func std(importPath string) bool {
	first, _, _ := strings.Cut(importPath, "/")
	return !strings.Contains(first, ".")
}
