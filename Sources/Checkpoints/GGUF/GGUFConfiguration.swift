import Support

#if canImport(Glibc)
    import Glibc
#else
    import Darwin
#endif

/// The settings of a model, read from a GGUF file's metadata and given as members of a Hugging Face `config.json`.
///
/// Keys: `gguf-py/gguf/constants.py` of github.com/ggml-org/llama.cpp; their meaning in `config.json`:
/// `integrations/ggml.py` of the transformers library.
struct GGUFConfiguration {
    /// `llama` or `qwen2`, as the file says.
    let architecture: String
    /// Number of transformer blocks.
    let blocks: Int
    private let heads: Int
    private let keyValueHeads: Int
    private let file: GGUFFile

    init(_ file: GGUFFile) throws {
        self.file = file
        guard let architecture = try file.metadata.string("general.architecture") else {
            throw Self.failure(file, "general.architecture is missing")
        }
        guard ["llama", "qwen2"].contains(architecture) else {
            throw Self.failure(
                file, "the architecture \(shortened(architecture)) is not read as a model",
                "use a Llama, Mistral or Qwen2 model")
        }
        self.architecture = architecture
        func size(_ key: String) throws -> Int {
            let key = "\(architecture).\(key)"
            guard let value = try file.metadata.integer(key) else {
                throw Self.failure(file, "\(key) is missing")
            }
            guard 1...1 << 24 ~= value else { throw Self.failure(file, "\(key) is \(value)") }
            return value
        }
        blocks = try size("block_count")
        heads = try size("attention.head_count")
        let key = "attention.head_count_kv"
        keyValueHeads = file.metadata["\(architecture).\(key)"] == nil ? heads : try size(key)
    }

    /// The number of heads whose rows llama.cpp has reordered in that tensor; nil when it has not.
    func heads(ofRowsIn name: String) -> Int? {
        guard architecture == "llama" else { return nil }
        if name.contains(".q_proj.") { return heads }
        if name.contains(".k_proj.") { return keyValueHeads }
        return nil
    }

    // MARK: config.json

    /// All members. Throws for what no Hugging Face configuration of the architecture says.
    func json() throws -> JSON {
        for key in ["expert_count", "attention.kv_lora_rank"] where try integer(key) ?? 0 != 0 {
            throw Self.failure(file, "\(architecture).\(key) is not 0, which is not read")
        }
        let window = try integer("attention.sliding_window")
        let kind: (type: String, name: String) =
            architecture == "qwen2"
            ? ("qwen2", "Qwen2ForCausalLM")
            : window == nil ? ("llama", "LlamaForCausalLM") : ("mistral", "MistralForCausalLM")
        let width = try required("embedding_length")
        let headWidth = try self.headWidth(width)
        var members: [JSON.Member] = [
            .init("architectures", [.string(kind.name)]), .init("model_type", .string(kind.type)),
            .init("hidden_size", .integer(width)),
            .init("intermediate_size", .integer(try required("feed_forward_length"))),
            .init("num_hidden_layers", .integer(blocks)), .init("num_attention_heads", .integer(heads)),
            .init("num_key_value_heads", .integer(keyValueHeads)), .init("head_dim", .integer(headWidth)),
            .init("hidden_act", "silu"),
            .init("max_position_embeddings", .integer(try required("context_length"))),
            .init("rms_norm_eps", .number(try requiredNumber("attention.layer_norm_rms_epsilon"))),
            .init("rope_theta", .number(try number("rope.freq_base") ?? 10_000)),
            .init("vocab_size", .integer(try vocabularySize(width))),
            .init("tie_word_embeddings", .bool(!file.holds("output.weight"))),
        ]
        if let scaling = try ropeScaling(headWidth) { members.append(.init("rope_scaling", scaling)) }
        if kind.type == "llama" {
            members.append(.init("attention_bias", .bool(file.holds("blk.0.attn_q.bias"))))
            members.append(.init("mlp_bias", .bool(file.holds("blk.0.ffn_up.bias"))))
        }
        if kind.type == "mistral", let window { members.append(.init("sliding_window", .integer(window))) }
        if kind.type == "qwen2" { members.append(.init("use_sliding_window", false)) }
        members += try tokens()
        members.append(.init("torch_dtype", "float32"))
        return .object(members)
    }

    private func headWidth(_ width: Int) throws -> Int {
        let divided = width % heads == 0 ? width / heads : nil
        guard let headWidth = try integer("attention.key_length") ?? divided, headWidth > 0 else {
            throw Self.failure(file, "\(heads) heads do not divide the width \(width)")
        }
        for key in ["attention.value_length", "rope.dimension_count"] {
            let value = try integer(key)
            guard value == nil || value == headWidth else {
                throw Self.failure(
                    file, "\(architecture).\(key) is \(value ?? 0), a head has \(headWidth); that is not read"
                )
            }
        }
        return headWidth
    }

    /// The embedding's rows, which the tokens must fit in.
    private func vocabularySize(_ width: Int) throws -> Int {
        let embedding = try file.tensor(named: "token_embd.weight")
        guard embedding.shape.count == 2, embedding.shape[1] == width else {
            throw Self.failure(
                file,
                "token_embd.weight has the shape \(describe(embedding.shape)), the model's width is \(width)")
        }
        let tokens = try file.metadata.array("tokenizer.ggml.tokens")?.count ?? 0
        guard tokens <= embedding.shape[0] else {
            throw Self.failure(file, "\(tokens) tokens, but the embedding has \(embedding.shape[0]) rows")
        }
        return embedding.shape[0]
    }

    private func tokens() throws -> [JSON.Member] {
        try [("bos", "bos"), ("eos", "eos"), ("padding", "pad")].compactMap { stored, name in
            try file.metadata.integer("tokenizer.ggml.\(stored)_token_id")
                .map { JSON.Member("\(name)_token_id", .integer($0)) }
        }
    }

    // MARK: Rotary embedding

    private func ropeScaling(_ headWidth: Int) throws -> JSON? {
        if file.holds(GGUFNames.ropeFactors) { return try llama3Scaling(headWidth) }
        let factor = try number("rope.scaling.factor") ?? number("rope.scale_linear") ?? 1
        let usual = factor == 1 ? "none" : "linear"
        let type = try file.metadata.string("\(architecture).rope.scaling.type") ?? usual
        switch type {
        case "none": return nil
        case "linear": return factor == 1 ? nil : ["rope_type": "linear", "factor": .number(factor)]
        case "yarn":
            let original = try required("rope.scaling.original_context_length")
            return [
                "rope_type": "yarn", "factor": .number(factor),
                "original_max_position_embeddings": .integer(original),
            ]
        default: throw Self.failure(file, "the rotary scaling \"\(shortened(type))\" is not read")
        }
    }

    /// Llama 3 files hold the divisors of the frequencies instead of the rule behind them. All published models have
    /// the same rule but for its factor, which is the largest divisor; other divisors are refused.
    private func llama3Scaling(_ headWidth: Int) throws -> JSON {
        let stored = try file.tensor(named: GGUFNames.ropeFactors).floats()
        let theta = try number("rope.freq_base") ?? 10_000
        let (low, high, original) = (1.0, 4.0, 8192.0)
        guard stored.count == headWidth / 2, let factor = stored.max(), factor.isFinite, factor >= 1 else {
            throw Self.failure(
                file, "\(GGUFNames.ropeFactors) is not one divisor for each of \(headWidth / 2) frequencies")
        }
        for (index, divisor) in stored.enumerated() {
            let wavelength = 2 * Double.pi * pow(theta, Double(2 * index) / Double(headWidth))
            // 0 where the wave is long and its frequency is divided, 1 where it is short and kept.
            let share = min(max((original / wavelength - low) / (high - low), 0), 1)
            let expected = 1 / ((1 - share) / Double(factor) + share)
            guard abs(Double(divisor) - expected) <= 1e-3 * expected else {
                throw Self.failure(file, "\(GGUFNames.ropeFactors) does not follow Llama 3's rule")
            }
        }
        return [
            "rope_type": "llama3", "factor": .number(Double(factor)), "low_freq_factor": .number(low),
            "high_freq_factor": .number(high), "original_max_position_embeddings": .integer(Int(original)),
        ]
    }

    // MARK: Values

    private func integer(_ key: String) throws -> Int? { try file.metadata.integer("\(architecture).\(key)") }

    private func number(_ key: String) throws -> Double? {
        guard let value = try file.metadata.double("\(architecture).\(key)") else { return nil }
        guard value.isFinite, value > 0 else {
            throw Self.failure(file, "\(architecture).\(key) is \(value)")
        }
        return value
    }

    private func required(_ key: String) throws -> Int {
        guard let value = try integer(key) else {
            throw Self.failure(file, "\(architecture).\(key) is missing")
        }
        guard 1...1 << 40 ~= value else { throw Self.failure(file, "\(architecture).\(key) is \(value)") }
        return value
    }

    private func requiredNumber(_ key: String) throws -> Double {
        guard let value = try number(key) else {
            throw Self.failure(file, "\(architecture).\(key) is missing")
        }
        return value
    }

    private static func failure(_ file: GGUFFile, _ why: String, _ remedy: String? = nil) -> VQAError {
        VQAError("cannot read the model", at: file.path, because: why, remedy: remedy)
    }
}
