import Support
import Torch

/// The shape of a DeBERTa of version 2 or 3, as `config.json` gives it.
public struct DeBERTaConfiguration: Sendable, Equatable {
    /// `vocab_size`: rows of the word table.
    public var vocabularySize = 128_100
    /// `hidden_size`: width D of a token.
    public var hiddenSize = 768
    /// `embedding_size`: width of the tables when it is not the token's.
    public var embeddingSize = 768
    /// `num_hidden_layers`
    public var layers = 12
    /// `num_attention_heads`: a divisor of the width.
    public var heads = 12
    /// `intermediate_size`: width of the feed-forward part.
    public var intermediateSize = 3072
    /// `max_position_embeddings`
    public var positions = 512
    /// `type_vocab_size`: rows of the segment table, 0 without one.
    public var segments = 0
    /// `layer_norm_eps`
    public var normEpsilon = 1e-7
    /// `position_biased_input`: whether absolute positions are added to the words.
    public var addsPositions = false
    /// `relative_attention`, with what it needs.
    public var relative: Relative? = Relative()
    /// `pos_att_type`, the terms beside content to content; they count in the scaling also without relative attention.
    public var terms: Set<Term> = [.contentToPosition, .positionToContent]
    /// `conv_kernel_size` and its companions, after layer 0.
    public var convolution: Convolution?

    /// A score term of disentangled attention.
    public enum Term: String, Sendable {
        case contentToPosition = "c2p"
        case positionToContent = "p2c"
    }

    /// How relative positions are known.
    public struct Relative: Sendable, Equatable {
        /// `position_buckets`; nil when every distance has its own row.
        public var buckets: Int? = 256
        /// `max_relative_positions`, or `max_position_embeddings` when that is not positive.
        public var maximumDistance = 512
        /// `norm_rel_ebd` contains `layer_norm`.
        public var isNormed = true
        /// `share_att_key`: positions go through the projections of content.
        public var sharesProjections = true

        /// As in DeBERTa-v3.
        public init() {}

        /// Rows of the table for one direction.
        public var span: Int { buckets ?? maximumDistance }
    }

    /// A convolution over the tokens, added to the output of layer 0.
    public struct Convolution: Sendable, Equatable {
        /// `conv_kernel_size`, odd.
        public var kernel: Int
        /// `conv_groups`
        public var groups: Int
        /// `conv_act`
        public var activation: Activation

        /// The function after it.
        public enum Activation: String, Sendable { case tanh, gelu, relu }
    }

    /// The shape of `deberta-v3-base`.
    public init() {}

    /// Reads the keys of the reference's `DebertaV2Config`, whose defaults are other than those of ``init()``; refuses
    /// what this implementation does not compute.
    public init(_ json: JSON, source: String) throws {
        if json["model_type"]?.string == "deberta" {
            throw VQAError(
                "cannot use the model", at: source,
                because: "it is a DeBERTa of version 1 (model_type deberta); versions 2 and 3 are computed",
                remedy: "use microsoft/deberta-v3-base or another deberta-v2 model")
        }
        try requireModelType("deberta-v2", json, source: source)
        vocabularySize = try json.size("vocab_size", vocabularySize, source: source)
        hiddenSize = try json.size("hidden_size", 1536, source: source)
        embeddingSize = try json.size("embedding_size", hiddenSize, source: source)
        layers = try json.layers("num_hidden_layers", 24, source: source)
        heads = try json.size("num_attention_heads", 24, source: source)
        intermediateSize = try json.size("intermediate_size", 6144, source: source)
        positions = try json.size("max_position_embeddings", positions, source: source)
        segments = try json.optionalSize("type_vocab_size", source) ?? 0
        normEpsilon = json["layer_norm_eps"]?.double ?? normEpsilon
        addsPositions = json["position_biased_input"]?.bool ?? true
        guard hiddenSize % heads == 0 else {
            throw VQAError(
                "cannot use the model", at: source,
                because: "hidden_size \(hiddenSize) is not a multiple of num_attention_heads \(heads)")
        }
        try json.require("attention_head_size", .integer(hiddenSize / heads), source)
        try json.require("hidden_act", .string("gelu"), source)
        terms = try Self.terms(json, source)
        relative = try Self.relative(json, positions: positions, source)
        convolution = try Self.convolution(json, size: hiddenSize, source)
    }

    /// A list, or one string with bars between the names.
    private static func terms(_ json: JSON, _ source: String) throws -> Set<Term> {
        let names =
            json["pos_att_type"]?.array?.map { $0.string ?? "" }
            ?? json["pos_att_type"]?.string.map(split) ?? []
        return try Set(
            names.map { name in
                guard let term = Term(rawValue: name) else {
                    throw VQAError(
                        "cannot use the model", at: "\(source), pos_att_type",
                        because: "\(name.prefix(60)) is not one of c2p, p2c")
                }
                return term
            })
    }

    private static func relative(_ json: JSON, positions: Int, _ source: String) throws -> Relative? {
        guard json["relative_attention"]?.bool ?? false else { return nil }
        var relative = Relative()
        relative.maximumDistance = try json.optionalSize("max_relative_positions", source) ?? positions
        relative.buckets = try json.optionalSize("position_buckets", source)
        relative.sharesProjections = json["share_att_key"]?.bool ?? false
        relative.isNormed = split(json["norm_rel_ebd"]?.string ?? "none").contains("layer_norm")
        if let buckets = relative.buckets {
            guard buckets >= 2, relative.maximumDistance - 1 > buckets / 2 else {
                throw VQAError(
                    "cannot use the model", at: source,
                    because: "\(buckets) position_buckets do not fit max_relative_positions "
                        + "\(relative.maximumDistance)")
            }
        }
        return relative
    }

    private static func convolution(_ json: JSON, size: Int, _ source: String) throws -> Convolution? {
        guard let kernel = try json.optionalSize("conv_kernel_size", source) else { return nil }
        let groups = try json.optionalSize("conv_groups", source) ?? 1
        let name = json["conv_act"]?.string ?? "tanh"
        guard let activation = Convolution.Activation(rawValue: name) else {
            throw VQAError(
                "cannot use the model", at: "\(source), conv_act",
                because: "\(name.prefix(60)) is not one of tanh, gelu, relu")
        }
        guard kernel % 2 == 1, size % groups == 0 else {
            throw VQAError(
                "cannot use the model", at: source,
                because:
                    "conv_kernel_size \(kernel) must be odd and conv_groups \(groups) divide hidden_size \(size)"
            )
        }
        return Convolution(kernel: kernel, groups: groups, activation: activation)
    }

    private static func split(_ names: String) -> [String] {
        names.lowercased().split(separator: "|").map { $0.split(separator: " ").joined(separator: " ") }
    }
}

extension JSON {
    /// A size; nil where the reference's "none" stands: absent, null, 0 or negative.
    fileprivate func optionalSize(_ key: String, _ source: String) throws -> Int? {
        if let number = self[key]?.integer, number <= 0 { return nil }
        guard let value = self[key], !value.isNull else { return nil }
        return try size(key, 1, source: source)
    }

    /// Refuses any other value of a key that may be absent.
    fileprivate func require(_ key: String, _ wanted: JSON, _ source: String) throws {
        guard let found = self[key], !found.isNull, found != wanted else { return }
        throw VQAError(
            "cannot use the model", at: "\(source), \(key)",
            because: "it is \(found.text().prefix(60)), only \(wanted.text()) is computed")
    }
}
