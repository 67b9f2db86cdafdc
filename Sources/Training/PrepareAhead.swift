import Dispatch
import Synchronization

/// Runs `prepare` for 0..<count on other threads, a few ahead, and hands the results to `consume` in order on this one.
///
/// Decoding and tokenising overlap with tensor work this way. The first error of either closure ends it.
///
/// - Parameters:
///   - ahead: how many results may wait.
///   - prepare: called concurrently.
public func prepareAhead<Prepared: Sendable>(
    _ count: Int, ahead: Int = 2, prepare: @escaping @Sendable (Int) throws -> Prepared,
    consume: (Int, Prepared) throws -> Void
) throws {
    guard count > 0 else { return }
    let shelf = Shelf<Prepared>()
    func start(_ index: Int) {
        guard index < count else { return }
        DispatchQueue.global(qos: .userInitiated).async {
            shelf.put(index, Result { try prepare(index) })
        }
    }
    for index in 0..<max(1, ahead) { start(index) }
    for index in 0..<count {
        let result = shelf.take(index)
        start(index + max(1, ahead))
        try consume(index, result.get())
    }
}

/// Where prepared results wait for their turn.
private final class Shelf<Prepared: Sendable>: Sendable {
    private let results = Mutex<[Int: Result<Prepared, any Error>]>([:])
    private let arrived = DispatchSemaphore(value: 0)

    func put(_ index: Int, _ result: Result<Prepared, any Error>) {
        results.withLock { $0[index] = result }
        arrived.signal()
    }

    /// Waits for one result.
    func take(_ index: Int) -> Result<Prepared, any Error> {
        while true {
            if let result = results.withLock({ $0.removeValue(forKey: index) }) { return result }
            arrived.wait()
        }
    }
}
