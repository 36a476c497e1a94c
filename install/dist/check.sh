#!/bin/sh
# Makes a release of the commit twice, from clones in different folders and with
# different umasks and time zones, and compares every byte. ARCH: the architectures.
set -eu
root=$(CDPATH='' cd -- "$(dirname -- "$0")/../.." && pwd)
temp=$(mktemp -d)
trap 'rm -rf "$temp"' EXIT
trap 'exit 1' HUP INT TERM

build() { # folder
	git clone -q --no-hardlinks "$root" "$1/source"
	git -C "$1/source" checkout -q --detach "$(git -C "$root" rev-parse HEAD)"
	(cd "$1/source/install/dist" && go run . -out "$1/dist" -arch "${ARCH:-amd64}" && go run . -out "$1/dist" -sums)
}
mkdir "$temp/one" "$temp/another-folder"
build "$temp/one"
(
	umask 077
	TZ=Pacific/Chatham
	export TZ
	sleep 2 # so that times to the second differ
	build "$temp/another-folder"
)
if ! diff "$temp/one/dist/SHA256SUMS" "$temp/another-folder/dist/SHA256SUMS"; then
	echo "dist-check: two runs on one commit differ" >&2
	exit 1
fi
(cd "$temp/one/dist" && sha256sum --quiet -c SHA256SUMS)
echo "dist-check: $(wc -l <"$temp/one/dist/SHA256SUMS") files are the same, byte by byte"
