import Support

/// The share of multiple-choice questions with the right option.
///
/// Samples without options are compared as texts, as ``ExactMatch`` does.
public struct ChoiceAccuracy: AnswerMetric {
    /// What an answer counts as that names no option.
    public enum Fallback: String, Sendable {
        /// Wrong.
        case wrong
        /// An option drawn at random, as ScienceQA's program does; the draw depends on the id of the question alone.
        case random = "random-choice"
    }

    /// How the option is read from the answer.
    public var rule: ChoiceRule
    /// What happens when there is none.
    public var fallback: Fallback

    /// Letters and option texts, others are wrong, unless told otherwise.
    public init(rule: ChoiceRule = .letterOrText, fallback: Fallback = .wrong) {
        self.rule = rule
        self.fallback = fallback
    }

    /// `choice-accuracy`, with the rule and the fallback where they are not the usual ones.
    public var name: String {
        "choice-accuracy" + (rule == .letterOrText ? "" : "-\(rule.rawValue)")
            + (fallback == .wrong ? "" : "-\(fallback.rawValue)")
    }

    /// The option that the answer counts as; nil is wrong.
    public func choice(_ answer: String, for sample: Sample) -> Int? {
        guard let choices = sample.choices, !choices.isEmpty else { return nil }
        if let choice = rule.choice(in: answer, among: choices) { return choice }
        guard fallback == .random else { return nil }
        var random = CounterRandom(seed: 0, purpose: "choice of \(sample.id.text)")
        return Int(random.next() % UInt64(choices.count))
    }

    /// 1 for the right option, 0 for others and for none.
    public func scores(of answers: [String], for samples: [Sample]) -> [Double] {
        zip(answers, samples).map { answer, sample in
            guard sample.choices?.isEmpty == false else {
                return ExactMatch().scores(of: [answer], for: [sample]).first ?? 0
            }
            guard let choice = choice(answer, for: sample) else { return 0 }
            return choice == sample.correctChoice ? 1 : 0
        }
    }

    /// False when the rule finds no option.
    public func isExpected(_ answer: String, for sample: Sample) -> Bool {
        guard let choices = sample.choices, !choices.isEmpty else { return true }
        return rule.choice(in: answer, among: choices) != nil
    }
}

/// Percentages over subsets of the samples that may overlap: the columns of a benchmark's table.
///
/// - Parameter members: for each column, whether a sample belongs to it. A column without samples shows 0.
func shares(
    _ columns: [(name: String, members: (Sample) -> Bool)], scores: [Double], of samples: [Sample]
) -> Figures {
    let rows = zip(scores, samples).map { score, sample -> [Double] in
        columns.flatMap { column -> [Double] in column.members(sample) ? [score, 1] : [0, 0] }
    }
    return Figures(columns.map(\.name), rows: rows) { sums in
        stride(from: 0, to: sums.count - 1, by: 2).map { percent(sums[$0], of: sums[$0 + 1]) }
    }
}

/// `100 * part / whole`, 0 of nothing.
func percent(_ part: Double, of whole: Double) -> Double { whole == 0 ? 0 : 100 * part / whole }

/// What the samples of a group earn together: the group's score is 1 when every one of them is right. The row of a group
/// stands with its first sample, the others have zeros, so that the sums count each group once.
///
/// - Returns: for each sample (1 or 0 for its group, 1), or (0, 0) when it is not the first of its group.
func groupRows(_ scores: [Double], of samples: [Sample], by key: (Sample) -> String) -> [(
    hit: Double, count: Double
)] {
    var first: [String: Int] = [:]
    var isRight: [String: Bool] = [:]
    for (position, sample) in samples.enumerated() {
        let group = key(sample)
        if let known = first[group] {
            // The smallest id holds the row, whatever the order of the file.
            if (sample.id.text, position) < (samples[known].id.text, known) { first[group] = position }
        } else {
            first[group] = position
        }
        isRight[group] = (isRight[group] ?? true) && scores[position] == 1
    }
    return samples.enumerated().map { position, sample in
        let group = key(sample)
        guard first[group] == position else { return (0, 0) }
        return (isRight[group] == true ? 1 : 0, 1)
    }
}
