import Support

/// The shape of a decoder of the LLaMA family: LLaMA, Vicuna, SmolLM2, Mistral, Qwen2.
public struct DecoderConfiguration: Sendable, Equatable {
    /// `model_type`: `llama`, `mistral` or `qwen2`.
    public var family = "llama"
    /// `vocab_size`: rows V of the token table.
    public var vocabularySize = 32000
    /// `hidden_size`: width D of a token.
    public var hiddenSize = 4096
    /// `num_hidden_layers`
    public var layers = 32
    /// `num_attention_heads`: query heads H.
    public var heads = 32
    /// `num_key_value_heads`: key and value heads Hk, a divisor of the query heads.
    public var keyValueHeads = 32
    /// `head_dim`: width Dh of a head; D / H unless the file says otherwise.
    public var headSize = 128
    /// `intermediate_size`: width of the feed-forward part.
    public var intermediateSize = 11008
    /// `max_position_embeddings`: tokens of the longest text.
    public var positions = 2048
    /// `rms_norm_eps`
    public var normEpsilon = 1e-6
    /// How positions turn queries and keys.
    public var rotary = RotaryConfiguration()
    /// `tie_word_embeddings`: the output map is the token table.
    public var isTied = false
    /// Whether the query, key and value maps have a bias.
    public var hasQueryBias = false
    /// Whether the output map of the attention has a bias.
    public var hasOutputBias = false
    /// `mlp_bias`
    public var hasFeedForwardBias = false
    /// The function of the feed-forward part.
    public var activation = ActivationFunction.silu
    /// Tokens that a layer sees at most, itself included; nil where it sees all. One for each layer.
    public var windows: [Int?] = []
    /// `bos_token_id`
    public var beginID: Int?
    /// `eos_token_id`: the ids that end a text.
    public var endIDs: [Int] = []
    /// `pad_token_id`
    public var padID: Int?

    /// The shape of LLaMA-2-7B.
    public init() {}

    /// Tokens of the longest text that is accepted: `max_position_embeddings`, times the factor where the base of the
    /// rotations grows with the text.
    public var context: Int {
        guard case .dynamic(let factor) = rotary.scaling else { return positions }
        return Int(min(Double(1 << 24), Double(positions) * max(1, factor)))
    }

    /// The model types that ``init(_:source:)`` reads.
    public static let families = ["llama", "mistral", "qwen2"]

    /// Reads a `LlamaConfig`, `MistralConfig` or `Qwen2Config`, of older and newer releases of the reference; absent keys
    /// have the defaults of its classes. Refuses what is not computed.
    public init(_ json: JSON, source: String) throws {
        family = json["model_type"]?.string ?? "llama"
        switch family {
        case "llama": try readLlama(json, source)
        case "mistral": try readMistral(json, source)
        case "qwen2": try readQwen2(json, source)
        default:
            throw VQAError(
                "cannot use the model", at: "\(source), model_type",
                because: "\(family) is not one of \(Self.families.joined(separator: ", "))")
        }
    }

    /// What all families name alike.
    mutating func readShared(_ json: JSON, _ source: String) throws {
        vocabularySize = try json.size("vocab_size", vocabularySize, source: source)
        hiddenSize = try json.size("hidden_size", hiddenSize, source: source)
        layers = try json.depth("num_hidden_layers", layers, source: source)
        heads = try json.size("num_attention_heads", heads, source: source)
        keyValueHeads = try json.size("num_key_value_heads", keyValueHeads, source: source)
        intermediateSize = try json.size("intermediate_size", intermediateSize, source: source)
        positions = try json.size("max_position_embeddings", positions, source: source)
        normEpsilon = json["rms_norm_eps"]?.double ?? normEpsilon
        isTied = json["tie_word_embeddings"]?.bool ?? isTied
        beginID = json["bos_token_id"]?.integer
        endIDs =
            json["eos_token_id"]?.array?.compactMap(\.integer) ?? json["eos_token_id"]?.integer.map { [$0] }
            ?? []
        padID = json["pad_token_id"]?.integer
        activation = try json.activation("hidden_act", activation, source: source)
        headSize = try json.size("head_dim", hiddenSize / heads, source: source)
        guard json["head_dim"]?.integer != nil || hiddenSize % heads == 0, headSize % 2 == 0 else {
            throw VQAError(
                "cannot use the model", at: source,
                because: "hidden_size \(hiddenSize) does not give \(heads) heads of an even width")
        }
        guard heads % keyValueHeads == 0 else {
            throw VQAError(
                "cannot use the model", at: source,
                because:
                    "num_attention_heads \(heads) is not a multiple of num_key_value_heads \(keyValueHeads)")
        }
        rotary = try RotaryConfiguration(json, headSize: headSize, positions: positions, source: source)
        windows = Array(repeating: nil, count: layers)
    }
}
