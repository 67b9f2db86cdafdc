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

    /// For each resample, how often each of `units` units was drawn is told to `body` by calls with the unit's position.
    private func resample(_ units: Int, _ number: Int, _ body: (Int) -> Void) {
        var random = CounterRandom(seed: seed, sample: number, purpose: "bootstrap")
        let size = UInt64(units)
        var bits: UInt64 = 0
        for draw in 0..<units {
            // One random number makes two draws; the product's high half is a number below `size`.
            bits = draw % 2 == 0 ? random.next() : bits >> 32
            body(Int(((bits & 0xFFFF_FFFF) * size) >> 32))
        }
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
        return interval(
            of: inPieces(of: 50, resamples, with: ()) { _, number in
                var sum = 0
                var count = 0
                resample(clusters.count, number) {
                    sum += clusters[$0].sum
                    count += clusters[$0].count
                }
                return Double(sum) / Double(count)
            })
    }

    /// The percentile intervals of functions of the sums of `rows`, one row a cluster, all of the same length.
    func intervals(
        of rows: [[Double]], _ values: ([Double]) -> [Double]
    ) -> [(low: Double, high: Double)] {
        let figures = resampled(rows, values)
        return (figures.first ?? []).indices.map { column in interval(of: figures.map { $0[column] }) }
    }

    /// The functions' values on each resampled data set.
    func resampled(_ rows: [[Double]], _ values: ([Double]) -> [Double]) -> [[Double]] {
        guard let width = rows.first?.count, rows.count <= UInt32.max else { return [] }
        var figures: [[Double]] = []
        for number in 0..<resamples {
            var sums = [Double](repeating: 0, count: width)
            resample(rows.count, number) { position in
                for column in 0..<width { sums[column] += rows[position][column] }
            }
            figures.append(values(sums))
        }
        return figures
    }

    /// The percentile interval of the values on resampled data sets; there must be one.
    func interval(of values: [Double]) -> (low: Double, high: Double) {
        let sorted = values.sorted()
        let tail = (1 - level) / 2
        return (quantile(tail, of: sorted), quantile(1 - tail, of: sorted))
    }

    private func quantile(_ share: Double, of sorted: [Double]) -> Double {
        let position = share * Double(sorted.count - 1)
        let below = min(max(0, Int(position)), sorted.count - 1)
        let above = min(below + 1, sorted.count - 1)
        return sorted[below] + (sorted[above] - sorted[below]) * (position - Double(below))
    }
}
