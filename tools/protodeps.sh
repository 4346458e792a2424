#!/bin/sh
# Lays out the protobuf schemas that proto/ imports, for buf, without a schema registry:
# bin/protovalidate/buf/validate/validate.proto comes from the Go module pinned in protodeps.mod.
set -eu
cd "$(dirname "$0")"
dir=$(GOWORK=off GOFLAGS= go mod download -modfile=protodeps.mod -json github.com/bufbuild/protovalidate |
	sed -n 's/^[[:space:]]*"Dir": "\(.*\)",*$/\1/p')
from=$dir/proto/protovalidate/buf/validate/validate.proto
if [ -z "$dir" ] || [ ! -f "$from" ]; then
	echo "protodeps: the module github.com/bufbuild/protovalidate did not bring validate.proto (looked in '$from')." >&2
	echo "protodeps: check that 'go mod download github.com/bufbuild/protovalidate@latest' works here." >&2
	exit 1
fi
to=../bin/protovalidate/buf/validate/validate.proto
if ! cmp -s "$from" "$to"; then
	mkdir -p "$(dirname "$to")"
	cp "$from" "$to"
	chmod u+w "$to"
fi
