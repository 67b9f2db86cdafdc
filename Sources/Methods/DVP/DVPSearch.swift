import Support
import Tasks
import Torch

#if canImport(Glibc)
    import Glibc
#else
    import Darwin
#endif

/// How the placement is searched for.
public struct DVPSearchSettings: Sendable, Equatable {
    /// Draws of the bandit a step, `search_sample`.
    public var draws = 5
    /// The layers to choose from; empty: all.
    public var layers: [Int] = []
    /// Questions that the draws of a step are scored on; nil: half the batch size.
    public var scoringBatch: Int?
    /// How preferences follow rewards.
    public var rule = PlacementBandit.Rule.full
    /// The factor before every update.
    public var stepSize = 0.005
    /// Score with dropout, as the release does, whose model stays in training mode.
    public var scoresWithDropout = false
    /// As in the release, a prompt that was trained once is moved on by momentum and decay in the steps of the others.
    public var movesIdleArms = false
    /// The share of all steps after which the bandit begins. Before, all layers are only trained: a layer that learns fast is
    /// not always one that ends well, and a policy that has decided does not look back.
    public var begin = 0.5

    /// The authors' code.
    public static let released = {
        var settings = DVPSearchSettings()
        (settings.rule, settings.scoresWithDropout, settings.movesIdleArms) = (.diagonal, true, true)
        settings.begin = 0
        return settings
    }()

    /// The repaired search: the defaults above.
    public static let fixed = DVPSearchSettings()

    /// The repaired search, ``fixed``.
    public init() {}
}

/// A learner whose prompt can enter at any layer.
public protocol PlacementLearner: Learner {
    /// The layers that have a prompt, in rising order: the arms of the bandit.
    var placements: [Int] { get }
    /// Items that are scored at once, at most.
    var scoringBatch: Int { get }
    /// The mean loss of `items` with the prompt at a layer, with training's dropout.
    func loss(_ items: [Int], layer: Int) throws -> Tensor
    /// How well `items` are answered with the prompt at each of some layers, in percent; nothing is recorded for gradients.
    ///
    /// - Parameter drops: with training's dropout.
    func scores(_ items: [Int], at layers: [Int], drops: Bool) throws -> [Double]
}

extension PlacementLearner {
    /// The mean score of all items with the prompt at each layer, in percent, without dropout.
    public func scoresByLayer() throws -> [Int: Double] {
        let order = (0..<itemCount).sorted { (length(of: $0), $0) < (length(of: $1), $1) }
        var sums: [Int: Double] = [:]
        for start in stride(from: 0, to: order.count, by: scoringBatch) {
            let items = Array(order[start..<min(start + scoringBatch, order.count)])
            for (layer, score) in zip(placements, try scores(items, at: placements, drops: false)) {
                sums[layer, default: 0] += score * Double(items.count)
            }
        }
        return sums.mapValues { $0 / Double(max(1, order.count)) }
    }
}

/// Training of all placements at once, and the bandit that compares them (KAB-APP): each step trains one layer's prompt,
/// drawn evenly, then, from ``DVPSearchSettings/begin`` on, scores some layers, drawn by the bandit, on the same held-out
/// questions.
///
/// Specification of DVP, 3. Each layer has its own prompt; language model, adapters and head are shared.
public final class DVPSearchLearner: Learner {
    private let learner: any PlacementLearner
    private let scorer: any PlacementLearner
    private let settings: DVPSearchSettings
    private let seed: Int
    private let batchSize: Int
    /// The bandit as it stands.
    public private(set) var bandit: PlacementBandit
    /// Where the next scoring batch begins in ``order``.
    private var cursor = 0
    /// The held-out items, shuffled once, as the release's loader does.
    private let order: [Int]
    private var step = 0
    private var part = 0
    private var layer = 0
    /// Called after every round with the number of steps done.
    public var onRound: ((Int, PlacementBandit) -> Void)?
    /// Prompts that were trained at least once.
    private var touched: Set<Int> = []
    /// The step that the bandit begins with.
    private var firstRound = 0

    /// - Parameters:
    ///   - learner: of the training data, for all layers, with a model made for a search.
    ///   - scorer: of the held-out data, with the same model, for all layers.
    ///   - batchSize: of training.
    public init(
        _ learner: any PlacementLearner, scorer: any PlacementLearner, _ settings: DVPSearchSettings,
        batchSize: Int, seed: Int
    ) throws {
        guard scorer.itemCount > 0 else {
            throw VQAError(
                "cannot search", because: "there are no held-out questions to compare the layers on",
                remedy: "set validation_split, or holdout_images")
        }
        self.learner = learner
        self.scorer = scorer
        self.settings = settings
        self.seed = seed
        self.batchSize = max(1, settings.scoringBatch ?? batchSize / 2)
        bandit = PlacementBandit(
            layers: learner.placements, rule: settings.rule, stepSize: settings.stepSize)
        var random = CounterRandom(seed: seed, purpose: "search order")
        order = Array(0..<scorer.itemCount).shuffled(using: &random)
    }

    /// The items of the training data.
    public var itemCount: Int { learner.itemCount }
    /// Tokens of an item.
    public func length(of item: Int) -> Int { learner.length(of: item) }
    /// Prompts of all layers, and what they share.
    public func trained() throws -> [NamedTensor] { try learner.trained() }
    /// As of ``DVPLearner``.
    public func groups(decay: Double, headRateScale: Double) throws -> [ParameterGroup] {
        try learner.groups(decay: decay, headRateScale: headRateScale)
    }

    // MARK: A step

    /// Sets the number of steps that the search will have, for ``DVPSearchSettings/begin``. Until then the bandit begins at
    /// once.
    public func plan(steps: Int) { firstRound = Int((settings.begin * Double(steps)).rounded(.down)) }

    /// Draws start again from the step's number, so that a resumed search goes on the same way.
    public func beginStep(_ step: Int, epoch: Int) { (self.step, part) = (step, 0) }

    /// The loss with the prompt at a layer that is drawn evenly.
    public func loss(_ items: [Int]) throws -> Tensor {
        var random = CounterRandom(seed: seed, epoch: part, sample: step, purpose: "search layer")
        layer = bandit.layers.randomElement(using: &random) ?? 0
        part += 1
        return try learner.loss(items, layer: layer)
    }

    /// Gives the prompts that rest a gradient of zero where the release moves them.
    public func beforeUpdate() throws {
        guard settings.movesIdleArms else { return }
        touched.insert(layer)
        for parameter in try learner.trained() where parameter.key.contains("_options.") {
            guard let other = parameter.key.split(separator: ".").dropFirst().first.flatMap({ Int($0) }),
                other != layer, touched.contains(other)
            else { continue }
            try parameter.tensor.setGradient(.zeros(parameter.tensor.shape))
        }
    }

    /// Scores the draws of the bandit and lets it learn, once it has begun.
    public func endStep() throws -> [JSON.Member] {
        guard step >= firstRound else { return [.init("layer", .integer(layer))] }
        var random = CounterRandom(seed: seed, sample: step, purpose: "search draws")
        let draws = bandit.draw(settings.draws, using: &random)
        let scores = try scores(of: draws.map { bandit.layers[$0] }, on: nextBatch())
        let round = bandit.update(draws, scores: scores)
        onRound?(step + 1, bandit)
        return [
            .init("layer", .integer(layer)), .init("score", .number(round.meanScore)),
            .init("max_reward", .number(round.maxReward)), .init("arch_loss", .number(round.policyLoss)),
            .init("policy", .array(bandit.probabilities.map { .number((1e6 * $0).rounded() / 1e6) })),
        ]
    }

    /// The next held-out questions; starts again when they are used up.
    private func nextBatch() -> [Int] {
        if cursor >= order.count { cursor = 0 }
        let end = min(cursor + batchSize, order.count)
        defer { cursor = end }
        return Array(order[cursor..<end])
    }

    /// Percent of each draw. Without dropout a layer that is drawn twice is scored once.
    private func scores(of draws: [Int], on items: [Int]) throws -> [Double] {
        if settings.scoresWithDropout { return try scorer.scores(items, at: draws, drops: true) }
        let layers = Set(draws).sorted()
        let found = try scorer.scores(items, at: layers, drops: false)
        let byLayer = Dictionary(uniqueKeysWithValues: zip(layers, found))
        return draws.map { byLayer[$0] ?? 0 }
    }

    /// Questions that the layers are compared on.
    public var heldOutCount: Int { scorer.itemCount }

    /// The score on all held-out questions with the prompt at each layer, in percent.
    public func heldOutPercent() throws -> [Int: Double] { try scorer.scoresByLayer() }

    // MARK: Checkpoints

    /// The bandit, and where scoring stands.
    public var state: JSON {
        [
            "bandit": bandit.json, "cursor": .integer(cursor),
            "touched": .array(touched.sorted().map { .integer($0) }),
        ]
    }

    /// Goes on from a state of the same search.
    public func restore(_ state: JSON, source: String) throws {
        guard let saved = state["bandit"], let cursor = state["cursor"]?.integer,
            (0...order.count).contains(cursor), let touched = state["touched"]?.array?.compactMap(\.integer)
        else {
            throw VQAError(
                "cannot resume the search", at: source, because: "it is no checkpoint of a search")
        }
        try bandit.restore(saved, source: source)
        self.cursor = cursor
        self.touched = Set(touched)
    }
}

extension DVPLearner: PlacementLearner {
    /// All layers in a search, unless it is told otherwise; else the one of the settings.
    public var placements: [Int] { model.placements }
    /// As many as are answered at once.
    public var scoringBatch: Int { 256 }

    /// The mean loss with the prompt at a layer.
    public func loss(_ items: [Int], layer: Int) throws -> Tensor {
        try loss(items, layer: layer, dropout: model.settings.dropout)
    }

    /// The mean score of the best answers; of a model that writes, 100 · exp(−loss). The layers below a prompt are computed
    /// once for all layers.
    public func scores(_ items: [Int], at layers: [Int], drops: Bool) throws -> [Double] {
        let dropout = drops ? model.settings.dropout : 0
        return try withoutGradients {
            if model.settings.answers == .write {
                return try layers.map {
                    100 * exp(-(try loss(items, layer: $0, dropout: dropout).item()))
                }
            }
            return try logits(items, at: layers, pass: model.pass(dropout: dropout)).map {
                try percent($0, items)
            }
        }
    }

    private func percent(_ logits: Tensor, _ items: [Int]) throws -> Double {
        let chosen = try logits.argmax(-1).integers()
        var sum = 0.0
        for (item, answer) in zip(items, chosen) {
            sum += Double(data.items[item].targets.first { $0.number == answer }?.score ?? 0)
        }
        return 100 * sum / Double(max(1, items.count))
    }
}
