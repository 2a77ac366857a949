#!/usr/bin/env bash
# Installs the programs the tests run against (on Debian, as root) and runs the
# tests. Anywhere else it installs nothing, says what it leaves out, and runs
# what can be run: a test without its neighbour skips and names it, or fails
# where CI is set.
#
#   ./test.sh                      everything: vet, tests, tests under the race detector
#   ./test.sh --short              vet and short tests, without the race detector
#   ./test.sh --install-only       only install; a few seconds when all is there
#   ./test.sh -run Quota ./lmtp    the rest goes to "go test", flags and packages
#
# NEIGHBOUR_TRIXIE   where the Debian 13 root with Dovecot 2.4, GnuPG 2.4 and moto is kept
#                    (default /var/cache/homing-test/trixie)
# NEIGHBOUR_EDGE     where Deno, workerd and what else the contact form is tested
#                    with are kept (default /var/cache/homing-test/edge)
set -euo pipefail
umask 022 # servers under users of their own read what the tests write

root=$(cd -- "$(dirname -- "${BASH_SOURCE[0]}")" && pwd)
tools="$root/.tools/bin"
trixie=${NEIGHBOUR_TRIXIE:-/var/cache/homing-test/trixie}
edge=${NEIGHBOUR_EDGE:-/var/cache/homing-test/edge}
export NEIGHBOUR_TRIXIE=$trixie NEIGHBOUR_EDGE=$edge

versitygw=v1.8.0
opentofu=v1.10.6
# They carry the schemas of the Terraform providers: AWS 6.25.0, Cloudflare 5.14.0.
typings=(@cdktf/provider-aws@21.22.1 @cdktf/provider-cloudflare@13.9.1)

# On the machine itself: a C compiler for the race detector, Dovecot 2.3 (on
# Debian 12), what homing is measured against, promtool, the AWS CLI,
# a browser for the contact form, what builds the Debian 13 root.
host_packages=(
	awscli ca-certificates debian-archive-keyring debootstrap
	gcc libc6-dev libsasl2-modules
	dovecot-core dovecot-imapd dovecot-lmtpd dovecot-sieve dovecot-submissiond
	caddy gnupg nginx-light prometheus swaks
	fetchmail getmail6 postfix
	chromium fonts-liberation fonts-noto-color-emoji
)
if ! command -v npm >/dev/null; then
	host_packages+=(nodejs npm) # no others: they might take the place of a newer Node.js
fi
if [[ -n ${CI:-} ]]; then
	host_packages+=(shellcheck)
fi

# In the Debian 13 root. A change here makes the root anew. systemd is started in
# copies of it.
trixie_packages=(
	dovecot-core dovecot-imapd dovecot-lmtpd dovecot-sieve dovecot-submissiond
	gnupg python3-moto python3-flask python3-flask-cors
	adduser systemd
)

main() {
	local install_only=false short=false
	while (($# > 0)); do
		case $1 in
		--install-only) install_only=true ;;
		--short) short=true ;;
		--help | -h) usage && return ;;
		*) break ;;
		esac
		shift
	done
	cd "$root"
	need_go
	install_neighbours
	if $install_only; then
		return
	fi
	run_tests "$short" "$@"
}

usage() { sed -n '2,/^set/{/^set/d;s/^# \{0,1\}//;p}' "${BASH_SOURCE[0]}"; }

say() { printf 'test.sh: %s\n' "$*"; }

die() {
	printf 'test.sh: %s\n' "$*" >&2
	exit 1
}

# logged runs a command, and shows what it printed only if it fails.
logged() {
	local what=$1 log
	shift
	log=$(mktemp)
	if ! "$@" >"$log" 2>&1 </dev/null; then
		cat -- "$log" >&2
		rm -f -- "$log"
		die "$what failed: $* (its output is above)"
	fi
	rm -f -- "$log"
}

need_go() {
	local want have
	want=$(sed -n 's/^go //p' go.mod)
	command -v go >/dev/null || die "Go $want is needed: https://go.dev/dl/ (and its bin directory in PATH)"
	have=$(go env GOVERSION) || die "go env failed: Go $want is needed"
	have=${have#go}
	have=${have%%[ -]*}
	[[ $(printf '%s\n' "$want" "$have" | sort -V | head -n1) == "$want" ]] ||
		die "Go $want is needed, and $(command -v go) is $have"
}

install_neighbours() {
	if [[ ! -e /etc/debian_version ]] || ! command -v apt-get >/dev/null; then
		say "not Debian: left out Dovecot, Postfix's smtp-source, Prometheus and the contact form's; tests that need them skip"
	elif ((EUID != 0)); then
		say "not root: packages and the Debian 13 root are left as they are; tests that miss something skip"
	else
		# One at a time: another checkout may be doing the same.
		mkdir -p -- "$(dirname -- "$trixie")"
		exec 9>"$trixie.lock"
		flock 9
		install_packages
		make_trixie
		install_edge
		exec 9>&-
	fi
	build_versitygw
	build_opentofu
	unpack_typings
}

# apt waits for whoever else is installing just now.
apt() { apt-get -o DPkg::Lock::Timeout=600 "$@"; }

installed() {
	[[ $(dpkg-query -W -f '${db:Status-Status}' "$1" 2>/dev/null) == installed ]]
}

install_packages() {
	local package missing=()
	for package in "${host_packages[@]}"; do
		installed "$package" || missing+=("$package")
	done
	if ((${#missing[@]} == 0)); then
		say "packages: all there"
		return
	fi
	say "packages: installing ${missing[*]}"
	export DEBIAN_FRONTEND=noninteractive
	logged "refreshing the package lists" apt update
	# The tests configure Postfix themselves.
	debconf-set-selections <<<'postfix postfix/main_mailer_type select No configuration'
	forbid_services
	logged "installing packages" apt install -y --no-install-recommends "${missing[@]}"
	allow_services
}

# forbid_services keeps the packages' daemons from being started: the tests
# start their own. A policy of the machine's own (as in containers) is put back.
forbid_services() {
	policy_kept=""
	if [[ -e /usr/sbin/policy-rc.d ]]; then
		policy_kept=$(mktemp)
		cp -a -- /usr/sbin/policy-rc.d "$policy_kept"
	fi
	trap allow_services EXIT
	write_policy /usr/sbin/policy-rc.d
}

allow_services() {
	trap - EXIT
	if [[ -n $policy_kept ]]; then
		mv -f -- "$policy_kept" /usr/sbin/policy-rc.d
	else
		rm -f -- /usr/sbin/policy-rc.d
	fi
}

write_policy() {
	printf '#!/bin/sh\nexit 101\n' >"$1"
	chmod 755 -- "$1"
}

# make_trixie builds the Debian 13 root beside its place and renames it, so that
# it is either there and complete or not there.
make_trixie() {
	local stamp="debootstrap trixie: ${trixie_packages[*]}" new="$trixie.new"
	if [[ $(cat -- "$trixie/.complete" 2>/dev/null) == "$stamp" ]]; then
		say "Debian 13 root: $trixie is there"
		return
	fi
	say "Debian 13 root: making $trixie (about a minute)"
	remove_tree "$new"
	logged "refreshing the package lists" apt update
	# Older debootstraps know no trixie; their script for it is sid's.
	logged "debootstrap" debootstrap --variant=minbase trixie "$new" "$(mirror)" /usr/share/debootstrap/scripts/sid
	write_policy "$new/usr/sbin/policy-rc.d"
	logged "installing packages in $new" chroot "$new" \
		env DEBIAN_FRONTEND=noninteractive LC_ALL=C.UTF-8 \
		apt-get install -y --no-install-recommends "${trixie_packages[@]}"
	rm -rf -- "$new"/var/cache/apt/archives/*.deb "$new"/var/lib/apt/lists/*
	printf '%s\n' "$stamp" >"$new/.complete"
	if [[ -e $trixie ]]; then
		remove_tree "$trixie.old"
		mv -T -- "$trixie" "$trixie.old"
	fi
	mv -T -- "$new" "$trixie"
	rm -rf -- "$trixie.old" || say "$trixie.old: another checkout's tests are still at work there"
	say "Debian 13 root: made"
}

# install_edge installs the npm packages of the contact form's tests, as their
# lock file pins them. Their install scripts are not run: they would download
# what is in the packages already.
install_edge() {
	local new="$edge.new"
	if cmp -s contrib/edge/package-lock.json "$edge/.complete"; then
		say "contact form: npm packages are there"
		return
	fi
	say "contact form: installing npm packages"
	rm -rf -- "$new"
	mkdir -p -- "$new"
	cp -- contrib/edge/package.json contrib/edge/package-lock.json "$new"
	logged "installing npm packages" npm ci --prefix "$new" --ignore-scripts --no-audit --no-fund
	mv -- "$new/package-lock.json" "$new/.complete"
	rm -rf -- "$edge"
	mv -T -- "$new" "$edge"
}

# remove_tree refuses a tree with something mounted in it: debootstrap mounts
# /proc there, and a killed one leaves it.
remove_tree() {
	local mounted
	mounted=$(awk -v tree="$1/" 'index($2, tree) == 1 { print $2 }' /proc/mounts)
	[[ -z $mounted ]] || die "not removed: $1 has file systems mounted in it (umount $mounted)"
	rm -rf -- "$1"
}

# mirror prints the address of the Debian mirror that apt uses, whatever form its
# sources have; not the security archive's, which has no whole release.
mirror() {
	local address
	# shellcheck disable=SC2016 # these are apt's variables
	address=$(apt-get indextargets --format '$(REPO_URI) $(ORIGIN) $(LABEL)' |
		awk '$2 == "Debian" && $3 == "Debian" { print $1; exit }')
	printf '%s\n' "${address:-http://deb.debian.org/debian}"
}

build_versitygw() {
	if go version -m "$tools/versitygw" 2>/dev/null | grep -qF "$(printf 'versitygw\t%s\t' "$versitygw")"; then
		say "versitygw: $versitygw is there"
		return
	fi
	say "versitygw: building $versitygw (one to two minutes the first time)"
	logged "building versitygw" env GOBIN="$tools" GOFLAGS= \
		go install "github.com/versity/versitygw/cmd/versitygw@$versitygw"
}

# OpenTofu replaces a module of its own, so that go install refuses it; it builds
# where it was downloaded to.
build_opentofu() {
	if [[ $("$tools/tofu" version 2>/dev/null | head -n1) == "OpenTofu $opentofu" ]]; then
		say "OpenTofu: $opentofu is there"
		return
	fi
	say "OpenTofu: building $opentofu (three to four minutes the first time)"
	local module=github.com/opentofu/opentofu@$opentofu
	logged "downloading OpenTofu" env GOFLAGS= go mod download "$module"
	logged "building OpenTofu" env GOFLAGS=-buildvcs=false go -C "$(go env GOMODCACHE)/$module" \
		build -trimpath -ldflags='-s -w -X github.com/opentofu/opentofu/version.dev=no' -o "$tools/tofu" ./cmd/tofu
}

# unpack_typings takes out of the npm packages what contrib/terraform uses, a
# directory for each resource and data source: all would be half a gigabyte.
unpack_typings() {
	local package provider wanted stamp new=$root/.tools/typings.new
	wanted=$(grep -rhoE '^(resource|data) "[a-z0-9_]+"' --include='*.tf' contrib/terraform | tr -d '"' | sort -u)
	stamp="${typings[*]} $wanted"
	if [[ $(cat -- "$root/.tools/typings/.complete" 2>/dev/null) == "$stamp" ]]; then
		say "Terraform providers' schemas: they are there"
		return
	fi
	if ! command -v npm >/dev/null; then
		say "npm is missing: left out the Terraform providers' schemas; tests that need them skip"
		return
	fi
	say "Terraform providers' schemas: fetching ${typings[*]}"
	rm -rf -- "$new"
	for package in "${typings[@]}"; do
		provider=${package#*/provider-}
		provider=${provider%@*}
		mkdir -p -- "$new/$provider"
		logged "npm pack $package" npm pack --silent --pack-destination "$new" "$package"
		typing_members "$provider" "$wanted" |
			tar -xzf "$new"/cdktf-provider-"$provider"-*.tgz -C "$new/$provider" --strip-components=1 --files-from=-
		rm -f -- "$new"/*.tgz
	done
	printf '%s\n' "$stamp" >"$new/.complete"
	rm -rf -- "$root/.tools/typings"
	mv -T -- "$new" "$root/.tools/typings"
}

# typing_members prints what a resource's name is in a package: aws_s3_bucket is
# in s3-bucket, the data source aws_region in data-aws-region.
typing_members() {
	printf 'package/%s\n' package.json lib/provider
	sed -nE "s/^resource $1_//p; s/^data ($1_)/data-\1/p" <<<"$2" | tr _ - | sed 's|^|package/lib/|'
}

# run_tests runs everything twice: under the race detector, and without it for
# what is about time and memory. Results are not taken from Go's cache, which
# does not know the neighbours.
run_tests() {
	local short=$1 whole=false
	shift
	names_package "$@" || {
		whole=true
		set -- "$@" ./...
	}
	say "go vet ./..."
	go vet ./...
	if $short; then
		say "go test -short $*"
		go test -count=1 -short "$@"
		return
	fi
	say "go test $*"
	go test -count=1 -timeout 30m "$@"
	say "go test -race $*"
	go test -count=1 -race -timeout 30m "$@"
	if $whole; then
		# The linters of container files are large, and so a module of their own.
		say "go -C tools/container test ./..."
		go -C tools/container test -count=1 ./...
	fi
}

# names_package tells whether one of the arguments is a package, not a flag or
# a flag's value.
names_package() {
	local argument
	for argument; do
		[[ $argument != ./* && $argument != github.com/* ]] || return 0
	done
	return 1
}

main "$@"
