#!/usr/bin/env bash
# Docker for where there is none: the engine from the distribution's packages, started by hand, and the plugins compose and
# buildx compiled from their modules (tools/compose.mod). Uses what is there already.
#
#   tools/docker.sh run COMMAND...   run a command with an engine and the plugins in reach
#   tools/docker.sh stop             stop the engine that this script started
#   tools/docker.sh remove           and delete its images, containers and volumes
set -eu
cd "$(dirname "$0")/.."
root=$PWD

# An engine of its own, so that it is in nobody's way.
engine=/run/armlet-docker
data=/var/lib/armlet-docker

ours() { [ -s "$engine/pid" ] && kill -0 "$(cat "$engine/pid")" 2>/dev/null; }

give_up() {
	printf 'docker: %s\n' "$@" >&2
	exit 1
}

start_engine() {
	if ours; then
		export DOCKER_HOST=unix://$engine/docker.sock
		return
	fi
	if command -v docker >/dev/null && docker info >/dev/null 2>&1; then return; fi
	[ "$(id -u)" -eq 0 ] || give_up "no engine answers, and starting one needs root." "Start Docker, or run this as root."
	if ! command -v dockerd >/dev/null; then
		command -v apt-get >/dev/null || give_up "no dockerd here and no apt-get to get it with: install Docker in your system's way."
		echo "docker: installing docker.io with apt-get"
		DEBIAN_FRONTEND=noninteractive RUNLEVEL=1 apt-get install -y -q --no-install-recommends docker.io iptables >/dev/null ||
			give_up "installing docker.io failed; apt-get update may help."
	fi
	mkdir -p "$engine" "$data"
	echo "docker: starting an engine on $engine/docker.sock, its data is in $data"
	setsid dockerd --host "unix://$engine/docker.sock" --data-root "$data" --exec-root "$engine/exec" --pidfile "$engine/pid" \
		>"$engine/log" 2>&1 </dev/null &
	export DOCKER_HOST=unix://$engine/docker.sock
	for _ in $(seq 150); do
		if docker info >/dev/null 2>&1; then return; fi
		sleep 0.2
	done
	tail -n 15 "$engine/log" >&2
	give_up "the engine does not answer after 30 s; above is the end of $engine/log."
}

plugin() { # NAME PACKAGE VARIABLE: compose asks buildx for its version
	[ -x "bin/docker/cli-plugins/docker-$1" ] && return
	echo "docker: compiling the plugin $1, some minutes"
	(cd tools && export CGO_ENABLED=0 GOWORK=off GOFLAGS='' &&
		version=$(go list -modfile=compose.mod -f '{{.Module.Version}}' "$2") &&
		go build -modfile=compose.mod -trimpath -ldflags "-s -w -X $3=$version" -o "$root/bin/docker/cli-plugins/docker-$1" "$2")
}

find_plugins() {
	if docker compose version >/dev/null 2>&1 && docker buildx version >/dev/null 2>&1; then return; fi
	mkdir -p bin/docker/cli-plugins
	plugin compose github.com/docker/compose/v5/cmd github.com/docker/compose/v5/internal.Version
	plugin buildx github.com/docker/buildx/cmd/buildx github.com/docker/buildx/version.Version
	export DOCKER_CONFIG=$root/bin/docker
}

stop_engine() {
	ours || return 0
	pid=$(cat "$engine/pid")
	kill "$pid"
	for _ in $(seq 150); do kill -0 "$pid" 2>/dev/null || break; sleep 0.2; done
	echo "docker: the engine is stopped"
}

case ${1:-} in
run)
	shift
	start_engine
	find_plugins
	exec "$@"
	;;
stop) stop_engine ;;
remove)
	stop_engine
	if ours; then give_up "the engine has not stopped."; fi
	rm -rf "$data" "$engine"
	;;
*) give_up "usage: tools/docker.sh run COMMAND... | stop | remove" ;;
esac
