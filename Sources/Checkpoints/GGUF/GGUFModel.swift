import Support

/// A language model in a GGUF file as the Hugging Face library would have it: `config.json`, parameter names, and the
/// rows of the query and key projections in its order. Llama, Mistral and Qwen2.
///
/// llama.cpp's converter writes Mistral models as `llama`, and reorders the rows of `llama`'s query and key
/// projections so that the two numbers which rotary embedding turns together lie side by side; the Hugging Face
/// layout has them half a head apart. Source: `LlamaModel.permute` of `convert_hf_to_gguf.py`,
/// github.com/ggml-org/llama.cpp. Names: `gguf-py/gguf/tensor_mapping.py` there.
public struct GGUFModel: Sendable {
    /// The file, with its metadata and raw tensors.
    public let file: GGUFFile
    /// The members of `config.json`, as Hugging Face names them.
    public let configuration: JSON
    /// All tensors by Hugging Face names such as `model.layers.0.self_attn.q_proj.weight`; quantised ones are given as
    /// float32. A tied output projection is absent, as in a Hugging Face checkpoint.
    public let checkpoint: Checkpoint
    /// By Hugging Face name: the name in the file, and how the rows must be put.
    private let sources: [String: (name: String, rows: RowOrder?)]

    /// Maps and checks a file. Throws for another architecture, for tensors that the architecture does not have, and
    /// for settings that its Hugging Face configuration cannot express.
    public init(opening path: String) throws { try self.init(GGUFFile(opening: path)) }

    /// Reads an open file as a model.
    public init(_ file: GGUFFile) throws {
        let settings = try GGUFConfiguration(file)
        var sources: [String: (name: String, rows: RowOrder?)] = [:]
        var records: [TensorRecord] = []
        for tensor in file.tensors where !GGUFNames.isComputed(tensor.name) {
            guard let name = GGUFNames.huggingFace(tensor.name, blocks: settings.blocks) else {
                throw TensorInfo.failure(
                    tensor.name, in: file.path,
                    because: "a model of architecture \(settings.architecture) has no such tensor")
            }
            let rows = try settings.heads(ofRowsIn: name).map { try RowOrder(tensor, heads: $0) }
            sources[name] = (tensor.name, rows)
            records.append(try file.record(of: tensor, named: name, rows: rows))
        }
        self.file = file
        self.sources = sources
        configuration = try settings.json()
        checkpoint = try Checkpoint(file, records: records)
    }

    /// A tensor by its Hugging Face name, still quantised, with its rows in the Hugging Face order.
    public func tensor(named name: String) throws -> GGUFTensor {
        guard let source = sources[name] else {
            throw TensorInfo.failure(name, in: file.path, because: "there is no such tensor")
        }
        return try file.tensor(named: source.name).renamed(name, rows: source.rows?.indices)
    }
}

/// The order that takes llama.cpp's rows of a query or key projection back to Hugging Face's.
struct RowOrder: Sendable {
    private let rows: Int
    private let heads: Int

    /// Refuses a tensor whose rows are not `heads` heads of an even width.
    init(_ tensor: GGUFTensor, heads: Int) throws {
        rows = tensor.shape.first ?? 0
        self.heads = heads
        // `heads` may be any number the file claims; the first test keeps the product small.
        guard heads > 0, heads <= rows, rows % (2 * heads) == 0 else {
            throw TensorInfo.failure(
                tensor.name, in: tensor.file,
                because: "its \(rows) rows are not \(heads) heads of an even width")
        }
    }

    /// For each row of the result, the row of the file. Rows h·2n + 2j and h·2n + 2j + 1 there become rows
    /// h·2n + j and h·2n + n + j of head h.
    var indices: [Int] {
        let width = rows / heads
        return (0..<rows).map { row in
            let (head, place) = (row / width, row % width)
            return head * width + place % (width / 2) * 2 + place / (width / 2)
        }
    }
}

/// The names of tensors in both worlds.
enum GGUFNames {
    private static let outer = [
        "token_embd.weight": "model.embed_tokens.weight", "output_norm.weight": "model.norm.weight",
        "output.weight": "lm_head.weight",
    ]
    private static let inner = [
        "attn_norm": "input_layernorm", "attn_q": "self_attn.q_proj", "attn_k": "self_attn.k_proj",
        "attn_v": "self_attn.v_proj", "attn_output": "self_attn.o_proj",
        "ffn_norm": "post_attention_layernorm", "ffn_gate": "mlp.gate_proj", "ffn_up": "mlp.up_proj",
        "ffn_down": "mlp.down_proj",
    ]

    /// The Hugging Face name; nil when none of the known architectures has such a tensor. `blocks` is their number.
    static func huggingFace(_ name: String, blocks: Int) -> String? {
        if let outer = outer[name] { return outer }
        let parts = name.split(separator: ".", omittingEmptySubsequences: false)
        guard parts.count == 4, parts[0] == "blk", let block = Int(parts[1]), String(block) == parts[1],
            0..<blocks ~= block, let inner = inner[String(parts[2])],
            parts[3] == "weight" || parts[3] == "bias"
        else { return nil }
        return "model.layers.\(block).\(inner).\(parts[3])"
    }

    /// True for tensors that follow from the configuration: rotary frequencies.
    static func isComputed(_ name: String) -> Bool {
        name == ropeFactors || name.hasSuffix(".attn_rot_embd.freqs")
            || name.hasSuffix(".attn_rot_embd.weight")
    }

    /// Llama 3's divisors of the rotary frequencies, one for each.
    static let ropeFactors = "rope_freqs.weight"
}
