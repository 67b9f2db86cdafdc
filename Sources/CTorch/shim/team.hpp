// Several threads at work on one loop: the threads of libtorch's own OpenMP runtime. The shim is compiled without
// OpenMP, because a second runtime beside libtorch's would fight it for the processors; at::parallel_for, whose loop
// lies in a header, would therefore run on one thread.
#pragma once

#include <atomic>
#include <cstdint>

namespace ct {

/// Called on every thread of a team with its number and the size of the team; must not throw.
using TeamBody = void (*)(void *context, int thread, int threads);

/// Threads that a team has now: those of libtorch, or one inside another parallel loop.
int teamSize();

/// Runs `body` on up to `threads` threads at once.
void runTeam(TeamBody body, void *context, int threads);

template <typename Body>
void runTeam(Body &body, int threads = teamSize()) {
    runTeam([](void *context, int thread, int threads) { (*static_cast<Body *>(context))(thread, threads); }, &body,
            threads);
}

/// The part of `count` that belongs to a thread: first ≤ i < last.
struct Share {
    int64_t first, last;

    Share(int64_t count, int thread, int threads)
        : first(count * thread / threads), last(count * (thread + 1) / threads) {}
};

/// Where the threads of a team wait for each other. They spin: most waits are shorter than a sleep would be.
class Barrier {
  public:
    void wait(int threads);

    /// The nanoseconds that all threads together have lost in long waits, since it was last asked.
    int64_t takeLost() { return lost_.exchange(0); }

  private:
    alignas(64) std::atomic<int> arrived_{0};
    alignas(64) std::atomic<uint32_t> round_{0};
    alignas(64) std::atomic<int64_t> lost_{0};
};

/// How many threads the next of many equal pieces of work should have. A thread that another process keeps from running
/// holds up the others at every barrier, so on a busy machine one thread alone can be many times quicker. When a piece has
/// lost a quarter of its time in long waits, the next one is tried alone; if that is quicker, so are the following ones.
class Pace {
  public:
    int threads(int all) const { return alone_ > 0 ? 1 : all; }
    void finished(int threads, int64_t nanoseconds, int64_t lost);

  private:
    static constexpr int while_ = 63;
    /// Pieces to come on one thread, and together without another trial.
    int alone_ = 0, together_ = 0;
    bool isTrial_ = false;
    int64_t lastTogether_ = 0;
};

}  // namespace ct
