#!/usr/bin/env bash
# Compiles the C++ shim over libtorch into one shared library.
# usage: build-engine.sh TORCH_FOLDER OUTPUT.so   (TORCH_FOLDER holds include/ and lib/)
set -eu
torch=$1 output=$2
here=$(cd "$(dirname "$0")/../.." && pwd)
compiler=${CXX:-clang++}
if ! command -v "$compiler" >/dev/null; then
    echo "error: no C++ compiler '$compiler'; install clang (the Swift toolchain brings it) or set CXX" >&2
    exit 1
fi

# Rebuild only when a source, the header, the compiler or libtorch changed.
stamp=$( {
    find "$here"/Sources/CTorch/shim -type f -print0 | sort -z | xargs -0 cat
    cat "$here"/Sources/CTorch/include/CTorch.h "$0"
    cat "$torch"/version.py "$torch"/build-version 2>/dev/null || true
    echo "$torch"
    "$compiler" --version
} | cksum)
if [ -f "$output" ] && [ "$(cat "$output.stamp" 2>/dev/null)" = "$stamp" ]; then
    echo "engine:   ${output#"$here/"} is up to date"
    exit 0
fi
echo "engine:   compiling the libtorch shim (a minute or two)"
mkdir -p "$(dirname "$output")"
build=$(mktemp -d)
trap 'rm -rf "$build"' EXIT
flags=(-std=c++20 -O2 -fPIC -fvisibility=hidden -Wall -Wextra -Werror
    -isystem "$torch/include" -isystem "$torch/include/torch/csrc/api/include")
compile() { # SOURCE [FLAG…]
    "$compiler" "${flags[@]}" "${@:2}" -c "$1" -o "$build/$(basename "$1" .cpp).o"
}
# Gloo's headers are not in the wheel: ours stand in. Some builds of libtorch have no c10d at all.
compile_collectives() {
    compile "$1" -idirafter "$(dirname "$1")/gloo" -DCT_COLLECTIVES 2>/dev/null && return
    echo "engine:   this libtorch has no c10d with Gloo; processes cannot compute together"
    compile "$1"
}
pids=()
for source in "$here"/Sources/CTorch/shim/*.cpp; do
    case "$source" in
        */collectives.cpp) compile_collectives "$source" & ;;
        *) compile "$source" & ;;
    esac
    pids+=($!)
done
for pid in "${pids[@]}"; do wait "$pid"; done
# Not linking OpenMP: libtorch brings the one runtime that may be loaded.
"$compiler" -shared "$build"/*.o -L"$torch/lib" -ltorch_cpu -lc10 -Wl,-rpath,"$torch/lib" -o "$output.new"
mv "$output.new" "$output"
echo "$stamp" >"$output.stamp"
echo "engine:   ${output#"$here/"}"
