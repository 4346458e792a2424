#!/bin/sh
# Starts NATS on the configuration that notify writes: the accounts of the services and one for each partner. At the first
# start of all it is not there yet, and notify in turn waits for this server.
#
# With NATS_NAME it is a node of a cluster: notify's file then has the accounts alone (no listen and store_dir in
# nats-settings-file), and what is the node's own comes from here:
#
#   NATS_NAME, NATS_LISTEN, NATS_STORE_DIR   its name, its address for clients, its folder
#   NATS_ROUTE_LISTEN, NATS_ROUTES           its address for the other nodes, and those of all nodes, with commas
#   NATS_ROUTE_PASSWORD_FILE                 what the nodes know each other by: letters, digits, - and _
set -eu

config=${1:?the file that nats-accounts-file of notify names}
shift
until [ -s "$config" ]; do
	echo "waiting for notify to write $config"
	sleep 1
done
if [ -n "${NATS_NAME:-}" ]; then
	password=$(cat "$NATS_ROUTE_PASSWORD_FILE")
	own=$(mktemp -d)
	chmod 700 "$own"
	case $config in /*) ;; *) config=$PWD/$config ;; esac
	# An include is looked for beside the file that has it; the link leads to what notify puts in its place later too.
	ln -s "$config" "$own/accounts.conf"
	cat >"$own/nats.conf" <<-CONF
		server_name: "$NATS_NAME"
		listen: "$NATS_LISTEN"
		jetstream { store_dir: "$NATS_STORE_DIR" }
		cluster {
		  name: armlet
		  listen: "$NATS_ROUTE_LISTEN"
		  authorization { user: node, password: "$password" }
		  routes: [$(echo "$NATS_ROUTES" | tr , '\n' | sed "s|.*|\"nats://node:$password@&\"|")]
		}
		include ./accounts.conf
	CONF
	config=$own/nats.conf
fi
exec nats-server --config "$config" "$@"
