import Backbones
import Support
import Tasks
import Tokenizers
import Torch

/// DVP with what it works on: data, visual tokens, and the states of the frozen layers below the prompt.
public final class DVPLearner: Learner {
    /// The model, whose parameters training changes in place.
    public let model: DVP
    let data: DVPData
    private let reader: DVPReader
    /// Visual tokens, [rows, N, V].
    private let visual: Tensor
    private let classes: Int
    let precision: DType
    let lower: DVPLowerStates

    /// - Parameters:
    ///   - model: loaded, with its trained parameters chosen.
    ///   - visual: [rows, N, V].
    ///   - precision: of the matrix products.
    ///   - cachesLower: compute the layers below the prompt once a text, when they are frozen.
    public init(
        _ model: DVP, _ data: DVPData, reader: DVPReader, visual: Tensor, classes: Int, precision: DType,
        cachesLower: Bool = true
    ) {
        self.model = model
        self.data = data
        self.reader = reader
        self.visual = visual
        self.classes = classes
        self.precision = precision
        let settings = model.settings
        let isT5 = model.language.kind == .t5
        // A decoder that learns to write sees all of an answer but its end.
        let texts =
            isT5 ? data.texts.map(\.ids) : data.texts.map { $0.ids + $0.answer.dropLast() }
        lower = DVPLowerStates(
            model, texts: texts,
            layers: isT5 && settings.answers == .write ? [] : model.placements,
            padding: .init(
                isLeft: model.language.kind == .decoder,
                length: isT5 && settings.t5Query == .allPositions ? reader.maxLength : 0),
            keeps: cachesLower)
    }

    /// The items of the data; samples it left out do not count.
    public var itemCount: Int { data.items.count }

    /// Tokens of the item's question, and answer.
    public func length(of item: Int) -> Int {
        let text = data.texts[data.items[item].text]
        return text.ids.count + text.answer.count
    }

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

    /// The mean loss of `items`, with dropout in the layers that are not frozen.
    public func loss(_ items: [Int]) throws -> Tensor {
        try loss(items, layer: model.settings.insertLayer, dropout: model.settings.dropout)
    }

    /// The same with the prompt at a layer.
    func loss(_ items: [Int], layer: Int, dropout: Double) throws -> Tensor {
        let pass = model.pass(dropout: dropout)
        if model.settings.answers == .write { return try writingLoss(items, layer: layer, pass: pass) }
        let logits = try logits(items, layer: layer, pass: pass)
        return try loss(logits, items)
    }

    private func loss(_ logits: Tensor, _ items: [Int]) throws -> Tensor {
        let targets = items.map { data.items[$0].targets }
        if model.settings.loss == .oneAnswer {
            // The best answer; the last of several that are equally good, as in the release.
            let best = targets.map { row in
                row.reduce(row.first) { ($0?.score ?? 0) <= $1.score ? $1 : $0 }?.number ?? 0
            }
            return try logits.to(.float32).crossEntropy(Tensor(best))
        }
        var soft = [Float](repeating: 0, count: items.count * classes)
        for (row, targets) in targets.enumerated() {
            for target in targets { soft[row * classes + target.number] = target.score }
        }
        return try softTargetLoss(logits, Tensor(soft, [items.count, classes]))
    }

    /// Probabilities of the answers, [items, C] row by row: each by itself, or of all together where one answer is right.
    public func probabilities(_ items: [Int], layer: Int? = nil) throws -> [Float] {
        try withoutGradients {
            let layer = layer ?? model.settings.insertLayer
            let logits = try logits(items, layer: layer, pass: model.pass()).to(.float32)
            return try (model.settings.loss == .oneAnswer ? logits.softmax(-1) : logits.sigmoid()).floats()
        }
    }

    /// [items, C]
    func logits(_ items: [Int], layer: Int, pass: DVPPass) throws -> Tensor {
        try logits(items, at: [layer], pass: pass)[0]
    }

    /// [items, C] for each of some layers; those below are computed once.
    func logits(_ items: [Int], at layers: [Int], pass: DVPPass) throws -> [Tensor] {
        let visual = try images(items)
        return try withAutocast(precision) {
            try lower.all(items.map { data.items[$0].text }, at: layers, pass: pass).map {
                try model.upper($0, visual: visual, pass: pass).logits
            }
        }
    }

    /// [items, N, V]
    private func images(_ items: [Int]) throws -> Tensor {
        try visual.selected(0, indices: Tensor(items.map { data.items[$0].image }))
    }

    // MARK: Writing

    /// Cross-entropy of the tokens of the answers, averaged over them.
    private func writingLoss(_ items: [Int], layer: Int, pass: DVPPass) throws -> Tensor {
        let texts = items.map { data.items[$0].text }
        let answers = texts.map { data.texts[$0].answer }
        let visual = try images(items)
        return try withAutocast(precision) {
            let isT5 = model.language.kind == .t5
            let text =
                try isT5
                ? writtenText(texts, answers.map { Array($0.dropLast()) }, layer: layer, pass: pass)
                : lower.text(texts, at: layer, pass: pass)
            let query = try model.language.query(
                text, model.settings, answerLengths: answers.map { max(0, $0.count - 1) })
            let tail = answers.map(\.count).max() ?? 0
            let hidden = try model.fused(text, query, visual: visual, tail: tail, pass: pass).hidden
            // Where each answer is predicted: at the end of the rows, of T5, which is padded there, behind the prompt.
            let total = hidden.shape[1]
            let places = answers.enumerated().flatMap { row, answer in
                let start = isT5 ? model.settings.promptTokens : total - answer.count
                return (0..<answer.count).map { row * total + start + $0 }
            }
            let size = hidden.shape[2]
            let predicting = try hidden.reshaped([-1, size]).selected(0, indices: Tensor(places))
            return try model.language.vocabularyScores(predicting).to(.float32)
                .crossEntropy(Tensor(answers.flatMap { $0 }))
        }
    }

    /// T5's decoder at a layer, having written these tokens behind its start.
    private func writtenText(_ texts: [Int], _ written: [[Int]], layer: Int, pass: DVPPass) throws -> DVPText
    {
        let read = try lower.text(texts, at: 0, pass: pass)
        guard case .t5(let model) = model.language, let encoded = read.encoded else { return read }
        let rows = try TokenBatch(written.map { [model.configuration.startID] + $0 })
        let start = try self.model.lower.start(encoded, mask: read.mask, written: rows.ids, pass: pass)
        return try self.model.lower.advanced(start, to: layer, pass: pass)
    }

    /// The answers that the model writes, the most probable token each time, at most `limit` tokens, with the probability of
    /// all their tokens.
    public func write(_ items: [Int], limit: Int) throws -> [(text: String, probability: Double)] {
        let texts = items.map { data.texts[data.items[$0].text].ids }
        let visual = try images(items)
        let written = try withoutGradients {
            try withAutocast(precision) {
                try DVPWriter(model, endIDs: Set(reader.backbone.endIDs))
                    .write(texts, visual: visual, limit: limit)
            }
        }
        return try written.map { ids, probability in
            let text = try reader.backbone.tokenizer.decode(ids, skipSpecialTokens: true)
            return (String(text.drop(while: \.isWhitespace)), probability)
        }
    }
}
