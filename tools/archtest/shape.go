package archtest

import (
	"maps"
	"path"
	"regexp"
	"slices"
	"strings"
)

var (
	// serviceFiles stand in every service, whatever it does.
	serviceFiles = []string{"service.go", "config.go", "README.md", "Dockerfile", "go.mod"}
	// serviceAdapters have code in every service; peers and senders only where there is someone to call.
	serviceAdapters = []string{"grpcapi", "bus", "store", "storetest"}

	migrationName = regexp.MustCompile(`^[0-9]{4}_[a-z0-9_]+\.sql$`)
	useLine       = regexp.MustCompile(`(?m)^(?:use\s+|\s+)\./(\S+)`)
)

// serviceShape lets whoever knows one service find everything in the others.
func serviceShape(t *Tree) []Finding {
	var out []Finding
	for _, name := range t.services() {
		dir := path.Join("services", name)
		for _, file := range append(slices.Clone(serviceFiles), path.Join("cmd", name, "main.go")) {
			if !t.Files[path.Join(dir, file)] {
				out = append(out, at(dir, "has no %s, as every service has", file))
			}
		}
		for _, folder := range t.children(dir) {
			if folder != "cmd" && folder != "internal" {
				out = append(out, at(path.Join(dir, folder), "a service has the folders cmd and internal only"))
			}
		}
		for _, folder := range t.children(path.Join(dir, "cmd")) {
			if folder != name {
				out = append(out, at(path.Join(dir, "cmd", folder), "a service has one program, cmd/%s", name))
			}
		}
		out = append(out, internalShape(t, path.Join(dir, "internal"))...)
	}
	return out
}

func internalShape(t *Tree, dir string) []Finding {
	var out []Finding
	hasCode := map[string]bool{}
	rules := 0
	for _, p := range t.Packages {
		if p.Dir == dir {
			out = append(out, at(dir, "has Go files of its own; put them into a folder: an adapter or a domain"))
		}
		rest, ok := strings.CutPrefix(p.Dir, dir+"/")
		if !ok {
			continue
		}
		first, _, _ := strings.Cut(rest, "/")
		if !hasCode[first] && !slices.Contains(adapters, first) {
			rules++
		}
		hasCode[first] = true
	}
	for _, folder := range serviceAdapters {
		if !hasCode[folder] {
			out = append(out, at(path.Join(dir, folder), "has no Go code, as every service has here"))
		}
	}
	if rules == 0 {
		out = append(out, at(dir, "has no domain: a folder that is not one of %s", strings.Join(adapters, " ")))
	}
	return out
}

// migrations keeps the two databases in step: the same numbered files, no gaps.
func migrations(t *Tree) []Finding {
	var out []Finding
	for _, service := range t.services() {
		dir := path.Join("services", service, "internal", "store", "migrations")
		found := map[string]map[string]bool{"sqlite": {}, "postgres": {}}
		for file := range t.Files {
			base, dialect := path.Base(file), path.Base(path.Dir(file))
			if path.Dir(path.Dir(file)) != dir || found[dialect] == nil || path.Ext(base) != ".sql" {
				continue
			}
			found[dialect][base] = true
			if !migrationName.MatchString(base) {
				out = append(out, at(file, "a migration is called NNNN_what_it_does.sql"))
			}
		}
		for _, pair := range [][2]string{{"sqlite", "postgres"}, {"postgres", "sqlite"}} {
			names := slices.Sorted(maps.Keys(found[pair[0]]))
			if len(names) == 0 {
				out = append(out, at(path.Join(dir, pair[0]), "has no migrations"))
			}
			for n, name := range names {
				if !found[pair[1]][name] {
					out = append(out, at(path.Join(dir, pair[1]), "has no %s, which %s has", name, pair[0]))
				}
				if migrationName.MatchString(name) && atoi(name[:4]) != n+1 {
					out = append(out, at(path.Join(dir, pair[0], name), "migrations count 0001, 0002, …: this is number %d", n+1))
				}
			}
		}
	}
	return out
}

func atoi(digits string) int {
	n := 0
	for _, d := range digits {
		n = n*10 + int(d-'0')
	}
	return n
}

// replaces keeps proto and platform importable by others: a replace line is
// ignored in a dependency, so what needs one cannot be a dependency.
func replaces(t *Tree) []Finding {
	var out []Finding
	for _, m := range t.Modules {
		top, _, _ := strings.Cut(m.Dir, "/")
		if len(m.Replaces) > 0 && !slices.Contains([]string{"services", "sdk", "cmd", "test"}, top) {
			out = append(out, at(path.Join(m.Dir, "go.mod"), "replaces %s; only services, sdk, cmd and test may", strings.Join(m.Replaces, ", ")))
		}
		for _, r := range m.Replaces {
			if !within(r, prefix) {
				out = append(out, at(path.Join(m.Dir, "go.mod"), "replaces %s; only modules of this tree are replaced", r))
			}
		}
	}
	if strings.Contains(t.Work, "=>") {
		out = append(out, at("go.work", "has a replace line; builds without the workspace would not see it"))
	}
	return out
}

// workspace keeps go.work complete. The tools stay outside: what a linter requires
// would raise the versions that the services are built with in the workspace.
func workspace(t *Tree) []Finding {
	used := map[string]bool{}
	for _, u := range useLine.FindAllStringSubmatch(t.Work, -1) {
		used[u[1]] = true
	}
	var out []Finding
	for _, m := range t.Modules {
		want := m.Dir != "tools"
		if used[m.Dir] != want {
			if want {
				out = append(out, at("go.work", "does not use ./%s: make check and make test would pass it by", m.Dir))
			} else {
				out = append(out, at("go.work", "uses ./%s: its requirements would leak into every build", m.Dir))
			}
		}
		if want := path.Join(prefix, m.Dir); m.Path != want {
			out = append(out, at(path.Join(m.Dir, "go.mod"), "is called %s; its folder says %s", m.Path, want))
		}
	}
	return out
}
