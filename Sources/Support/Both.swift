import Dispatch

/// The results of two pieces of work that are done at the same time, where there are two cores. When both fail, the error is
/// the first one's.
public func both<First, Second>(
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
