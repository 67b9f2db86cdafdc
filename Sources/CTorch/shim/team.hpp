// Several threads at work on one loop: the threads of libtorch's own OpenMP runtime. The shim is compiled without
// OpenMP, because a second runtime beside libtorch's would fight it for the processors; at::parallel_for, whose loop
// lies in a header, would therefore run on one thread.
#pragma once

#include <atomic>
#include <cstdint>

namespace ct {

/// Called on every thread of a team with its number and the size of the team; must not throw.
using TeamBody = void (*)(void *context, int thread, int threads);

/// Runs `body` on up to at::get_num_threads() threads at once; on the caller's alone inside another parallel loop.
void runTeam(TeamBody body, void *context);

template <typename Body>
void runTeam(Body &body) {
    runTeam([](void *context, int thread, int threads) { (*static_cast<Body *>(context))(thread, threads); }, &body);
}

/// The part of `count` that belongs to a thread: first ≤ i < last.
struct Share {
    int64_t first, last;

    Share(int64_t count, int thread, int threads)
        : first(count * thread / threads), last(count * (thread + 1) / threads) {}
};

/// Where the threads of a team wait for each other. They spin: the waits are shorter than a sleep would be.
class Barrier {
  public:
    void wait(int threads);

  private:
    alignas(64) std::atomic<int> arrived_{0};
    alignas(64) std::atomic<uint32_t> round_{0};
};

}  // namespace ct
