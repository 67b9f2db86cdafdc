import Checkpoints
import Support
import Torch

/// The shape of an Idefics model.
public struct IdeficsConfiguration: Sendable, Equatable {
    /// The image tower, CLIP.
    public var vision = CLIPVisionConfiguration()
    /// From image tokens to latents; nil when the decoder reads the image tokens themselves.
    public var perceiver: IdeficsPerceiverConfiguration?
    /// The language model, LLaMA.
    public var text = DecoderConfiguration()
    /// `additional_vocab_size`: rows of the second token table, whose ids follow those of the first.
    public var additionalSize = 0
    /// `cross_layer_interval`: a gated block stands before every so many layers.
    public var interval = 1
    /// `qk_layer_norms`: queries and keys of the gated blocks are normalised.
    public var normsHeads = false
    /// `alpha_type`: one gate for each channel, instead of one in all.
    public var hasVectorGates = false

    /// Reads an `IdeficsConfig`.
    public init(_ json: JSON, source: String) throws {
        vision = try CLIPVisionConfiguration(idefics: json, source: source)
        perceiver = try IdeficsPerceiverConfiguration(json, source: source)
        var members = (json.members ?? []).filter { $0.key != "model_type" }
        members.append(.init("model_type", "llama"))
        text = try DecoderConfiguration(.object(members), source: source)
        if let count = json["additional_vocab_size"]?.integer {
            guard (0...65536).contains(count) else {
                throw VQAError(
                    "cannot use the model", at: "\(source), additional_vocab_size", because: "it is \(count)")
            }
            additionalSize = count
        }
        interval = try json.size("cross_layer_interval", interval, source: source)
        normsHeads = json["qk_layer_norms"]?.bool ?? normsHeads
        switch json["alpha_type"]?.string ?? "float" {
        case "float": hasVectorGates = false
        case "vector": hasVectorGates = true
        case let other:
            throw VQAError(
                "cannot use the model", at: "\(source), alpha_type",
                because: "\(other.prefix(40)) is not one of float, vector")
        }
    }
}

/// Idefics (Laurençon et al. 2023): a LLaMA whose layers look at images through gated blocks between them, after Flamingo
/// (Alayrac et al. 2022). Keys as in the reference's `IdeficsForVisionText2Text`.
///
/// Legend: B batch, T tokens, N images of a row, P tokens of an image, V their width, D width of the decoder.
public struct Idefics: Module {
    /// The shape it was built with.
    public let configuration: IdeficsConfiguration
    /// model.vision_model
    public var vision: CLIPVision
    /// model.perceiver_resampler
    public var perceiver: IdeficsPerceiver?
    /// model and lm_head, without what follows.
    public var decoder: Decoder
    /// model.embed_tokens.additional_embedding, [additional, D].
    public var additionalEmbedding: Embedding?
    /// lm_head.additional_fc, [additional, D].
    public var additionalHead: Linear?
    /// model.gated_cross_attn_layers
    public var gates: [IdeficsGatedBlock]

    /// A model without weights, on the meta device.
    public init(_ configuration: IdeficsConfiguration) throws {
        self.configuration = configuration
        vision = try CLIPVision(configuration.vision)
        perceiver = try configuration.perceiver.map { try IdeficsPerceiver($0) }
        decoder = try Decoder(configuration.text)
        let size = configuration.text.hiddenSize
        if configuration.additionalSize > 0 {
            additionalEmbedding = try Embedding(
                configuration.additionalSize, size, .normal(deviation: 0.02))
            additionalHead = try Linear(size, configuration.additionalSize, bias: false)
        }
        let count = (configuration.text.layers + configuration.interval - 1) / configuration.interval
        gates = try (0..<count).map { _ in try IdeficsGatedBlock(configuration) }
    }

    /// Lists the parts under their own names.
    public mutating func visit(_ visitor: ParameterVisitor) throws {
        try visitor("model.vision_model", &vision)
        try visitor("model.perceiver_resampler", &perceiver)
        try decoder.visit(visitor)
        try visitor("model.embed_tokens.additional_embedding", &additionalEmbedding)
        try visitor("lm_head.additional_fc", &additionalHead)
        try visitor("model.gated_cross_attn_layers", &gates)
    }

    /// Loads the reference's checkpoint. Strict.
    public mutating func load(_ weights: [String: Tensor], from source: String) throws {
        var own: [String: Tensor] = [:]
        for (name, tensor) in weights {
            let isNoParameter =
                name.hasSuffix("rotary_emb.inv_freq") || name == "model.vision_model.embeddings.position_ids"
                || (configuration.text.isTied && name == "lm_head.weight")
            if isNoParameter { continue }
            // The tower's own keys begin with its type.
            let isTower = name.hasPrefix("model.vision_model.")
            own[isTower ? "model.vision_model." + name.dropFirst("model.".count) : name] = tensor
        }
        try load(own, from: source, prefix: "")
    }

    /// Tokens of images: pixels [n, 3, S, S] → [n, P, V].
    public func encode(_ pixels: Tensor, tap: Tap? = nil) throws -> Tensor {
        let tokens = try vision(pixels, tap: tap)
        return try perceiver.map { try $0(tokens, tap: tap) } ?? tokens
    }

    /// int64 [B, T] → [B, T, D]; ids above the vocabulary are in the second table.
    public func embed(_ ids: Tensor) throws -> Tensor {
        guard let additionalEmbedding else { return try decoder.embed(ids) }
        let size = Double(configuration.text.vocabularySize)
        let words = try decoder.embed(ids.clamped(0, size - 1))
        let marks = try additionalEmbedding(
            (ids - size).clamped(0, Double(configuration.additionalSize - 1)).to(.int64))
        return try .choose((ids .>= size).unsqueezed(-1), marks, words)
    }

    /// [B, T, D] → scores of the next token, those of the second table last: [B, T, V].
    public func logits(_ hidden: Tensor) throws -> Tensor {
        let words = try decoder.logits(hidden)
        guard let additionalHead else { return words }
        return try .concatenated([words, additionalHead(hidden)], -1)
    }

    /// Which image each token of a text sees: the last one marked before or at it, none (−1) before the first and after the
    /// end of a text.
    ///
    /// - Parameters:
    ///   - ids: of one row.
    ///   - imageID: marks an image.
    ///   - endID: ends a text.
    public static func seenImages(_ ids: [Int], imageID: Int, endID: Int?) -> [Int] {
        var count = -1
        var hasEnded = false
        return ids.map { id in
            if id == imageID {
                count += 1
                hasEnded = false
            }
            defer { if id == endID { hasEnded = true } }
            return hasEnded ? -1 : count
        }
    }
}

/// An ``Idefics`` with the images of a batch: what generation and methods run.
public final class IdeficsReader: TextDecoder {
    private let model: Idefics
    /// Tokens of the images of each row, [B, N · P, V].
    private var images: Tensor
    /// For each token so far the images it sees, bool [B, T, N]; the last one's serves those that follow.
    private var seen: Tensor
    /// Keys and values of the images for each gated block, once they were needed.
    private var projected: [Int: (key: Tensor, value: Tensor)] = [:]

    /// - Parameters:
    ///   - images: [B, N, P, V].
    ///   - seen: [B, T, N], true where a token of the prompt sees an image.
    public init(_ model: Idefics, images: Tensor, seen: Tensor) throws {
        let shape = images.shape
        guard shape.count == 4, seen.rank == 3, seen.shape[0] == shape[0], seen.shape[2] == shape[1] else {
            throw TorchError(
                .shape, operation: "Idefics",
                message: "images \(shape) and the mask of who sees them \(seen.shape) do not fit")
        }
        self.model = model
        self.images = try images.reshaped([shape[0], shape[1] * shape[2], shape[3]])
        self.seen = try seen.to(.bool)
    }

    /// The shape of the decoder.
    public var configuration: DecoderConfiguration { model.configuration.text }

    /// See ``Idefics/embed(_:)``.
    public func embed(_ ids: Tensor) throws -> Tensor { try model.embed(ids) }

    /// See ``Idefics/logits(_:)``.
    public func logits(_ hidden: Tensor) throws -> Tensor { try model.logits(hidden) }

    /// An empty cache for `rows` texts of at most `capacity` tokens.
    public func cache(rows: Int, capacity: Int) throws -> KeyValueCache {
        try model.decoder.cache(rows: rows, capacity: capacity)
    }

    /// Follows the rows of the cache with the images of each.
    public func reorder(_ order: [Int]) throws {
        let rows = try Tensor(order)
        images = try images.selected(0, indices: rows)
        seen = try seen.selected(0, indices: rows)
        projected = try projected.mapValues {
            (try $0.key.selected(0, indices: rows), try $0.value.selected(0, indices: rows))
        }
    }

    /// The gated blocks run where a layer's input is tapped; the caller's tap sees what they leave.
    public func hidden(_ embeddings: Tensor, mask: Tensor?, cache: KeyValueCache?, tap: Tap?) throws -> Tensor
    {
        let (keys, gate) = try visible(tokens: embeddings.shape[1], past: cache?.length ?? 0)
        let interval = model.configuration.interval
        let blocks = Tap(Set(TapSite.allCases)) { [self] site, layer, tensor in
            guard site == .blockInput, layer % interval == 0 else { return try tap.at(site, layer, tensor) }
            let block = model.gates[layer / interval]
            let kept = try projected[layer] ?? block.keysAndValues(images)
            // With gradients the graph of one pass must not reach the next.
            if cache != nil { projected[layer] = kept }
            return try tap.at(
                .blockInput, layer, block(tensor, kept.key, kept.value, mask: keys, gate: gate, layer, tap))
        }
        return try model.decoder.hidden(embeddings, mask: mask, cache: cache, tap: blocks)
    }

    /// The mask of image tokens, [B, 1, T, N · P], and 1 for tokens that see an image, [B, T, 1].
    private func visible(tokens: Int, past: Int) throws -> (keys: Tensor, gate: Tensor) {
        let shape = seen.shape
        let rows =
            past < shape[1] && past + tokens <= shape[1]
            ? try seen.sliced(1, past, past + tokens)
            : try seen.sliced(1, shape[1] - 1).expanded([shape[0], tokens, shape[2]])
        let gate = try rows.any([2], keep: true)
        let patches = images.shape[1] / max(1, shape[2])
        // A token that sees no image sees all: a row without any key has no softmax. Its gate is 0.
        let keys = try rows.or(gate.not()).repeatedEach(patches, 2).unsqueezed(1)
        return (keys, gate)
    }
}

/// x + tanh(α) · attention to the images, then x + tanh(β) · feed-forward, each behind a norm.
public struct IdeficsGatedBlock: Module {
    private var query: Linear
    private var key: Linear
    private var value: Linear
    private var output: Linear
    private var queryNorm: RMSNorm?
    private var keyNorm: RMSNorm?
    private var gate: Linear
    private var up: Linear
    private var down: Linear
    private var inputNorm: RMSNorm
    private var middleNorm: RMSNorm
    private var attentionGate: Tensor
    private var denseGate: Tensor
    private let heads: Int
    private let activation: ActivationFunction

    init(_ configuration: IdeficsConfiguration) throws {
        let text = configuration.text
        let size = text.hiddenSize
        let image = configuration.vision.hiddenSize
        query = try Linear(size, size, bias: false)
        key = try Linear(image, size, bias: false)
        value = try Linear(image, size, bias: false)
        output = try Linear(size, size, bias: false)
        if configuration.normsHeads {
            queryNorm = try RMSNorm(text.headSize, epsilon: text.normEpsilon)
            keyNorm = try RMSNorm(text.headSize, epsilon: text.normEpsilon)
        }
        gate = try Linear(size, text.intermediateSize, bias: false)
        up = try Linear(size, text.intermediateSize, bias: false)
        down = try Linear(text.intermediateSize, size, bias: false)
        inputNorm = try RMSNorm(size, epsilon: text.normEpsilon)
        middleNorm = try RMSNorm(size, epsilon: text.normEpsilon)
        let shape = configuration.hasVectorGates ? [1, 1, size] : [1]
        attentionGate = try .empty(shape, on: .meta)
        denseGate = try .empty(shape, on: .meta)
        heads = text.heads
        activation = text.activation
    }

    /// Lists cross_attn, mlp, the two norms and the two gates.
    public mutating func visit(_ visitor: ParameterVisitor) throws {
        try visitor("cross_attn.q_proj", &query)
        try visitor("cross_attn.k_proj", &key)
        try visitor("cross_attn.v_proj", &value)
        try visitor("cross_attn.o_proj", &output)
        try visitor("cross_attn.q_layer_norm", &queryNorm)
        try visitor("cross_attn.k_layer_norm", &keyNorm)
        try visitor("mlp.gate_proj", &gate)
        try visitor("mlp.up_proj", &up)
        try visitor("mlp.down_proj", &down)
        try visitor("input_layernorm", &inputNorm)
        try visitor("post_attention_layernorm", &middleNorm)
        try visitor("alpha_cross_attn", &attentionGate, .zeros)
        try visitor("alpha_dense", &denseGate, .zeros)
    }

    /// Image tokens [B, S, V] → keys and values, [B, H, S, D/H] each; the same at every step.
    func keysAndValues(_ images: Tensor) throws -> (key: Tensor, value: Tensor) {
        let images = try images.to(inputNorm.weight.dtype)
        let keys = try splitHeads(key(images), heads)
        return (try keyNorm.map { try $0(keys) } ?? keys, try splitHeads(value(images), heads))
    }

    /// [B, T, D] → [B, T, D]
    ///
    /// - Parameters:
    ///   - keys: and `values`, of ``keysAndValues(_:)``.
    ///   - mask: [B, 1, T, S], true where a token sees an image token.
    ///   - gate: [B, T, 1], false for tokens that see no image.
    func callAsFunction(
        _ x: Tensor, _ keys: Tensor, _ values: Tensor, mask: Tensor, gate isShown: Tensor, _ layer: Int,
        _ tap: Tap?
    ) throws -> Tensor {
        var queries = try splitHeads(query(inputNorm(x)), heads)
        if let queryNorm { queries = try queryNorm(queries) }
        let mixed = try output(mergeHeads(queries.attention(key: keys, value: values, mask: mask)))
        let shown = try tap.at(.crossAttentionOutput, layer, mixed * isShown.to(mixed.dtype))
        let middle = try x + attentionGate.tanh() * shown
        let normed = try middleNorm(middle)
        return try middle + denseGate.tanh() * down(activation.gated(gate(normed), up(normed)))
    }
}
