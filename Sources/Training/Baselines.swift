import Backbones
import Methods
import Support
import Tasks
import Torch

/// What can be had without looking at images: a classifier of the same shape on the frozen model's [CLS] state.
///
/// Equal questions have equal states, so their targets are averaged first and the whole training set becomes one small
/// batch of distinct questions, weighted by how often they occur. The optimum is that of training on every question.
struct NoImageBaseline {
    private let classifier: AnswerClassifier
    private let bert: BERT

    /// - Parameters:
    ///   - steps: of full-batch AdamW.
    init(_ encoder: TextEncoder, _ data: DVPData, classes: Int, seed: Int, steps: Int = 300) throws {
        bert = try encoder.model()
        let count = data.questions.count
        var targets = [Float](repeating: 0, count: count * classes)
        var weights = [Float](repeating: 0, count: count)
        for item in data.items {
            weights[item.question] += 1
            for target in item.targets { targets[item.question * classes + target.number] += target.score }
        }
        for question in 0..<count where weights[question] > 0 {
            for answer in 0..<classes { targets[question * classes + answer] /= weights[question] }
        }
        let total = weights.reduce(0, +)
        let states = try NoImageBaseline.states(bert, data.questions)
        let target = try Tensor(targets, [count, classes])
        let weight = try Tensor(weights.map { $0 / max(1, total) }, [count, 1])
        let size = encoder.configuration.hiddenSize
        var classifier = try AnswerClassifier(size, hidden: 2 * size, classes: classes)
        try classifier.initialize(seed: seed, prefix: "no_image.")
        try classifier.setTrainable { _ in true }
        let optimizer = Optimizer(.adamW(), [ParameterGroup(try classifier.trainableParameters())])
        let schedule = Schedule(rate: 2e-3, warmup: steps / 10, total: steps, decay: .cosine)
        for step in 0..<steps {
            try optimizer.clearGradients()
            let loss = try classifier(states).binaryCrossEntropy(
                target, weight: weight.expanded([count, classes]), .sum)
            try loss.backward()
            try optimizer.step(rate: schedule.rate(at: step))
        }
        self.classifier = classifier
    }

    /// Probabilities of the answers to each question, row by row.
    func probabilities(_ questions: [[Int]]) throws -> [Float] {
        try withoutGradients { try classifier(NoImageBaseline.states(bert, questions)).sigmoid().floats() }
    }

    /// The last [CLS] states, [questions, D].
    private static func states(_ bert: BERT, _ questions: [[Int]]) throws -> Tensor {
        try withoutGradients {
            let parts = try stride(from: 0, to: questions.count, by: 256).map { start in
                let batch = try TokenBatch(Array(questions[start..<min(start + 256, questions.count)]))
                return try bert(batch.ids, mask: batch.mask).selected(1, 0)
            }
            return try .concatenated(parts, 0)
        }
    }
}
