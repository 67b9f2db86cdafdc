import Torch

/// Prints what small operations cost from Swift: the loop of overhead.cpp.
func measureOverhead() throws {
    try Engine.setThreads(1)
    let a = try Tensor([1, 2, 3, 4] as [Float], [2, 2])
    let b = try Tensor([5, 6, 7, 8] as [Float], [2, 2])
    try print("add", nanoseconds { _ = try a + b })
    try print("add_number", nanoseconds { _ = try a + 2 })
    try print("reshape", nanoseconds { _ = try a.reshaped([4, 1]) })
    try print("linear", nanoseconds { _ = try a.linear(b) })
    try print("concatenate", nanoseconds { _ = try Tensor.concatenated([a, b], 0) })
}

/// Nanoseconds of one call of `body`: the best of several rounds, because noise only adds.
private func nanoseconds(_ body: () throws -> Void) rethrows -> Double {
    let (rounds, calls) = (100, 2_000)
    var best = Double.infinity
    let clock = ContinuousClock()
    for _ in 0..<rounds {
        let start = clock.now
        for _ in 0..<calls { try body() }
        let time = (clock.now - start).components
        best = min(best, (Double(time.seconds) * 1e9 + Double(time.attoseconds) / 1e9) / Double(calls))
    }
    return best
}
