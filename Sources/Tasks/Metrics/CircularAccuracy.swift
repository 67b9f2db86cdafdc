/// MMBench's measures. The mean score is the accuracy over all rows; `circular`, the official figure, is the share of
/// questions that are right in every rotation of their options, `vanilla` the accuracy over the first rotations, and
/// `circular/CATEGORY` the share within a category.
///
/// Source: open-compass/VLMEvalKit, `vlmeval/dataset/utils/multiple_choice.py` (`mcq_circular_eval` without a judge) and
/// `vlmeval/utils/matching_util.py`: an answer that names no option is wrong.
public struct CircularAccuracy: AnswerMetric {
    private let accuracy = ChoiceAccuracy(rule: .vlmEvalKit)

    /// The measure has no settings.
    public init() {}

    /// In reports.
    public var name: String { accuracy.name }

    /// 1 for the right option of a row.
    public func scores(of answers: [String], for samples: [Sample]) -> [Double] {
        accuracy.scores(of: answers, for: samples)
    }

    /// False when the rule finds no option.
    public func isExpected(_ answer: String, for sample: Sample) -> Bool {
        accuracy.isExpected(answer, for: sample)
    }

    /// The circular and the vanilla accuracy, and the circular one by category.
    public func figures(of answers: [String], for samples: [Sample]) -> Figures? {
        let scores = scores(of: answers, for: samples)
        let groups = groupRows(scores, of: samples, by: MMBench.question)
        let categories = Set(samples.compactMap { $0.labels["l2-category"] }).sorted()
        let rows = samples.indices.map { position -> [Double] in
            let sample = samples[position]
            let isFirst = sample.id.text == MMBench.question(of: sample)
            var row = [groups[position].hit, groups[position].count]
            row += isFirst ? [scores[position], 1] : [0, 0]
            for category in categories {
                let isMember = sample.labels["l2-category"] == category
                row += isMember ? [groups[position].hit, groups[position].count] : [0, 0]
            }
            return row
        }
        return Figures(["circular", "vanilla"] + categories.map { "circular/\($0)" }, rows: rows) { sums in
            stride(from: 0, to: sums.count - 1, by: 2).map { percent(sums[$0], of: sums[$0 + 1]) }
        }
    }
}
