import Checkpoints
import Support
import Tokenizers
import Torch

/// A LLaMA as its authors ship it: `params.json`, `consolidated.00.pth` and, of larger models, further parts, and
/// `tokenizer.model`, there or in the folder above.
///
/// Layout: facebookresearch/llama, `llama/model.py`; how the parts were cut: fairscale's parallel layers, which that file
/// uses. The decoder is the one of every other LLaMA here: rows of the query and key maps are brought from pairs of
/// neighbours to pairs (i, i + Dh/2), so that ``Rotation`` turns them alike.
public struct MetaLlama {
    /// With the weights as the files have them.
    public let decoder: Decoder
    /// Puts `<s>` before a text and nothing after it.
    public let tokenizer: Tokenizer

    /// Reads the folder. Strict: every parameter must be there in its shape, and nothing may be left over.
    public init(contentsOf folder: String) throws {
        let names = ["\(folder)/tokenizer.model", "\(folder)/../tokenizer.model"]
        guard let model = names.first(where: fileExists) else {
            throw VQAError(
                "cannot use the model", at: folder,
                because: "neither it nor the folder above has a tokenizer.model",
                remedy: "put LLaMA's tokenizer.model there")
        }
        decoder = try Decoder(metaFolder: folder)
        tokenizer = try Tokenizer(contentsOf: model)
        guard tokenizer.vocabularySize <= decoder.configuration.vocabularySize else {
            throw VQAError(
                "cannot use the model", at: model,
                because:
                    "it has \(tokenizer.vocabularySize) tokens, the weights \(decoder.configuration.vocabularySize)"
            )
        }
    }
}

extension DecoderConfiguration {
    /// Reads a `params.json`.
    ///
    /// - Parameter vocabularySize: rows of the token table, for files that say -1.
    public init(meta json: JSON, vocabularySize rows: Int, source: String) throws {
        hiddenSize = try json.size("dim", hiddenSize, source: source)
        layers = try json.depth("n_layers", layers, source: source)
        heads = try json.size("n_heads", heads, source: source)
        keyValueHeads = try json.size("n_kv_heads", heads, source: source)
        let named = json["vocab_size"]?.integer ?? -1
        vocabularySize = named == -1 ? rows : try json.size("vocab_size", rows, source: source)
        normEpsilon = try json.epsilon("norm_eps", 1e-5, source: source)
        intermediateSize = try Self.metaFeedForwardSize(json, width: hiddenSize, source: source)
        guard hiddenSize % heads == 0, (hiddenSize / heads) % 2 == 0, heads % keyValueHeads == 0 else {
            throw VQAError(
                "cannot use the model", at: source,
                because:
                    "dim \(hiddenSize) does not give \(heads) heads, \(keyValueHeads) of keys, of an even width"
            )
        }
        guard json["use_scaled_rope"]?.bool != true else {
            throw VQAError(
                "cannot use the model", at: "\(source), use_scaled_rope",
                because: "scaled rotations are read from config.json only",
                remedy: "use the model in the Hugging Face layout")
        }
        headSize = hiddenSize / heads
        rotary.headSize = headSize
        if let base = json["rope_theta"]?.double {
            guard base > 1, base.isFinite else {
                throw VQAError("cannot use the model", at: "\(source), rope_theta", because: "it is \(base)")
            }
            rotary.base = base
        }
        windows = Array(repeating: nil, count: layers)
        (beginID, endIDs) = (1, [2])
    }

    /// Two thirds of four times the width, times `ffn_dim_multiplier`, rounded up to a multiple of `multiple_of`.
    private static func metaFeedForwardSize(_ json: JSON, width: Int, source: String) throws -> Int {
        let multiple = try json.size("multiple_of", 256, source: source)
        let factor = json["ffn_dim_multiplier"]?.double ?? 1
        guard factor > 0, factor <= 64 else {
            throw VQAError(
                "cannot use the model", at: "\(source), ffn_dim_multiplier", because: "it is \(factor)")
        }
        let wanted = Int(Double(8 * width / 3) * factor)
        return max(1, (wanted + multiple - 1) / multiple) * multiple
    }
}

extension Decoder {
    /// Reads `params.json` and the parts `consolidated.NN.pth` of a folder.
    public init(metaFolder folder: String) throws {
        let parts = try Self.metaParts(in: folder).map { try Checkpoint(opening: $0).tensors() }
        let json = try JSON(contentsOf: folder + "/params.json", limit: 1 << 20)
        let rows = parts[0]["tok_embeddings.weight"]?.shape.first ?? 0
        let configuration = try DecoderConfiguration(
            meta: json, vocabularySize: max(1, rows), source: folder + "/params.json")
        try self.init(configuration)
        try load(Self.renamed(meta: parts, configuration, source: folder), from: folder)
    }

    /// The parts in their order, at most 64.
    private static func metaParts(in folder: String) throws -> [String] {
        let found = try listFolder(folder).filter { $0.hasPrefix("consolidated.") && $0.hasSuffix(".pth") }
        let wanted = (0..<min(64, found.count)).map { "consolidated.\($0 < 10 ? "0" : "")\($0).pth" }
        guard !found.isEmpty, found.sorted() == wanted else {
            throw VQAError(
                "cannot read the weights", at: folder,
                because: found.isEmpty
                    ? "it has no consolidated.00.pth"
                    : "its parts are \(found.sorted().prefix(4).joined(separator: ", ")) …, not 00 to \(found.count - 1)",
                remedy: "fetch all parts of the model")
        }
        return wanted.map { "\(folder)/\($0)" }
    }

    /// Joins the parts of a LLaMA in its authors' names, and brings names and order of rows to this module's.
    ///
    /// - Parameters:
    ///   - parts: of every file, in the order of their numbers.
    ///   - source: the folder, for errors.
    public static func renamed(
        meta parts: [[String: Tensor]], _ configuration: DecoderConfiguration, source: String
    ) throws -> [String: Tensor] {
        var result: [String: Tensor] = [:]
        for name in Set(parts.flatMap(\.keys)) where !name.hasSuffix("rope.freqs") {
            let pieces = parts.compactMap { $0[name] }
            guard pieces.count == parts.count else {
                throw VQAError(
                    "cannot load the weights", at: source,
                    because: "\(name.prefix(80)) is in \(pieces.count) of \(parts.count) parts",
                    remedy: "fetch the parts of one model")
            }
            let (key, join) = metaName(name)
            let tensor = try joined(pieces, join, configuration, name: name, source: source)
            switch name.split(separator: ".").dropLast().last {
            case "wq": result[key] = try halved(tensor, heads: configuration.heads, configuration)
            case "wk": result[key] = try halved(tensor, heads: configuration.keyValueHeads, configuration)
            default: result[key] = tensor
            }
        }
        return result
    }

    /// How the parts of a weight belong together.
    private enum MetaJoin { case rows, columns, table, copies }

    private static func metaName(_ name: String) -> (String, MetaJoin) {
        switch name {
        case "tok_embeddings.weight": return ("model.embed_tokens.weight", .table)
        case "norm.weight": return ("model.norm.weight", .copies)
        case "output.weight": return ("lm_head.weight", .rows)
        default: break
        }
        let words = name.split(separator: ".", maxSplits: 2).map(String.init)
        guard words.count == 3, words[0] == "layers", let known = metaLayerNames[words[2]] else {
            return (name, .copies)
        }
        return ("model.layers.\(words[1]).\(known.0)", known.1)
    }

    private static let metaLayerNames: [String: (String, MetaJoin)] = [
        "attention.wq.weight": ("self_attn.q_proj.weight", .rows),
        "attention.wk.weight": ("self_attn.k_proj.weight", .rows),
        "attention.wv.weight": ("self_attn.v_proj.weight", .rows),
        "attention.wo.weight": ("self_attn.o_proj.weight", .columns),
        "feed_forward.w1.weight": ("mlp.gate_proj.weight", .rows),
        "feed_forward.w2.weight": ("mlp.down_proj.weight", .columns),
        "feed_forward.w3.weight": ("mlp.up_proj.weight", .rows),
        "attention_norm.weight": ("input_layernorm.weight", .copies),
        "ffn_norm.weight": ("post_attention_layernorm.weight", .copies),
    ]

    private static func joined(
        _ pieces: [Tensor], _ join: MetaJoin, _ configuration: DecoderConfiguration, name: String,
        source: String
    ) throws -> Tensor {
        guard pieces.count > 1, join != .copies else { return pieces[0] }
        let shape = pieces[0].shape
        guard shape.count == 2, pieces.allSatisfy({ $0.shape == shape && $0.dtype == pieces[0].dtype }) else {
            throw VQAError(
                "cannot load the weights", at: source,
                because: "the parts of \(name.prefix(80)) have the shapes \(pieces.map(\.shape))")
        }
        // The token table was cut along its width at first, along its rows in later models.
        let isCutByColumns = join == .columns || (join == .table && shape[1] != configuration.hiddenSize)
        return try .concatenated(pieces, isCutByColumns ? 1 : 0)
    }

    /// Rows of each head from the order of neighbours (0, 1), (2, 3), … to first members, then second ones. A tensor of
    /// another shape is left for the loading to refuse.
    private static func halved(_ weight: Tensor, heads: Int, _ configuration: DecoderConfiguration) throws
        -> Tensor
    {
        let (size, width) = (configuration.headSize, configuration.hiddenSize)
        guard weight.shape == [heads * size, width] else { return weight }
        return try weight.reshaped([heads, size / 2, 2, width]).transposed(1, 2)
            .reshaped([heads * size, width])
    }
}
