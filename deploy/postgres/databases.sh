#!/bin/sh
# One role and one database for each service, and no service can read another's. May be run again and again, as
# `make suite` and docker-compose.yml do. Connects as psql does by default (PGHOST and so on).
set -eu

secrets=${SUITE_SECRETS:-/run/secrets}
PGPASSWORD=$(cat "$secrets/postgres-password")
export PGPASSWORD

for service in device-registry auth payments notify; do
	name=$(echo "$service" | tr - _)
	# The password goes by a file, as arguments can be seen by all.
	PASSWORD_FILE="$secrets/postgres-$service-password" \
		psql --quiet --no-psqlrc --set ON_ERROR_STOP=1 --set name="$name" \
		--username "${POSTGRES_USER:-postgres}" --dbname postgres <<-'SQL'
			\set password `cat "$PASSWORD_FILE"`
			SELECT format('CREATE ROLE %I LOGIN', :'name') WHERE NOT EXISTS (SELECT FROM pg_roles WHERE rolname = :'name') \gexec
			ALTER ROLE :"name" PASSWORD :'password';
			SELECT format('CREATE DATABASE %I OWNER %I', :'name', :'name') WHERE NOT EXISTS (SELECT FROM pg_database WHERE datname = :'name') \gexec
			REVOKE ALL ON DATABASE :"name" FROM PUBLIC;
		SQL
done
