package conf

import (
	"errors"
	"fmt"
	"log/slog"
	"reflect"
	"slices"
	"strconv"
	"strings"
	"time"
)

// key is one field of the configuration.
type key struct {
	name, help string
	secret     bool
	value      reflect.Value
	source     string // where the value came from, for --print-config
}

var (
	durationType = reflect.TypeFor[time.Duration]()
	listType     = reflect.TypeFor[[]string]()
)

// reserved are the flags of this package itself.
var reserved = []string{"help", "h", "config", "print-config"}

func keysOf(cfg any) ([]*key, error) {
	v := reflect.ValueOf(cfg)
	if v.Kind() != reflect.Pointer || v.IsNil() || v.Elem().Kind() != reflect.Struct {
		return nil, fmt.Errorf("conf: want a pointer to a struct, not %T", cfg)
	}
	keys, err := collect(v.Elem(), nil)
	if err != nil {
		return nil, err
	}
	seen := slices.Clone(reserved)
	for _, k := range keys {
		if slices.Contains(seen, k.name) {
			return nil, fmt.Errorf("conf: the key %s stands there twice or is reserved", k.name)
		}
		seen = append(seen, k.name)
	}
	for _, k := range keys {
		if k.secret && slices.Contains(seen, k.name+"-file") {
			return nil, fmt.Errorf("conf: the key %s-file has the variable that names the file of the secret %s", k.name, k.name)
		}
	}
	return keys, nil
}

func collect(v reflect.Value, keys []*key) ([]*key, error) {
	for i := range v.NumField() {
		f := v.Type().Field(i)
		name, tagged := f.Tag.Lookup("conf")
		switch {
		case !tagged && f.Type.Kind() == reflect.Struct && (f.IsExported() || f.Anonymous):
			var err error
			if keys, err = collect(v.Field(i), keys); err != nil {
				return nil, err
			}
		case !tagged:
		case !f.IsExported() || name == "":
			return nil, fmt.Errorf("conf: field %s has a conf tag but cannot be set or has no name", f.Name)
		default:
			k := &key{name: name, help: f.Tag.Get("help"), value: v.Field(i), source: "default"}
			// A type that hides itself from logs is a secret whatever its tag says.
			_, hides := v.Field(i).Interface().(slog.LogValuer)
			k.secret = hides || f.Tag.Get("secret") == "true"
			if !k.settable() {
				return nil, fmt.Errorf("conf: %s has the type %s, which cannot be configured", name, f.Type)
			}
			keys = append(keys, k)
		}
	}
	return keys, nil
}

func (k *key) isList() bool { return k.value.Type() == listType }
func (k *key) isBool() bool { return k.value.Kind() == reflect.Bool }

func (k *key) settable() bool {
	switch k.value.Kind() {
	case reflect.String, reflect.Int, reflect.Int64, reflect.Uint32, reflect.Bool:
		return true
	default:
		return k.isList()
	}
}

// set parses the texts that were given for the key; only a list takes more than one.
func (k *key) set(raw []string, source string) error {
	if err := k.parse(raw); err != nil {
		if k.secret {
			return fmt.Errorf("%s (%s): %s", k.name, source, k.wants())
		}
		return fmt.Errorf("%s (%s): %q: %s", k.name, source, strings.Join(raw, ","), k.wants())
	}
	k.source = source
	return nil
}

func (k *key) parse(raw []string) error {
	if k.isList() {
		k.value.Set(reflect.ValueOf(splitList(raw)))
		return nil
	}
	if len(raw) != 1 {
		return errors.New("one value")
	}
	text := raw[0]
	if k.value.Type() == durationType {
		d, err := time.ParseDuration(text)
		if err == nil {
			k.value.SetInt(int64(d))
		}
		return err
	}
	switch k.value.Kind() {
	case reflect.String:
		k.value.SetString(text)
	case reflect.Bool:
		b, err := strconv.ParseBool(text)
		if err != nil {
			return err
		}
		k.value.SetBool(b)
	case reflect.Uint32:
		n, err := strconv.ParseUint(text, 10, 32)
		if err != nil {
			return err
		}
		k.value.SetUint(n)
	default:
		n, err := strconv.ParseInt(text, 10, k.value.Type().Bits())
		if err != nil {
			return err
		}
		k.value.SetInt(n)
	}
	return nil
}

func splitList(raw []string) []string {
	list := []string{}
	for _, r := range raw {
		for part := range strings.SplitSeq(r, ",") {
			if part = strings.TrimSpace(part); part != "" {
				list = append(list, part)
			}
		}
	}
	return list
}

// wants describes the type for people.
func (k *key) wants() string {
	switch {
	case k.value.Type() == durationType:
		return "wants one duration such as 1.5s or 10m"
	case k.isBool():
		return "wants true or false, once"
	case k.value.Kind() == reflect.Uint32:
		return "wants one whole number from 0 to 4294967295"
	case k.value.Kind() == reflect.String:
		return "wants one value"
	default:
		return "wants one whole number"
	}
}

// text is the value as it may be shown.
func (k *key) text() string {
	switch {
	case k.secret && !k.value.IsZero():
		return "***"
	case k.isList():
		list, _ := k.value.Interface().([]string)
		return strings.Join(list, ",")
	case k.value.Kind() == reflect.String:
		return k.value.String()
	default:
		return fmt.Sprint(k.value.Interface())
	}
}

// validate asks the struct and, first, the structs in it.
func validate(cfg any) error {
	v := reflect.ValueOf(cfg).Elem()
	for i := range v.NumField() {
		f := v.Type().Field(i)
		if _, tagged := f.Tag.Lookup("conf"); !tagged && f.Type.Kind() == reflect.Struct && f.IsExported() {
			if err := validate(v.Field(i).Addr().Interface()); err != nil {
				return err
			}
		}
	}
	if c, ok := cfg.(validator); ok {
		return c.Validate()
	}
	return nil
}

// Value is the text of a key in a configuration that was loaded, and empty when it has no such key. It is for programs that
// run any service and need the keys that all of them share.
func Value(cfg any, name string) string {
	keys, err := keysOf(cfg)
	if err != nil {
		return ""
	}
	for _, k := range keys {
		if k.name == name && !k.secret {
			return k.text()
		}
	}
	return ""
}

// Reveal is [Value] with secrets, for a program that tests what the keys name. Its result must not be printed.
func Reveal(cfg any, name string) string {
	keys, err := keysOf(cfg)
	if err != nil {
		return ""
	}
	for _, k := range keys {
		switch {
		case k.name != name:
		case k.value.Kind() == reflect.String:
			return k.value.String()
		default:
			return k.text()
		}
	}
	return ""
}

// Names are the names of the keys, in the order of the struct.
func Names(cfg any) []string {
	keys, err := keysOf(cfg)
	if err != nil {
		return nil
	}
	names := make([]string, len(keys))
	for i, k := range keys {
		names[i] = k.name
	}
	return names
}
