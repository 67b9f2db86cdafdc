#include "team.hpp"

#include <ATen/Parallel.h>
#include <dlfcn.h>
#include <sched.h>

#include <algorithm>
#include <chrono>
#include <thread>
#include <vector>

namespace ct {

namespace {

/// The interface of GNU's runtime, which LLVM's and Intel's have as well.
struct OpenMP {
    void (*parallel)(void (*)(void *), void *, unsigned, unsigned) = nullptr;
    int (*thread)() = nullptr;
    int (*threads)() = nullptr;

    OpenMP() {
        parallel = reinterpret_cast<decltype(parallel)>(dlsym(RTLD_DEFAULT, "GOMP_parallel"));
        thread = reinterpret_cast<decltype(thread)>(dlsym(RTLD_DEFAULT, "omp_get_thread_num"));
        threads = reinterpret_cast<decltype(threads)>(dlsym(RTLD_DEFAULT, "omp_get_num_threads"));
    }
    bool isThere() const { return parallel != nullptr && thread != nullptr && threads != nullptr; }
};

const OpenMP openMP;

struct Call {
    TeamBody body;
    void *context;
};

/// A libtorch without an OpenMP runtime of this interface: threads made for the call.
void runThreads(const Call &call, int threads) {
    std::vector<std::thread> others;
    for (int i = 1; i < threads; i++) others.emplace_back(call.body, call.context, i, threads);
    call.body(call.context, 0, threads);
    for (std::thread &other : others) other.join();
}

inline void pause() {
#if defined(__x86_64__)
    __builtin_ia32_pause();
#endif
}

}  // namespace

int teamSize() { return at::in_parallel_region() ? 1 : std::max(1, at::get_num_threads()); }

void runTeam(TeamBody body, void *context, int threads) {
    Call call{body, context};
    if (threads <= 1) return body(context, 0, 1);
    if (!openMP.isThere()) return runThreads(call, threads);
    // The team may turn out smaller than asked for.
    auto run = [](void *data) {
        Call *call = static_cast<Call *>(data);
        call->body(call->context, openMP.thread(), openMP.threads());
    };
    openMP.parallel(run, &call, static_cast<unsigned>(threads), 0);
}

void Barrier::wait(int threads) {
    if (threads == 1) return;
    uint32_t round = round_.load(std::memory_order_acquire);
    if (arrived_.fetch_add(1, std::memory_order_acq_rel) + 1 == threads) {
        arrived_.store(0, std::memory_order_relaxed);
        round_.store(round + 1, std::memory_order_release);
        return;
    }
    auto isOpen = [&] { return round_.load(std::memory_order_acquire) != round; };
    for (int spins = 0; spins < 2000; spins++) {
        if (isOpen()) return;
        pause();
    }
    // Another process may hold the processor that the last thread waits for.
    auto start = std::chrono::steady_clock::now();
    while (!isOpen()) sched_yield();
    std::chrono::nanoseconds waited = std::chrono::steady_clock::now() - start;
    lost_.fetch_add(waited.count(), std::memory_order_relaxed);
}

void Pace::finished(int threads, int64_t nanoseconds, int64_t lost) {
    if (threads > 1) {
        lastTogether_ = nanoseconds;
        if (together_ > 0) together_--;
        isTrial_ = together_ == 0 && lost > nanoseconds / 4 * (threads - 1);
        alone_ = isTrial_ ? 1 : 0;
    } else if (isTrial_) {
        isTrial_ = false;
        bool wasQuicker = nanoseconds < lastTogether_;
        alone_ = wasQuicker ? while_ : 0;
        together_ = wasQuicker ? 0 : while_;
    } else if (alone_ > 0) {
        alone_--;
    }
}

}  // namespace ct
