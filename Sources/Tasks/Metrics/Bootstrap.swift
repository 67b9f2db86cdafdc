import Support

/// A confidence interval of a mean score by the bootstrap over images: the questions of one image are drawn
/// together, because their scores are not independent.
public struct Bootstrap: Sendable, Equatable {
    /// The seed of the random draws.
    public var seed: Int
    /// The number of resampled data sets.
    public var resamples: Int
    /// The share of resampled means inside the interval.
    public var level: Double

    /// At least one resample is made, whatever `resamples` says.
    public init(seed: Int = 0, resamples: Int = 1000, level: Double = 0.95) {
        self.seed = seed
        self.resamples = max(1, resamples)
        self.level = level
    }

    /// The sum of scores and the number of questions of one image.
    struct Cluster {
        var sum = 0
        var count = 0
    }

    /// The percentile interval of Σ sum / Σ count. Quantiles between two means are interpolated linearly.
    /// With one image every resample is the same: the interval is a point and says nothing.
    func interval(of clusters: [Cluster]) -> (low: Double, high: Double) {
        guard !clusters.isEmpty, clusters.count <= UInt32.max else { return (0, 0) }
        var means: [Double] = []
        means.reserveCapacity(resamples)
        for resample in 0..<resamples {
            var random = CounterRandom(seed: seed, sample: resample, purpose: "bootstrap")
            means.append(mean(of: clusters, drawnWith: &random))
        }
        means.sort()
        let tail = (1 - level) / 2
        return (quantile(tail, of: means), quantile(1 - tail, of: means))
    }

    private func mean(of clusters: [Cluster], drawnWith random: inout CounterRandom) -> Double {
        let size = UInt64(clusters.count)
        var sum = 0
        var count = 0
        var bits: UInt64 = 0
        for draw in 0..<clusters.count {
            // One random number makes two draws; the product's high half is a number below `size`.
            bits = draw % 2 == 0 ? random.next() : bits >> 32
            let cluster = clusters[Int(((bits & 0xFFFF_FFFF) * size) >> 32)]
            sum += cluster.sum
            count += cluster.count
        }
        return Double(sum) / Double(count)
    }

    private func quantile(_ share: Double, of sorted: [Double]) -> Double {
        let position = share * Double(sorted.count - 1)
        let below = min(max(0, Int(position)), sorted.count - 1)
        let above = min(below + 1, sorted.count - 1)
        return sorted[below] + (sorted[above] - sorted[below]) * (position - Double(below))
    }
}
