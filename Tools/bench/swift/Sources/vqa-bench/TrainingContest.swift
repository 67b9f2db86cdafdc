import Backbones
import Checkpoints
import Methods
import Support
import Tasks
import Torch
import Training

/// DVP-BERT on the first questions of easy-VQA, as Examples/easy-vqa-dvp-bert.yaml trains it, in fp32.
struct TrainingContest {
    private static let questions = 640
    private static let batchSize = 64
    private static let maxLength = 16
    private static let rate = 1e-3
    private static let decay = 0.01
    /// Steps of a round of `same`; a round of `stores` is an epoch.
    private static let steps = 3

    private let data: DVPData
    private let visual: Tensor
    private let classes: Int
    private let model: DVP
    private let reader: DVPReader
    /// Batches without regard to length, the same for both sides.
    private let batches: [[Int]]

    /// - Parameter folder: keeps the image features from one run to the next.
    init(folder: String) throws {
        try Engine.setThreads(2)
        let backbone = try DVPBackbone("minilm")
        reader = try DVPReader(backbone, answers: .classify, maxLength: TrainingContest.maxLength)
        let tower = try VisionTower("efficientnet-lite0", imageSize: 64)
        let task = try TaskRegistry.named("easy-vqa").load(ModelLibrary.easyVQAData(), split: "train")
            .limited(to: TrainingContest.questions)
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
        settings.insertLayer = 4
        settings.dropout = 0
        var model = try DVP(
            backbone.language(), visualSize: tower.featureSize, classes: classes, settings)
        try model.prepareTraining(seed: 0, precision: .float32)
        self.model = model
        batches = EpochOrder.batches(
            count: data.items.count, size: TrainingContest.batchSize, seed: 0, epoch: 0)
    }

    // MARK: For the peer

    /// Writes weights.safetensors, data.safetensors and training.json.
    func prepare(in folder: String) throws {
        let length = TrainingContest.maxLength
        let rows = data.items.map { data.texts[$0.text].ids }
        var targets = [Float](repeating: 0, count: rows.count * classes)
        for (row, item) in data.items.enumerated() {
            for target in item.targets { targets[row * classes + target.number] = target.score }
        }
        try writeTensors(model.parameters(), to: folder + "/weights.safetensors")
        try writeTensors(
            [
                NamedTensor(
                    "ids",
                    Tensor(
                        rows.flatMap { $0 + Array(repeating: 0, count: length - $0.count) },
                        [rows.count, length])),
                NamedTensor("visual", visual.selected(0, indices: Tensor(data.items.map(\.image)))),
                NamedTensor("targets", Tensor(targets, [rows.count, classes])),
            ], to: folder + "/data.safetensors")
        let groups: JSON = .array(
            try learner(stores: false).groups(decay: TrainingContest.decay, headRateScale: 1).map { group in
                [
                    "decay": .number(group.decay),
                    "keys": .array(group.parameters.map { .string($0.key) }),
                ]
            })
        let batches: JSON = .array(batches.map { .array($0.map { .integer($0) }) })
        let record: JSON = [
            "groups": groups, "batches": batches, "rate": .number(TrainingContest.rate),
            "steps": .integer(TrainingContest.steps), "insert_layer": .integer(model.settings.insertLayer),
            "heads": .integer(model.settings.heads ?? 1),
        ]
        try writeFile(record.text() + "\n", to: folder + "/training.json")
    }

    // MARK: Measuring

    private func learner(stores: Bool) -> DVPLearner {
        DVPLearner(
            model, data, reader: reader, visual: visual, classes: classes, precision: .float32,
            cachesLower: stores)
    }

    /// Shows the losses of the first steps, then: without stores, a round is a few steps on the common batches; with
    /// stores, a first epoch, hence with the time to fill the store of the lower layers.
    func run(stores: Bool) throws {
        var learner = learner(stores: stores)
        let optimizer = Optimizer(
            .adamW(), try learner.groups(decay: TrainingContest.decay, headRateScale: 1))
        func step(_ batch: [Int]) throws -> Double {
            try optimizer.clearGradients()
            let loss = try learner.loss(batch)
            try loss.backward()
            try optimizer.step(rate: TrainingContest.rate)
            return try loss.item()
        }
        let losses = try batches.prefix(TrainingContest.steps).map(step)
        try serve(.array(losses.map { .number($0) })) {
            if stores {
                learner = self.learner(stores: true)
                let grouped = EpochOrder.batches(
                    count: learner.itemCount, size: TrainingContest.batchSize, seed: 0, epoch: 0,
                    length: learner.length)
                for batch in grouped { _ = try step(batch) }
            } else {
                for batch in batches.prefix(TrainingContest.steps) { _ = try step(batch) }
            }
        }
    }
}
