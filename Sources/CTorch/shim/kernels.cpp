// Compiles the kernels for each instruction set and chooses among them.
#include "kernels.hpp"

#include <atomic>
#include <cstring>
#include <initializer_list>

#define KERNEL_NAMESPACE baseline
#define KERNEL_NAME "baseline"
#define KERNEL_HALF 0
#define WIDTH 4
#include "kernels.inl"

#if defined(__x86_64__) && defined(__clang__)
#define HAS_X86_KERNELS 1

#pragma clang attribute push(__attribute__((target("avx2,fma,f16c"))), apply_to = function)
#define KERNEL_NAMESPACE avx2
#define KERNEL_NAME "avx2"
#define KERNEL_HALF 1
#define WIDTH 8
#include "kernels.inl"
#pragma clang attribute pop

#pragma clang attribute push(__attribute__((target("avx512f,avx512bw,avx512dq,avx512vl,avx2,fma,f16c"))), \
                             apply_to = function)
#define KERNEL_NAMESPACE avx512
#define KERNEL_NAME "avx512"
#define KERNEL_HALF 1
#define WIDTH 16
#include "kernels.inl"
#pragma clang attribute pop
#endif

namespace ct {

namespace {

const Kernels *find(const char *name) {
    auto wanted = [&](const char *candidate) { return name == nullptr || std::strcmp(name, candidate) == 0; };
#if HAS_X86_KERNELS
    bool avx2 = __builtin_cpu_supports("avx2") && __builtin_cpu_supports("fma") && __builtin_cpu_supports("f16c");
    bool avx512 = avx2 && __builtin_cpu_supports("avx512f") && __builtin_cpu_supports("avx512bw") &&
                  __builtin_cpu_supports("avx512dq") && __builtin_cpu_supports("avx512vl");
    if (avx512 && wanted("avx512")) return &avx512::table;
    if (avx2 && wanted("avx2")) return &avx2::table;
#endif
    return wanted("baseline") ? &baseline::table : nullptr;
}

std::atomic<const Kernels *> chosen{nullptr};

}  // namespace

const Kernels &kernels() {
    const Kernels *found = chosen.load(std::memory_order_acquire);
    if (found == nullptr) chosen.store(found = find(nullptr), std::memory_order_release);
    return *found;
}

bool selectKernels(const char *name) {
    const Kernels *found = find(name);
    if (found != nullptr) chosen.store(found, std::memory_order_release);
    return found != nullptr;
}

}  // namespace ct
