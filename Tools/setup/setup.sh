#!/usr/bin/env bash
# Makes this folder ready to build and test. `make setup` calls it; it may be repeated and interrupted at any time.
#
# Installs Debian packages when the headers of the image, crypto or compression libraries are missing. Everything else goes into
# .deps of this folder, never into the system's Python:
#   .deps/python    the torch wheel: libtorch and its headers
#   .deps/packages  small models and data, each file checked against packages.sha256
#   .deps/lib       the engine: our C++ over libtorch, compiled here
# Environment:
#   LIBTORCH  an existing libtorch, or a Python's torch folder, 2.7 or newer, to use instead of the wheel
#   PYTHON    the Python whose pip fetches the wheels (python3)
#   CXX       the C++ compiler (clang++ of the Swift toolchain)
set -euo pipefail
umask 022
exec </dev/null
unset CDPATH
cd -- "$(dirname -- "$0")/../.."

torch_pin=2.13.0
deps=$PWD/.deps
setup=$PWD/Tools/setup
python=${PYTHON:-python3}
work=

say() { printf '%-9s %s\n' "$1:" "$2"; }
fail() {
    printf 'error: %s\n' "$1" >&2
    exit 1
}

# True when version $1 (2.13.0+cpu) is at least $2 (2.7).
at_least() {
    local major=${1%%.*} rest=${1#*.}
    local minor=${rest%%[!0-9]*}
    [ "$major" -gt "${2%%.*}" ] || { [ "$major" -eq "${2%%.*}" ] && [ "$minor" -ge "${2#*.}" ]; }
} 2>/dev/null

# Opens a temporary folder inside .deps, so that what is complete can be moved into place at once. One set-up at a time;
# what a killed one left is removed.
begin_changes() {
    [ -z "$work" ] || return 0
    mkdir -p "$deps" 2>/dev/null || fail "cannot make the folder $deps; is $PWD writable?"
    [ -w "$deps" ] || fail "cannot write to $deps; make it writable"
    if command -v flock >/dev/null; then
        exec 9>"$deps/.lock"
        if ! flock -n 9; then
            say setup "waiting for another set-up of this folder"
            flock 9
            exec "$setup/setup.sh"
        fi
    fi
    rm -rf "$deps"/work.*
    work=$(mktemp -d "$deps/work.XXXXXX")
    trap 'rm -rf "$work"' EXIT
}

# Puts a complete folder or file in the place of an older one.
replace() {
    mkdir -p "$(dirname "$2")"
    [ ! -e "$2" ] || mv "$2" "$work/old.$(basename "$2")"
    mv "$1" "$2"
}

# --- The Swift toolchain and the system's libraries

check_swift() {
    local swift version folder
    swift=$(command -v swift) || fail "swift: not found; install Swift 6.2 or newer (swift.org/install) and put it on PATH"
    version=$(swift --version 2>/dev/null | sed -n 's/.*Swift version \([0-9.]*\).*/\1/p' | head -n 1)
    at_least "${version:-0.0}" 6.2 || fail "swift: $swift is version ${version:-unknown}; install Swift 6.2 or newer"
    say swift "$version, $swift"
    # The toolchain's own clang is the one that Swift compiles C with.
    folder=$(dirname "$(readlink -f "$swift")")
    export PATH="$PATH:$folder"
    if [ -z "${CXX:-}" ] && [ -x "$folder/clang++" ]; then export CXX="$folder/clang++"; fi
    command -v "${CXX:-clang++}" >/dev/null || fail "no C++ compiler '${CXX:-clang++}'; set CXX to a clang++ or g++"
}

missing_headers() {
    local header include=()
    if [ "$(uname)" = Darwin ]; then include=(-I"${HOMEBREW_PREFIX:-/opt/homebrew}/include"); fi
    for header in jpeglib.h png.h webp/decode.h openssl/evp.h snappy-c.h zstd.h; do
        printf '#include <stdio.h>\n#include <%s>\n' "$header" |
            "${CXX:-clang++}" ${include[@]+"${include[@]}"} -E -x c - >/dev/null 2>&1 || printf '%s ' "$header"
    done
}

install_libraries() {
    local missing as_root=()
    local packages="libjpeg62-turbo-dev libpng-dev libwebp-dev libssl-dev libsnappy-dev libzstd-dev"
    missing=$(missing_headers)
    if [ -z "$missing" ]; then
        say libraries "JPEG, PNG, WebP, OpenSSL, Snappy and Zstandard have their headers"
        return
    fi
    if [ "$(uname)" = Darwin ]; then fail "missing headers: ${missing}(run: brew install jpeg-turbo libpng webp openssl@3 snappy zstd)"; fi
    command -v apt-get >/dev/null ||
        fail "missing headers: ${missing}(install the development packages of libjpeg, libpng, libwebp, OpenSSL, Snappy and Zstandard)"
    say libraries "missing ${missing}(installing $packages)"
    if [ "$(id -u)" -ne 0 ]; then
        command -v sudo >/dev/null || fail "libraries: only root can install them (run as root: apt-get install $packages)"
        as_root=(sudo)
    fi
    as_root+=(env DEBIAN_FRONTEND=noninteractive apt-get -q -o DPkg::Lock::Timeout=300)
    # An old list of packages names files that are gone; with no network the list at hand may still do.
    "${as_root[@]}" update >/dev/null 2>&1 || true
    # shellcheck disable=SC2086 # a list of names
    "${as_root[@]}" install -y --no-install-recommends $packages >/dev/null 2>&1 ||
        fail "libraries: apt-get could not install them (to see why: apt-get install $packages)"
    missing=$(missing_headers)
    [ -z "$missing" ] || fail "libraries: still missing after the installation: $missing"
}

# The packages that Package.swift names, so that building and testing need no network.
fetch_swift_packages() {
    local name names='' missing='' log=$deps/swift.log
    # shellcheck disable=SC2013 # no blanks in the name of a repository
    for name in $(sed -n 's|.*\.package(url: ".*/\([^"/]*\)".*|\1|p' Package.swift); do
        names="$names $name"
        [ -d ".build/checkouts/$name" ] || missing="$missing $name"
    done
    if [ -n "$missing" ]; then
        begin_changes
        say swift "fetching$missing"
        swift package resolve >"$log" 2>&1 ||
            fail "Swift packages: $(grep -m 1 -E '^ *fatal:|^error:' "$log" | sed 's/^ *//' | cut -c 1-300) (all of it: $log)"
    fi
    say swift "packages:$names"
}

# --- Wheels, by pip into a folder of their own

check_python() {
    command -v "$python" >/dev/null ||
        fail "$python: not found; install Python 3.10 or newer with pip (Debian: apt-get install python3-pip), or set PYTHON"
    "$python" -m pip --version >/dev/null 2>&1 ||
        fail "$python has no pip; install it (Debian: apt-get install python3-pip), or set PYTHON to one that has it"
}

# fetch WHAT FOLDER ARGUMENT…: pip install into FOLDER; one line on failure.
fetch() {
    local what=$1 folder=$2 log=$deps/pip.log quiet=--quiet
    shift 2
    if [ -t 1 ]; then quiet=--progress-bar=on; fi
    # pip unpacks in TMPDIR; a user's own settings must not send the files elsewhere.
    TMPDIR=$work PIP_USER=no PIP_REQUIRE_VIRTUALENV=no PIP_ROOT_USER_ACTION=ignore PIP_DISABLE_PIP_VERSION_CHECK=1 \
        "$python" -m pip install "$quiet" --no-input --no-compile --only-binary :all: --retries 2 \
        --target "$folder" "$@" 2>"$log" && return
    if grep -q 'DO NOT MATCH THE HASHES' "$log"; then
        fail "$what: checksum mismatch: the file is not the pinned one: $(grep -E 'Expected|Got' "$log" | xargs)"
    elif grep -qE 'connection broken|Max retries|ConnectTimeout|Could not fetch URL' "$log"; then
        fail "$what: no network: pip cannot reach the package index; connect, or look at $log"
    fi
    fail "$what: pip failed: $(grep -E 'ERROR|Error' "$log" | tail -n 1 | sed 's/^ERROR: //' | cut -c 1-300) (all of it: $log)"
}

# --- libtorch

# The version of the libtorch in a folder; nothing when there is none.
torch_version() {
    if [ -f "$1/version.py" ]; then
        sed -n "s/^__version__ = ['\"]\(.*\)['\"].*/\1/p" "$1/version.py" | head -n 1
    elif [ -f "$1/build-version" ]; then
        head -n 1 "$1/build-version"
    fi
}

# Libraries that libtorch needs and does not find: a CUDA build keeps them in wheels of their own.
unresolved() {
    command -v ldd >/dev/null || return 0
    ldd "$1/lib/libtorch_cpu.so" | sed -n 's/^[[:space:]]*\(.*\) => not found.*/\1/p'
}

use_given_torch() {
    local folder version
    for folder in "$1" "$1/torch"; do
        version=$(torch_version "$folder")
        [ -z "$version" ] || break
    done
    [ -n "$version" ] || fail "LIBTORCH=$1: no libtorch there; name the folder that holds its include/ and lib/"
    at_least "$version" 2.7 || fail "LIBTORCH=$1: torch $version is too old; 2.7 or newer is needed"
    if [ ! -d "$folder/include/torch" ] || ! ls "$folder"/lib/libtorch_cpu.* >/dev/null 2>&1; then
        fail "LIBTORCH=$1: torch $version there lacks include/torch or lib/libtorch_cpu; install it again"
    fi
    torch=$(cd -- "$folder" && pwd)
    say torch "$version, $torch (LIBTORCH)"
}

install_torch() {
    local found
    torch=$deps/python/torch
    found=$(torch_version "$torch")
    if [ "${found%%+*}" != "$torch_pin" ]; then
        check_python
        begin_changes
        say torch "${found:+$found found, }fetching the wheel of $torch_pin (200 MB; several GB for a CUDA build)"
        fetch torch "$work/python" --no-deps "torch==$torch_pin"
        if [ -n "$(unresolved "$work/python/torch")" ]; then
            say torch "fetching the CUDA libraries that this build needs"
            rm -rf "$work/python"
            fetch torch "$work/python" "torch==$torch_pin"
            found=$(unresolved "$work/python/torch")
            [ -z "$found" ] || fail "torch: this build needs libraries that are not there: $(printf %s "$found" | tr '\n' ' ')"
        fi
        replace "$work/python" "$deps/python"
        found=$(torch_version "$torch")
    fi
    say torch "$found, .deps/python/torch"
}

# --- Small models and data

# The lines of packages.sha256 for package $1.
sums_of() { grep " $1/" "$setup/packages.sha256"; }

# True when every listed file of package $1 under folder $2 has its checksum.
intact() {
    local program=sha256sum
    command -v sha256sum >/dev/null || program="shasum -a 256"
    sums_of "$1" | (cd -- "$2" 2>/dev/null && $program -c --status - 2>/dev/null)
}

# True when package $1 is in place: the last check was against the same sums, and no file is newer than it.
in_place() {
    local checked=$deps/packages/$1/.checked file
    [ "$(cat "$checked" 2>/dev/null)" = "$(sums_of "$1")" ] || return 1
    for file in $(sums_of "$1" | sed 's/^[^ ]* *//'); do
        file=$deps/packages/$file
        if [ ! -f "$file" ] || [ "$file" -nt "$checked" ]; then return 1; fi
    done
}

install_packages() {
    local pin name names=
    # shellcheck disable=SC2013 # no blanks in a pin, NAME==VERSION
    for pin in $(sed -n 's/ --hash=.*//p' "$setup/packages.txt"); do
        name=$(printf %s "${pin%%==*}" | tr - _)
        names="$names $name"
        if in_place "$name"; then continue; fi
        begin_changes
        if ! intact "$name" "$deps/packages"; then
            check_python
            say packages "fetching $pin"
            grep "^$pin " "$setup/packages.txt" >"$work/requirement.txt"
            fetch "$pin" "$work/packages" --no-deps --require-hashes -r "$work/requirement.txt"
            intact "$name" "$work/packages" || fail "$pin: checksum mismatch: a file in it differs from packages.sha256"
            replace "$work/packages/$name" "$deps/packages/$name"
            rm -rf "$work/packages"
        fi
        sums_of "$name" >"$deps/packages/$name/.checked"
    done
    say packages "${names# }, checksums right"
}

# --- The engine

build_engine() {
    local library=$deps/lib/libvqatorch.so
    if [ "$(uname)" = Darwin ]; then library=${library%.so}.dylib; fi
    "$setup/build-engine.sh" "$torch" "$library" || fail "engine: it did not compile against $torch (see above)"
}

check_swift
fetch_swift_packages
install_libraries
if [ -n "${LIBTORCH:-}" ]; then use_given_torch "$LIBTORCH"; else install_torch; fi
install_packages
build_engine
