// The loops of vqa-bench overhead (Overhead.swift) in C++: what the same operations cost without Swift and the shim.
#include <ATen/ATen.h>
#include <ATen/Parallel.h>

#include <algorithm>
#include <chrono>
#include <cstdio>
#include <limits>

template <typename Body>
static void measure(const char *name, Body body) {
    const int rounds = 100, calls = 2000;
    double best = std::numeric_limits<double>::infinity();
    for (int round = 0; round < rounds; round++) {
        auto start = std::chrono::steady_clock::now();
        for (int call = 0; call < calls; call++) body();
        std::chrono::duration<double, std::nano> time = std::chrono::steady_clock::now() - start;
        best = std::min(best, time.count() / calls);
    }
    std::printf("%s %.1f\n", name, best);
}

int main() {
    at::set_num_threads(1);
    at::Tensor a = at::arange(1, 5, at::kFloat).reshape({2, 2}), b = at::arange(5, 9, at::kFloat).reshape({2, 2});
    measure("add", [&] { at::Tensor c = at::add(a, b); });
    measure("add_number", [&] { at::Tensor c = at::add(a, 2.0); });
    measure("reshape", [&] { at::Tensor c = a.reshape({4, 1}); });
    measure("linear", [&] { at::Tensor c = at::linear(a, b); });
    measure("concatenate", [&] { at::Tensor c = at::cat({a, b}, 0); });
}
