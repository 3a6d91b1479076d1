#!/bin/sh
# setup.sh - finds out which packages the build needs and this machine lacks.
#
#   tools/setup.sh check [PURPOSE ...]      names what is missing and how to install it; exit code 1
#   tools/setup.sh install [PURPOSE ...]    installs what is missing, after saying so
#
# If nothing is missing, both are silent and succeed. A PURPOSE (fuzz, interop, format, tidy,
# arm64, quality) adds what is needed beyond building and testing. Libraries are looked for with
# pkg-config, so that one which was built from source counts, too. Packages are installed through
# apt-get or dnf, with sudo when not root, or through brew.
set -eu

mode=${1:-}
case $mode in
check | install) shift ;;
*) echo "usage: setup.sh check|install [fuzz] [interop] [format] [tidy] [arm64] [quality]" >&2; exit 2 ;;
esac

# What is needed, how to find it, and its packages: Debian and Ubuntu, Fedora, Homebrew. A dash:
# there is no package of that name, or it is not needed there. A plus joins two packages.
needs='
cmake        command:cmake            cmake                 cmake              cmake
compiler     compiler:                gcc+libc6-dev         gcc                -
pkg-config   command:pkg-config       pkg-config            pkgconf-pkg-config pkgconf
jansson      library:jansson          libjansson-dev        jansson-devel      jansson
pcre2        library:libpcre2-8       libpcre2-dev          pcre2-devel        pcre2
utf8proc     library:libutf8proc      libutf8proc-dev       utf8proc-devel     utf8proc
libmd        library:libmd            libmd-dev             libmd-devel        libmd
cmocka       library:cmocka           libcmocka-dev         libcmocka-devel    cmocka
'
for purpose in "$@"; do
    case $purpose in
    fuzz) more='clang command:clang clang clang llvm' ;;
    interop) more='venv python:venv,ensurepip python3-venv python3 python' ;;
    format) more='clang-format-14 command:clang-format-14 clang-format-14 - -' ;;
    arm64) more='aarch64-gcc command:aarch64-linux-gnu-gcc gcc-aarch64-linux-gnu+libc6-dev-arm64-cross - -
qemu-user command:qemu-aarch64 qemu-user - -' ;;
    tidy) more='clang-tidy command:clang-tidy clang-tidy clang-tools-extra llvm' ;;
    # mlx for Linux comes with the reference BLAS, which is an order of magnitude slower.
    quality) more='openblas debian:libopenblas0-pthread libopenblas0-pthread - -' ;;
    *)
        echo "setup: unknown purpose $purpose; use fuzz, interop, format, tidy, arm64 or quality" >&2
        exit 2 ;;
    esac
    needs="$needs$more
"
done

installed_by_dpkg() {
    dpkg-query -W -f '${Status}\n' "$1" 2>/dev/null | grep -q ' installed$'
}

# found PROBE DEBIAN-PACKAGE
found() {
    what=${1#*:}
    case $1 in
    command:*) command -v "$what" >/dev/null ;;
    compiler:) echo '#include <stdio.h>' | cc -E - >/dev/null 2>&1 ;;
    python:*) python3 -c "import $what" 2>/dev/null ;;
    debian:*) ! command -v dpkg-query >/dev/null || installed_by_dpkg "$what" ;;
    library:*)
        # A machine without pkg-config may have the libraries all the same.
        if command -v pkg-config >/dev/null; then
            pkg-config --exists "$what"
        else
            installed_by_dpkg "$2"
        fi ;;
    esac
}

missing='' debian='' fedora='' brew=''
while read -r name probe on_debian on_fedora on_brew; do
    [ -n "$name" ] || continue
    found "$probe" "$on_debian" && continue
    missing="$missing $name"
    debian="$debian $(echo "$on_debian" | tr + ' ')"
    [ "$on_fedora" = - ] || fedora="$fedora $on_fedora"
    [ "$on_brew" = - ] || brew="$brew $on_brew"
done <<END
$needs
END
[ -n "$missing" ] || exit 0

if [ "$(id -u)" -eq 0 ]; then sudo=; else sudo='sudo '; fi
if command -v apt-get >/dev/null; then
    command="${sudo}apt-get install$debian"
elif command -v dnf >/dev/null; then
    command="${sudo}dnf install$fedora"
elif command -v brew >/dev/null; then
    command="brew install$brew"
else
    command=
fi

print_names() {
    {
        echo "  Debian, Ubuntu   sudo apt-get install$debian"
        echo "  Fedora           sudo dnf install${fedora:- (no package)}"
        echo "  macOS            brew install${brew:- (no formula)}    (https://brew.sh)"
        case $missing in
        *" compiler"*) echo "                   xcode-select --install      (the compiler)" ;;
        esac
    } >&2
}

if [ "$mode" = check ]; then
    echo "These dependencies are not installed:$missing." >&2
    if [ -n "$command" ]; then
        echo "\`make deps${1:+ FOR=\"$*\"}\` installs them. It runs: $command" >&2
    else
        echo "Please install the packages:" >&2
        print_names
    fi
    exit 1
fi

if [ -z "$command" ]; then
    echo "These dependencies are not installed:$missing. There is no apt-get, dnf or brew to" \
        "install them with. Please install the packages:" >&2
    print_names
    exit 1
fi
if [ "${command#sudo }" != "$command" ] && ! command -v sudo >/dev/null; then
    echo "These dependencies are not installed:$missing." \
        "Please run as root: ${command#sudo }" >&2
    exit 1
fi

echo "These dependencies are not installed:$missing. Now running: $command" >&2
log=$(mktemp)
trap 'rm -f "$log"' EXIT
quietly() {
    "$@" >"$log" 2>&1 || { cat "$log" >&2; return 1; }
}
case $command in
*apt-get*)
    apt="${sudo}env DEBIAN_FRONTEND=noninteractive apt-get -qq -y -o Dpkg::Use-Pty=0"
    # The package lists of a fresh machine are empty or too old to install from. If a list cannot
    # be fetched, the packages may still be found in the others.
    quietly $apt update || true
    quietly $apt install --no-install-recommends $debian ;;
*dnf*) quietly ${sudo}dnf -y install $fedora ;;
*) quietly brew install $brew ;;
esac || {
    echo "The packages could not be installed; the output above says why." >&2
    exit 1
}
