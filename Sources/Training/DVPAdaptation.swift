import Backbones
import Methods
import Runs
import Support
import Tasks
import Torch

/// DVP on a run's data: BERT, T5 or a decoder below, images as features that are computed once.
struct DVPAdaptation: Adaptation {
    let data: RunData
    let precision: DType
    private let configuration: TrainingConfiguration
    private let reader: DVPReader
    private let tower: VisionTower
    private let features: VisualFeatures
    private let vocabulary: AnswerVocabulary
    private let model: DVP
    private let trained: DVPLearner

    init(_ run: TrainingRun, _ data: RunData, isSearch: Bool, _ shouldStop: @escaping () -> Bool) throws {
        let configuration = run.configuration
        (self.data, self.configuration) = (data, configuration)
        vocabulary = try run.makeVocabulary(data.train)
        run.say("answers: \(vocabulary.coverage(of: data.train))")
        let backbone = try DVPBackbone(configuration.languageModel, format: configuration.frozenFormat)
        reader = try DVPReader(
            backbone, answers: configuration.dvp.answers, maxLength: configuration.maxTextLength,
            prompt: configuration.prompt)
        tower = try VisionTower(configuration.visionModel, imageSize: configuration.imageSize)
        precision = try run.startedIn ?? chosenPrecision(configuration.precision)
        run.say("models: \(backbone.name) and \(tower.name), frozen, in \(precision)")

        // Before the images, which may take hours: a setting that does not fit the model ends the run here.
        let language = try backbone.language()
        var model = try DVP(
            language, visualSize: tower.featureSize, classes: vocabulary.answers.count, configuration.dvp,
            searching: isSearch ? configuration.search.layers(of: language.layerCount) : nil)
        try model.prepareTraining(seed: configuration.seed, precision: precision)
        self.model = model
        let features = try run.encode(data.images, tower, shouldStop)
        self.features = features
        let trainData = try DVPData(
            data.train.samples, reader: reader, vocabulary: vocabulary,
            learnsWriting: configuration.dvp.answers == .write
        ) { $0.images.first.flatMap { features.rows[$0] } }
        try run.report(
            items: trainData.items.count, unanswerable: trainData.unanswerable, unseen: trainData.unseen)
        try model.measure(
            texts: trainData.texts.map(\.ids), visual: features.tokens, precision: precision)
        trained = DVPLearner(
            model, trainData, reader: reader, visual: features.tokens, classes: vocabulary.answers.count,
            precision: precision, cachesLower: configuration.cachesFeatures)
    }

    var models: [(name: String, hash: String)] {
        get throws {
            let language = reader.backbone
            return [(language.name, try language.weightsHash), (tower.name, try tower.weightsHash)]
        }
    }

    var learner: any PlacementLearner { trained }

    var parameterCount: Int { get throws { try model.parameters().reduce(0) { $0 + $1.tensor.count } } }

    var adapterConfiguration: JSON {
        get throws {
            try AdapterDescription(
                reader, tower: tower, settings: model.settings, vocabulary: vocabulary,
                task: data.task.name, maxNewTokens: configuration.maxNewTokens
            ).json
        }
    }

    func scorer(_ validation: TaskData) throws -> any PlacementLearner {
        let items = try DVPData(
            validation.samples, reader: reader, vocabulary: vocabulary,
            learnsWriting: configuration.dvp.answers == .write, imageRow: imageRow)
        return DVPLearner(
            model, items, reader: reader, visual: features.tokens, classes: vocabulary.answers.count,
            precision: precision, cachesLower: configuration.cachesFeatures)
    }

    func predictions(of data: TaskData) throws -> (predictions: [Prediction], unseen: Int) {
        let items = try DVPData(data.samples, reader: reader, vocabulary: nil, imageRow: imageRow)
        let learner = DVPLearner(
            model, items, reader: reader, visual: features.tokens, classes: vocabulary.answers.count,
            precision: precision, cachesLower: configuration.cachesFeatures)
        let found = try DVPPredictor(
            learner, items, data, self.data.task, vocabulary, maxNewTokens: configuration.maxNewTokens
        ).predictions()
        return (found, items.unseen)
    }

    func blindPredictions(of data: TaskData) throws -> [(name: String, predictions: [Prediction])] {
        let blind = try NoImageBaseline(
            reader.backbone, untouched: model.untouched, precision: precision,
            maxLength: configuration.maxTextLength, self.data.train, vocabulary, seed: configuration.seed)
        return [("no image", try blind.predictions(data))]
    }

    func savedWeights(_ path: String) throws -> [String: Tensor] {
        try DVPReleasedCheckpoint.trained(path)
    }

    /// Row of a sample's visual tokens; nil when its image is unreadable.
    private func imageRow(_ sample: Sample) -> Int? { sample.images.first.flatMap { features.rows[$0] } }
}

extension TrainingRun {
    func makeVocabulary(_ train: TaskData) throws -> AnswerVocabulary {
        if let path = configuration.answerList { return try AnswerVocabulary(contentsOf: path) }
        if let list = train.answerList {
            // DVP's numbers of SNLI-VE's labels, from contradiction to entailment, are the other way round.
            return try AnswerVocabulary(configuration.task == "snli-ve" ? list.reversed() : list)
        }
        var rule = configuration.preset == .released ? AnswerVocabulary.Rule.released : .fixed
        rule.minimumCount = configuration.answerMinimumCount
        return try AnswerVocabulary(countedIn: [train], rule: rule)
    }

    func encode(
        _ paths: [String], _ tower: VisionTower, _ shouldStop: @escaping () -> Bool
    ) throws -> VisualFeatures {
        let clock = Stopwatch()
        let features = try readImages(paths, shouldStop, problems: \VisualFeatures.problems) {
            try VisualFeatures(
                paths, tower: tower, cacheFolder: configuration.cacheFolder,
                brokenShare: configuration.brokenImageShare, progress: $0)
        }
        say(
            "images: \(features.rows.count), \(features.computed) encoded now in \(durationText(clock.seconds)), "
                + "the others were in \(configuration.cacheFolder)")
        return features
    }
}
