import Backbones
import Methods
import Support
import Tasks
import Torch

/// What can be had without looking at images: a classifier of DVP's shape on the frozen model's state of the question.
///
/// Equal questions have equal states, so their targets are averaged first and the whole training set becomes one small
/// batch of distinct questions, weighted by how often they occur. The optimum is that of training on every question.
struct NoImageBaseline {
    private let classifier: AnswerClassifier
    private let language: DVPLanguage
    private let precision: DType
    private let reader: DVPReader
    private let vocabulary: AnswerVocabulary

    /// - Parameters:
    ///   - untouched: the frozen model, when it is at hand; otherwise it is opened again.
    ///   - precision: of its matrix products.
    ///   - train: the samples that it learns from.
    ///   - steps: of full-batch AdamW.
    init(
        _ backbone: DVPBackbone, untouched: DVPLanguage?, precision: DType, maxLength: Int?,
        _ train: TaskData, _ vocabulary: AnswerVocabulary, seed: Int, steps: Int = 300
    ) throws {
        reader = try DVPReader(backbone, answers: .classify, maxLength: maxLength)
        language = try untouched ?? backbone.language()
        self.precision = untouched == nil ? .float32 : precision
        self.vocabulary = vocabulary
        let data = try DVPData(train.samples, reader: reader, vocabulary: vocabulary) { _ in 0 }
        let (count, classes) = (data.texts.count, vocabulary.answers.count)
        var targets = [Float](repeating: 0, count: count * classes)
        var weights = [Float](repeating: 0, count: count)
        for item in data.items {
            weights[item.text] += 1
            for target in item.targets { targets[item.text * classes + target.number] += target.score }
        }
        for question in 0..<count where weights[question] > 0 {
            for answer in 0..<classes { targets[question * classes + answer] /= weights[question] }
        }
        let total = weights.reduce(0, +)
        let states = try Self.states(language, self.precision, data.texts.map(\.ids))
        let target = try Tensor(targets, [count, classes])
        let weight = try Tensor(weights.map { $0 / max(1, total) }, [count, 1])
        var classifier = try AnswerClassifier(language.size, hidden: 2 * language.size, classes: classes)
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

    /// The most probable answers to the questions of a data set.
    func predictions(_ data: TaskData) throws -> [Prediction] {
        let items = try DVPData(data.samples, reader: reader, vocabulary: nil) { _ in 0 }
        let classes = vocabulary.answers.count
        let found = try withoutGradients {
            try classifier(Self.states(language, precision, items.texts.map(\.ids))).sigmoid().floats()
        }
        let rows = items.items.flatMap { found[$0.text * classes..<($0.text + 1) * classes] }
        return classifiedPredictions(rows, vocabulary, items.items.map { data.samples[$0.sample] })
    }

    /// The states of the questions, [questions, D].
    private static func states(_ language: DVPLanguage, _ precision: DType, _ questions: [[Int]]) throws
        -> Tensor
    {
        try withoutGradients {
            let parts = try stride(from: 0, to: questions.count, by: 256).map { start in
                let batch = try TokenBatch(
                    Array(questions[start..<min(start + 256, questions.count)]),
                    isLeft: language.kind == .decoder)
                let mask = batch.isPadded ? batch.mask : nil
                return try withAutocast(precision) {
                    try language.textState(batch.ids, mask: mask).to(.float32)
                }
            }
            return try .concatenated(parts, 0)
        }
    }
}
