package archtest

import (
	"go/ast"
	"slices"
	"strings"
)

// prefix of every module of the tree.
const prefix = "github.com/armlet-pay/armlet"

// adapters is the closed list of folders under a service's internal/ that are
// not domain.
var adapters = []string{"grpcapi", "bus", "peers", "senders", "store", "storetest"}

// layer is where a package stands.
type layer string

const (
	contract layer = "contract" // proto/
	fault    layer = "fault"    // platform/fault, the one package of platform a domain knows
	platform layer = "platform" // platform/
	domain   layer = "domain"   // services/*/internal/<rule>
	adapter  layer = "adapter"  // services/*/internal/{grpcapi,bus,…}
	root     layer = "root"     // services/*
	starter  layer = "starter"  // services/*/cmd/*
	sdk      layer = "sdk"
	command  layer = "command" // cmd/
	journey  layer = "journey" // test/
	tool     layer = "tool"    // tools/
	nowhere  layer = "nowhere" // a folder the layout does not have
)

// mayImport is the whole of the dependency rule: the layers of this tree that a
// layer's code may import. Every import is checked against it, so that what holds
// for each step holds for every chain of steps; a package from outside cannot
// lead back into the tree.
var mayImport = map[layer][]layer{
	contract: {contract},
	fault:    {fault},
	platform: {platform, fault},
	domain:   {domain, fault},
	adapter:  {adapter, domain, platform, fault, contract},
	root:     {adapter, domain, platform, fault, contract},
	starter:  {root, platform, fault},
	sdk:      {sdk, contract},
	command:  {command, root, sdk, platform, fault, contract},
	journey:  {journey, sdk, platform, fault, contract},
	tool:     {tool},
}

// testsMayImport are what the tests of a layer may import beyond that.
var testsMayImport = map[layer][]layer{
	domain:  {platform, contract},
	adapter: {root, sdk},
	root:    {root, sdk},
	starter: {adapter, domain, contract, sdk},
	sdk:     {platform, fault},
}

// outside are the packages from elsewhere, by prefix, that a layer may import; a
// layer that is not here is free to choose.
var outside = map[layer][]string{
	contract: {"google.golang.org/grpc", "google.golang.org/protobuf", "google.golang.org/genproto/googleapis",
		"buf.build/gen/go/bufbuild/protovalidate"},
	fault:  {},
	domain: {},
	tool:   {"google.golang.org/protobuf", "go.yaml.in/yaml/v3"}, // to read the contract and write documents
}

// authDomain is what the domain of auth may import too: there the rules are
// cryptography (docs/adr/0002-auth-domain-and-cryptography.md).
var authDomain = []string{prefix + "/proto/wire", "github.com/go-jose/go-jose/v4", "github.com/tink-crypto/tink-go/v2"}

// wire is the device protocol: standard library only, so that firmware teams can
// take it as it is.
const wire = "proto/wire"

// place says in which layer a folder stands and to which service it belongs.
func place(dir string) (layer, string) {
	parts := strings.Split(dir, "/")
	switch parts[0] {
	case "proto":
		return contract, ""
	case "platform":
		if within(dir, "platform/fault") {
			return fault, ""
		}
		return platform, ""
	case "sdk":
		return sdk, ""
	case "cmd":
		return command, ""
	case "test":
		return journey, ""
	case "tools":
		return tool, ""
	case "services":
		return placeInService(parts)
	}
	return nowhere, ""
}

func placeInService(parts []string) (layer, string) {
	switch {
	case len(parts) == 2:
		return root, parts[1]
	case len(parts) == 4 && parts[2] == "cmd":
		return starter, parts[1]
	case len(parts) >= 4 && parts[2] == "internal":
		if slices.Contains(adapters, parts[3]) {
			return adapter, parts[1]
		}
		return domain, parts[1]
	}
	return nowhere, ""
}

// layers checks every import against the tables above.
func layers(t *Tree) []Finding {
	var out []Finding
	for _, p := range t.Packages {
		from, service := place(p.Dir)
		if from == nowhere {
			out = append(out, at(p.Dir, "no package belongs here: see the layout in ARCHITECTURE.md"))
			continue
		}
		for _, f := range p.Files {
			for _, i := range f.Imports {
				if text := forbidden(t, p.Dir, from, service, f.Test, i.Path); text != "" {
					out = append(out, at(t.pos(i.Pos), "%s", text))
				}
			}
		}
	}
	return out
}

// forbidden says why the import is not allowed, or nothing.
func forbidden(t *Tree, dir string, from layer, service string, test bool, imported string) string {
	switch {
	case std(imported):
		return ""
	case !within(imported, prefix):
		return forbiddenOutside(dir, from, service, test, imported)
	case from == domain && service == "auth" && hasPrefix(imported, authDomain):
		return ""
	}
	p := t.byPath[imported]
	if p == nil {
		return "imports " + imported + ", which is not in the tree"
	}
	to, other := place(p.Dir)
	allowed := mayImport[from]
	if test {
		allowed = slices.Concat(allowed, testsMayImport[from])
	}
	switch {
	case within(dir, wire) && !within(p.Dir, wire):
		return "proto/wire imports " + p.Dir + "; the device protocol is the standard library only"
	case service != "" && other != "" && service != other:
		return "service " + service + " imports service " + other + " (" + p.Dir + "); services meet through proto alone"
	case !slices.Contains(allowed, to):
		return string(from) + " code imports " + p.Dir + " (" + string(to) + "); it may import " + names(allowed) + " and what ARCHITECTURE.md allows from outside"
	}
	return ""
}

func forbiddenOutside(dir string, from layer, service string, test bool, imported string) string {
	allowed, limited := outside[from]
	switch {
	case test:
		return ""
	case within(dir, wire):
		return "proto/wire imports " + imported + "; the device protocol is the standard library only"
	case !limited || hasPrefix(imported, allowed):
		return ""
	case from == domain && service == "auth" && hasPrefix(imported, authDomain):
		return ""
	}
	return string(from) + " code imports " + imported + "; it may import the standard library" + also(allowed)
}

// Calls by which a domain would read the clock or print, and packages through
// which it would log or see SQL.
var (
	clockCalls    = []string{"Now", "Since", "Until", "Sleep", "After", "AfterFunc", "Tick", "NewTimer", "NewTicker"}
	printCalls    = []string{"Print", "Printf", "Println"}
	impurePackage = map[string]string{
		"log": "logs", "log/slog": "logs", "database/sql": "sees SQL", "database/sql/driver": "sees SQL",
	}
)

// domainPurity keeps the clock, logs and SQL out of the rules, also where a domain
// package gets at them through another package of the tree.
func domainPurity(t *Tree) []Finding {
	var out []Finding
	for _, p := range t.Packages {
		if where, _ := place(p.Dir); where != domain {
			continue
		}
		for _, f := range p.Files {
			if f.Test {
				continue
			}
			out = append(out, impureCalls(t, f)...)
		}
		for _, chain := range impureChains(t, p, map[*Package]bool{}) {
			out = append(out, at(p.Dir, "the domain %s through %s", impurePackage[chain[len(chain)-1]], strings.Join(chain, " → ")))
		}
	}
	return out
}

func impureCalls(t *Tree, f *File) []Finding {
	var out []Finding
	calls := map[string][]string{}
	for _, i := range f.Imports {
		switch i.Path {
		case "time":
			calls[i.Name] = clockCalls
		case "fmt":
			calls[i.Name] = printCalls
		}
	}
	ast.Inspect(f.AST, func(n ast.Node) bool {
		sel, ok := n.(*ast.SelectorExpr)
		if !ok {
			return true
		}
		pkg, ok := sel.X.(*ast.Ident)
		if ok && slices.Contains(calls[pkg.Name], sel.Sel.Name) {
			out = append(out, at(t.pos(sel.Pos()), "the domain uses %s.%s; take now as an argument and print nothing", pkg.Name, sel.Sel.Name))
		}
		return true
	})
	for _, i := range f.Imports {
		if i.Name == "." && (i.Path == "time" || i.Path == "fmt") {
			out = append(out, at(t.pos(i.Pos), "the domain imports %s with a dot, which hides the clock and the terminal", i.Path))
		}
	}
	return out
}

// impureChains are the ways from p to an impure package over the tree's own code.
func impureChains(t *Tree, p *Package, seen map[*Package]bool) [][]string {
	seen[p] = true
	var chains [][]string
	for _, f := range p.Files {
		if f.Test {
			continue
		}
		for _, i := range f.Imports {
			next := t.byPath[i.Path]
			switch {
			case impurePackage[i.Path] != "":
				chains = append(chains, []string{p.Dir, i.Path})
			case next != nil && !seen[next]:
				for _, rest := range impureChains(t, next, seen) {
					chains = append(chains, append([]string{p.Dir}, rest...))
				}
			}
		}
	}
	return chains
}

func within(name, dir string) bool { return name == dir || strings.HasPrefix(name, dir+"/") }

func hasPrefix(name string, prefixes []string) bool {
	return slices.ContainsFunc(prefixes, func(p string) bool { return within(name, p) })
}

func names(allowed []layer) string {
	if len(allowed) == 0 {
		return "no other code of the tree"
	}
	var all []string
	for _, l := range allowed {
		all = append(all, string(l))
	}
	return strings.Join(all, ", ")
}

func also(allowed []string) string {
	if len(allowed) == 0 {
		return " only"
	}
	return ", " + strings.Join(allowed, ", ")
}
