// Command eventdocs writes the catalogue of events from the contract: docs/asyncapi.yaml, a JSON schema of each event in
// docs/events, and the table in docs/events.md.
//
//	buf build -o bin/contract.binpb && eventdocs bin/contract.binpb docs
//
// The events are the messages in the files named events.proto whose comment says what they are published for and with which
// subject: `PaymentCaptured is published when …: subject entity "payment", verb "captured".`
package main

import (
	"fmt"
	"os"
	"path/filepath"

	"google.golang.org/protobuf/proto"
	"google.golang.org/protobuf/reflect/protodesc"
	"google.golang.org/protobuf/reflect/protoreflect"
	"google.golang.org/protobuf/types/descriptorpb"
)

func main() {
	if len(os.Args) != 3 {
		fmt.Fprintln(os.Stderr, "usage: eventdocs contract.binpb docs")
		os.Exit(2)
	}
	if err := run(os.Args[1], os.Args[2]); err != nil {
		fmt.Fprintln(os.Stderr, "eventdocs:", err)
		os.Exit(1)
	}
}

func run(contract, docs string) error {
	data, err := os.ReadFile(contract)
	if err != nil {
		return err
	}
	all, err := read(data)
	if err != nil {
		return err
	}
	prose, err := os.ReadFile(filepath.Join(docs, "events.md"))
	if err != nil {
		return err
	}
	files, err := render(all, string(prose))
	if err != nil {
		return err
	}
	if err := os.RemoveAll(filepath.Join(docs, "events")); err != nil {
		return err
	}
	for name, text := range files {
		path := filepath.Join(docs, name)
		if err := os.MkdirAll(filepath.Dir(path), 0o755); err != nil {
			return err
		}
		if err := os.WriteFile(path, []byte(text), 0o644); err != nil {
			return err
		}
	}
	return nil
}

// read finds the events in a compiled contract, in the order of their files and in them of the messages.
func read(contract []byte) ([]event, error) {
	set := &descriptorpb.FileDescriptorSet{}
	if err := proto.Unmarshal(contract, set); err != nil {
		return nil, fmt.Errorf("the compiled contract: %w", err)
	}
	registry, err := protodesc.NewFiles(set)
	if err != nil {
		return nil, fmt.Errorf("the compiled contract: %w", err)
	}
	var all []event
	for _, pkg := range []string{"devices", "auth", "payments", "notify"} {
		path := "armlet/" + pkg + "/v1/events.proto"
		file, err := registry.FindFileByPath(path)
		if err != nil {
			return nil, fmt.Errorf("%s: %w", path, err)
		}
		for i := range file.Messages().Len() {
			ev, ok, err := newEvent(pkg, file.Messages().Get(i))
			if err != nil {
				return nil, err
			}
			if ok {
				all = append(all, ev)
			}
		}
	}
	return all, nil
}

// render makes all files, by their path below the folder of documents.
func render(all []event, prose string) (map[string]string, error) {
	table, err := withTable(prose, all)
	if err != nil {
		return nil, err
	}
	async, err := asyncAPI(all)
	if err != nil {
		return nil, err
	}
	files := map[string]string{"events.md": table, "asyncapi.yaml": async}
	for _, ev := range all {
		if files[schemaFile(ev.message)], err = schemaText(ev); err != nil {
			return nil, err
		}
	}
	return files, nil
}

func schemaFile(m protoreflect.MessageDescriptor) string {
	return "events/" + string(m.FullName()) + ".json"
}
