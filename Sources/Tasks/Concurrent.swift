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
