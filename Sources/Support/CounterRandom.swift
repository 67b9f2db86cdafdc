/// Random numbers as a function of what they are for, not of how many were drawn before: the same (seed, epoch,
/// sample, purpose) gives the same numbers in any order of calls, so a resumed run repeats an unbroken one.
///
/// SplitMix64 (Steele, Lea, Flood 2014) over a counter that starts at a mix of the four keys.
public struct CounterRandom: RandomNumberGenerator, Sendable {
    private var state: UInt64

    /// - Parameter purpose: a short constant name such as `"shuffle"` or `"dropout"`.
    public init(seed: Int, epoch: Int = 0, sample: Int = 0, purpose: String) {
        // FNV-1a over the name keeps purposes apart.
        var hash: UInt64 = 0xcbf2_9ce4_8422_2325
        for byte in purpose.utf8 { hash = (hash ^ UInt64(byte)) &* 0x100_0000_01b3 }
        state = hash
        for key in [seed, epoch, sample] {
            state = CounterRandom.mix(state &+ 0x9e37_79b9_7f4a_7c15 &+ UInt64(bitPattern: Int64(key)))
        }
    }

    /// The next 64 bits of this stream; each call moves the counter on by one step.
    public mutating func next() -> UInt64 {
        state &+= 0x9e37_79b9_7f4a_7c15
        return CounterRandom.mix(state)
    }

    private static func mix(_ value: UInt64) -> UInt64 {
        var z = value
        z = (z ^ (z >> 30)) &* 0xbf58_476d_1ce4_e5b9
        z = (z ^ (z >> 27)) &* 0x94d0_49bb_1331_11eb
        return z ^ (z >> 31)
    }
}
