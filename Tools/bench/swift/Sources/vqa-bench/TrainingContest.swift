import Backbones
import Checkpoints
import Methods
import Support
import Tasks
import Torch
import Training

/// DVP on the first questions of easy-VQA, as the examples train it, in fp32.
struct TrainingContest {
    /// What is trained.
    enum Kind: String {
        /// MiniLM, prompt at layer 4.
        case bert
        /// SmolLM2, prompt at layer 24.
        case decoder
        /// MiniLM with a prompt at each layer.
        case search

        /// Of the 38,575 for training. Filling the store of the lower layers takes as long for these as for all of them:
        /// they ask in the same 107 ways.
        var questions: Int {
            switch self {
            case .bert: 2560
            case .decoder: 1280
            case .search: 640
            }
        }
    }

    private static let rate = 1e-3
    private static let decay = 0.01
    /// Steps of a round of `same` and `search`; a round of `stores` is an epoch.
    private static let steps = 3
    /// Of a search, by step: the layer that is trained, those that are drawn, and on how many questions.
    private static let trained = [1, 4, 2]
    private static let draws = [[0, 2, 5, 2, 4], [3, 1, 1, 5, 0], [4, 2, 3, 0, 5]]
    private static let scored = 32

    private let kind: Kind
    private let batchSize: Int
    private let data: DVPData
    private let visual: Tensor
    private let classes: Int
    private let model: DVP
    private let reader: DVPReader
    /// Batches without regard to length, the same for both sides.
    private let batches: [[Int]]

    /// - Parameter folder: keeps the image features from one run to the next.
    init(_ kind: Kind, folder: String) throws {
        try Engine.setThreads(2)
        self.kind = kind
        let isDecoder = kind == .decoder
        batchSize = isDecoder ? 32 : 64
        let backbone = try DVPBackbone(isDecoder ? "smollm2" : "minilm")
        reader = try DVPReader(backbone, answers: .classify)
        let tower = try VisionTower("efficientnet-lite0", imageSize: 64)
        let task = try TaskRegistry.named("easy-vqa").load(ModelLibrary.easyVQAData(), split: "train")
            .limited(to: kind.questions)
        let vocabulary = try AnswerVocabulary(task.answerList ?? [])
        let features = try VisualFeatures(
            task.samples.compactMap(\.images.first), tower: tower, cacheFolder: folder + "/features",
            brokenShare: 0)
        data = try DVPData(task.samples, reader: reader, vocabulary: vocabulary) {
            $0.images.first.flatMap { features.rows[$0] }
        }
        visual = features.tokens
        classes = vocabulary.answers.count
        var settings = DVPSettings.fixed
        settings.insertLayer = isDecoder ? 24 : 4
        settings.adapterStart = isDecoder ? .identity : nil
        settings.dropout = 0
        let language = try backbone.language()
        var model = try DVP(
            language, visualSize: tower.featureSize, classes: classes, settings,
            searching: kind == .search ? Array(0..<language.layerCount) : nil)
        try model.prepareTraining(seed: 0, precision: .float32)
        self.model = model
        batches = EpochOrder.batches(count: data.items.count, size: batchSize, seed: 0, epoch: 0)
    }

    // MARK: For the peer

    /// Writes weights.safetensors, data.safetensors and training.json.
    func prepare(in folder: String) throws {
        let rows = data.items.map { data.texts[$0.text].ids }
        let length = rows.map(\.count).max() ?? 0
        let isLeft = kind == .decoder
        func filled(_ row: [Int]) -> [Int] {
            let empty = [Int](repeating: 0, count: length - row.count)
            return isLeft ? empty + row : row + empty
        }
        var targets = [Float](repeating: 0, count: rows.count * classes)
        for (row, item) in data.items.enumerated() {
            for target in item.targets { targets[row * classes + target.number] = target.score }
        }
        try writeTensors(model.parameters(), to: folder + "/weights.safetensors")
        let shape = [rows.count, length]
        try writeTensors(
            [
                NamedTensor("ids", Tensor(rows.flatMap(filled), shape)),
                NamedTensor("valid", Tensor(rows.flatMap { filled($0.map { _ in 1 }) }, shape)),
                NamedTensor("visual", visual.selected(0, indices: Tensor(data.items.map(\.image)))),
                NamedTensor("targets", Tensor(targets, [rows.count, classes])),
            ], to: folder + "/data.safetensors")
        try writeFile(try plan.text() + "\n", to: folder + "/training.json")
    }

    private var plan: JSON {
        get throws {
            let groups: JSON = .array(
                try learner(stores: false).groups(decay: Self.decay, headRateScale: 1).map { group in
                    [
                        "decay": .number(group.decay),
                        "keys": .array(group.parameters.map { .string($0.key) }),
                    ]
                })
            func lists(_ lists: [[Int]]) -> JSON { .array(lists.map { .array($0.map { .integer($0) }) }) }
            var members: [JSON.Member] = [
                .init("kind", .string(kind.rawValue)), .init("batch", .integer(batchSize)),
                .init("groups", groups), .init("batches", lists(batches)),
                .init("rate", .number(Self.rate)), .init("steps", .integer(Self.steps)),
                .init("insert_layer", .integer(model.settings.insertLayer)),
                .init("heads", .integer(model.settings.heads ?? 1)),
                .init("adapter_scale", .number(model.settings.adapterScale ?? 1)),
                .init("trained", .array(Self.trained.map { .integer($0) })),
                .init("draws", lists(Self.draws)), .init("scored", .integer(Self.scored)),
            ]
            if case .decoder(let decoder) = model.language {
                let shape = decoder.configuration
                members += [
                    .init("text_heads", .integer(shape.heads)),
                    .init("key_heads", .integer(shape.keyValueHeads)),
                    .init("head_size", .integer(shape.headSize)), .init("base", .number(shape.rotary.base)),
                    .init("epsilon", .number(shape.normEpsilon)),
                ]
            }
            return .object(members)
        }
    }

    // MARK: Measuring

    private func learner(stores: Bool) -> DVPLearner {
        DVPLearner(
            model, data, reader: reader, visual: visual, classes: classes, precision: .float32,
            cachesLower: stores)
    }

    /// What a round does.
    enum Mode: String {
        /// A few steps on the common batches, without stores.
        case same
        /// A first epoch, hence with the time to fill the store of the lower layers.
        case stores
        /// A few steps of a search with their scores.
        case search
    }

    /// Shows the losses of the first steps, in a search with the scores behind them, then runs rounds.
    func run(_ mode: Mode) throws {
        var learner = learner(stores: mode != .same)
        let optimizer = Optimizer(.adamW(), try learner.groups(decay: Self.decay, headRateScale: 1))
        func step(_ batch: [Int], layer: Int? = nil) throws -> Double {
            try optimizer.clearGradients()
            let loss = try layer.map { try learner.loss(batch, layer: $0) } ?? learner.loss(batch)
            try loss.backward()
            try optimizer.step(rate: Self.rate)
            return try loss.item()
        }
        func few() throws -> JSON {
            try .array(
                (0..<Self.steps).map { number -> JSON in
                    guard mode == .search else { return .number(try step(batches[number])) }
                    let loss = try step(batches[number], layer: Self.trained[number])
                    let held = Array(batches[number + Self.steps].prefix(Self.scored))
                    // As the search does it: a layer that is drawn twice is scored once.
                    let layers = Set(Self.draws[number]).sorted()
                    let found = try Dictionary(
                        uniqueKeysWithValues: zip(layers, learner.scores(held, at: layers, drops: false)))
                    return .array([.number(loss)] + Self.draws[number].map { .number(found[$0] ?? 0) })
                })
        }
        try serve(few()) {
            guard mode == .stores else {
                _ = try few()
                return
            }
            learner = self.learner(stores: true)
            let grouped = EpochOrder.batches(
                count: learner.itemCount, size: batchSize, seed: 0, epoch: 0, length: learner.length)
            for batch in grouped { _ = try step(batch) }
        }
    }
}
