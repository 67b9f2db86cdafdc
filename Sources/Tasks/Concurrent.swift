import Dispatch

#if canImport(Glibc)
    import Glibc
#else
    import Darwin
#endif

/// The values for 0, 1, …, `count` − 1 in that order, computed on all cores in pieces.
func concurrently<Value: Sendable>(
    _ count: Int, inPiecesOf piece: Int = 2_048, _ value: @Sendable (Int) -> Value
) -> [Value] {
    concurrently(count, inPiecesOf: piece, with: ()) { _, index in value(index) }
}

/// The same with something that each piece works on alone, such as a table of what was computed before; the pieces are large,
/// so that it pays.
func concurrently<Value: Sendable, State>(
    _ count: Int, with start: State, _ value: @Sendable (inout State, Int) -> Value
) -> [Value] {
    let pieces = 2 * max(1, sysconf(Int32(_SC_NPROCESSORS_ONLN)))
    return concurrently(count, inPiecesOf: max(2_048, count / pieces + 1), with: start, value)
}

private func concurrently<Value: Sendable, State>(
    _ count: Int, inPiecesOf piece: Int, with start: State, _ value: @Sendable (inout State, Int) -> Value
) -> [Value] {
    // Each piece copies it.
    nonisolated(unsafe) let start = start
    return [Value](unsafeUninitializedCapacity: count) { buffer, filled in
        guard let base = buffer.baseAddress else { return }
        // Every index is written by one piece alone.
        nonisolated(unsafe) let places = base
        DispatchQueue.concurrentPerform(iterations: (count + piece - 1) / piece) { number in
            var state = start
            for index in number * piece..<min((number + 1) * piece, count) {
                (places + index).initialize(to: value(&state, index))
            }
        }
        filled = count
    }
}

/// The results of two pieces of work that are done at the same time, where there are two cores. When both fail, the error is
/// the first one's.
func both<First, Second: Sendable>(
    _ first: () throws -> First, and second: @escaping @Sendable () throws -> Second
) throws -> (First, Second) {
    let later = Later<Second>()
    let group = DispatchGroup()
    DispatchQueue.global().async(group: group) { later.result = Result(catching: second) }
    let sooner = Result(catching: first)
    group.wait()
    return (try sooner.get(), try later.result?.get() ?? second())
}

/// What another thread leaves behind; it is read after that thread has ended.
private final class Later<Value: Sendable>: @unchecked Sendable {
    var result: Result<Value, any Error>?
}
