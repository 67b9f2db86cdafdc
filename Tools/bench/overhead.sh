#!/usr/bin/env bash
# Nanoseconds that one small operation costs more from Swift than from C++ (bar: 150).
# usage: overhead.sh TORCH_FOLDER SWIFT_PROGRAM   (the program built from Tools/bench/overhead)
set -eu
torch=$1 program=$2
here=$(cd "$(dirname "$0")" && pwd)
build=$(mktemp -d); trap 'rm -rf "$build"' EXIT
"${CXX:-clang++}" -std=c++20 -O2 -isystem "$torch/include" "$here/overhead.cpp" \
    -L"$torch/lib" -ltorch_cpu -lc10 -Wl,-rpath,"$torch/lib" -o "$build/cpp"
# In turns, so that both meet the same noise.
for _ in 1 2 3; do "$build/cpp" >> "$build/cpp.txt"; "$program" >> "$build/swift.txt"; done
awk 'FNR == 1 { file++ }
     !((file, $1) in best) || $2 < best[file, $1] { best[file, $1] = $2 }
     FNR == NR && !seen[$1]++ { names[++count] = $1 }
     END { printf "%-12s %8s %8s %8s\n", "operation", "C++ ns", "Swift ns", "more ns"
           for (i = 1; i <= count; i++) {
               name = names[i]
               printf "%-12s %8.0f %8.0f %8.0f\n", name, best[1, name], best[2, name], best[2, name] - best[1, name]
           } }' \
    "$build/cpp.txt" "$build/swift.txt"
