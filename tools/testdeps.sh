#!/bin/sh
# Makes sure that the tests find what they start themselves: the PostgreSQL (14 or newer) server programs and
# redis-server. Missing ones are installed from the distribution's packages when this may be done (as root, or with a
# sudo that asks for no password; Homebrew needs neither). Otherwise it says what to install and fails.
# With --postgres it only prints the folder of the PostgreSQL programs.
set -eu

oldest=14

# newest_postgres prints the folder of the newest server programs on this machine.
newest_postgres() {
	best=0
	found=
	path=$(command -v postgres 2>/dev/null || true)
	for dir in ${path:+"$(dirname "$path")"} /usr/lib/postgresql/*/bin /usr/pgsql-*/bin /usr/libexec/postgresql*/ \
		/opt/homebrew/opt/postgresql*/bin /usr/local/opt/postgresql*/bin; do
		if [ -x "$dir/postgres" ] && [ -x "$dir/initdb" ]; then
			version=$("$dir/postgres" --version | sed 's/^[^0-9]*\([0-9]*\).*/\1/')
			if [ "${version:-0}" -gt "$best" ]; then
				best=$version
				found=$dir
			fi
		fi
	done
	if [ "$best" -ge "$oldest" ]; then
		echo "$found"
	fi
}

missing() {
	list=
	if [ -z "$(newest_postgres)" ]; then
		list="postgresql"
	fi
	if ! command -v redis-server >/dev/null 2>&1; then
		list="$list redis"
	fi
	echo "$list"
}

if [ "${1:-}" = --postgres ]; then
	newest_postgres
	exit
fi

# The NATS server and its client come as Go modules; compiling them here keeps that time out of the tests.
here=$(dirname "$0")
for program in nats-server nats; do
	(cd "$here" && GOWORK=off GOFLAGS='' go tool -modfile=testtools.mod -n $program >/dev/null)
done

# One journey runs the previous commit's services beside this one's.
if ! git -C "$here" rev-parse --quiet --verify 'HEAD~1^{commit}' >/dev/null 2>&1; then
	echo "testdeps: the previous commit is not here (a shallow clone?), so this commit's services stand in for its where both are to"
	echo "testdeps: run side by side. 'git fetch --deepen=1' gets it."
fi

need=$(missing)
if [ -z "$need" ]; then
	echo "testdeps: PostgreSQL in $(newest_postgres), $(command -v redis-server)"
	exit 0
fi

manager=
install=
if command -v apt-get >/dev/null 2>&1; then
	manager=apt-get
	packages=$(echo " $need" | sed 's/ redis/ redis-server/')
	# The tests start servers of their own: RUNLEVEL keeps the packages from starting theirs.
	install="env DEBIAN_FRONTEND=noninteractive RUNLEVEL=1 apt-get install -y -q --no-install-recommends $packages"
elif command -v dnf >/dev/null 2>&1; then
	manager=dnf
	packages=$(echo " $need" | sed 's/ postgresql/ postgresql-server/; s| redis| /usr/bin/redis-server|')
	install="dnf install -y -q $packages"
elif command -v apk >/dev/null 2>&1; then
	manager=apk
	packages=$need
	install="apk add --no-progress $packages"
elif command -v brew >/dev/null 2>&1; then
	manager=brew
	packages=$(echo " $need" | sed 's/ postgresql/ postgresql@17/')
	install="brew install -q $packages"
fi

give_up() {
	{
		echo "testdeps: $1"
		echo "testdeps: the tests need the PostgreSQL server programs (initdb and postgres, version $oldest or newer) and redis-server."
		if [ -n "$install" ]; then
			echo "testdeps: install them with:  $2$install"
		else
			echo "testdeps: no apt-get, dnf, apk or brew here: install them in your system's way, with their folder on the PATH."
		fi
	} >&2
	exit 1
}

if [ -z "$manager" ]; then
	give_up "missing here:$(echo " $need" | tr -s ' ')"
fi
as_root=
if [ "$manager" != brew ] && [ "$(id -u)" -ne 0 ]; then
	if command -v sudo >/dev/null 2>&1 && sudo -n true 2>/dev/null; then
		as_root="sudo -n "
	else
		give_up "missing here:$(echo " $need" | tr -s ' '), and installing needs root." "sudo "
	fi
fi

echo "testdeps: installing $(echo "$packages" | tr -s ' ' | sed 's/^ //') with $manager"
if [ "$manager" = apt-get ]; then
	${as_root}apt-get update -q || echo "testdeps: apt-get update failed; trying with the lists that are here" >&2
fi
# Word splitting is wanted: these are commands with arguments.
# shellcheck disable=SC2086
$as_root$install || give_up "installing failed." "$as_root"

need=$(missing)
if [ -n "$need" ]; then
	give_up "still missing after the installation:$(echo " $need" | tr -s ' ') (is the distribution's version older than $oldest?)" "$as_root"
fi
echo "testdeps: PostgreSQL in $(newest_postgres), $(command -v redis-server)"
