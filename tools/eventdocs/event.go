package main

import (
	"fmt"
	"regexp"
	"strings"

	"google.golang.org/protobuf/reflect/protoreflect"
)

// event is a message that is published.
type event struct {
	message protoreflect.MessageDescriptor
	// stream is the service's: devices, auth, payments or notify.
	stream string
	// domain and entity are tokens of the subject; an entity may be "{id}". Each verb makes a subject of its own.
	domain, entity string
	verbs          []string
	// when says what it is published for, as a sentence.
	when string
}

func (e event) kinds() []string {
	all := make([]string, len(e.verbs))
	for i, verb := range e.verbs {
		all[i] = e.domain + "." + e.entity + "." + verb
	}
	return all
}

// name is the last part of the message's name.
func (e event) name() string { return string(e.message.Name()) }

var (
	published = regexp.MustCompile(`^(\w+) is (?:published |sent )?(.*?): (?:domain "([a-z_]+)", )?subject entity (?:"([a-z_]+)"|the [a-z' ]+), verb ("[a-z_]+"(?: or "[a-z_]+")*)`)
	quoted    = regexp.MustCompile(`"([a-z_]+)"`)
)

// newEvent reads what a message's comment says. It is false for messages that are only parts of events.
func newEvent(pkg string, m protoreflect.MessageDescriptor) (event, bool, error) {
	comment := commentOf(m)
	if strings.HasPrefix(comment, string(m.Name())+" is what ") {
		return event{}, false, nil
	}
	found := published.FindStringSubmatch(comment)
	if len(found) == 0 || found[1] != string(m.Name()) {
		return event{}, false, fmt.Errorf(`%s: the comment should begin with "%s is published when …: subject entity "…", verb "…"", or "%[2]s is what …" for a part of events; it is %[3]q`,
			m.FullName(), m.Name(), comment)
	}
	e := event{message: m, stream: pkg, domain: found[3], entity: found[4], when: strings.ToUpper(found[2][:1]) + found[2][1:] + "."}
	if e.domain == "" {
		e.domain = pkg
	}
	if e.entity == "" {
		e.entity = "{id}"
	}
	for _, verb := range quoted.FindAllStringSubmatch(found[5], -1) {
		e.verbs = append(e.verbs, verb[1])
	}
	return e, true, nil
}

// commentOf is the comment before something, on one line.
func commentOf(d protoreflect.Descriptor) string {
	text := d.ParentFile().SourceLocations().ByDescriptor(d).LeadingComments
	return strings.Join(strings.Fields(text), " ")
}

const (
	tableBegins = "<!-- The table comes from the contract: make gen. -->\n"
	tableEnds   = "<!-- The table ends. -->\n"
)

// withTable puts the table of events between its marks.
func withTable(prose string, all []event) (string, error) {
	before, rest, ok := strings.Cut(prose, tableBegins)
	_, after, ok2 := strings.Cut(rest, tableEnds)
	if !ok || !ok2 {
		return "", fmt.Errorf("events.md lacks the lines %q and %q", tableBegins, tableEnds)
	}
	var b strings.Builder
	b.WriteString(before + tableBegins + "\n| `domain.entity.verb` | `ce-type` | published |\n|---|---|---|\n")
	for _, e := range all {
		for _, kind := range e.kinds() {
			fmt.Fprintf(&b, "| `%s` | [`%s`](%s) | %s |\n", strings.ReplaceAll(kind, "{id}", "<id>"), e.message.FullName(), schemaFile(e.message), lower(e.when))
		}
	}
	b.WriteString("\n" + tableEnds + after)
	return b.String(), nil
}

func lower(sentence string) string {
	return strings.TrimSuffix(strings.ToLower(sentence[:1])+sentence[1:], ".")
}
