import Checkpoints
import Support
import Torch

/// T5 (Raffel et al. 2020) and its version 1.1 (Flan-T5): pre-norm encoder and decoder without biases, positions known
/// only through a learnt bias of the attention scores. Keys as in the reference's `T5ForConditionalGeneration`.
///
/// Legend: B batch, S encoder tokens, T decoder tokens, D model width, H heads, K width of a head, V vocabulary.
///
/// Taps number the blocks of both stacks in one row: encoder blocks from 0, decoder blocks after them. The final norm of
/// a stack has the number that follows its last block. At ``TapSite/attentionOutput``, ``TapSite/crossAttentionOutput``
/// and ``TapSite/mlpOutput`` the tap comes before dropout.
///
/// The reference clamps infinities between sub-layers in float16, and only there. This does not: use bfloat16 or autocast,
/// in which the residual stream does not overflow.
public struct T5: Module {
    /// The shape it was built with.
    public let configuration: T5Configuration
    /// The word table of both stacks, [V, D]; also the head when there is no other.
    public var shared: Embedding
    /// Reads the question.
    public var encoder: T5Stack
    /// Writes the answer.
    public var decoder: T5Stack
    /// [V, D], nil when the word table is the head.
    public var head: Linear?

    /// A model without weights, on the meta device.
    public init(_ configuration: T5Configuration) throws {
        self.configuration = configuration
        let size = configuration.hiddenSize
        shared = try Embedding(configuration.vocabularySize, size)
        encoder = try T5Stack(configuration, isDecoder: false)
        decoder = try T5Stack(configuration, isDecoder: true)
        head =
            configuration.hasHead
            ? try Linear(size, configuration.vocabularySize, bias: false, (.normal(deviation: 1), .zeros))
            : nil
    }

    /// A model with the weights of a folder in the Hugging Face layout.
    public init(folder: String) throws {
        let path = folder + "/config.json"
        let checkpoint = try Checkpoint(opening: folder)
        let configuration = try T5Configuration(JSON(contentsOf: path), source: path)
        try self.init(configuration, weights: checkpoint.tensors(), source: checkpoint.path)
    }

    /// A model with the weights that stand in a checkpoint under `prefix`, such as `language_model.` in InstructBLIP. A head
    /// equal to the word table is not loaded a second time.
    public init(
        _ configuration: T5Configuration, weights: [String: Tensor], prefix: String = "", source: String
    ) throws {
        let known = try Self.renamed(weights, prefix: prefix, source: source)
        var configuration = configuration
        // A head that the configuration promises and the file lacks stays promised, so that loading names it.
        let lacking = configuration.hasHead && weights[prefix + "lm_head.weight"] == nil
        configuration.hasHead = known["lm_head.weight"] != nil || lacking
        try self.init(configuration)
        try load(known, from: source)
    }

    /// Lists shared, encoder, decoder, and lm_head when there is one.
    public mutating func visit(_ visitor: ParameterVisitor) throws {
        try visitor("shared", &shared)
        try visitor("encoder", &encoder)
        try visitor("decoder", &decoder)
        try visitor("lm_head", &head)
    }

    /// Brings the names of a checkpoint to this module's: without `prefix`, other keys left out; the word table once,
    /// whichever of its names a file has (older files repeat it for each stack and for a tied head); without the table
    /// that the first files have for cross-attention, which has no positions.
    public static func renamed(_ weights: [String: Tensor], prefix: String = "", source: String) throws
        -> [String: Tensor]
    {
        var result: [String: Tensor] = [:]
        for (name, tensor) in weights where name.hasPrefix(prefix) {
            result[String(name.dropFirst(prefix.count))] = tensor
        }
        result["decoder.block.0.layer.1.EncDecAttention.relative_attention_bias.weight"] = nil
        let copies = ["encoder.embed_tokens.weight", "decoder.embed_tokens.weight"]
        guard let table = result["shared.weight"] ?? copies.lazy.compactMap({ result[$0] }).first else {
            return result
        }
        result["shared.weight"] = table
        for name in copies {
            guard let copy = result.removeValue(forKey: name), try !isEqual(copy, table) else { continue }
            throw VQAError(
                "cannot use the model", at: source,
                because: "\(name) differs from shared.weight, and both stacks read one table")
        }
        if let head = result["lm_head.weight"], try isEqual(head, table) { result["lm_head.weight"] = nil }
        return result
    }

    private static func isEqual(_ a: Tensor, _ b: Tensor) throws -> Bool {
        guard a.shape == b.shape, a.dtype == b.dtype else { return false }
        return try (a .!= b).any().integerItem() == 0
    }

    // MARK: Whole passes

    /// Word vectors: int64 [B, S] → [B, S, D].
    public func embed(_ ids: Tensor) throws -> Tensor { try shared(ids) }

    /// The encoder's output.
    ///
    /// - Parameters:
    ///   - embeddings: [B, S, D], of ids (``embed(_:)``) or of anything else that is as wide.
    ///   - mask: [B, S], true for real tokens; nil when no row is padded.
    public func encode(_ embeddings: Tensor, mask: Tensor? = nil, pass: T5Pass = T5Pass()) throws -> Tensor {
        let hidden = try encoder(
            embeddings.dropout(pass.dropout), layers: 0..<encoder.blocks.count, mask: mask, pass: pass)
        return try encoder.normed(hidden, pass: pass)
    }

    /// The decoder's output [B, T, D] for word vectors [B, T, D] and what the encoder has read.
    ///
    /// - Parameter mask: [B, T], true for real tokens; nil when no row is padded.
    public func decode(
        _ embeddings: Tensor, memory: T5Memory, mask: Tensor? = nil, cache: KeyValueCache? = nil,
        pass: T5Pass = T5Pass()
    ) throws -> Tensor {
        let hidden = try decoder(
            embeddings.dropout(pass.dropout), layers: 0..<decoder.blocks.count, mask: mask, memory: memory,
            cache: cache, pass: pass)
        return try decoder.normed(hidden, pass: pass)
    }

    /// Scores of the next token, [B, T, V], from the decoder's output [B, T, D].
    public func logits(_ hidden: Tensor) throws -> Tensor {
        let scale = 1 / Double(configuration.hiddenSize).squareRoot()
        let scaled = configuration.scalesOutput ? try hidden * scale : hidden
        return try head?(scaled) ?? scaled.linear(shared.weight)
    }

    /// Both stacks and the head: embeddings [B, S, D] and decoder ids [B, T] → logits [B, T, V].
    public func callAsFunction(
        _ embeddings: Tensor, mask: Tensor? = nil, decoderIDs: Tensor, decoderMask: Tensor? = nil,
        pass: T5Pass = T5Pass()
    ) throws -> Tensor {
        let memory = try memory(encode(embeddings, mask: mask, pass: pass), mask: mask)
        return try logits(decode(embed(decoderIDs), memory: memory, mask: decoderMask, pass: pass))
    }

    /// What the decoder reads to learn `labels` [B, T]: the start token, then every label but the last; ignored labels
    /// (below 0) become padding.
    public func decoderIDs(labels: Tensor) throws -> Tensor {
        let shape = labels.shape
        guard shape.count == 2 else {
            throw TorchError(.shape, operation: "decoderIDs", message: "needs labels [B, T], got \(shape)")
        }
        let start = try Tensor(full: Double(configuration.startID), [shape[0], 1], .int64)
        let ids = try Tensor.concatenated([start, labels], 1).sliced(1, 0, shape[1])
        return try ids.masked(ids .< 0, Double(configuration.padID))
    }

    // MARK: Parts, for methods that come between the blocks

    /// Keys and values of every decoder block for an encoder output [B, S, D]: computed once, used by every pass.
    ///
    /// - Parameters:
    ///   - mask: [B, S], true for real tokens; nil when no row is padded.
    ///   - range: the blocks that will read it; all of them when nil.
    public func memory(_ encoded: Tensor, mask: Tensor? = nil, blocks range: Range<Int>? = nil) throws
        -> T5Memory
    {
        let range = (range ?? 0..<decoder.blocks.count).clamped(to: 0..<decoder.blocks.count)
        let pairs = try decoder.blocks[range].compactMap { try $0.crossAttention?.keysAndValues(encoded) }
        return try T5Memory(
            first: range.lowerBound, pairs: pairs, hidden: mask.map { try hiddenKeys($0, like: encoded) })
    }

    /// Encoder blocks of a range, on hidden states [B, S, D] that stand before its first. All blocks and
    /// ``T5Stack/normed(_:pass:)`` are ``encode(_:mask:pass:)``.
    public func encode(_ hidden: Tensor, mask: Tensor? = nil, layers: Range<Int>, pass: T5Pass = T5Pass())
        throws -> Tensor
    {
        try encoder(hidden, layers: layers, mask: mask, pass: pass)
    }

    /// Decoder blocks of a range, on hidden states [B, T, D] that stand before its first.
    ///
    /// Between two calls tokens may be put in: positions, and with them the bias and what is causal, are those of the
    /// tokens of the call, counted from 0. So a prompt in front moves the others one position on from there.
    public func decode(
        _ hidden: Tensor, memory: T5Memory, mask: Tensor? = nil, layers: Range<Int>, pass: T5Pass = T5Pass()
    ) throws -> Tensor {
        try decoder(hidden, layers: layers, mask: mask, memory: memory, pass: pass)
    }
}

/// How a pass through a stack of T5 is run; the default is the reference in evaluation.
public struct T5Pass {
    /// Which blocks add the position bias, whose table block 0 owns.
    public enum Bias: Sendable {
        case everyBlock
        /// As the release of DVP has it, which calls blocks one by one.
        case firstBlock
    }

    /// Which blocks add the position bias.
    public var bias: Bias
    /// Whether a decoder token sees only itself and what stands before it; the bias has no direction otherwise either.
    public var isCausal: Bool
    /// Probability, at the reference's places: input, attention weights, inside and after each sub-layer, output.
    public var dropout: Double
    /// Called at every site.
    public var tap: Tap?

    /// The reference in evaluation unless told otherwise.
    public init(bias: Bias = .everyBlock, isCausal: Bool = true, dropout: Double = 0, tap: Tap? = nil) {
        (self.bias, self.isCausal, self.dropout, self.tap) = (bias, isCausal, dropout, tap)
    }
}

/// What an encoder has read, as the decoder's blocks attend to it.
public struct T5Memory {
    /// The block of the first pair.
    var first = 0
    /// Of each decoder block from there on, [B, H, S, K] each.
    let pairs: [(key: Tensor, value: Tensor)]
    /// Added to the scores, [B, 1, 1, S]; nil when no row is padded.
    let hidden: Tensor?

    /// The rows that `indices` name, in that order.
    func selected(_ indices: Tensor) throws -> T5Memory {
        try T5Memory(
            first: first,
            pairs: pairs.map {
                (try $0.key.selected(0, indices: indices), try $0.value.selected(0, indices: indices))
            },
            hidden: hidden?.selected(0, indices: indices))
    }
}

/// The number that hides a key when it is added to its score: the lowest that float32 and bfloat16 share, or float16's.
/// Finite, so that a row without any real token gets equal weights, as in the reference, and not NaN.
func lowestScore(_ dtype: DType) -> Double { dtype == .float16 ? -65504 : -3.3895313892515355e38 }

/// [B, S], true for real tokens → what hides the others, [B, 1, 1, S].
private func hiddenKeys(_ mask: Tensor, like states: Tensor) throws -> Tensor {
    let shape = mask.shape
    guard shape.count == 2 else {
        throw TorchError(.shape, operation: "mask", message: "needs [B, S], got \(shape)")
    }
    let padding = try mask.to(.bool).not().reshaped([shape[0], 1, 1, shape[1]])
    return try Tensor.zeros([shape[0], 1, 1, shape[1]], states.dtype, on: states.device).masked(
        padding, lowestScore(states.dtype))
}
