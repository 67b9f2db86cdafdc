import Backbones
import Methods
import Runs
import Support
import Tasks
import Torch

/// What decides DVP's ScienceQA program besides the loop.
public struct ScienceQAPlan: Sendable {
    /// How a problem is answered.
    public enum Answering: String, Sendable, CaseIterable {
        /// The model writes, and the option is read from what it wrote.
        case generation
        /// The likeliest option behind `The answer is`.
        case options
    }

    /// What is added to the models, and how far it follows the release.
    public var settings: ScienceQASettings
    /// How problems are written.
    public var format: ScienceQAFormat
    /// How they are answered.
    public var answering: Answering
}

/// DVP's ScienceQA program on a run's data.
struct ScienceQAAdaptation: Adaptation {
    let data: RunData
    let precision: DType
    private let plan: ScienceQAPlan
    private let backbone: ScienceQABackbone
    private let pixels: PixelSource
    private let trained: ScienceQALearner

    init(_ run: TrainingRun, _ data: RunData, isSearch: Bool, _ shouldStop: @escaping () -> Bool) throws {
        let configuration = run.configuration
        guard var plan = configuration.scienceQA else {
            throw VQAError("cannot train", because: "the method is another", kind: .failure)
        }
        self.data = data
        let backbone = try ScienceQABackbone(
            language: configuration.languageModel, format: configuration.frozenFormat,
            vision: configuration.visionModel)
        self.backbone = backbone
        if isSearch {
            let count = backbone.decoder.layers.count
            plan.settings.searchLayers = configuration.search.layers(of: count)
        }
        self.plan = plan
        precision = try run.startedIn ?? chosenPrecision(configuration.precision)
        run.say("models: \(backbone.language.name) and \(backbone.vision.name), frozen, in \(precision)")
        var model = try backbone.model(plan.settings)
        try model.prepareTraining(seed: configuration.seed, precision: precision)
        pixels = try run.readable(data.images, model, shouldStop)
        let rows = pixels.rows
        let trainData = try ScienceQAData(
            data.train.samples, backbone.words, format: plan.format, answers: true
        ) { $0.images.first.flatMap { rows[$0] } }
        try run.report(
            items: trainData.items.count, unanswerable: trainData.unanswerable, unseen: trainData.unseen)
        trained = ScienceQALearner(model, trainData, precision: precision, pixels: pixels.callAsFunction)
    }

    var models: [(name: String, hash: String)] { [backbone.language, backbone.vision] }

    var learner: any PlacementLearner { trained }

    var parameterCount: Int {
        get throws { try trained.model.parameters().reduce(0) { $0 + $1.tensor.count } }
    }

    var adapterConfiguration: JSON {
        ScienceQADescription(
            backbone, precision: precision, plan: plan, task: data.task.name
        ).json
    }

    func scorer(_ validation: TaskData) throws -> any PlacementLearner {
        let items = try ScienceQAData(
            validation.samples, backbone.words, format: plan.format, answers: true, imageRow: imageRow)
        return ScienceQALearner(
            trained.model, items, precision: precision, pixels: pixels.callAsFunction)
    }

    func predictions(of data: TaskData) throws -> (predictions: [Prediction], unseen: Int) {
        let predictor = try ScienceQAPredictor(
            trained.model, backbone.words, plan, data.samples, pixels: pixels, precision: precision)
        return (try predictor.predictions(), predictor.unseen)
    }

    /// None: the program has no way to answer without the tower's tokens.
    func blindPredictions(of data: TaskData) -> [(name: String, predictions: [Prediction])] { [] }

    func savedWeights(_ path: String) throws -> [String: Tensor] { try ScienceQADVP.saved(path) }

    private func imageRow(_ sample: Sample) -> Int? { sample.images.first.flatMap { pixels.rows[$0] } }
}

extension TrainingRun {
    /// The images, each read once to see that it can be.
    fileprivate func readable(_ paths: [String], _ model: ScienceQADVP, _ shouldStop: @escaping () -> Bool)
        throws
        -> PixelSource
    {
        let side = model.tower.configuration.imageSize
        let pixels = try readImages(paths, shouldStop, problems: \PixelSource.problems) {
            try PixelSource(
                paths, processor: model.settings.imageProcessor(size: side), side: side,
                brokenShare: configuration.brokenImageShare, progress: $0)
        }
        say("images: \(pixels.rows.count), all readable; the tower is trained and sees them in every step")
        return pixels
    }
}

/// Answers problems.
struct ScienceQAPredictor {
    /// Samples left out because their image could not be read.
    var unseen: Int { items.unseen }
    /// Problems with an answer.
    var count: Int { items.items.count }
    private let learner: ScienceQALearner
    private let items: ScienceQAData
    private let words: ScienceQAWords
    private let plan: ScienceQAPlan
    private let samples: [Sample]

    init(
        _ model: ScienceQADVP, _ words: ScienceQAWords, _ plan: ScienceQAPlan, _ samples: [Sample],
        pixels: PixelSource, precision: DType
    ) throws {
        items = try ScienceQAData(samples, words, format: plan.format, answers: false) {
            $0.images.first.flatMap { pixels.rows[$0] }
        }
        learner = ScienceQALearner(model, items, precision: precision, pixels: pixels.callAsFunction)
        (self.words, self.plan, self.samples) = (words, plan, samples)
    }

    /// The answer to each problem (of a range of them), in the order of the samples. As released, batches are of
    /// neighbours, on which answers depend.
    func predictions(range: Range<Int>? = nil, batch: Int = 16) throws -> [Prediction] {
        let order = Array(range ?? items.items.indices)
        return try stride(from: 0, to: order.count, by: batch).flatMap { start in
            try answered(Array(order[start..<min(start + batch, order.count)]))
        }
    }

    private func answered(_ part: [Int]) throws -> [Prediction] {
        func sample(_ item: Int) -> Sample { samples[items.items[item].sample] }
        if plan.answering == .options {
            return try part.map { item in
                let option = try learner.likeliestOption(of: item, for: sample(item), plan.format, words)
                return Prediction(option.flatMap(Choices.letter) ?? "", to: sample(item))
            }
        }
        return try zip(part, learner.answers(part, end: words.end)).map { item, ids in
            let text = try words.text(ids)
            let option = plan.settings.option(in: text, for: sample(item))
            return Prediction(
                option.flatMap(Choices.letter) ?? text, to: sample(item),
                extra: [.init("text", .string(text))])
        }
    }
}
