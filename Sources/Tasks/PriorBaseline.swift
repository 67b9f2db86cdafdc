import Support

/// The scores that need no model: always the most frequent answer of the training data. Printed beside every
/// result, because a score says little without them.
///
/// Among equally frequent answers the one that appeared first is taken.
public struct PriorBaseline: Sendable {
    /// The most frequent training answer of all.
    public let mostFrequentAnswer: String
    private let byQuestion: [String: String]

    /// Counts ``Sample/answer`` over the training data.
    public init(train: TaskData) throws {
        guard let best = mostFrequent(train.samples.lazy.compactMap(\.answer)) else {
            throw VQAError(
                "cannot make the baseline", at: train.task, because: "the training data have no answers")
        }
        mostFrequentAnswer = best
        byQuestion = Dictionary(grouping: train.samples, by: \.question).compactMapValues { samples in
            mostFrequent(samples.lazy.compactMap(\.answer))
        }
    }

    /// The global prior: the same answer to every question.
    public func global(_ data: TaskData) -> [Prediction] {
        data.samples.map { Prediction(mostFrequentAnswer, to: $0) }
    }

    /// The per-question prior: the most frequent training answer to exactly the same question, and the global
    /// one to a question that the training data do not have.
    public func perQuestion(_ data: TaskData) -> [Prediction] {
        data.samples.map { Prediction(byQuestion[$0.question] ?? mostFrequentAnswer, to: $0) }
    }
}
