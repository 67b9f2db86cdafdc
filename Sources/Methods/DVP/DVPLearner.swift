import Backbones
import Support
import Tasks
import Torch

/// DVP with what it works on: data, visual tokens, and the states of the frozen layers below the prompt.
public final class DVPLearner: Learner {
    /// The model, whose parameters training changes in place.
    public private(set) var model: DVPBERT
    private let data: DVPData
    /// Visual tokens, [rows, N, V].
    private let visual: Tensor
    private let classes: Int
    private let precision: DType
    /// Whether the frozen lower layers are computed once a question.
    private let caches: Bool
    /// Frozen states at the input of layer K: [questions, L, D] and mask [questions, L], when cached.
    private var lowerStates: (hidden: Tensor, mask: Tensor)?

    /// - Parameters:
    ///   - model: loaded, with its trained parameters chosen.
    ///   - visual: [rows, N, V].
    ///   - precision: of the matrix products.
    ///   - cachesLower: compute the layers below the prompt once a question, when they are frozen.
    public init(
        _ model: DVPBERT, _ data: DVPData, visual: Tensor, classes: Int, precision: DType,
        cachesLower: Bool = true
    ) {
        self.model = model
        self.data = data
        self.visual = visual
        self.classes = classes
        self.precision = precision
        caches = cachesLower && model.lowerLayersAreFrozen
    }

    /// The items of the data; samples it left out do not count.
    public var itemCount: Int { data.items.count }

    /// Tokens of the item's question.
    public func length(of item: Int) -> Int { data.questions[data.items[item].question].count }

    /// The parameters that require a gradient, with DVP's names.
    public func trained() throws -> [NamedTensor] { try model.trainableParameters() }

    /// The release's four groups: the head learns faster, and biases and norms are not decayed (the head's own norm is,
    /// by its name).
    public func groups(decay: Double, headRateScale: Double) throws -> [ParameterGroup] {
        let plain = [
            "bias", "LayerNorm.weight", "norm.weight", "norm1.weight", "norm2.weight", "layernorm.weight",
        ]
        var groups = [(head: false, decays: true), (false, false), (true, true), (true, false)].map { kind in
            (
                kind,
                ParameterGroup([], rateScale: kind.head ? headRateScale : 1, decay: kind.decays ? decay : 0)
            )
        }
        for parameter in try trained() {
            let head = parameter.key.contains("vqa_classifier")
            let decays = !plain.contains { parameter.key.contains($0) }
            for index in groups.indices where groups[index].0 == (head, decays) {
                groups[index].1.parameters.append(parameter)
            }
        }
        return groups.map(\.1).filter { !$0.parameters.isEmpty }
    }

    /// ``softTargetLoss(_:_:)`` of `items`, with dropout in the layers that are not cached.
    public func loss(_ items: [Int]) throws -> Tensor {
        let logits = try logits(items, dropout: model.settings.dropout)
        var targets = [Float](repeating: 0, count: items.count * classes)
        for (row, item) in items.enumerated() {
            for target in data.items[item].targets { targets[row * classes + target.number] = target.score }
        }
        return try softTargetLoss(logits, Tensor(targets, [items.count, classes]))
    }

    /// Probabilities of the answers, [items, C] row by row.
    public func probabilities(_ items: [Int]) throws -> [Float] {
        try withoutGradients { try logits(items, dropout: 0).to(.float32).sigmoid().floats() }
    }

    /// [items, C]
    private func logits(_ items: [Int], dropout: Double) throws -> Tensor {
        let items = items.map { data.items[$0] }
        let images = try visual.selected(0, indices: Tensor(items.map(\.image)))
        return try withAutocast(precision) {
            if caches {
                let (hidden, mask) = try lower(items.map(\.question))
                return try model.upper(hidden, mask: mask, visual: images, dropout: dropout).logits
            }
            let batch = try TokenBatch(items.map { data.questions[$0.question] })
            return try model(batch.ids, mask: batch.mask, visual: images, dropout: dropout).logits
        }
    }

    /// The cached states of some questions, cut to the longest of them.
    private func lower(_ questions: [Int]) throws -> (hidden: Tensor, mask: Tensor) {
        let all = try lowerStates ?? computeLower()
        lowerStates = all
        let rows = try Tensor(questions)
        let length = questions.map { data.questions[$0].count }.max() ?? 0
        return (
            try all.hidden.sliced(1, 0, length).selected(0, indices: rows),
            try all.mask.sliced(1, 0, length).selected(0, indices: rows)
        )
    }

    /// In order of length, so that short questions are not computed at the length of the longest.
    private func computeLower() throws -> (hidden: Tensor, mask: Tensor) {
        let batch = try TokenBatch(data.questions)
        let longest = data.questions.map(\.count).max() ?? 0
        let order = data.questions.indices.sorted {
            (data.questions[$0].count, $0) < (data.questions[$1].count, $1)
        }
        var parts: [Tensor] = []
        try withoutGradients {
            for start in stride(from: 0, to: order.count, by: 128) {
                let part = try TokenBatch(
                    order[start..<min(order.count, start + 128)].map { data.questions[$0] })
                let states = try model.lower(part.ids, mask: part.mask)  // [128, length of the part, D]
                parts.append(try states.padded([0, 0, 0, longest - states.shape[1]]))
            }
        }
        var place = [Int](repeating: 0, count: order.count)
        for (row, question) in order.enumerated() { place[question] = row }
        return (try Tensor.concatenated(parts, 0).selected(0, indices: Tensor(place)), batch.mask)
    }
}
