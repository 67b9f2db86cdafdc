import Support

/// The index of a checkpoint in several files: `model.safetensors.index.json` or
/// `pytorch_model.bin.index.json`, with an object `weight_map` from tensor to file and an object `metadata`.
struct ShardedIndex {
    /// The file of each tensor, relative to the folder of the index.
    private(set) var files: [String: String] = [:]
    /// Texts, numbers and truth values of `metadata`.
    private(set) var metadata: [String: String] = [:]

    private static let sizeLimit = 25_000_000

    init(contentsOf path: String) throws {
        let bytes = try readFile(path, limit: Self.sizeLimit)
        try bytes.withUnsafeBufferPointer { bytes in
            var json = JSONCursor(bytes, source: path)
            var sections: Set<String> = []
            try json.beginObject()
            while let key = try json.nextKey() {
                guard sections.insert(key).inserted else {
                    throw json.failure("\"\(shortened(key))\" appears twice")
                }
                switch key {
                case "weight_map": try readFiles(&json)
                case "metadata": try readMetadata(&json)
                default: try json.skipValue()
                }
            }
            try json.end()
            guard sections.contains("weight_map") else {
                throw VQAError(
                    "cannot read the checkpoint", at: path, because: "it is a JSON text without a weight_map",
                    remedy: "give the weights or their index")
            }
        }
    }

    private mutating func readFiles(_ json: inout JSONCursor) throws {
        try json.beginObject()
        while let name = try json.nextKey() {
            guard files.updateValue(try json.string(), forKey: name) == nil else {
                throw json.failure("the tensor \(shortened(name)) appears twice")
            }
        }
    }

    private mutating func readMetadata(_ json: inout JSONCursor) throws {
        try json.beginObject()
        while let key = try json.nextKey() {
            switch try json.peek() {
            case .array, .object, .null: try json.skipValue()
            case .string, .number, .bool:
                let value = try JSON(reading: &json)
                guard metadata.updateValue(value.string ?? value.text(), forKey: key) == nil else {
                    throw json.failure("the metadata key \"\(shortened(key))\" appears twice")
                }
            }
        }
    }
}
