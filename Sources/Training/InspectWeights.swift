import Checkpoints
import Runs
import Support
import Tokenizers

extension Inspector {
    // MARK: Checkpoints

    static func checkpoint(_ path: String, _ allTensors: Bool) throws -> InspectReport {
        let checkpoint = try Checkpoints.Checkpoint(opening: path)
        var report = InspectReport(path, "checkpoint")
        describe(checkpoint, in: &report, allTensors)
        return report
    }

    /// The last part of a path.
    private static func name(of path: String) -> String {
        path.split(separator: "/").last.map(String.init) ?? path
    }

    /// Adds the tensors of a checkpoint: their sum, what lies beside them, and the list.
    private static func describe(
        _ checkpoint: Checkpoints.Checkpoint, in report: inout InspectReport, _ allTensors: Bool
    ) {
        let infos = checkpoint.infos
        report.add("format", checkpoint.format.description, "format", .string(checkpoint.format.description))
        let elements = infos.reduce(0) { $0.addingReportingOverflow($1.elementCount).partialValue }
        let types = Dictionary(grouping: infos, by: \.elementType).sorted {
            ($1.value.count, $0.key.rawValue) < ($0.value.count, $1.key.rawValue)
        }
        report.facts.append(
            .init(
                "tensors",
                "\(grouped(infos.count)), \(grouped(elements)) numbers, \(byteText(checkpoint.totalBytes))"))
        report.facts.append(
            .init("types", types.map { "\($0.key) × \($0.value.count)" }.joined(separator: ", ")))
        for (key, value) in checkpoint.metadata.sorted(by: { $0.key < $1.key }).prefix(20) {
            report.facts.append(.init("metadata", "\(key) = \(value.prefix(100))"))
        }
        if checkpoint.skipped.count > 0 {
            let examples = checkpoint.skipped.examples.prefix(5).joined(separator: ", ")
            report.facts.append(
                .init("beside them", "\(counted(checkpoint.skipped.count, "value")): \(examples)"))
        }
        report.rows = allTensors ? infos.map { row($0.name, 1, $0) } : folded(infos)
        report.members += [
            .init("tensor_count", .integer(infos.count)), .init("elements", .integer(elements)),
            .init("bytes", .integer(checkpoint.totalBytes)),
            .init(
                "metadata",
                .object(
                    checkpoint.metadata.sorted { $0.key < $1.key }.map { .init($0.key, .string($0.value)) })),
            .init("skipped", .array(checkpoint.skipped.examples.map { .string($0) })),
            .init("tensors", .array(infos.map(json))),
        ]
    }

    private static func json(_ info: TensorInfo) -> JSON {
        [
            "name": .string(info.name), "dtype": .string(info.elementType.rawValue),
            "shape": .array(info.shape.map { .integer($0) }),
        ]
    }

    private static func row(_ name: String, _ count: Int, _ info: TensorInfo) -> [String] {
        let shape = info.shape.isEmpty ? "scalar" : info.shape.map(String.init).joined(separator: " × ")
        return [name, count == 1 ? "" : "\(count) ×", info.elementType.rawValue, shape]
    }

    /// One row for tensors that differ only in the numbers in their names: layers. The numbers become stars.
    private static func folded(_ infos: [TensorInfo]) -> [[String]] {
        struct Key: Hashable {
            let name: String
            let type: ElementType
            let shape: [Int]
        }
        var order: [Key] = []
        var groups: [Key: [TensorInfo]] = [:]
        for info in infos {
            let parts = info.name.split(separator: ".", omittingEmptySubsequences: false)
            let name = parts.map { Int($0) == nil ? String($0) : "*" }.joined(separator: ".")
            let key = Key(name: name, type: info.elementType, shape: info.shape)
            if groups[key] == nil { order.append(key) }
            groups[key, default: []].append(info)
        }
        return order.compactMap { key in
            guard let group = groups[key], let first = group.first else { return nil }
            return row(group.count == 1 ? first.name : key.name, group.count, first)
        }
    }

    static func gguf(_ path: String, _ allTensors: Bool) throws -> InspectReport {
        let file = try GGUFFile(opening: path)
        var report = InspectReport(path, "GGUF file")
        report.add("version", "\(file.version)", "version", .integer(file.version))
        for (label, key) in [("architecture", "general.architecture"), ("name", "general.name")] {
            if let text = try file.metadata.string(key) { report.add(label, text, label, .string(text)) }
        }
        // Files of parts and of other architectures are described too, without their sizes.
        if let model = try? GGUFModel(file) { addSizes(model.configuration, "sizes", &report) }
        report.add(
            "keys", counted(file.metadata.keys.count, "key") + " of metadata", "metadata_count",
            .integer(file.metadata.keys.count))
        describe(try Checkpoints.Checkpoint(opening: path), in: &report, allTensors)
        return report
    }

    // MARK: Models

    static func model(_ path: String, _ allTensors: Bool) throws -> InspectReport {
        var report = InspectReport(path, "model")
        if fileExists("\(path)/config.json") { try architecture("\(path)/config.json", &report) }
        if tokenizerFiles.contains(where: { fileExists("\(path)/\($0)") }) {
            var facts = InspectReport(path, "tokenizer")
            try tokenizer(path, &facts)
            report.facts.append(.init("tokenizer", facts.facts.map(\.text).joined(separator: "; ")))
            report.members.append(.init("tokenizer", .object(facts.members)))
        }
        for name in ["processor_config.json", "preprocessor_config.json"] where fileExists("\(path)/\(name)")
        {
            report.add("images", name, "image_processor", .string(name))
            break
        }
        let checkpoint = try Checkpoints.Checkpoint(opening: path)
        report.add("weights", name(of: checkpoint.path), "weights", .string(checkpoint.path))
        describe(checkpoint, in: &report, allTensors)
        return report
    }

    /// Files that hold a tokenizer, each of them alone.
    private static let tokenizerFiles = [
        "tokenizer.json", "vocab.json", "tokenizer.model", "spiece.model", "spm.model", "vocab.txt",
    ]

    /// The keys of a `config.json` that tell models apart, in this order.
    private static let sizeKeys = [
        "num_hidden_layers", "hidden_size", "num_attention_heads", "num_key_value_heads", "intermediate_size",
        "vocab_size", "max_position_embeddings", "image_size", "patch_size", "projection_dim",
    ]

    private static func architecture(_ path: String, _ report: inout InspectReport) throws {
        let config = try JSON(contentsOf: path, limit: 16 << 20)
        let type = config["model_type"]?.string ?? "unnamed"
        let classes = config["architectures"]?.array?.compactMap(\.string) ?? []
        report.add(
            "architecture", ([type] + classes).joined(separator: ", "), "architecture",
            ["model_type": .string(type), "architectures": .array(classes.map { .string($0) })])
        addSizes(config, "sizes", &report)
        // The parts of a joined model.
        for part in ["text", "vision", "qformer", "perceiver"] {
            if let own = config["\(part)_config"] { addSizes(own, "\(part) sizes", &report) }
        }
    }

    /// Adds what tells a model from others of its kind; nothing when the configuration says nothing of it.
    private static func addSizes(_ config: JSON, _ label: String, _ report: inout InspectReport) {
        let sizes = sizeKeys.compactMap { key in config[key]?.integer.map { JSON.Member(key, .integer($0)) } }
        guard !sizes.isEmpty else { return }
        report.add(
            label, sizes.map { "\($0.key) \($0.value.text())" }.joined(separator: ", "),
            String(label.map { $0 == " " ? "_" : $0 }), .object(sizes))
    }

    // MARK: Adapters

    static func adapter(_ path: String, _ allTensors: Bool) throws -> InspectReport {
        let config = try JSON(contentsOf: "\(path)/adapter_config.json", limit: 16 << 20)
        guard let members = config.members else {
            throw VQAError(
                "cannot inspect", at: "\(path)/adapter_config.json", because: "it is not a JSON object")
        }
        var report = InspectReport(path, "adapter")
        report.facts.append(.init("method", config["peft_type"]?.string ?? "not named (no peft_type)"))
        for member in members where member.key != "peft_type" {
            if let text = short(member.value) { report.facts.append(.init(member.key, text)) }
        }
        report.members.append(.init("config", config))
        let checkpoint = try Checkpoints.Checkpoint(opening: path)
        report.add("weights", name(of: checkpoint.path), "weights", .string(checkpoint.path))
        describe(checkpoint, in: &report, allTensors)
        return report
    }

    /// A setting on one line; nil for null, empty and nested values, which JSON shows.
    static func short(_ value: JSON) -> String? {
        switch value {
        case .null, .object: return nil
        case .string(let text): return text.isEmpty ? nil : String(text.prefix(120))
        case .array(let values):
            let texts = values.prefix(8).compactMap(short)
            let more = values.count > 8 ? ", … (\(values.count))" : ""
            return texts.isEmpty ? nil : texts.joined(separator: ", ") + more
        default: return value.text()
        }
    }

    // MARK: Tokenizers

    static func tokenizer(_ path: String) throws -> InspectReport {
        var report = InspectReport(path, "tokenizer")
        try tokenizer(path, &report)
        return report
    }

    private static func tokenizer(_ path: String, _ report: inout InspectReport) throws {
        let tokenizer = try Tokenizer(contentsOf: path)
        if let type = tokenizerModel(isFolder(path) ? "\(path)/tokenizer.json" : path) {
            report.add("model", type, "model", .string(type))
        }
        report.add(
            "vocabulary", "\(grouped(tokenizer.vocabularySize)) tokens", "vocabulary_size",
            .integer(tokenizer.vocabularySize))
        if let length = tokenizer.maximumLength {
            report.add(
                "longest text", "at most \(grouped(length)) at once", "maximum_length", .integer(length))
        }
        let special = tokenizer.specialTokens
        let roles: [(String, SpecialToken?)] = [
            ("pad", special.padding), ("unknown", special.unknown),
            ("classification", special.classification),
            ("separator", special.separator), ("mask", special.mask), ("beginning", special.beginning),
            ("end", special.end),
        ]
        let found = roles.compactMap { role, token in token.map { (role, $0) } }
        report.add(
            "special", found.map { "\($0.1.text) \($0.1.id)" }.joined(separator: ", "), "special_tokens",
            .object(found.map { .init($0.0, ["token": .string($0.1.text), "id": .integer($0.1.id)]) }))
    }

    /// `model.type` of a tokenizer.json, such as `WordPiece`; nil when the file is missing or says nothing.
    private static func tokenizerModel(_ path: String) -> String? {
        guard let bytes = try? readFile(path, limit: 256 << 20) else { return nil }
        return bytes.withUnsafeBufferPointer { buffer in
            var cursor = JSONCursor(buffer, source: path)
            return try? modelType(&cursor)
        }
    }

    private static func modelType(_ cursor: inout JSONCursor) throws -> String? {
        try cursor.beginObject()
        while let key = try cursor.nextKey() {
            guard key == "model" else {
                try cursor.skipValue()
                continue
            }
            try cursor.beginObject()
            while let key = try cursor.nextKey() {
                if key == "type" { return try cursor.string() }
                try cursor.skipValue()
            }
            return nil
        }
        return nil
    }
}
