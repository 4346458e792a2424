// Package conf fills a service's configuration struct from its defaults, a file, the environment and flags.
//
// A field is a key when it has a `conf` tag; `help` describes it and `secret:"true"` keeps its value out of everything that
// is printed. Fields without a tag that are structs are looked into, so that packages can offer a struct of keys to embed.
//
//	type Config struct {
//		Listen string        `conf:"listen" help:"TCP address to serve gRPC on"`
//		DBURL  string        `conf:"db-url" help:"where the data is" secret:"true"`
//		Retain time.Duration `conf:"retain" help:"how long to keep what is done"`
//	}
//
// A key `db-url` of service `device-registry` is set by, strongest first:
//
//	flag         --db-url VALUE or --db-url=VALUE
//	environment  ARMLET_DEVICE_REGISTRY_DB_URL (an empty variable counts as not set), or for a secret
//	             ARMLET_DEVICE_REGISTRY_DB_URL_FILE, the file that holds it
//	file         db-url: VALUE in the flat YAML file that --config or ARMLET_DEVICE_REGISTRY_CONFIG names
//	default      what the struct has when it is passed in
//
// Types are string, int, int64, uint32, bool, time.Duration and []string. A list is separated by commas in a flag or a
// variable, and a YAML list or such a string in the file; a flag may also be repeated.
package conf

import (
	"errors"
	"fmt"
	"io"
	"os"
	"slices"
	"strings"

	"go.yaml.in/yaml/v3"
)

// Load fills cfg, a pointer to a struct whose values are the defaults, and calls Validate on it and on the structs in it
// that have that method. It is done without an error when --help or --print-config was given and has been written to out;
// secrets are written as ***. Errors name the key and never a secret's value.
func Load(service string, cfg any, args []string, env func(string) string, out io.Writer) (done bool, err error) {
	keys, err := keysOf(cfg)
	if err != nil {
		return false, err
	}
	given, err := parseFlags(keys, args)
	if err != nil {
		return false, err
	}
	if given.help {
		return true, writeHelp(out, service, keys)
	}
	if err := fill(service, keys, given, env); err != nil {
		return false, err
	}
	if given.print {
		return true, writeConfig(out, keys)
	}
	return false, validate(cfg)
}

func fill(service string, keys []*key, given flags, env func(string) string) error {
	file := given.config
	if file == "" {
		file = env(EnvName(service, "config"))
	}
	if file != "" {
		if err := fillFromFile(keys, file); err != nil {
			return err
		}
	}
	for _, k := range keys {
		if err := fillFromEnvironment(k, EnvName(service, k.name), env); err != nil {
			return err
		}
		if v, ok := given.values[k.name]; ok {
			if err := k.set(v, "flag --"+k.name); err != nil {
				return err
			}
		}
	}
	return nil
}

func fillFromEnvironment(k *key, name string, env func(string) string) error {
	v, file := env(name), ""
	if k.secret {
		file = env(name + fileSuffix)
	}
	switch {
	case v != "" && file != "":
		return fmt.Errorf("%s: %s and %s are both set; unset one", k.name, name, name+fileSuffix)
	case v != "":
		return k.set([]string{v}, "environment "+name)
	case file != "":
		return fillFromSecretFile(k, name+fileSuffix, file)
	}
	return nil
}

// fillFromSecretFile takes a whole file but for the end of its line, as editors and echo leave one. An empty file is a
// secret that was not written, so it is refused rather than taken for none.
func fillFromSecretFile(k *key, name, file string) error {
	b, err := os.ReadFile(file)
	if err != nil {
		return fmt.Errorf("%s (environment %s): %w", k.name, name, err)
	}
	text := strings.TrimRight(string(b), "\r\n")
	if text == "" {
		return fmt.Errorf("%s (environment %s): %s is empty", k.name, name, file)
	}
	return k.set([]string{text}, "file "+file)
}

// fileSuffix makes a secret's variable the one that names its file.
const fileSuffix = "_FILE"

// EnvName is the environment variable of a key: ARMLET_ + service + _ + key in upper case with _ for -.
func EnvName(service, key string) string {
	return "ARMLET_" + strings.ToUpper(strings.ReplaceAll(service+"_"+key, "-", "_"))
}

func fillFromFile(keys []*key, file string) error {
	b, err := os.ReadFile(file)
	if err != nil {
		return fmt.Errorf("config file: %w", err)
	}
	var values map[string]yaml.Node
	if err := yaml.Unmarshal(b, &values); err != nil {
		return fmt.Errorf("config file %s: not a flat YAML mapping of key to value", file)
	}
	var unknown []string
	for name, node := range values {
		i := slices.IndexFunc(keys, func(k *key) bool { return k.name == name })
		if i < 0 {
			unknown = append(unknown, name)
			continue
		}
		raw, err := scalars(keys[i], node)
		if err != nil {
			return fmt.Errorf("config file %s: %s: %w", file, name, err)
		}
		if err := keys[i].set(raw, "file "+file); err != nil {
			return err
		}
	}
	if len(unknown) > 0 {
		slices.Sort(unknown)
		return fmt.Errorf("config file %s: unknown key %s; --help lists the keys", file, strings.Join(unknown, ", "))
	}
	return nil
}

// scalars reads one value of the file as the texts a flag would have had.
func scalars(k *key, node yaml.Node) ([]string, error) {
	switch {
	case node.Kind == yaml.ScalarNode:
		return []string{node.Value}, nil
	case node.Kind == yaml.SequenceNode && k.isList():
		raw := make([]string, 0, len(node.Content))
		for _, n := range node.Content {
			if n.Kind != yaml.ScalarNode {
				return nil, errors.New("a list may hold plain values only")
			}
			raw = append(raw, n.Value)
		}
		return raw, nil
	case k.isList():
		return nil, errors.New("wants a list of plain values")
	default:
		return nil, errors.New("wants one plain value")
	}
}

// validator is what a configuration struct may implement. The error names the key and says what it may be.
type validator interface{ Validate() error }
