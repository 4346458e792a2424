#!/bin/sh
# The entrypoint of the stand-in for the image of PostgreSQL: a database is made in PGDATA where there is none, with the variables
# that docker-compose.yml sets for the image itself.
set -eu

if [ ! -s "$PGDATA/PG_VERSION" ] && [ "${1:-}" = postgres ]; then
	# Word splitting is wanted: these are arguments.
	# shellcheck disable=SC2086
	initdb --username=postgres --pwfile="$POSTGRES_PASSWORD_FILE" $POSTGRES_INITDB_ARGS
	echo "host all all all scram-sha-256" >>"$PGDATA/pg_hba.conf"
fi
[ "${1:-}" != postgres ] || set -- "$@" -c listen_addresses='*'
exec "$@"
