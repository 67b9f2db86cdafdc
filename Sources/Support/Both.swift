import Dispatch

/// The results of two pieces of work that are done at the same time, where there are two cores. When both fail, the error is
/// the first one's. A piece may itself be two pieces.
public func both<First, Second>(
    _ first: () throws -> First, and second: () throws -> Second
) throws -> (First, Second) {
    var other: Result<Second, any Error>?
    func doOther() { other = Result(catching: second) }
    let mine = withoutActuallyEscaping(doOther) { doOther in
        let task = OtherTask(doOther)
        DispatchQueue.global(qos: .userInitiated).async { task.start() }
        let mine = Result(catching: first)
        // When no other thread was free, the caller does it too.
        task.start()
        task.done.wait()
        return mine
    }
    return (try mine.get(), try (other ?? .failure(CancellationError())).get())
}

/// Work that the first to start it does.
private final class OtherTask: @unchecked Sendable {
    private let lock = DispatchSemaphore(value: 1)
    /// Under the lock; nil once it was started, so that a block that comes late holds nothing of the caller's.
    private var work: (() -> Void)?
    /// Signalled when the work is done.
    let done = DispatchSemaphore(value: 0)

    init(_ work: @escaping () -> Void) { self.work = work }

    func start() {
        if run() { done.signal() }
    }

    /// False when another has started it.
    private func run() -> Bool {
        guard let work = take() else { return false }
        work()
        return true
    }

    private func take() -> (() -> Void)? {
        lock.wait()
        defer {
            work = nil
            lock.signal()
        }
        return work
    }
}
