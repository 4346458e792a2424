#!/usr/bin/env bash
# The suite of docker-compose.yml with what a caller on this machine needs, in ./data/compose.
#
#   tools/compose.sh up      build and start it, and wait until all of it is healthy
#   tools/compose.sh down    stop it; the data stays in its volumes
set -eu
cd "$(dirname "$0")/.."

dir=data/compose

up() {
	revision=$(git rev-parse --short HEAD 2>/dev/null || true)
	export ARMLET_REVISION="${ARMLET_REVISION:-${revision:-unknown}}"
	tools/compose-images.sh
	docker compose build
	docker compose up --detach --wait --wait-timeout 300 || {
		docker compose ps --all
		docker compose logs --tail 15
		exit 1
	}
	mkdir -p "$dir"
	chmod 700 "$dir"
	docker compose cp auth:/data/operator.jwk.json "$dir/operator.jwk.json"
	docker compose cp auth:/run/secrets/ca.pem "$dir/ca.pem"
	cat >"$dir/endpoints.json" <<-JSON
		{"devices": "127.0.0.1:7001", "auth": "127.0.0.1:7002", "payments": "127.0.0.1:7003", "notify": "127.0.0.1:7004",
		 "token_url": "http://127.0.0.1:8002/oauth2/token", "jwks_url": "http://127.0.0.1:8002/.well-known/jwks.json",
		 "nats_url": "nats://127.0.0.1:4222"}
	JSON
	cat <<-TEXT
		compose: all containers are healthy
		  ARMLET_TLS_CA=$dir/ca.pem bin/armlet --data $dir tap --amount 12.00
		  make compose-test     the journeys against it
		  make compose-down     stops it, the data stays
	TEXT
}

case ${1:-} in
up) up ;;
down) docker compose --profile '*' down ;;
*) echo "usage: tools/compose.sh up|down" >&2; exit 2 ;;
esac
