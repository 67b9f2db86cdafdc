import Support

#if canImport(Glibc)
    import Glibc
#else
    import Darwin
#endif

/// Whether one set of predictions is better than another on the same questions.
///
/// Two tests: the paired bootstrap by image asks whether the difference of the mean scores could be chance; McNemar's test
/// asks the same of the questions that only one of the two answers right (a score of at least one half).
public struct PairedComparison: Sendable, Equatable {
    /// McNemar's test over the questions that exactly one side answers right.
    public struct McNemar: Sendable, Equatable {
        /// How the p-value was computed.
        public enum Method: String, Sendable {
            /// The binomial distribution, for fewer than 25 such questions.
            case exact
            /// χ² with one degree of freedom and continuity correction.
            case chiSquare = "chi-square"
        }

        /// How `p` was computed.
        public let method: Method
        /// χ² for ``Method/chiSquare``, the smaller of the two counts for ``Method/exact``.
        public let statistic: Double
        /// The two-sided p-value.
        public let p: Double

        /// The test of the two counts.
        public init(onlyFirst: Int, onlySecond: Int) {
            let total = onlyFirst + onlySecond
            if total < 25 {
                method = .exact
                statistic = Double(min(onlyFirst, onlySecond))
                p = Self.binomial(atMost: min(onlyFirst, onlySecond), of: total)
            } else {
                let difference = abs(Double(onlyFirst) - Double(onlySecond)) - 1
                method = .chiSquare
                statistic = difference * difference / Double(total)
                p = erfc((statistic / 2).squareRoot())
            }
        }

        /// Twice the probability of at most `count` heads in `total` throws, at most 1.
        private static func binomial(atMost count: Int, of total: Int) -> Double {
            var ways = 1.0
            var sum = 0.0
            for k in 0...max(0, count) {
                sum += ways
                ways *= Double(total - k) / Double(k + 1)
            }
            return min(1, 2 * sum / pow(2, Double(total)))
        }
    }

    /// The name of the measure.
    public let metric: String
    /// The mean score of the first set in per cent, two decimals.
    public let first: Double
    /// The mean score of the second set.
    public let second: Double
    /// The first minus the second, in points, two decimals.
    public let difference: Double
    /// The lower end of the interval of the difference.
    public let low: Double
    /// The upper end.
    public let high: Double
    /// The two-sided p-value of the paired bootstrap: twice the share of resampled differences on the far side of zero,
    /// counting one more resample on it than there was, so that it is never 0.
    public let p: Double
    /// The number of questions.
    public let count: Int
    /// The number of images.
    public let clusters: Int
    /// Questions that both sides answer right.
    public let bothRight: Int
    /// Questions that only the first answers right.
    public let onlyFirst: Int
    /// Questions that only the second answers right.
    public let onlySecond: Int
    /// Questions that neither answers right.
    public let neitherRight: Int
    /// McNemar's test of ``onlyFirst`` and ``onlySecond``.
    public let mcNemar: McNemar
    /// How the interval and `p` were made.
    public let bootstrap: Bootstrap

    /// `{"metric", "first", "second", "difference", "ci95", "p", "n", "mcnemar": {…}, "bootstrap": {…}}`
    public var json: JSON {
        [
            "metric": .string(metric), "first": .number(first), "second": .number(second),
            "difference": .number(difference), "ci95": [.number(low), .number(high)], "p": .number(p),
            "n": .integer(count),
            "mcnemar": [
                "both_right": .integer(bothRight), "only_first": .integer(onlyFirst),
                "only_second": .integer(onlySecond), "neither_right": .integer(neitherRight),
                "method": .string(mcNemar.method.rawValue), "statistic": .number(mcNemar.statistic),
                "p": .number(mcNemar.p),
            ],
            "bootstrap": [
                "unit": "image", "units": .integer(clusters), "resamples": .integer(bootstrap.resamples),
                "seed": .integer(bootstrap.seed),
            ],
        ]
    }

    /// The comparison for people.
    public var lines: [String] {
        let share = "\(onlyFirst) questions only by the first, \(onlySecond) only by the second"
        return [
            "\(metric): \(first) % against \(second) %, difference \(difference) points (95 %: \(low) to \(high))",
            "paired bootstrap over \(clusters) images, \(bootstrap.resamples) resamples, seed \(bootstrap.seed): \(Self.shown(p))",
            "right: \(bothRight) by both, \(share), \(neitherRight) by neither; McNemar (\(mcNemar.method.rawValue)) "
                + Self.shown(mcNemar.p),
        ]
    }

    /// A p-value with four decimals.
    private static func shown(_ p: Double) -> String {
        p < 0.0001 ? "p < 0.0001" : "p = \((p * 10_000).rounded() / 10_000)"
    }
}

/// Compares two prediction files on the same questions; the files are those of ``score(task:questions:annotations:predictions:split:options:)``.
public func compare(
    task name: String, questions: String, annotations: String?, predictions: String, against other: String,
    split: String? = nil, options: ScoreOptions = ScoreOptions()
) throws -> PairedComparison {
    let task = try TaskRegistry.named(name)
    let data = try task.load(TaskFiles(questions: questions, annotations: annotations), split: split)
    return try compare(
        readPredictions(predictions, for: task), with: readPredictions(other, for: task), on: data,
        task: task,
        options: options)
}

/// Compares two sets of predictions on the same questions.
public func compare(
    _ first: [Prediction], with second: [Prediction], on data: TaskData, task: any VQATask,
    options: ScoreOptions = ScoreOptions()
) throws -> PairedComparison {
    try task.requireTextAnswers(data)
    let metric = task.metric(for: data)
    let sides = try [first, second].map { predictions in
        try judge(
            task.joined(predictions, to: data), on: data.samples, by: metric,
            allowsMissing: options.allowsMissing)
    }
    let counted = sides[0].counted
    guard !counted.isEmpty, !data.samples.contains(where: { $0.answers.isEmpty }) else {
        throw VQAError(
            "cannot compare the predictions", at: data.task,
            because: "there is no question, or one without an answer to compare with",
            remedy: "give the annotations")
    }
    return PairedComparison(
        metric: metric.name, counted.map { (sides[0].scores[$0], sides[1].scores[$0]) },
        images: counted.map { data.samples[$0].imageID }, bootstrap: options.bootstrap)
}

extension PairedComparison {
    /// The comparison of pairs of scores; `images` names the image of each pair.
    init(metric: String, _ scores: [(first: Double, second: Double)], images: [String], bootstrap: Bootstrap)
    {
        var rows: [String: [Double]] = [:]
        var both = 0
        var one = 0
        var two = 0
        for (pair, image) in zip(scores, images) {
            // Whole units, so that sums do not depend on the order of the questions.
            let difference = (pair.first * unitsPerPoint).rounded() - (pair.second * unitsPerPoint).rounded()
            let row = rows[image] ?? [0, 0]
            rows[image] = [row[0] + difference, row[1] + 1]
            switch (pair.first >= 0.5, pair.second >= 0.5) {
            case (true, true): both += 1
            case (true, false): one += 1
            case (false, true): two += 1
            default: break
            }
        }
        let clusters = rows.sorted { $0.key < $1.key }.map(\.value)
        let differences = bootstrap.resampled(clusters) { sums in [sums[0] / max(1, sums[1])] }
            .compactMap(\.first)
        let interval = differences.isEmpty ? (low: 0, high: 0) : bootstrap.interval(of: differences)
        let below = differences.count { $0 <= 0 }
        let above = differences.count { $0 >= 0 }
        func points(_ units: Double) -> Double { roundedToHundredths(100 * units / unitsPerPoint) }
        func mean(_ side: KeyPath<(first: Double, second: Double), Double>) -> Double {
            points(
                scores.reduce(0) { $0 + ($1[keyPath: side] * unitsPerPoint).rounded() } / Double(scores.count)
            )
        }
        self.metric = metric
        first = mean(\.first)
        second = mean(\.second)
        difference = points(clusters.reduce(0) { $0 + $1[0] } / Double(max(1, scores.count)))
        low = points(interval.low)
        high = points(interval.high)
        p = min(1, 2 * Double(min(below, above) + 1) / Double(differences.count + 1))
        count = scores.count
        self.clusters = clusters.count
        bothRight = both
        onlyFirst = one
        onlySecond = two
        neitherRight = scores.count - both - one - two
        mcNemar = McNemar(onlyFirst: one, onlySecond: two)
        self.bootstrap = bootstrap
    }
}

private let unitsPerPoint = Double(scoreUnitsPerPoint)
