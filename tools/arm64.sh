#!/bin/sh
# arm64.sh - prepares a build for AArch64 on a Debian machine of another processor: fetches Debian's
# arm64 packages of our libraries and unpacks them into build-arm64/sysroot. Nothing of it is
# installed, and apt's own lists are left alone. Exit code 77 if the packages cannot be fetched.
set -eu
cd "$(dirname "$0")/.."
dir=$PWD/build-arm64
[ -f "$dir/sysroot/done" ] && exit 0

packages='libjansson-dev libjansson4 libpcre2-dev libpcre2-8-0 libutf8proc-dev libutf8proc2
    libmd-dev libmd0 libcmocka-dev libcmocka0'
log=$dir/packages.log
mkdir -p "$dir/lists/partial" "$dir/archives/partial" "$dir/sysroot"
apt() {
    apt-get -qq -o Dir::State::lists="$dir/lists" -o Dir::Cache="$dir" -o APT::Sandbox::User=root \
        -o APT::Architectures::="$(dpkg --print-architecture)" -o APT::Architectures::=arm64 "$@"
}

fetch() {
    apt update && cd "$dir/archives" && apt download $(printf '%s:arm64 ' $packages)
}
if ! command -v apt-get >/dev/null || ! (fetch) >"$log" 2>&1; then
    cat "$log" 2>/dev/null
    echo "SKIP arm64: the arm64 packages of the libraries cannot be fetched with apt-get"
    exit 77
fi
rm -rf "$dir/lists"
for package in "$dir"/archives/*.deb; do
    dpkg-deb -x "$package" "$dir/sysroot"
done
# A package may have put its library into /lib, where a merged /usr would have it anyway.
[ ! -d "$dir/sysroot/lib" ] || cp -a "$dir/sysroot/lib/." "$dir/sysroot/usr/lib/"
touch "$dir/sysroot/done"
