#!/bin/sh
# Makes the data of a standby in an empty folder, as the user that will run its server.
#
#   standby.sh PRIMARY FOLDER
#
# PRIMARY is a connection string of a role with REPLICATION, which pg_hba.conf of the primary lets in for replication. The
# password, from PGPASSWORD or ~/.pgpass, is kept in FOLDER/postgresql.auto.conf. Then start the server with
# cluster_name=standby, the name that synchronous_standby_names of the primary has (deploy/postgres/primary.conf).
set -eu

if [ $# -ne 2 ]; then
	sed -n 's/^# \{0,1\}//; 2,8p' "$0" >&2
	exit 2
fi
pg_basebackup --dbname="$1" --pgdata="$2" --write-recovery-conf --checkpoint=fast
chmod 700 "$2"
echo "standby: $2 is ready; start it with cluster_name=standby"
