#!/bin/sh
# setup.sh - sees to it that what a build needs is installed. `make` runs it first, every time; if
# nothing is missing it does nothing and says nothing.
#
#   tools/setup.sh [fuzz|interop|format|tidy|quality ...]     what is needed beyond building and testing
#
# On Debian and its descendants missing packages are installed through apt-get, with sudo when not
# root. Elsewhere it looks for the libraries themselves and, if one is missing, prints the names.
set -eu

debian="cmake make gcc libc6-dev pkg-config libjansson-dev libpcre2-dev libutf8proc-dev libmd-dev
        libcmocka-dev"
for extra in "$@"; do
    case $extra in
    fuzz) debian="$debian clang" ;;
    interop) debian="$debian python3-venv" ;;
    format) debian="$debian clang-format-14" ;;
    tidy) debian="$debian clang-tidy" ;;
    quality) debian="$debian libopenblas0-pthread" ;; # for mlx, whose own BLAS is the reference one
    *) echo "setup: nothing is known by the name $extra" >&2; exit 2 ;;
    esac
done

missing_packages() {
    for package in $debian; do
        # A compiler or pkg-config by another package's name will do.
        case $package in
        gcc) command -v cc >/dev/null && continue ;;
        pkg-config | cmake | make | clang) command -v "$package" >/dev/null && continue ;;
        esac
        dpkg-query -W -f '${Status}\n' "$package" 2>/dev/null | grep -q ' installed$' ||
            printf ' %s' "$package"
    done
}

print_names() {
    cat >&2 <<END
setup: something that the build needs is missing:$1
Please install the packages below and run make again.

  Debian, Ubuntu   $(echo $debian | fold -s -w 60 | sed '2,$s/^/                   /')
  Fedora           cmake make gcc pkgconf-pkg-config jansson-devel pcre2-devel utf8proc-devel
                   libmd-devel libcmocka-devel
  Homebrew         cmake pkg-config jansson pcre2 utf8proc libmd cmocka
END
    exit 1
}

if ! command -v dpkg-query >/dev/null || ! command -v apt-get >/dev/null; then
    missing=
    for tool in cmake cc pkg-config; do
        command -v "$tool" >/dev/null || missing="$missing $tool"
    done
    if command -v pkg-config >/dev/null; then
        for library in jansson libpcre2-8 libutf8proc libmd cmocka; do
            pkg-config --exists "$library" || missing="$missing $library"
        done
    fi
    [ -z "$missing" ] || print_names "$missing"
    exit 0
fi

missing=$(missing_packages)
[ -n "$missing" ] || exit 0
as_root=
if [ "$(id -u)" -ne 0 ]; then
    command -v sudo >/dev/null || print_names "$missing (and there is no sudo to install it with)"
    as_root=sudo
fi
echo "setup: installing$missing" >&2
log=$(mktemp)
trap 'rm -f "$log"' EXIT
apt() {
    $as_root env DEBIAN_FRONTEND=noninteractive apt-get -qq -y -o Dpkg::Use-Pty=0 "$@" >"$log" 2>&1 ||
        { cat "$log" >&2; return 1; }
}
# The lists are fetched anew: those of a fresh machine are empty or too old to install from. A
# list that cannot be fetched need not be one that we use.
apt update || true
apt install --no-install-recommends $missing || print_names "$missing (apt-get could not install it)"
