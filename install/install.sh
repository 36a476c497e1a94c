#!/bin/sh
# Makes this machine a Fieldpost agent's, in one line and without internet: installs the
# package that lies beside this script, enrols, starts the service, and waits until the
# collector has answered. See usage below.
set -eu

config=/etc/fieldpost/agent.yaml
data=/var/lib/fieldpost/agent
here=$(CDPATH='' cd -- "$(dirname -- "$0")" && pwd)

usage() {
	cat <<-END
		usage: install.sh --collector HOST:PORT [--id NAME] [--token-file FILE] [--package FILE] [--wait SECONDS]

		  --collector HOST:PORT  where the agent enrols and delivers
		  --id NAME              the agent's name, for good (default: the host's name)
		  --token-file FILE      the token of "collector token create"; -: standard input
		  --token TOKEN          the token itself; other users of this machine may see it here
		  --package FILE         a .deb, .rpm, .apk or .tar.gz of fieldpost-agent (default: the one beside this script)
		  --wait SECONDS         how long to wait for the collector's answer (default 60)

		The token may also be in the environment variable FIELDPOST_TOKEN. It may be run again:
		what is done already stays, above all the enrolment, and no token is needed then.

		Exit codes: 0 the collector has answered, 1 something could not be done, 2 the command
		line is wrong, 69 the collector does not answer. What it did stays; run it again.
	END
}

say() { printf '%s\n' "install: $*"; }
fail() {
	code=$1
	shift
	printf '%s\n' "install: $*" >&2
	exit "$code"
}
have() { command -v "$1" >/dev/null 2>&1; }

collector='' id='' token=${FIELDPOST_TOKEN-} token_file='' package='' wait=60
while [ $# -gt 0 ]; do
	case $1 in
	-h | --help)
		usage
		exit 0
		;;
	--collector | --id | --token | --token-file | --package | --wait)
		[ $# -ge 2 ] || fail 2 "$1 needs a value; see install.sh --help"
		case $1 in
		--collector) collector=$2 ;;
		--id) id=$2 ;;
		--token) token=$2 ;;
		--token-file) token_file=$2 ;;
		--package) package=$2 ;;
		--wait) wait=$2 ;;
		esac
		shift
		;;
	*=*) fail 2 "write ${1%%=*} and its value as two words" ;;
	*) fail 2 "$1 is not known; see install.sh --help" ;;
	esac
	shift
done
unset FIELDPOST_TOKEN # no program but the one that needs it gets it
[ -n "$collector" ] || fail 2 "no collector: give --collector HOST:PORT"
case $wait in
'' | *[!0-9]* | 0) fail 2 "--wait takes a number of seconds, not \"$wait\"" ;;
esac
[ "$(uname -s)" = Linux ] || fail 1 "this is for Linux, not for $(uname -s)"
[ "$(id -u)" = 0 ] || fail 1 "only root may install; run it with sudo"

# Which package: by what this machine takes, and by its architecture.
case $(uname -m) in
x86_64) arch=amd64 ;;
aarch64) arch=arm64 ;;
armv7*) arch=armv7 ;;
riscv64) arch=riscv64 ;;
*) fail 1 "there are packages for x86_64, aarch64, armv7 and riscv64, not for $(uname -m)" ;;
esac
# One file of a pattern beside this script, as $found; none: "".
beside() {
	found=''
	for f in "$here"/$1; do
		[ -f "$f" ] || continue
		[ -z "$found" ] || fail 2 "there are several packages in $here; name one with --package"
		found=$f
	done
}
if [ -z "$package" ]; then
	found=''
	if have dpkg; then beside "fieldpost-agent_*_$arch.deb"; fi
	if [ -z "$found" ] && have rpm; then beside "fieldpost-agent_*_$arch.rpm"; fi
	if [ -z "$found" ] && have apk; then beside "fieldpost-agent_*_$arch.apk"; fi
	if [ -z "$found" ] && [ -f "$here/bin/fieldpost-agent" ]; then found=$here; fi
	if [ -z "$found" ]; then beside "fieldpost_*_linux_$arch.tar.gz"; fi
	[ -n "$found" ] || fail 1 "there is no package for this machine ($arch) in $here; name one with --package FILE"
	package=$found
fi
[ -e "$package" ] || fail 1 "$package is not there"
sums=$(dirname -- "$package")/SHA256SUMS
if [ -f "$package" ] && [ -f "$sums" ] && have sha256sum; then
	line=$(awk -v name="$(basename -- "$package")" '$2 == name' "$sums")
	[ -n "$line" ] || fail 1 "$sums does not name $package: one of them is not of this release"
	(cd -- "$(dirname -- "$package")" && printf '%s\n' "$line" | sha256sum -c - >/dev/null 2>&1) ||
		fail 1 "$package is not what $sums says: it is damaged, or another file; copy it again"
	say "the sum of $(basename -- "$package") is right"
fi

# A temporary folder for what is unpacked.
temp=''
trap 'if [ -n "$temp" ]; then rm -rf "$temp"; fi' EXIT
trap 'exit 1' HUP INT TERM

# The programs of an archive, without a package manager.
from_folder() {
	program=/usr/local/bin/fieldpost-agent
	new=$1/bin/fieldpost-agent
	"$new" version >/dev/null || fail 1 "$new does not run on this machine"
	if [ -e "$data/agent.json" ]; then
		reads=$("$new" version --json | sed -n 's/.*"format":\([0-9][0-9]*\).*/\1/p')
		is=$(sed -n 's/.*"format"[[:space:]]*:[[:space:]]*\([0-9][0-9]*\).*/\1/p' "$data/agent.json" | head -n 1)
		[ "${is:-0}" -le "${reads:-0}" ] || fail 1 "$data is of format $is, and this version reads formats up to $reads: a later version has written it; nothing is changed. Install that version or a later one"
	fi
	if [ -x "$program" ] && cmp -s "$new" "$program"; then
		say "$program is there already"
		return
	fi
	mkdir -p /usr/local/bin
	cp "$new" "$program.new"
	chmod 755 "$program.new"
	mv "$program.new" "$program" # at once: a service that runs goes on with the old one until it is restarted
	changed=yes
	say "$("$program" version) is in $program"
}

changed=''
program=/usr/bin/fieldpost-agent
case $package in
*.deb)
	version=$(dpkg-deb -f "$package" Version)
	if [ "$(dpkg-query -W -f '${Version} ${db:Status-Status}' fieldpost-agent 2>/dev/null || true)" = "$version installed" ]; then
		say "fieldpost-agent $version is installed already"
	else
		# An administrator's changes to the configuration stay, and nobody is asked.
		DEBIAN_FRONTEND=noninteractive dpkg --force-confdef --force-confold -i "$package" || fail 1 "dpkg could not install $package"
		say "fieldpost-agent $version is installed"
	fi
	;;
*.rpm)
	version=$(rpm -qp --qf '%{VERSION}-%{RELEASE}' "$package")
	if [ "$(rpm -q --qf '%{VERSION}-%{RELEASE}' fieldpost-agent 2>/dev/null || true)" = "$version" ]; then
		say "fieldpost-agent $version is installed already"
	else
		rpm -U --oldpackage "$package" || fail 1 "rpm could not install $package"
		say "fieldpost-agent $version is installed"
	fi
	;;
*.apk)
	apk add --no-network --allow-untrusted "$package" || fail 1 "apk could not install $package"
	;;
*.tar.gz)
	temp=$(mktemp -d)
	tar -xzf "$package" -C "$temp" || fail 1 "$package cannot be unpacked"
	from_folder "$(dirname -- "$(dirname -- "$(find "$temp" -path '*/bin/fieldpost-agent')")")"
	;;
*)
	if [ -d "$package" ]; then from_folder "$package"; else fail 2 "$package is no .deb, .rpm, .apk or .tar.gz"; fi
	;;
esac

# The account, the folders, the configuration, the service: what a package has not made.
if ! out=$("$program" service install 2>&1); then
	"$program" service prepare >/dev/null || fail 1 "$out"
	[ -e "$config" ] || printf 'dir: %s\n' "$data" >"$config"
	say "no service is made: $out"
fi

# The enrolment. One that is there stays.
enrolled=$data/tls/enrolment.json
if [ -e "$enrolled" ]; then
	at=$(sed -n 's/.*"collector"[[:space:]]*:[[:space:]]*"\([^"]*\)".*/\1/p' "$enrolled" | head -n 1)
	is=$(sed -n 's/.*"id"[[:space:]]*:[[:space:]]*"\([^"]*\)".*/\1/p' "$enrolled" | head -n 1)
	[ -z "$id" ] || [ "$id" = "$is" ] || fail 1 "this machine is the agent $is for good, not $id; another one needs a folder of its own"
	say "it is enrolled already, as $is at $at; that stays"
	[ "$at" = "$collector" ] || say "to enrol it at $collector instead: $program enroll --config $config --collector $collector --token-file FILE"
else
	set -- enroll --config "$config" --collector "$collector"
	if [ -n "$id" ]; then set -- "$@" --id "$id"; fi
	code=0
	if [ -n "$token_file" ]; then
		"$program" "$@" --token-file "$token_file" || code=$?
	elif [ -n "$token" ]; then
		FIELDPOST_TOKEN=$token "$program" "$@" || code=$?
	else
		fail 2 "no token: give --token-file FILE, or set FIELDPOST_TOKEN; \"collector token create\" makes one"
	fi
	[ "$code" = 0 ] || fail "$code" "it is installed and not enrolled; the message above says why; then run this again"
fi

# The service. A daemon that waits for its enrolment sees it by itself.
if ! "$program" service status >/dev/null 2>&1; then
	if ! out=$("$program" service start 2>&1); then
		say "the service was not started: $out"
		say "without a service system it is started with: $program run --stay --config $config"
		exit 1
	fi
elif [ -n "$changed" ]; then
	"$program" service restart >/dev/null || fail 1 "the service was not restarted; \"$program service status\" and its log say why"
fi
code=0
"$program" status --config "$config" --wait "${wait}s" >/dev/null || code=$?
[ "$code" = 0 ] || fail "$code" "it is installed, enrolled and started, and $collector does not answer yet; it goes on trying by itself. Look whether the collector runs and a firewall lets this machine through; \"$program status --config $config\" says how it stands"
say "done: the collector has answered the agent's heartbeat"
