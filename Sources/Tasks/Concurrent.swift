import Dispatch

#if canImport(Glibc)
    import Glibc
#else
    import Darwin
#endif

/// The values for 0, 1, …, `count` − 1 in that order, computed on all cores in pieces.
func concurrently<Value: Sendable>(_ count: Int, _ value: @Sendable (Int) -> Value) -> [Value] {
    inPieces(of: 2_048, count, with: ()) { _, index in value(index) }
}

/// The same with something that each piece works on alone, such as a table of what was computed before; the pieces are large,
/// so that it pays.
func concurrently<Value: Sendable, State>(
    _ count: Int, with start: State, _ value: @Sendable (inout State, Int) -> Value
) -> [Value] {
    let pieces = 2 * max(1, sysconf(Int32(_SC_NPROCESSORS_ONLN)))
    return inPieces(of: max(2_048, count / pieces + 1), count, with: start, value)
}

/// The same in pieces of `size`; `start` is copied for each piece.
func inPieces<Value: Sendable, State>(
    of size: Int, _ count: Int, with start: State, _ value: @Sendable (inout State, Int) -> Value
) -> [Value] {
    // Each piece has a copy.
    nonisolated(unsafe) let start = start
    return [Value](unsafeUninitializedCapacity: count) { buffer, filled in
        guard let base = buffer.baseAddress else { return }
        // Every index is written by one piece alone.
        nonisolated(unsafe) let places = base
        DispatchQueue.concurrentPerform(iterations: (count + size - 1) / size) { number in
            var state = start
            for index in number * size..<min((number + 1) * size, count) {
                (places + index).initialize(to: value(&state, index))
            }
        }
        filled = count
    }
}

/// The results of two pieces of work that are done at the same time, where there are two cores. When both fail, the error is
/// the first one's.
func both<First, Second>(
    _ first: () throws -> First, and second: () throws -> Second
) throws -> (First, Second) {
    try withoutActuallyEscaping(first) { first in
        try withoutActuallyEscaping(second) { second in
            let pair = Pair(first, second)
            // The caller does the second piece too when no other thread is free.
            DispatchQueue.concurrentPerform(iterations: 2) { pair.run($0) }
            return (try pair.firstResult.get(), try pair.secondResult.get())
        }
    }
}

/// Two pieces of work and what came of them. Each thread touches its own half alone.
private final class Pair<First, Second>: @unchecked Sendable {
    private let first: () throws -> First
    private let second: () throws -> Second
    private(set) var firstResult: Result<First, any Error> = .failure(CancellationError())
    private(set) var secondResult: Result<Second, any Error> = .failure(CancellationError())

    init(_ first: @escaping () throws -> First, _ second: @escaping () throws -> Second) {
        self.first = first
        self.second = second
    }

    func run(_ number: Int) {
        if number == 0 {
            firstResult = Result(catching: first)
        } else {
            secondResult = Result(catching: second)
        }
    }
}
