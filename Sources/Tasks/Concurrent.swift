import Dispatch

/// The values for 0, 1, …, `count` − 1 in that order, computed on all cores in pieces.
func concurrently<Value: Sendable>(_ count: Int, _ value: @Sendable (Int) -> Value) -> [Value] {
    let piece = 2_048
    guard count > piece else { return (0..<count).map(value) }
    return [Value](unsafeUninitializedCapacity: count) { buffer, filled in
        guard let base = buffer.baseAddress else { return }
        // Every index is written by one piece alone.
        nonisolated(unsafe) let places = base
        DispatchQueue.concurrentPerform(iterations: (count + piece - 1) / piece) { number in
            for index in number * piece..<min((number + 1) * piece, count) {
                (places + index).initialize(to: value(index))
            }
        }
        filled = count
    }
}
