#!/usr/bin/env bash
# Makes sure that the engine has the images that docker-compose.yml and the Dockerfiles begin with: pulls those it lacks, and
# where no registry can be reached builds stand-ins under the same names from Debian's packages, this machine's Go and the
# module of the NATS server. It says so; a stand-in shows that the suite fits together, not that the pinned images do.
#
#   tools/compose-images.sh           the images of the suite
#   tools/compose-images.sh remove    delete the stand-ins
set -eu
cd "$(dirname "$0")/.."

label=io.github.armlet-pay.stand-in
base=armlet/stand-in:trixie
files="services/*/Dockerfile cmd/armlet/Dockerfile"

needed() {
	docker compose config --images | grep -v '^armlet/'
	# shellcheck disable=SC2086 # a pattern
	sed -n 's/^ARG GO_VERSION=/GO_VERSION=/p; s/^FROM \([^ ]*\).*/\1/p' $files | awk -F= '
		/^GO_VERSION=/ { version = $2; next }
		{ sub(/\$\{GO_VERSION\}/, version); print }'
}

say() { echo "images: $*"; }

give_up() {
	say "$1" >&2
	exit 1
}

has() { docker image inspect "$1" >/dev/null 2>&1; }

# One root of Debian packages serves all stand-ins that need any.
make_base() {
	if has "$base"; then return; fi
	[ "$(id -u)" -eq 0 ] || give_up "debootstrap, which makes the base of the stand-ins, needs root."
	command -v debootstrap >/dev/null ||
		DEBIAN_FRONTEND=noninteractive apt-get install -y -q --no-install-recommends debootstrap >/dev/null ||
		give_up "installing debootstrap failed."
	say "making the base of the stand-ins with debootstrap, a minute or more"
	debootstrap --variant=minbase --include=ca-certificates,busybox,postgresql,redis-server trixie "$work/root" >"$work/log" 2>&1 ||
		{ tail -n 5 "$work/log" >&2; give_up "debootstrap failed."; }
	rm -rf "$work"/root/var/cache/apt/archives/*.deb "$work"/root/var/lib/apt/lists/* "$work"/root/var/lib/postgresql/*
	cp /etc/ssl/certs/ca-certificates.crt "$work/root/etc/ssl/certs/ca-certificates.crt" # this machine may trust one more
	ln -s /usr/bin/busybox "$work/root/usr/local/bin/wget"
	tar -C "$work/root" -c . | docker import --change "LABEL $label=true" - "$base" >/dev/null
	rm -rf "$work/root"
}

# from builds a stand-in on the base from the Dockerfile on standard input.
from() { # IMAGE CONTEXT
	make_base
	{ echo "FROM $base" && cat; } | docker build --quiet --tag "$1" --label "$label=true" --file - "$2" >/dev/null
}

stand_in() { # IMAGE
	mkdir -p "$work/empty"
	case $1 in
	golang:*)
		[ "golang:$(go env GOVERSION | sed s/^go//)-alpine" = "$1" ] || give_up "this machine has $(go env GOVERSION), which is not that of $1."
		from "$1" "$(go env GOROOT)" <<-DOCKER
			COPY . /usr/local/go
			ENV PATH=/usr/local/go/bin:/usr/sbin:/usr/bin:/sbin:/bin GOPATH=/go GOPROXY=$(go env GOPROXY)
		DOCKER
		;;
	gcr.io/distroless/static-debian12:nonroot)
		root=$work/static
		mkdir -p "$root/etc/ssl/certs" "$root/tmp" "$root/home/nonroot"
		chmod 1777 "$root/tmp"
		echo 'nonroot:x:65532:65532:nonroot:/home/nonroot:/sbin/nologin' >"$root/etc/passwd"
		echo 'nonroot:x:65532:' >"$root/etc/group"
		cp /etc/ssl/certs/ca-certificates.crt "$root/etc/ssl/certs/"
		tar -C "$root" --owner=0 --group=0 -c . | docker import --change 'USER 65532:65532' --change "LABEL $label=true" - "$1" >/dev/null
		;;
	postgres:*)
		from "$1" tools/stand-ins <<-'DOCKER'
			COPY postgres.sh /usr/local/bin/
			RUN ln -s /usr/lib/postgresql/*/bin /usr/local/postgresql && install -d -o postgres -g postgres -m 3777 /run/postgresql && \
			    install -d -o postgres -g postgres -m 700 /var/lib/postgresql/data
			ENV PATH=/usr/local/postgresql:/usr/local/bin:/usr/bin:/bin PGDATA=/var/lib/postgresql/data
			STOPSIGNAL SIGINT
			ENTRYPOINT ["/bin/sh", "/usr/local/bin/postgres.sh"]
		DOCKER
		;;
	redis:*)
		from "$1" "$work/empty" <<-'DOCKER'
			RUN install -d -o redis -g redis /data
		DOCKER
		;;
	nats:*)
		mkdir -p "$work/nats"
		(cd tools && CGO_ENABLED=0 GOWORK=off GOFLAGS='' go build -modfile=testtools.mod -o "$work/nats/nats-server" github.com/nats-io/nats-server/v2)
		from "$1" "$work/nats" <<-'DOCKER'
			COPY nats-server /usr/local/bin/
		DOCKER
		;;
	*) give_up "$1 cannot be pulled, and there is no stand-in for it." ;;
	esac
}

ensure() {
	work=$(mktemp -d)
	trap 'rm -rf "$work"' EXIT
	for image in $(needed | sort -u); do
		if has "$image"; then continue; fi
		if docker pull --quiet "$image" >/dev/null 2>&1; then
			say "pulled $image"
			continue
		fi
		say "$image cannot be pulled: building a stand-in"
		stand_in "$image"
	done
	ours=$(docker images --quiet --filter "label=$label=true" | sort -u | wc -l)
	if [ "$ours" -gt 0 ]; then
		say "STAND-INS, not the pinned images, are in use; 'tools/compose-images.sh remove' deletes them:"
		docker images --filter "label=$label=true" --format '  {{.Repository}}:{{.Tag}}'
	fi
}

case ${1:-} in
'') ensure ;;
remove) docker images --filter "label=$label=true" --format '{{.Repository}}:{{.Tag}}' | xargs --no-run-if-empty docker rmi ;;
*) give_up "usage: tools/compose-images.sh [remove]" ;;
esac
