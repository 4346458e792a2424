package conf

import (
	"errors"
	"flag"
	"fmt"
	"io"
	"strings"
	"text/tabwriter"

	"go.yaml.in/yaml/v3"
)

// flags is what the command line said.
type flags struct {
	help, print bool
	config      string
	values      map[string][]string
}

// given collects the texts of one flag; they are parsed later, when the weaker sources have been.
type given struct {
	values map[string][]string
	key    *key
}

func (g given) String() string   { return "" }
func (g given) IsBoolFlag() bool { return g.key != nil && g.key.isBool() }

func (g given) Set(text string) error {
	g.values[g.key.name] = append(g.values[g.key.name], text)
	return nil
}

func parseFlags(keys []*key, args []string) (flags, error) {
	f := flags{values: map[string][]string{}}
	fs := flag.NewFlagSet("", flag.ContinueOnError)
	fs.SetOutput(io.Discard)
	fs.Usage = func() {}
	fs.StringVar(&f.config, "config", "", "")
	fs.BoolVar(&f.print, "print-config", false, "")
	for _, k := range keys {
		fs.Var(given{values: f.values, key: k}, k.name, "")
	}
	err := fs.Parse(args)
	switch {
	case errors.Is(err, flag.ErrHelp):
		f.help = true
		return f, nil
	case err != nil:
		return f, fmt.Errorf("%w; --help lists the flags", err)
	case fs.NArg() > 0:
		return f, fmt.Errorf("unexpected argument %q; everything is set by flags, --help lists them", fs.Arg(0))
	}
	return f, nil
}

func writeHelp(out io.Writer, service string, keys []*key) error {
	w := tabwriter.NewWriter(out, 0, 0, 2, ' ', 0)
	_, _ = fmt.Fprintf(w, "Usage: %s [--key value ...]\n\n", service)
	_, _ = fmt.Fprintf(w, "A key is set by its flag, else by its variable, else by the file, else it has its default.\n")
	_, _ = fmt.Fprintf(w, "A variable with [%s] may have that added and then names a file that holds the value, as containers get secrets.\n\n", fileSuffix)
	_, _ = fmt.Fprintf(w, "  --config FILE\t%s\tflat YAML file of keys\n", EnvName(service, "config"))
	_, _ = fmt.Fprintf(w, "  --print-config\t\tprint what is in effect and where it comes from, then exit\n")
	_, _ = fmt.Fprintf(w, "  --help\t\tprint this, then exit\n\n")
	for _, k := range keys {
		help := k.help
		if d := k.text(); d != "" {
			help = strings.TrimSpace(help + " (default " + d + ")")
		}
		variable := EnvName(service, k.name)
		if k.secret {
			variable += "[" + fileSuffix + "]"
		}
		_, _ = fmt.Fprintf(w, "  --%s %s\t%s\t%s\n", k.name, k.placeholder(), variable, help)
	}
	return w.Flush()
}

func (k *key) placeholder() string {
	switch {
	case k.value.Type() == durationType:
		return "DURATION"
	case k.isBool():
		return "[=BOOL]"
	case k.isList():
		return "A,B,..."
	case k.value.CanInt() || k.value.CanUint():
		return "N"
	default:
		return "TEXT"
	}
}

// writeConfig prints YAML that --config takes back, except for its secrets.
func writeConfig(out io.Writer, keys []*key) error {
	for _, k := range keys {
		node := yaml.Node{Kind: yaml.ScalarNode, Value: k.text()}
		if !k.value.CanInt() && !k.value.CanUint() && !k.isBool() || k.secret {
			node.Tag, node.Style = "!!str", yaml.DoubleQuotedStyle // on one line whatever is in it
		}
		b, err := yaml.Marshal(&node)
		if err != nil {
			return err
		}
		if _, err := fmt.Fprintf(out, "%s: %s # %s\n", k.name, strings.TrimSuffix(string(b), "\n"), k.source); err != nil {
			return err
		}
	}
	return nil
}
