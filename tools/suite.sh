#!/usr/bin/env bash
# The suite as processes on this machine, for where there is no Docker: PostgreSQL, Redis, NATS and the four services
# with mutual TLS, on the files of deploy/. Data, logs and process ids are in ./data/suite.
#
#   tools/suite.sh up      start what is not running
#   tools/suite.sh down    stop what is; the data stays
set -eu
cd "$(dirname "$0")/.."
root=$PWD

dir=$root/data/suite
export SUITE_LISTEN=127.0.0.1 SUITE_AUTH=127.0.0.1 SUITE_REGISTRY=127.0.0.1 SUITE_NOTIFY=127.0.0.1
export SUITE_SECRETS="$dir/secrets" SUITE_CERTIFICATES="$dir/certificates" SUITE_DATA="$dir" SUITE_NATS_CONFIG="$dir/nats-config"
postgres_port=7532 redis_port=7579 nats_port=4222
services="device-registry auth payments notify"

running() { # NAME: it was started by this script and lives
	[ -s "$dir/run/$1.pid" ] || return 1
	pid=$(cat "$dir/run/$1.pid")
	# After a restart of the machine the number may be another program's.
	kill -0 "$pid" 2>/dev/null && [ "$(ps -o lstart= -p "$pid")" = "$(cat "$dir/run/$1.since")" ]
}

fail() { # NAME MESSAGE
	{
		echo "suite: $1 $2"
		[ ! -f "$dir/log/$1.log" ] || { echo "suite: the end of $dir/log/$1.log:"; tail -n 15 "$dir/log/$1.log"; }
	} >&2
	exit 1
}

start() { # NAME PORT COMMAND...: in a session of its own, so that Ctrl-C does not reach it
	name=$1 port=$2
	shift 2
	if running "$name"; then
		echo "  $name runs already"
		return
	fi
	if (exec 3<>"/dev/tcp/127.0.0.1/$port") 2>/dev/null; then
		fail "$name" "cannot start: another program has port $port"
	fi
	setsid "$@" >>"$dir/log/$name.log" 2>&1 </dev/null &
	echo $! >"$dir/run/$name.pid"
	ps -o lstart= -p $! >"$dir/run/$name.since"
	echo "  $name started, port $port"
}

await() { # NAME COMMAND...: until it succeeds
	name=$1
	shift
	for _ in $(seq 300); do
		if "$@" >/dev/null 2>&1; then return; fi
		running "$name" || fail "$name" "ended while it was starting"
		sleep 0.2
	done
	fail "$name" "is not ready after a minute"
}

# PostgreSQL refuses to be root's; then it runs as the user postgres, who must get into its folder and no other.
as_postgres() {
	if [ "$(id -u)" -ne 0 ]; then "$@"; else setpriv --reuid=postgres --regid=postgres --clear-groups "$@"; fi
}

start_postgres() {
	data=$(postgres_folder)
	if [ ! -s "$data/PG_VERSION" ]; then
		mkdir -p "$data"
		chmod 700 "$data"
		[ "$(id -u)" -ne 0 ] || chown postgres "$data"
		# initdb opens the file as the user it runs as, who cannot enter the folder of the secrets.
		as_postgres "$bin/initdb" --pgdata="$data" --username=postgres --auth=scram-sha-256 --encoding=UTF8 --locale=C \
			--pwfile=/dev/stdin <"$SUITE_SECRETS/postgres-password" >>"$dir/log/postgres.log" 2>&1 ||
			fail postgres "could not make its database"
	fi
	command=$bin/postgres
	set -- "$command" -D "$data" -h 127.0.0.1 -p "$postgres_port" -c unix_socket_directories= -c max_connections=300
	if [ "$(id -u)" -eq 0 ]; then set -- setpriv --reuid=postgres --regid=postgres --clear-groups "$@"; fi
	start postgres "$postgres_port" "$@"
	PGHOST=127.0.0.1 PGPORT=$postgres_port PGPASSWORD=$(cat "$SUITE_SECRETS/postgres-password")
	export PGHOST PGPORT PGPASSWORD
	await postgres psql --username postgres --dbname postgres --command "SELECT 1"
	deploy/postgres/databases.sh || fail postgres "did not take the roles and databases"
}

# A folder that root cannot share lies outside the clone, whose folders may be closed to the user postgres.
postgres_folder() {
	if [ "$(id -u)" -ne 0 ]; then
		echo "$dir/postgres"
	else
		echo "${SUITE_POSTGRES_DATA:-/var/lib/armlet-suite/$(echo "$dir" | cksum | cut -d' ' -f1)}"
	fi
}

up() {
	tools/testdeps.sh
	bin=$(tools/testdeps.sh --postgres)
	# psql may be beside the server or where the PATH has it.
	PATH=$PATH:$bin:$(dirname "$(readlink -f "$bin/postgres")")
	nats_server=$(cd tools && GOWORK=off GOFLAGS='' go tool -modfile=testtools.mod -n nats-server)
	mkdir -p "$dir/log" "$dir/run" "$dir/redis" "$dir/nats" "$dir/nats-config"
	chmod 700 "$dir"
	echo "suite: building the services"
	mkdir -p bin/suite
	for s in $services; do (cd "services/$s" && go build -o "$root/bin/suite/$s" "./cmd/$s"); done
	bin/armlet secrets --dir "$SUITE_SECRETS" --postgres 127.0.0.1:$postgres_port --redis 127.0.0.1:$redis_port \
		--nats 127.0.0.1:$nats_port --nats-listen 127.0.0.1:$nats_port --nats-store "$dir/nats" >/dev/null
	bin/armlet pki services --dir "$dir/pki" --out "$SUITE_CERTIFICATES" >/dev/null
	echo "suite: starting"
	start_postgres
	start redis $redis_port redis-server deploy/redis/redis.conf --bind 127.0.0.1 --port $redis_port --dir "$dir/redis" \
		--aclfile "$SUITE_SECRETS/redis-users.acl"
	await redis sh -c "redis-cli -p $redis_port ping | grep -Eq 'PONG|NOAUTH'"
	# notify writes the configuration of NATS and waits for it to come.
	for s in notify device-registry auth payments; do start_service "$s"; done
	start nats $nats_port env PATH="$(dirname "$nats_server"):$PATH" deploy/nats/start.sh "$SUITE_NATS_CONFIG/nats.conf"
	await nats bash -c "exec 3<>/dev/tcp/127.0.0.1/$nats_port"
	for s in $services; do await "$s" with "$s" "bin/suite/$s" health; done
	cat >"$dir/endpoints.json" <<-JSON
		{"devices": "127.0.0.1:7001", "auth": "127.0.0.1:7002", "payments": "127.0.0.1:7003", "notify": "127.0.0.1:7004",
		 "token_url": "http://127.0.0.1:8002/oauth2/token", "jwks_url": "http://127.0.0.1:8002/.well-known/jwks.json",
		 "nats_url": "nats://127.0.0.1:$nats_port"}
	JSON
	cat <<-TEXT
		suite: all services are ready; data, logs and passwords are in ./data/suite
		  ARMLET_TLS_CA=data/suite/certificates/ca.pem bin/armlet --data data/suite tap --amount 12.00
		  make suite-test       the journeys against it
		  make suite-down       stops it, the data stays
	TEXT
}

# with runs a command in the environment of a service; its file is a file of the shell too.
with() { (set -a && . "deploy/services/$1.env" && shift && exec "$@"); }

start_service() {
	number=$(case $1 in device-registry) echo 1 ;; auth) echo 2 ;; payments) echo 3 ;; notify) echo 4 ;; esac)
	set -a
	. "deploy/services/$1.env"
	set +a
	start "$1" "700$number" "bin/suite/$1"
}

down() {
	stopped=
	for name in payments auth device-registry notify nats redis postgres; do
		if ! running "$name"; then rm -f "$dir/run/$name.pid" "$dir/run/$name.since"; continue; fi
		signal=TERM
		[ "$name" != postgres ] || signal=INT # its fast shutdown
		pid=$(cat "$dir/run/$name.pid")
		kill -$signal "$pid"
		for _ in $(seq 150); do running "$name" || break; sleep 0.2; done
		if running "$name"; then echo "suite: $name did not stop within 30 s and is killed" >&2; kill -KILL "$pid"; fi
		rm -f "$dir/run/$name.pid" "$dir/run/$name.since"
		stopped="$stopped $name"
	done
	echo "suite: stopped${stopped:- nothing, nothing ran}; the data stays in ./data/suite and $(postgres_folder)"
}

case ${1:-} in
up) up ;;
down) down ;;
*) echo "usage: tools/suite.sh up|down" >&2; exit 2 ;;
esac
