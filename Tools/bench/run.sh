#!/usr/bin/env bash
# Measures our program beside its Python and C++ peers and prints the ratios; docs/benchmarks.md explains them.
# `make bench` calls it after the release build.
#
# usage: Tools/bench/run.sh [PART…]   (parts: training search images tokens ask start generate bandwidth score captions overhead; all of them when none is named)
# Environment:
#   LIBTORCH      the torch folder of a Python, when make setup used one
#   PYTHON        the Python for the peers, of the version that torch is for (python3)
#   BENCH_ROUNDS  rounds of each contender (11)
set -euo pipefail
unset CDPATH
bench=$(cd -- "$(dirname -- "$0")" && pwd)
cd -- "$bench/../.."

fail() {
    printf 'error: %s\n' "$1" >&2
    exit 1
}

torch=$(cd -- "${LIBTORCH:-.deps/python/torch}" 2>/dev/null && pwd) || fail "torch is not there; run make setup"
[ -f "$torch/__init__.py" ] || fail "$torch is no Python package; the peers need a torch that Python can import"
[ -x .build/release/vqa ] || fail ".build/release/vqa is not there; run make bench, which builds it"

# The Swift toolchain's own clang, as in make setup.
if [ -z "${CXX:-}" ] && ! command -v clang++ >/dev/null; then
    PATH=$PATH:$(dirname -- "$(readlink -f "$(command -v swift)")")
fi

environment=.deps/bench
if ! cmp -s "$bench/requirements.txt" "$environment/requirements.txt"; then
    echo "peers: fetching the packages of Tools/bench/requirements.txt"
    rm -rf "$environment"
    "${PYTHON:-python3}" -m venv "$environment"
    "$environment/bin/pip" install --quiet --disable-pip-version-check --no-input --only-binary :all: \
        -r "$bench/requirements.txt" || fail "peers: pip could not install Tools/bench/requirements.txt"
    cp "$bench/requirements.txt" "$environment/requirements.txt"
fi
swift build -c release --package-path "$bench/swift" --quiet

results=runs/bench
mkdir -p "$results"
"${CXX:-clang++}" -std=c++20 -O2 -shared -fPIC -isystem "$torch/include" "$bench/overhead.cpp" -L"$torch/lib" -ltorch_cpu -lc10 \
    -Wl,-rpath,"$torch/lib" -o "$results/overhead.so"

# Both sides of every contest run under the same settings.
export OMP_NUM_THREADS=2 RAYON_NUM_THREADS=1 TOKENIZERS_PARALLELISM=false PYTHONPATH=${torch%/*}
exec "$environment/bin/python" "$bench/peers/bench.py" "$@"
