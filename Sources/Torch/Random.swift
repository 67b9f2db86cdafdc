import CTorch
import Support

/// A source of random tensors with its own state.
public final class Generator {
    let handle: CTGenerator

    /// A generator that gives PyTorch's numbers for the same seed.
    public init(seed: UInt64) throws(TorchError) {
        let torch = try engine()
        var result: CTGenerator?
        try check(torch.pointee.generator(seed, &result), torch)
        guard let result else { throw TorchError.last(torch) }
        handle = result
    }

    /// The generator for one purpose, independent of everything drawn elsewhere; see ``CounterRandom``.
    public convenience init(seed: Int, epoch: Int = 0, sample: Int = 0, purpose: String) throws(TorchError) {
        var random = CounterRandom(seed: seed, epoch: epoch, sample: sample, purpose: purpose)
        try self.init(seed: random.next())
    }

    deinit {
        if let torch = try? engine() { torch.pointee.release_generator(handle) }
    }

    /// Seeds the default generator, from which dropout draws.
    public static func seedDefault(_ seed: UInt64) throws(TorchError) {
        let torch = try engine()
        try check(torch.pointee.seed_default_generator(seed), torch)
    }
}

// Random tensors, drawn from `generator` or from the default one.
extension Tensor {
    /// Uniform in [low, high).
    public static func uniform(
        _ shape: [Int], _ low: Double = 0, _ high: Double = 1, _ generator: Generator? = nil
    ) throws(TorchError) -> Tensor {
        try make(generator) { torch, out in
            withSizes(shape) { torch.pointee.random_uniform($0, $1, low, high, generator?.handle, out) }
        }
    }

    /// Normally distributed, with the given mean and standard deviation.
    public static func normal(
        _ shape: [Int], mean: Double = 0, deviation: Double = 1, _ generator: Generator? = nil
    ) throws(TorchError) -> Tensor {
        try make(generator) { torch, out in
            withSizes(shape) { torch.pointee.random_normal($0, $1, mean, deviation, generator?.handle, out) }
        }
    }

    /// Integers in low..<high.
    public static func integers(
        _ shape: [Int], _ low: Int, _ high: Int, _ generator: Generator? = nil
    ) throws(TorchError) -> Tensor {
        try make(generator) { torch, out in
            withSizes(shape) {
                torch.pointee.random_integers($0, $1, Int64(low), Int64(high), generator?.handle, out)
            }
        }
    }

    /// 0..<count in random order.
    public static func permutation(_ count: Int, _ generator: Generator? = nil) throws(TorchError) -> Tensor {
        try make(generator) { $0.pointee.random_permutation(Int64(count), generator?.handle, $1) }
    }

    /// Indices drawn in proportion to self (a vector, or one row a distribution).
    public func multinomial(
        _ samples: Int, replacement: Bool = false, _ generator: Generator? = nil
    ) throws(TorchError) -> Tensor {
        try .make((self, generator)) {
            $0.pointee.multinomial(handle, Int64(samples), replacement, generator?.handle, $1)
        }
    }
}
