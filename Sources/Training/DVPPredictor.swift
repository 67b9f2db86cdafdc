import Methods
import Support
import Tasks

/// Turns what DVP finds into predictions.
struct DVPPredictor {
    private let learner: DVPLearner
    private let items: DVPData
    private let data: TaskData
    private let task: any VQATask
    private let vocabulary: AnswerVocabulary
    private let maxNewTokens: Int

    /// - Parameters:
    ///   - items: of `data`, without targets; what `learner` works on.
    init(
        _ learner: DVPLearner, _ items: DVPData, _ data: TaskData, _ task: any VQATask,
        _ vocabulary: AnswerVocabulary, maxNewTokens: Int
    ) {
        self.learner = learner
        self.items = items
        self.data = data
        self.task = task
        self.vocabulary = vocabulary
        self.maxNewTokens = maxNewTokens
    }

    /// The best answer of each item (of a range of them), in the order of the samples.
    func predictions(range: Range<Int>? = nil, batch: Int = 256) throws -> [Prediction] {
        // Questions of similar length together: less padding.
        let order = (range ?? items.items.indices).sorted {
            (learner.length(of: $0), $0) < (learner.length(of: $1), $1)
        }
        var found: [(sample: Int, prediction: Prediction)] = []
        for start in stride(from: 0, to: order.count, by: batch) {
            let part = Array(order[start..<min(start + batch, order.count)])
            let answers = try learner.model.settings.answers == .write ? written(part) : classified(part)
            for (item, prediction) in zip(part, answers) {
                found.append((items.items[item].sample, prediction))
            }
        }
        return found.sorted { $0.sample < $1.sample }.map(\.prediction)
    }

    private func classified(_ part: [Int]) throws -> [Prediction] {
        let values = try learner.probabilities(part)
        return classifiedPredictions(
            values, vocabulary, part.map { data.samples[items.items[$0].sample] })
    }

    private func written(_ part: [Int]) throws -> [Prediction] {
        try zip(part, learner.write(part, limit: maxNewTokens)).map { item, answer in
            let sample = data.samples[items.items[item].sample]
            return Prediction(
                task.answer(fromGenerated: answer.text, for: sample), to: sample,
                extra: [.init("probability", rounded(answer.probability))])
        }
    }
}

/// Predictions from probabilities [samples, C], row by row, with the three best answers.
func classifiedPredictions(_ values: [Float], _ vocabulary: AnswerVocabulary, _ samples: [Sample])
    -> [Prediction]
{
    let classes = vocabulary.answers.count
    return samples.enumerated().map { row, sample in
        let top = best(values[row * classes..<(row + 1) * classes], of: vocabulary, count: 3)
        let candidates = top.map { JSON.array([.string($0.text), rounded($0.probability ?? 0)]) }
        return Prediction(
            top.first?.text ?? "", to: sample, extra: [.init("candidates", .array(candidates))])
    }
}

/// Four decimals of a probability.
private func rounded(_ probability: Double) -> JSON { .number((1e4 * probability).rounded() / 1e4) }

/// The most probable answers, best first.
func best(_ probabilities: some Collection<Float>, of vocabulary: AnswerVocabulary, count: Int)
    -> [AdaptedModel.Answer]
{
    let order = probabilities.enumerated().sorted { ($1.element, $0.offset) < ($0.element, $1.offset) }
    return order.prefix(count).map {
        AdaptedModel.Answer(text: vocabulary.answers[$0.offset], probability: Double($0.element))
    }
}
