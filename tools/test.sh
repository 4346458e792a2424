#!/bin/sh
# Runs the tests of the given modules with the race detector, where that can be had.
set -eu
cd "$(dirname "$0")/.."
export GOWORK=off

race=-race
# The detector's run time is linked in through cgo, so this is where a missing C compiler shows.
if ! why=$(cd tools && go build -race -o /dev/null ./gotest 2>&1); then
	race=
	cat >&2 <<NOTICE
test: THE RACE DETECTOR IS OFF: it cannot be built here.
$(echo "$why" | sed 's/^/test:   /' | head -n 5)
test: Usually the C compiler is missing (install gcc and the C library's headers, or clang). Without it every test
test: still runs and results are checked, but data races between goroutines go unnoticed.
NOTICE
fi

# Distributions keep the PostgreSQL programs off the PATH, each in its own place.
PATH=$(tools/testdeps.sh --postgres):$PATH
mkdir -p bin/tools
(cd tools && go build -o ../bin/tools/gotest ./gotest)
exec bin/tools/gotest $race "$@"
