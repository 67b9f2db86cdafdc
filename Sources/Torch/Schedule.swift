#if canImport(Glibc)
    import Glibc
#else
    import Darwin
#endif

/// The learning rate as a function of the optimiser step: a linear warm-up from 0, then a decay.
public struct Schedule: Sendable, Equatable {
    /// The course of the rate after the warm-up.
    public enum Decay: Sendable, Equatable {
        case constant
        /// Down to `end` × the rate, along (1 − progress)^power.
        case polynomial(power: Double, end: Double)
        /// Half a cosine, down to 0.
        case cosine

        /// A straight line from the full rate down to 0.
        public static let linear = Decay.polynomial(power: 1, end: 0)
    }

    /// The peak, reached when the warm-up ends.
    public let rate: Double
    /// Steps of the warm-up.
    public let warmup: Int
    /// All steps, warm-up included; the decay ends there.
    public let total: Int
    /// What follows the warm-up.
    public let decay: Decay

    /// - Parameters:
    ///   - warmup: steps of the warm-up.
    ///   - total: all steps, warm-up included.
    public init(rate: Double, warmup: Int, total: Int, decay: Decay) {
        (self.rate, self.warmup, self.total, self.decay) = (rate, warmup, total, decay)
    }

    /// The rate of a step, counted from 0. With a warm-up the first step has rate 0.
    public func rate(at step: Int) -> Double {
        if step < warmup { return rate * Double(step) / Double(warmup) }
        let progress = min(1, (Double(step) - Double(warmup)) / max(1, Double(total) - Double(warmup)))
        switch decay {
        case .constant: return rate
        case .polynomial(let power, let end): return rate * ((1 - end) * pow(1 - progress, power) + end)
        case .cosine: return rate * 0.5 * (1 + cos(Double.pi * progress))
        }
    }
}
