import Support

/// A LoRA adapter in the folder format of the peft library: `adapter_config.json` and `adapter_model.safetensors`
/// (or `.bin`). Reads what it changes in a base model; ``mergeAdapter`` does it.
///
/// Format and arithmetic: `src/peft/tuners/lora` of github.com/huggingface/peft. What cannot be merged into a weight
/// by W + scale · B·A is refused by its name: DoRA, other kinds of adapters, starting points that change the base
/// model (PiSSA, OLoRA, LoftQ, CorDA, LoRA-GA).
public struct LoRAAdapter: Sendable {
    /// What one tensor of the base model becomes.
    struct Change: Sendable {
        /// Takes the place of the base's tensor before anything is added.
        var replacement: String?
        /// Names of A and B in the adapter, and the scale of their product.
        var pair: (a: String, b: String, scale: Double, isEmbedding: Bool)?
        /// The name of B's bias in the adapter, added to the base's bias with the scale.
        var bias: (name: String, scale: Double)?
    }

    /// The adapter's tensors.
    public let checkpoint: Checkpoint
    /// True when the base's linear weights are stored as [in, out].
    public let isTransposed: Bool
    /// Changes by the name of the base's tensor.
    private(set) var changes: [String: Change] = [:]

    /// The tensors of the base model that the adapter changes, sorted.
    public var names: [String] { changes.keys.sorted() }

    private let folder: String
    private let configuration: JSON
    private let rank: Int
    private let alpha: Double
    private let ranks: [(pattern: ModulePattern, value: Double)]
    private let alphas: [(pattern: ModulePattern, value: Double)]

    /// Opens an adapter's folder and checks that each tensor in it has its meaning.
    ///
    /// - Parameter rename: the base's name of a module or tensor that the adapter calls otherwise.
    public init(opening folder: String, rename: (String) throws -> String = { $0 }) throws {
        self.folder = folder
        let path = "\(folder)/adapter_config.json"
        configuration = try JSON(contentsOf: path, limit: 10_000_000)
        try Self.refuseOthers(configuration, path)
        isTransposed = try Self.flag(configuration, "fan_in_fan_out", path)
        guard let rank = configuration["r"]?.integer, let alpha = configuration["lora_alpha"]?.double else {
            throw Self.failure(path, "r or lora_alpha is no number")
        }
        self.rank = rank
        self.alpha = alpha
        ranks = try Self.patterns(configuration, "rank_pattern", path)
        alphas = try Self.patterns(configuration, "alpha_pattern", path)
        checkpoint = try Checkpoint(opening: Self.weights(in: folder))
        for name in checkpoint.names { try add(name, rename) }
        for (name, change) in changes {
            guard let pair = change.pair, pair.a.isEmpty || pair.b.isEmpty else { continue }
            throw failure(
                pair.a + pair.b, "its other half, lora_\(pair.a.isEmpty ? "A" : "B") of \(name), is missing")
        }
    }

    private static func weights(in folder: String) throws -> String {
        for name in ["adapter_model.safetensors", "adapter_model.bin"] where fileExists("\(folder)/\(name)") {
            return "\(folder)/\(name)"
        }
        throw VQAError(
            "cannot read the adapter", at: folder, because: "there is no adapter_model.safetensors",
            remedy: "name the folder that peft's save_pretrained wrote")
    }

    // MARK: Keys

    private static let prefix = "base_model.model."
    private static let parts: [(suffix: String, part: Part)] = [
        (".lora_A.weight", .a), (".lora_B.weight", .b), (".lora_embedding_A", .embeddingA),
        (".lora_embedding_B", .embeddingB), (".lora_B.bias", .bias),
    ]
    private enum Part { case a, b, embeddingA, embeddingB, bias }

    private mutating func add(_ name: String, _ rename: (String) throws -> String) throws {
        guard name.hasPrefix(Self.prefix) else {
            throw failure(name, "it does not begin with \(Self.prefix)")
        }
        let key = String(name.dropFirst(Self.prefix.count))
        if let (suffix, part) = Self.parts.first(where: { key.hasSuffix($0.suffix) }) {
            try add(part, name, module: String(key.dropLast(suffix.count)), rename)
            return
        }
        guard !key.contains("lora_") else {
            let isDoRA = key.contains("lora_magnitude_vector")
            throw failure(
                name, isDoRA ? "it belongs to DoRA, which cannot be merged" : "it is no part of LoRA")
        }
        // A whole tensor: a module to save, a trained bias, a resized embedding.
        var target = key
        for infix in [".base_layer.", ".modules_to_save."] {
            if let dot = key.range(infix) { target = key[..<dot.lowerBound] + "." + key[dot.upperBound...] }
        }
        let base = try rename(target)
        guard changes[base]?.replacement == nil else { throw failure(name, "\(base) is given twice") }
        changes[base, default: Change()].replacement = name
    }

    private mutating func add(
        _ part: Part, _ name: String, module: String, _ rename: (String) throws -> String
    ) throws {
        let scale = try scale(of: module, tensor: name)
        let base = try rename(module)
        if part == .bias {
            changes["\(base).bias", default: Change()].bias = (name, scale)
            return
        }
        let isEmbedding = part == .embeddingA || part == .embeddingB
        let key = "\(base).weight"
        var pair = changes[key]?.pair ?? ("", "", scale, isEmbedding)
        guard pair.isEmbedding == isEmbedding else { throw failure(name, "\(key) is changed in two ways") }
        if part == .a || part == .embeddingA {
            guard pair.a.isEmpty else { throw failure(name, "\(key) is changed twice") }
            let found = checkpoint.info(named: name)?.shape ?? []
            let expected = try rank(of: module, tensor: name)
            guard found.first == expected else {
                throw failure(name, "expected \(expected) rows, the rank, found the shape \(describe(found))")
            }
            pair.a = name
        } else {
            guard pair.b.isEmpty else { throw failure(name, "\(key) is changed twice") }
            pair.b = name
        }
        changes[key, default: Change()].pair = pair
    }

    private func failure(_ tensor: String, _ why: String) -> VQAError {
        VQAError("cannot read the adapter", at: "\(folder), tensor \(shortened(tensor))", because: why)
    }

    // MARK: Scale

    private func rank(of module: String, tensor: String) throws -> Int {
        guard let value = ranks.first(where: { $0.pattern.matches(module) })?.value else {
            guard rank > 0 else { throw failure(tensor, "the rank is \(rank)") }
            return rank
        }
        guard let rank = Int(exactly: value), rank > 0 else { throw failure(tensor, "the rank is \(value)") }
        return rank
    }

    /// alpha / r, or alpha / √r for rank-stabilised LoRA.
    private func scale(of module: String, tensor: String) throws -> Double {
        let rank = Double(try rank(of: module, tensor: tensor))
        let alpha = alphas.first { $0.pattern.matches(module) }?.value ?? alpha
        guard alpha.isFinite else { throw failure(tensor, "lora_alpha is \(alpha)") }
        let isStabilised = try Self.flag(configuration, "use_rslora", folder)
        return isStabilised ? alpha / rank.squareRoot() : alpha / rank
    }

    private static func patterns(_ configuration: JSON, _ key: String, _ path: String) throws
        -> [(pattern: ModulePattern, value: Double)]
    {
        guard let value = configuration[key], !value.isNull else { return [] }
        guard let members = value.members else { throw failure(path, "\(key) is no object") }
        return try members.map { member in
            guard let value = member.value.double, let pattern = ModulePattern(member.key) else {
                throw failure(
                    path,
                    "\(key) has \"\(shortened(member.key))\", which is no number for a plain module name",
                    "name the modules without regular expressions")
            }
            return (pattern, value)
        }
    }

    // MARK: What is refused

    private static func refuseOthers(_ configuration: JSON, _ path: String) throws {
        guard let type = configuration["peft_type"]?.string else {
            throw failure(path, "peft_type is missing")
        }
        guard type == "LORA" else {
            throw failure(path, "peft_type is \(shortened(type))", "only adapters of type LORA can be merged")
        }
        let others = [
            ("use_dora", "DoRA"), ("use_qalora", "QALoRA"), ("use_bdlora", "BD-LoRA"),
            ("kasa_config", "KaSA"),
            ("arrow_config", "Arrow"), ("monteclora_config", "MonteCLoRA"),
            ("alora_invocation_tokens", "activated LoRA"), ("layer_replication", "layer replication"),
            ("trainable_token_indices", "trainable tokens"), ("target_parameters", "LoRA of parameters"),
        ]
        for (key, name) in others {
            guard let value = configuration[key], !isOff(value) else { continue }
            throw failure(path, "\(key) is set: \(name) cannot be merged", "merge it with peft")
        }
        let harmless = ["gaussian", "eva", "orthogonal"]
        if let start = configuration["init_lora_weights"]?.string, !harmless.contains(start) {
            throw failure(
                path, "init_lora_weights is \(shortened(start)), which changed the base model in training",
                "merge it with peft, or save it there as plain LoRA")
        }
    }

    private static func isOff(_ value: JSON) -> Bool {
        value.isNull || value == .bool(false) || value.array?.isEmpty == true
            || value.members?.isEmpty == true
    }

    private static func flag(_ configuration: JSON, _ key: String, _ path: String) throws -> Bool {
        guard let value = configuration[key], !value.isNull else { return false }
        guard let flag = value.bool else { throw failure(path, "\(key) is neither true nor false") }
        return flag
    }

    private static func failure(_ path: String, _ why: String, _ remedy: String? = nil) -> VQAError {
        VQAError("cannot read the adapter", at: path, because: why, remedy: remedy)
    }
}

/// A key of `rank_pattern` or `alpha_pattern`: peft takes it as a regular expression that the end of a module's path,
/// from a dot on, or the whole path must match. Only plain names are read, in which a dot, as there, is any character
/// and `^` begins the path.
struct ModulePattern: Sendable {
    private let text: [UInt8]
    private let isWhole: Bool

    init?(_ pattern: String) {
        var bytes = Array(pattern.utf8)
        isWhole = bytes.first == UInt8(ascii: "^")
        if isWhole { bytes.removeFirst() }
        if bytes.last == UInt8(ascii: "$") { bytes.removeLast() }
        let plain = { (byte: UInt8) in
            UInt8(ascii: "a")...UInt8(ascii: "z") ~= byte | 0x20
                || UInt8(ascii: "0")...UInt8(ascii: "9") ~= byte
                || byte == UInt8(ascii: "_") || byte == UInt8(ascii: "-") || byte == UInt8(ascii: ".")
        }
        guard !bytes.isEmpty, bytes.allSatisfy(plain) else { return nil }
        text = bytes
    }

    func matches(_ module: String) -> Bool {
        let bytes = Array(module.utf8)
        let start = bytes.count - text.count
        guard start == 0 || !isWhole && start > 0 && bytes[start - 1] == UInt8(ascii: ".") else {
            return false
        }
        return zip(text, bytes[start...]).allSatisfy { $0 == UInt8(ascii: ".") || $0 == $1 }
    }
}

extension String {
    /// Where `part` first occurs.
    fileprivate func range(_ part: String) -> Range<Index>? {
        indices.first { self[$0...].hasPrefix(part) }
            .map { $0..<index($0, offsetBy: part.count) }
    }
}
