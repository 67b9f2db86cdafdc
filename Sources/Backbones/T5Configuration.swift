import Support
import Torch

/// The shape of a T5, as `config.json` gives it.
public struct T5Configuration: Sendable, Equatable {
    /// `vocab_size`: rows of the word table.
    public var vocabularySize = 32128
    /// `d_model`: width D of a token.
    public var hiddenSize = 512
    /// `d_kv`: width of a head; heads together need not be as wide as a token.
    public var headSize = 64
    /// `d_ff`: width of the feed-forward part.
    public var feedForwardSize = 2048
    /// `num_layers`: blocks of the encoder.
    public var layers = 6
    /// `num_decoder_layers`: as many as the encoder has unless given.
    public var decoderLayers = 6
    /// `num_heads`
    public var heads = 8
    /// `relative_attention_num_buckets`: rows of the table of position biases.
    public var buckets = 32
    /// `relative_attention_max_distance`: farther tokens share a bucket.
    public var maximumDistance = 128
    /// `layer_norm_epsilon`
    public var normEpsilon = 1e-6
    /// The function of the feed-forward part.
    public var activation = Activation.relu
    /// Whether the function's output multiplies a second projection (v1.1, Flan-T5).
    public var isGated = false
    /// Whether the decoder's output is multiplied by 1/√D before the head: where the head was trained as the word table (v1.0).
    public var scalesOutput = true
    /// Whether the checkpoint has a head of its own; otherwise the word table is the head.
    public var hasHead = false
    /// `pad_token_id`
    public var padID = 0
    /// `eos_token_id`: any of these ends an answer.
    public var endIDs = [1]
    /// `decoder_start_token_id`: what the decoder sees first.
    public var startID = 0

    /// What the feed-forward part computes between its projections.
    public enum Activation: String, Sendable {
        case relu, gelu, silu
        /// GELU by tanh.
        case geluTanh = "gelu_new"

        /// Reads a name of the reference's `ACT2FN`.
        init?(reference name: String) {
            switch name {
            case "gelu_pytorch_tanh", "gelu_fast": self = .geluTanh
            case "swish": self = .silu
            default: self.init(rawValue: name)
            }
        }
    }

    /// The shape of `t5-small`.
    public init() {}

    /// Reads the keys of the reference's `T5Config`; refuses what this implementation does not compute.
    public init(_ json: JSON, source: String) throws {
        try requireModelType("t5", json, source: source)
        vocabularySize = try json.size("vocab_size", vocabularySize, source: source)
        hiddenSize = try json.size("d_model", hiddenSize, source: source)
        headSize = try json.size("d_kv", headSize, source: source)
        feedForwardSize = try json.size("d_ff", feedForwardSize, source: source)
        layers = try json.layers("num_layers", layers, source: source)
        decoderLayers = try json.layers("num_decoder_layers", layers, source: source)
        heads = try json.size("num_heads", heads, source: source)
        buckets = try json.size("relative_attention_num_buckets", buckets, source: source)
        maximumDistance = try json.size("relative_attention_max_distance", maximumDistance, source: source)
        normEpsilon = json["layer_norm_epsilon"]?.double ?? normEpsilon
        try readFeedForward(json, source)
        // The reference's newer versions write the first key, its older ones the second.
        let tied = json["tie_word_embeddings"]?.bool ?? true
        scalesOutput = json["scale_decoder_outputs"]?.bool ?? tied
        hasHead = !tied
        padID = try json.tokenID("pad_token_id", padID, vocabularySize, source)
        startID = try json.tokenID("decoder_start_token_id", padID, vocabularySize, source)
        if let several = json["eos_token_id"]?.array {
            endIDs = several.compactMap(\.integer)
        } else {
            endIDs = [try json.tokenID("eos_token_id", 1, vocabularySize, source)]
        }
        guard buckets >= 4, maximumDistance > buckets / 2 else {
            throw VQAError(
                "cannot use the model", at: source,
                because: "\(buckets) relative_attention_num_buckets do not fit "
                    + "relative_attention_max_distance \(maximumDistance)")
        }
    }

    /// `feed_forward_proj` is `FUNCTION` or `gated-FUNCTION`. The keys derived from it, which the reference writes beside
    /// it, win as they do there.
    private mutating func readFeedForward(_ json: JSON, _ source: String) throws {
        let text = json["feed_forward_proj"]?.string ?? "relu"
        let parts = text.split(separator: "-", omittingEmptySubsequences: false)
        isGated = json["is_gated_act"]?.bool ?? (parts.first == "gated")
        // The reference's exception: gated GELU is the tanh form.
        let derived = text == "gated-gelu" ? "gelu_new" : parts.last.map(String.init) ?? text
        let name = json["dense_act_fn"]?.string ?? derived
        guard let known = Activation(reference: name), parts.count == 1 || (parts.count == 2 && isGated)
        else {
            throw VQAError(
                "cannot use the model", at: "\(source), feed_forward_proj",
                because: "\(text) (\(name)) is not relu, gelu, gelu_new or silu, alone or after gated-")
        }
        activation = known
    }
}

/// Refuses a `config.json` of another architecture; one that does not say passes.
func requireModelType(_ wanted: String, _ json: JSON, source: String) throws {
    guard let found = json["model_type"]?.string, found != wanted else { return }
    throw VQAError(
        "cannot use the model", at: source, because: "its model_type is \(found), this needs \(wanted)")
}

extension JSON {
    /// A number of blocks: at most 1,024, because each is built before weights are looked at.
    func layers(_ key: String, _ fallback: Int, source: String) throws -> Int {
        let count = try size(key, fallback, source: source)
        guard count <= 1024 else {
            throw VQAError(
                "cannot use the model", at: "\(source), \(key)", because: "\(count) blocks are more than 1024"
            )
        }
        return count
    }

    /// The id of a token of the vocabulary.
    fileprivate func tokenID(_ key: String, _ fallback: Int, _ vocabulary: Int, _ source: String) throws
        -> Int
    {
        guard let value = self[key], !value.isNull else { return fallback }
        guard let id = value.integer, (0..<vocabulary).contains(id) else {
            throw VQAError(
                "cannot use the model", at: "\(source), \(key)",
                because: "it is \(value.text().prefix(60)), not a token of \(vocabulary)")
        }
        return id
    }
}
