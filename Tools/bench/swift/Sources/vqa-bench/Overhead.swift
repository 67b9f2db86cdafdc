import Support
import Torch

#if canImport(Glibc)
    import Glibc
#else
    import Darwin
#endif

/// Prints what small operations cost from Swift and from C++, where `library` is the built overhead.cpp: the two take
/// turns in this process, and of each the best round counts, because noise only adds.
func measureOverhead(library: String) throws {
    try Engine.setThreads(1)
    let a = try Tensor([1, 2, 3, 4] as [Float], [2, 2])
    let b = try Tensor([5, 6, 7, 8] as [Float], [2, 2])
    let peer = try peerLoop(library)
    // Numbered as in overhead.cpp.
    try contest("add", peer, 0) { _ = try a + b }
    try contest("add_number", peer, 1) { _ = try a + 2 }
    try contest("reshape", peer, 2) { _ = try a.reshaped([4, 1]) }
    try contest("linear", peer, 3) { _ = try a.linear(b) }
    try contest("concatenate", peer, 4) { _ = try Tensor.concatenated([a, b], 0) }
}

private typealias PeerLoop = @convention(c) (_ operation: Int32, _ calls: Int32) -> Double

private func peerLoop(_ library: String) throws -> PeerLoop {
    guard let handle = dlopen(library, RTLD_NOW), let symbol = dlsym(handle, "measure_operation") else {
        throw VQAError("cannot measure", at: library, because: dlerror().map { String(cString: $0) } ?? "")
    }
    return unsafeBitCast(symbol, to: PeerLoop.self)
}

private func contest(
    _ name: String, _ peer: PeerLoop, _ operation: Int32, _ body: () throws -> Void
) rethrows {
    let (rounds, calls) = (100, 2_000)
    var (ours, theirs) = (Double.infinity, Double.infinity)
    let clock = ContinuousClock()
    for _ in 0..<rounds {
        let start = clock.now
        for _ in 0..<calls { try body() }
        let time = (clock.now - start).components
        ours = min(ours, (Double(time.seconds) * 1e9 + Double(time.attoseconds) / 1e9) / Double(calls))
        theirs = min(theirs, peer(operation, Int32(calls)))
    }
    print(name, ours, theirs)
}
