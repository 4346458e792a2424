#!/bin/sh
# Makes the standby the primary, once the primary is gone for good.
#
#   promote.sh [--force] PRIMARY STANDBY
#
# Both are connection strings as psql takes them, "host=db-1 user=postgres" or a URL, of a role that may call pg_promote;
# passwords come from PGPASSWORD or ~/.pgpass. A primary that answers is never replaced without --force: two primaries would
# take payments that the other does not know. No answer is no proof either, when only the way from here is cut: stop the
# server, or the machine, before (docs/operations.md, "A standby of PostgreSQL").
set -eu

force=
if [ "${1:-}" = --force ]; then
	force=yes
	shift
fi
if [ $# -ne 2 ]; then
	sed -n 's/^# \{0,1\}//; 2,10p' "$0" >&2
	exit 2
fi
primary=$1 standby=$2
PGCONNECT_TIMEOUT=${PGCONNECT_TIMEOUT:-5}
export PGCONNECT_TIMEOUT

say() { echo "promote: $*"; }
refuse() {
	echo "promote: refused: $*" >&2
	exit 1
}
ask() { psql --no-psqlrc --quiet --tuples-only --no-align --set ON_ERROR_STOP=1 --command "$2" "$1"; }

standing=$(ask "$standby" 'SELECT pg_is_in_recovery()') || refuse "the standby does not answer; nothing was changed"
if [ "$standing" = f ]; then
	say "this server is a primary already; nothing was changed"
	exit 0
fi

# 0: it takes connections; 1: it is there and starts or stops; 2: nobody answers; 3: the string is wrong.
alive=0
pg_isready --quiet --dbname="$primary" --timeout="$PGCONNECT_TIMEOUT" || alive=$?
case $alive in
2) say "the primary does not answer" ;;
3) refuse "the primary's connection string is wrong" ;;
*)
	if [ -z "$force" ]; then
		refuse "the primary is alive. Stop it first (pg_ctl stop -m fast: the standby then has everything), or give --force"
	fi
	say "the primary is alive, and --force was given: stop it now, whatever it still takes will be lost"
	;;
esac

received=$(ask "$standby" 'SELECT pg_last_wal_receive_lsn()')
say "the standby has received the log up to ${received:-what it was started with}"
say "the last commit in it is of $(ask "$standby" "SELECT coalesce(pg_last_xact_replay_timestamp()::text, 'before its start')")"
promoted=$(ask "$standby" 'SELECT pg_promote(true, 60)')
if [ "$promoted" != t ] || [ "$(ask "$standby" 'SELECT pg_is_in_recovery()')" != f ]; then
	refuse "the standby did not become a primary within a minute; see its log"
fi
say "the standby is the primary now, on timeline $(ask "$standby" 'SELECT timeline_id FROM pg_control_checkpoint()')"
# It has what the old primary had set, and would wait for a standby that it does not have yet.
ask "$standby" "ALTER SYSTEM SET synchronous_standby_names = ''" && ask "$standby" 'SELECT pg_reload_conf()' >/dev/null ||
	say "synchronous_standby_names could not be emptied: while it names a standby that is not there, nothing commits"
say "it waits for no standby; once it has a new one: ALTER SYSTEM RESET synchronous_standby_names; SELECT pg_reload_conf();"
say "services with both hosts and target_session_attrs=read-write in db-url find it by themselves"
say "the old server must not be started as it is: make it a standby of this one anew (deploy/postgres/standby.sh)"
