import Backbones
import Torch

/// A language model as DVP goes through it: to a layer, then, with the prompt in front, to the end.
///
/// Legend: B batch, L text tokens, P prompt tokens, D width, M layers that the prompt can enter.
public enum DVPLanguage: Module {
    /// The text goes up the encoder; the prompt joins it there.
    case bert(BERT)
    /// The encoder reads the text; the prompt joins the decoder's tokens.
    case t5(T5)
    /// LLaMA and its kin. Rows of text are padded on the left, so the last position is the last token of each.
    case decoder(Decoder)

    /// Which of the three.
    public enum Kind: String, Sendable, CaseIterable { case bert, t5, decoder }

    /// Which of the three.
    public var kind: Kind {
        switch self {
        case .bert: .bert
        case .t5: .t5
        case .decoder: .decoder
        }
    }

    /// What its keys begin with, as in the authors' checkpoints.
    var prefix: String {
        switch self {
        case .bert: "bert_model."
        case .t5: "t5_model."
        case .decoder: "llama_model."
        }
    }

    /// Lists the model's own parameters under ``prefix``; for decoders, whose keys the release takes from the bare model,
    /// embed_tokens, layers and norm, and lm_head where there is one.
    public mutating func visit(_ visitor: ParameterVisitor) throws {
        switch self {
        case .bert(var model):
            try visitor("bert_model", &model)
            self = .bert(model)
        case .t5(var model):
            try visitor("t5_model", &model)
            self = .t5(model)
        case .decoder(var model):
            try visitor("llama_model.embed_tokens", &model.embedding)
            try visitor("llama_model.layers", &model.layers)
            try visitor("llama_model.norm", &model.norm)
            try visitor("llama_model.lm_head", &model.head)
            self = .decoder(model)
        }
    }

    /// D
    public var size: Int {
        switch self {
        case .bert(let model): model.configuration.hiddenSize
        case .t5(let model): model.configuration.hiddenSize
        case .decoder(let model): model.configuration.hiddenSize
        }
    }

    /// Its own attention heads.
    public var heads: Int {
        switch self {
        case .bert(let model): model.configuration.heads
        case .t5(let model): model.configuration.heads
        case .decoder(let model): model.configuration.heads
        }
    }

    /// M: of T5, the decoder's.
    public var layerCount: Int {
        switch self {
        case .bert(let model): model.layers.count
        case .t5(let model): model.decoder.blocks.count
        case .decoder(let model): model.layers.count
        }
    }

    /// Whether frozen maps are kept in few bits.
    var isPacked: Bool {
        guard case .decoder(let model) = self else { return false }
        return model.layers.first?.query.quantised != nil
    }

    // MARK: Below the prompt

    /// Text before the first layer.
    ///
    /// - Parameters:
    ///   - ids: [B, L]; of a decoder padded on the left, otherwise on the right.
    ///   - mask: [B, L], true at real tokens; nil when no row is padded.
    ///   - written: what T5's decoder reads, [B, T]; nil: its start token.
    func begin(_ ids: Tensor, mask: Tensor?, written: Tensor? = nil, pass: DVPPass) throws -> DVPText {
        switch self {
        case .bert(let model):
            return DVPText(hidden: try model.embeddings(ids, dropout: pass.dropout), mask: mask)
        case .decoder(let model):
            return DVPText(hidden: try model.embed(ids), mask: mask)
        case .t5(let model):
            let encoded = try model.encode(model.embed(ids), mask: mask, pass: pass.t5(pass.lowerTap))
            return try start(encoded, mask: mask, written: written, pass: pass)
        }
    }

    /// T5's decoder before its first block, for what its encoder has read, [B, S, D].
    func start(_ encoded: Tensor, mask: Tensor?, written: Tensor? = nil, pass: DVPPass) throws -> DVPText {
        guard case .t5(let model) = self else {
            throw TorchError(.shape, operation: "DVP", message: "only T5 has an encoder of its own")
        }
        let start = Double(model.configuration.startID)
        let ids = try written ?? Tensor(full: start, [encoded.shape[0], 1], .int64)
        let hidden = try model.embed(ids).dropout(pass.dropout)
        return DVPText(hidden: hidden, mask: mask, encoded: encoded)
    }

    /// The same text at the input of a higher layer.
    func advanced(_ text: DVPText, to layer: Int, pass: DVPPass) throws -> DVPText {
        guard layer > text.layer else { return text }
        var result = text
        result.layer = layer
        result.hidden = try run(text.hidden, text, text.layer..<layer, mask: text.mask, pass, pass.lowerTap)
        return result
    }

    /// The query of the prompt, [B, 1, D]: [CLS] of BERT, the mean of T5's encoder output, a decoder's last question token.
    ///
    /// - Parameter answerLengths: tokens of the answer at the end of each row of a decoder; nil: none.
    func query(_ text: DVPText, _ settings: DVPSettings, answerLengths: [Int]? = nil) throws -> Tensor {
        switch self {
        case .bert: return try text.hidden.sliced(1, 0, 1)
        case .t5:
            let encoded = text.encoded ?? text.hidden
            guard settings.t5Query == .realTokens, let mask = text.mask else {
                return try encoded.mean([1], keep: true)
            }
            let weights = try mask.to(encoded.dtype).unsqueezed(2)  // [B, S, 1]
            return try (encoded * weights).sum([1], keep: true) / weights.sum([1], keep: true)
        case .decoder:
            let length = text.hidden.shape[1]
            guard let answerLengths else { return try text.hidden.sliced(1, length - 1, length) }
            let rows = try Tensor.arange(0, Double(answerLengths.count))
            let places = try Tensor(answerLengths.map { length - 1 - $0 })
            return try text.hidden.indexed([rows, places]).unsqueezed(1)
        }
    }

    // MARK: With the prompt

    /// The layers from the text's own on, with the prompt [B, P, D] in front, to the final norm: [B, P + L, D]; for BERT its
    /// one [CLS] state, [B, 1, D].
    ///
    /// - Parameter tail: the last positions that a decoder is wanted of; nil: all.
    func finished(_ joined: Tensor, _ text: DVPText, prompts: Int, tail: Int?, pass: DVPPass) throws -> Tensor
    {
        var mask: Tensor?
        if kind != .t5, let own = text.mask {
            mask = try Tensor.concatenated([.ones([joined.shape[0], prompts], .bool), own.to(.bool)], 1)
        }
        let range = text.layer..<layerCount
        let hidden = try run(joined, text, range, mask: mask, pass, pass.tap, prompts: prompts, tail: tail)
        guard case .t5(let model) = self else { return hidden }
        return try model.decoder.normed(hidden, pass: pass.t5(pass.tap))
    }

    /// - Parameters:
    ///   - prompts: how many stand in front of the text; nil: none have joined it yet. Of BERT's last layer only [CLS], right
    ///     behind them, is then computed.
    ///   - tail: the last ones of a decoder's last layer that are wanted.
    private func run(
        _ hidden: Tensor, _ text: DVPText, _ range: Range<Int>, mask: Tensor?, _ pass: DVPPass, _ tap: Tap?,
        prompts: Int? = nil, tail: Int? = nil
    ) throws -> Tensor {
        switch self {
        case .bert(let model):
            let visible = try mask ?? .ones([hidden.shape[0], hidden.shape[1]], .bool)
            return try model.encode(
                hidden, mask: visible, layers: range, only: prompts, dropout: pass.dropout, tap: tap)
        case .decoder(let model):
            let bias =
                try prompts.map { try pass.bias(range, prompts: $0, keys: hidden.shape[1]) } ?? [:]
            return try model.hidden(
                hidden, mask: mask, tap: tap, layers: range, tail: tail, bias: bias)
        case .t5(let model):
            let memory = try model.memory(
                text.encoded ?? hidden, mask: text.mask, blocks: range)
            return try model.decode(hidden, memory: memory, layers: range, pass: pass.t5(tap))
        }
    }

    /// What the classifier reads of ``finished(_:_:prompts:pass:)``, [B, D]: BERT's [CLS], the last token of the others.
    func feature(_ hidden: Tensor) throws -> Tensor {
        let last = hidden.shape[1] - 1
        return try hidden.selected(1, kind == .bert ? 0 : last)
    }

    /// Scores of the next token, [..., V], for finished states [..., D].
    func vocabularyScores(_ hidden: Tensor) throws -> Tensor {
        switch self {
        case .bert: throw TorchError(.shape, operation: "DVP", message: "BERT does not write")
        case .t5(let model): try model.logits(hidden)
        case .decoder(let model): try model.logits(hidden)
        }
    }

    /// The text alone, without a prompt, [B, D]: [CLS], the mean of T5's encoder output, a decoder's last state.
    public func textState(_ ids: Tensor, mask: Tensor?) throws -> Tensor {
        let pass = DVPPass()
        let text = try begin(ids, mask: mask, pass: pass)
        if kind == .t5 { return try query(text, .fixed).selected(1, 0) }
        let end = try advanced(text, to: layerCount, pass: pass)
        return try query(end, .fixed).selected(1, 0)
    }
}

/// How one pass through DVP is run.
struct DVPPass {
    /// Probability of dropout.
    var dropout = 0.0
    /// In the layers that see the prompt.
    var tap: Tap?
    /// In the layers below, and T5's encoder.
    var lowerTap: Tap?
    /// As T5's decoder is run.
    var bias = DVPSettings.T5Bias.everyBlock
    /// As T5's decoder is run.
    var isCausal = true
    /// Of a decoder's layers from ``firstBias`` on, [H]: added to the scores of the prompt.
    var promptBiases: [Tensor] = []
    /// The layer of the first of them.
    var firstBias = 0

    /// What is added to the attention scores, by layer, [H, 1, S]; the first `prompts` of S keys are the prompt.
    func bias(_ layers: Range<Int>, prompts: Int, keys: Int) throws -> [Int: Tensor] {
        var result: [Int: Tensor] = [:]
        for layer in layers where promptBiases.indices.contains(layer - firstBias) {
            let bias = promptBiases[layer - firstBias]
            let column = try bias.reshaped([-1, 1, 1]).expanded([bias.count, 1, prompts])
            result[layer] = try column.padded([0, keys - prompts])
        }
        return result
    }

    func t5(_ tap: Tap?) -> T5Pass {
        T5Pass(
            bias: bias == .firstBlock ? .firstBlock : .everyBlock, isCausal: isCausal, dropout: dropout,
            tap: tap)
    }
}

/// A text on its way up.
struct DVPText {
    /// [B, L, D]; of T5, the decoder's tokens.
    var hidden: Tensor
    /// [B, L] of the text (of T5, what its encoder reads), true at real tokens; nil when no row is padded.
    var mask: Tensor?
    /// T5: the encoder's output, [B, S, D].
    var encoded: Tensor?
    /// The layer whose input ``hidden`` is.
    var layer = 0
}
