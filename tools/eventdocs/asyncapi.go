package main

import (
	"bytes"
	"strings"

	"go.yaml.in/yaml/v3"
)

// pairs is a YAML mapping that keeps its order: key, value, key, value.
type pairs []any

// MarshalYAML implements yaml.Marshaler.
func (p pairs) MarshalYAML() (any, error) {
	node := &yaml.Node{Kind: yaml.MappingNode}
	for i := 0; i < len(p); i += 2 {
		for _, v := range p[i : i+2] {
			one := &yaml.Node{}
			if err := one.Encode(v); err != nil {
				return nil, err
			}
			node.Content = append(node.Content, one)
		}
	}
	return node, nil
}

const asyncAbout = `Everything that happens in Armlet is published once it is committed, as a CloudEvents 1.0 message in binary mode
(NATS protocol binding): the attributes are ce-* headers and the body is protobuf. The payload schemas here are those of the same
messages in their JSON form, which webhooks carry. docs/events.md says how to subscribe.`

// asyncAPI is the document of all events: a channel on a partner's own stream for each subject, and one inside for the
// services.
func asyncAPI(all []event) (string, error) {
	channels, operations, messages := pairs{}, pairs{}, pairs{}
	for _, e := range all {
		messages = append(messages, e.name(), message(e))
		for _, kind := range e.kinds() {
			id := strings.NewReplacer(".", "_", "{id}", "id").Replace(kind)
			channels = append(channels,
				"partner_"+id, channel(e, "pevt.v1.{partner}.{mode}."+kind, "The copy in the partner's own stream PE_{partner}, without account names.", hasID(kind)),
				"internal_"+id, channel(e, "evt.v1.{mode}."+kind+".{partner}.{key}", "The event in the stream EVT_"+strings.ToUpper(e.stream)+", for the services.", hasID(kind), "key"),
			)
			for _, side := range []string{"partner_", "internal_"} {
				operations = append(operations, side+id, pairs{
					"action", "send", "channel", ref("channels/" + side + id),
					"messages", []any{ref("channels/" + side + id + "/messages/" + e.name())},
				})
			}
		}
	}
	doc := pairs{
		"asyncapi", "3.0.0",
		"info", pairs{"title", "Armlet events", "version", "1.0.0", "description", asyncAbout},
		"defaultContentType", "application/protobuf",
		"servers", pairs{"nats", pairs{
			"host", "{host}", "protocol", "nats", "description", "An account of its own for each partner; the password is an access token.",
			"variables", pairs{"host", pairs{"default", "127.0.0.1:4222", "description", "nats_url of CreateSubscription's answer."}},
		}},
		"channels", channels,
		"operations", operations,
		"components", pairs{"messages", messages, "messageTraits", pairs{"cloudEvent", pairs{"headers", headers()}}, "parameters", parameters()},
	}
	var b bytes.Buffer
	b.WriteString("# Generated from the contract: make gen.\n")
	enc := yaml.NewEncoder(&b)
	enc.SetIndent(2)
	err := enc.Encode(doc)
	return b.String(), err
}

func hasID(kind string) string {
	if strings.Contains(kind, "{id}") {
		return "id"
	}
	return ""
}

func ref(path string) pairs { return pairs{"$ref", "#/" + path} }

func channel(e event, address, about string, more ...string) pairs {
	names := pairs{}
	for _, name := range append([]string{"partner", "mode"}, more...) {
		if name != "" {
			names = append(names, name, ref("components/parameters/"+name))
		}
	}
	return pairs{
		"address", address, "description", about,
		"messages", pairs{e.name(), ref("components/messages/" + e.name())},
		"parameters", names,
	}
}

func message(e event) pairs {
	return pairs{
		"name", string(e.message.FullName()), "title", e.name(), "summary", e.when, "contentType", "application/protobuf",
		"traits", []any{ref("components/messageTraits/cloudEvent")},
		"payload", pairs{"schemaFormat", "application/schema+json;version=draft-2020-12", "schema", pairs{"$ref", "./" + schemaFile(e.message)}},
	}
}

func headers() pairs {
	text := func(about string) pairs { return pairs{"type", "string", "description", about} }
	return pairs{
		"type", "object",
		"required", []string{"ce-specversion", "ce-id", "ce-source", "ce-type", "ce-time", "content-type"},
		"properties", pairs{
			"ce-specversion", pairs{"type", "string", "const", "1.0"},
			"ce-id", text("The event's id, a UUID; also Nats-Msg-Id, so that a repeat is dropped."),
			"ce-source", text("The service."),
			"ce-type", text("The full name of the body's message."),
			"ce-time", pairs{"type", "string", "format", "date-time", "description", "When it happened."},
			"ce-subject", text("The resource's name."),
			"content-type", pairs{"type", "string", "const", "application/protobuf"},
			"traceparent", text("W3C trace context."),
		},
	}
}

func parameters() pairs {
	return pairs{
		"partner", pairs{"description", "The partner's id; inside, _ where no partner is concerned."},
		"mode", pairs{"enum", []string{"live", "test"}},
		"key", pairs{"description", "The id of what it is about."},
		"id", pairs{"description", "The subscription's id."},
	}
}
