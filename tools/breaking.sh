#!/bin/sh
# Compares the contract with the last release: what was released may only grow (buf breaking, WIRE_JSON).
# BREAKING_AGAINST names another commit to compare with. Before the first release there is nothing to keep.
set -eu
cd "$(dirname "$0")/.."

against=${BREAKING_AGAINST:-$(git describe --tags --abbrev=0 --match 'v[0-9]*' HEAD 2>/dev/null || true)}
if [ -z "$against" ]; then
	echo "breaking: no release tag (v*) is an ancestor of this commit: nothing is published yet, so nothing was compared."
	echo "breaking: BREAKING_AGAINST=<commit> compares with that commit instead."
	exit 0
fi

tmp=$(mktemp -d)
trap 'rm -rf "$tmp"' EXIT
# A git input would lack bin/protovalidate, which is not committed.
git archive "$against" -- buf.yaml proto/armlet | tar -x -C "$tmp"
mkdir -p "$tmp/bin"
cp -R bin/protovalidate "$tmp/bin/"
buf breaking --against "$tmp"
echo "breaking: nothing that $against promised is broken."
