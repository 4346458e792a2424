#!/usr/bin/env bash
# The suite as processes on this machine, for where there is no Docker: PostgreSQL, Redis, NATS and the four services
# with mutual TLS, on the files of deploy/. Data, logs and process ids are in ./data/suite.
#
#   tools/suite.sh up      start what is not running
#   tools/suite.sh down    stop what is; the data stays
#
# With SUITE=cluster there are several of each: PostgreSQL with a synchronous standby, Redis with a replica and a sentinel,
# three nodes of NATS and two replicas of every service; all is in ./data/suite-cluster then.
set -eu
cd "$(dirname "$0")/.."
root=$PWD

kind=${SUITE:-single}
case $kind in
single) dir=$root/data/suite ;;
cluster) dir=$root/data/suite-cluster ;;
*) echo "suite: SUITE is $kind; it is cluster, or not set" >&2; exit 2 ;;
esac
export SUITE_LISTEN=127.0.0.1 SUITE_AUTH=127.0.0.1 SUITE_REGISTRY=127.0.0.1 SUITE_NOTIFY=127.0.0.1
export SUITE_SECRETS="$dir/secrets" SUITE_CERTIFICATES="$dir/certificates" SUITE_DATA="$dir" SUITE_NATS_CONFIG="$dir/nats-config"
postgres_port=7532 redis_port=7579 nats_port=4222
services="device-registry auth payments notify"
replicas=1 standby_port=7533 redis_replica_port=7580 sentinel_port=7581
[ $kind = single ] || replicas="1 2"

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
	PGHOST=127.0.0.1 PGPORT=$postgres_port PGPASSWORD=$(cat "$SUITE_SECRETS/postgres-password")
	export PGHOST PGPORT PGPASSWORD
	if [ $kind = cluster ] && [ -s "$data-standby/PG_VERSION" ] && [ ! -f "$data-standby/standby.signal" ]; then
		fail postgres "has a standby that was promoted; here one does not come back from that: remove $data* and $dir"
	fi
	if [ ! -s "$data/PG_VERSION" ]; then
		postgres_owns "$data"
		# initdb opens the file as the user it runs as, who cannot enter the folder of the secrets.
		as_postgres "$bin/initdb" --pgdata="$data" --username=postgres --auth=scram-sha-256 --encoding=UTF8 --locale=C \
			--pwfile=/dev/stdin <"$SUITE_SECRETS/postgres-password" >>"$dir/log/postgres.log" 2>&1 ||
			fail postgres "could not make its database"
		if [ $kind = cluster ]; then cat deploy/postgres/primary.conf >>"$data/postgresql.conf"; fi
	fi
	run_postgres postgres "$data" "$postgres_port"
	if [ $kind = cluster ]; then start_standby; fi
	deploy/postgres/databases.sh || fail postgres "did not take the roles and databases"
}

# Nothing commits before it is there.
start_standby() {
	if [ ! -s "$data-standby/PG_VERSION" ]; then
		postgres_owns "$data-standby"
		# The script is read here, for the same reason.
		as_postgres sh -s -- "host=127.0.0.1 port=$postgres_port user=postgres" "$data-standby" <deploy/postgres/standby.sh \
			>>"$dir/log/postgres-standby.log" 2>&1 || fail postgres-standby "could not copy the primary"
	fi
	run_postgres postgres-standby "$data-standby" "$standby_port" -c cluster_name=standby
}

postgres_owns() { # FOLDER: an empty one
	mkdir -p "$1"
	chmod 700 "$1"
	[ "$(id -u)" -ne 0 ] || chown postgres "$1"
}

run_postgres() { # NAME FOLDER PORT SETTING...
	name=$1 folder=$2 port=$3
	shift 3
	set -- "$bin/postgres" -D "$folder" -h 127.0.0.1 -p "$port" -c unix_socket_directories= -c max_connections=300 "$@"
	if [ "$(id -u)" -eq 0 ]; then set -- setpriv --reuid=postgres --regid=postgres --clear-groups "$@"; fi
	server=$name at=$port
	start "$server" "$at" "$@"
	await "$server" psql --port "$at" --username postgres --dbname postgres --command "SELECT 1"
}

start_redis() {
	secret=$(cat "$SUITE_SECRETS/redis-password")
	redis redis $redis_port
	if [ $kind = single ]; then return; fi
	# The password goes by a file, as arguments can be seen by all.
	own redis-replica "replicaof 127.0.0.1 $redis_port"
	redis redis-replica $redis_replica_port
	own redis-sentinel "port $sentinel_port" "bind 127.0.0.1" "$(cat deploy/redis/sentinel.conf)" \
		"sentinel auth-user armlet default" "sentinel auth-pass armlet $secret"
	start redis-sentinel $sentinel_port redis-server "$dir/redis-sentinel/redis.conf" --sentinel
	await redis-sentinel redis-cli -p $sentinel_port sentinel get-master-addr-by-name armlet
}

own() { # NAME LINE...: a configuration file of its own, which the server writes to and which is made once
	folder=$dir/$1
	shift
	if [ -s "$folder/redis.conf" ]; then return; fi
	mkdir -p "$folder"
	(umask 077 && printf '%s\n' "$@" >"$folder/redis.conf")
}

redis() { # NAME PORT: each may become a replica of the other
	own "$1" ""
	server=$1 at=$2
	(umask 077 && printf 'masteruser default\nmasterauth %s\n' "$secret" >"$dir/$server/password.conf")
	start "$server" "$at" redis-server "$dir/$server/redis.conf" --include "$root/deploy/redis/redis.conf" \
		--include "$dir/$server/password.conf" --bind 127.0.0.1 --port "$at" --dir "$dir/$server" --aclfile "$SUITE_SECRETS/redis-users.acl"
	await "$server" sh -c "redis-cli -p $at ping | grep -Eq 'PONG|NOAUTH'"
}

start_nats() {
	PATH=$(dirname "$nats_server"):$PATH
	if [ $kind = single ]; then
		start nats $nats_port deploy/nats/start.sh "$SUITE_NATS_CONFIG/nats.conf"
		await nats bash -c "exec 3<>/dev/tcp/127.0.0.1/$nats_port"
		return
	fi
	export NATS_ROUTES=127.0.0.1:6222,127.0.0.1:6223,127.0.0.1:6224 NATS_ROUTE_PASSWORD_FILE="$SUITE_SECRETS/nats-route-password"
	for n in 1 2 3; do
		start nats-$n $((nats_port + n - 1)) env NATS_NAME=nats-$n NATS_LISTEN=127.0.0.1:$((nats_port + n - 1)) NATS_STORE_DIR="$dir/nats-$n" \
			NATS_ROUTE_LISTEN=127.0.0.1:$((6221 + n)) deploy/nats/start.sh "$SUITE_NATS_CONFIG/nats.conf"
	done
	for n in 1 2 3; do await nats-$n bash -c "exec 3<>/dev/tcp/127.0.0.1/$((nats_port + n - 1))"; done
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
	mkdir -p "$dir/log" "$dir/run" "$dir/nats" "$dir/nats-config"
	chmod 700 "$dir"
	echo "suite: building the services"
	mkdir -p bin/suite
	for s in $services; do (cd "services/$s" && go build -o "$root/bin/suite/$s" "./cmd/$s"); done
	if [ $kind = single ]; then
		set -- --postgres 127.0.0.1:$postgres_port --redis 127.0.0.1:$redis_port --nats 127.0.0.1:$nats_port \
			--nats-listen 127.0.0.1:$nats_port --nats-store "$dir/nats"
	else
		set -- --postgres 127.0.0.1:$postgres_port,127.0.0.1:$standby_port --redis 127.0.0.1:$sentinel_port --redis-master armlet \
			--nats 127.0.0.1:4222,127.0.0.1:4223,127.0.0.1:4224 --nats-listen '' --nats-store ''
	fi
	bin/armlet secrets --dir "$SUITE_SECRETS" "$@" >/dev/null
	bin/armlet pki services --dir "$dir/pki" --out "$SUITE_CERTIFICATES" >/dev/null
	echo "suite: starting"
	start_postgres
	start_redis
	# notify writes the configuration of NATS and waits for it to come.
	for r in $replicas; do for s in notify device-registry auth payments; do start_service "$s" "$r"; done; done
	start_nats
	for r in $replicas; do for s in $services; do await "$(named "$s" "$r")" with "$s" "$r" "bin/suite/$s" health; done; done
	cat >"$dir/endpoints.json" <<-JSON
		{"devices": "$(all 127.0.0.1:7%s01)", "auth": "$(all 127.0.0.1:7%s02)", "payments": "$(all 127.0.0.1:7%s03)", "notify": "$(all 127.0.0.1:7%s04)",
		 "token_url": "$(all http://127.0.0.1:8%s02/oauth2/token)", "jwks_url": "http://127.0.0.1:8002/.well-known/jwks.json",
		 "nats_url": "nats://127.0.0.1:$nats_port"}
	JSON
	cat <<-TEXT
		suite: all services are ready; data, logs and passwords are in ./${dir#"$root/"}
		  ARMLET_TLS_CA=${dir#"$root/"}/certificates/ca.pem bin/armlet --data ${dir#"$root/"} tap --amount 12.00
		  ${SUITE:+SUITE=$SUITE }make suite-test       the journeys against it
		  ${SUITE:+SUITE=$SUITE }make suite-down       stops it, the data stays
	TEXT
}

# all is a comma separated list of an address of each replica.
all() {
	list=
	for r in $replicas; do list=$list${list:+,}$(echo "$1" | sed "s/%s/$((r - 1))/"); done
	echo "$list"
}

named() { # SERVICE REPLICA
	if [ "$2" = 1 ]; then echo "$1"; else echo "$1-$2"; fi
}

# with runs a command in the environment of a replica of a service; its files are files of the shell too.
with() { (configure "$1" "$2" && shift 2 && exec "$@"); }

configure() {
	set -a
	. "deploy/services/$1.env"
	[ $kind = single ] || . deploy/cluster/services.env
	[ "$2" = 1 ] || . "deploy/cluster/replica-$2.env"
	set +a
}

start_service() { # SERVICE REPLICA
	number=$(case $1 in device-registry) echo 1 ;; auth) echo 2 ;; payments) echo 3 ;; notify) echo 4 ;; esac)
	(configure "$1" "$2" && start "$(named "$1" "$2")" "7$(($2 - 1))0$number" "bin/suite/$1")
}

down() {
	stopped=
	for name in payments payments-2 auth auth-2 device-registry device-registry-2 notify notify-2 nats nats-1 nats-2 nats-3 \
		redis-sentinel redis-replica redis postgres postgres-standby; do
		if ! running "$name"; then rm -f "$dir/run/$name.pid" "$dir/run/$name.since"; continue; fi
		signal=TERM
		case $name in postgres*) signal=INT ;; esac # its fast shutdown
		pid=$(cat "$dir/run/$name.pid")
		kill -$signal "$pid"
		for _ in $(seq 150); do running "$name" || break; sleep 0.2; done
		if running "$name"; then echo "suite: $name did not stop within 30 s and is killed" >&2; kill -KILL "$pid"; fi
		rm -f "$dir/run/$name.pid" "$dir/run/$name.since"
		stopped="$stopped $name"
	done
	echo "suite: stopped${stopped:- nothing, nothing ran}; the data stays in ./${dir#"$root/"} and $(postgres_folder)"
}

case ${1:-} in
up) up ;;
down) down ;;
*) echo "usage: tools/suite.sh up|down" >&2; exit 2 ;;
esac
