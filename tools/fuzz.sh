#!/bin/sh
# Runs every fuzzer of the given modules, one after the other, each for FUZZTIME (60s unless it is set). What a fuzzer finds
# it leaves under testdata/fuzz beside it: commit that, so that every test run tries it again. FUZZ narrows it to the
# fuzzers whose names match.
set -eu
cd "$(dirname "$0")/.."
export GOWORK=off

PATH=$(tools/testdeps.sh --postgres):$PATH
found=
for module in "$@"; do
	cd "$module"
	# -list compiles the tests; the package's line follows the names.
	for each in $(go test -list '^Fuzz' ./... | awk '
		/^Fuzz/ { names[++n] = $1 }
		/^ok/ { for (i = 1; i <= n; i++) print $2 "#" names[i]; n = 0 }'); do
		name=${each#*#}
		echo "$name" | grep -qE "${FUZZ:-.}" || continue
		echo "== $each"
		go test "${each%#*}" -run '^$' -fuzz "^$name\$" -fuzztime "${FUZZTIME:-60s}" || found="$found $each"
	done
	cd - >/dev/null
done
if [ -n "$found" ]; then
	echo "fuzz: found something:$found"
	exit 1
fi
