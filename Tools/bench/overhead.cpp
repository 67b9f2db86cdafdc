// The loops of vqa-bench overhead (Overhead.swift) in C++: what the same operations cost without Swift and the shim. Built
// as a library that vqa-bench opens, so that both sides run in one process, in turns: the addresses that a process happens
// to get change such short times more than what is measured.
#include <ATen/ATen.h>

#include <chrono>

template <typename Body>
static double nanoseconds(int calls, Body body) {
    auto start = std::chrono::steady_clock::now();
    for (int call = 0; call < calls; call++) body();
    std::chrono::duration<double, std::nano> time = std::chrono::steady_clock::now() - start;
    return time.count() / calls;
}

/// Nanoseconds of one call of the operation with this number; their order is that of Overhead.swift.
extern "C" double measure_operation(int operation, int calls) {
    static const at::Tensor a = at::arange(1, 5, at::kFloat).reshape({2, 2});
    static const at::Tensor b = at::arange(5, 9, at::kFloat).reshape({2, 2});
    switch (operation) {
    case 0: return nanoseconds(calls, [] { at::Tensor c = at::add(a, b); });
    case 1: return nanoseconds(calls, [] { at::Tensor c = at::add(a, 2.0); });
    case 2: return nanoseconds(calls, [] { at::Tensor c = a.reshape({4, 1}); });
    case 3: return nanoseconds(calls, [] { at::Tensor c = at::linear(a, b); });
    case 4: return nanoseconds(calls, [] { at::Tensor c = at::cat({a, b}, 0); });
    default: return -1;
    }
}
