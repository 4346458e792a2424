#!/bin/sh
# Starts NATS on the configuration that notify writes: the accounts of the services and one for each partner. At the first
# start of all it is not there yet, and notify in turn waits for this server.
set -eu

config=${1:?the file that nats-accounts-file of notify names}
shift
until [ -s "$config" ]; do
	echo "waiting for notify to write $config"
	sleep 1
done
exec nats-server --config "$config" "$@"
