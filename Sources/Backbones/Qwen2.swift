import Support

// Qwen2 and Qwen2.5 (Yang et al. 2024, arXiv 2407.10671): LLaMA with biases on query, key and value.
extension DecoderConfiguration {
    /// Reads a `Qwen2Config`.
    mutating func readQwen2(_ json: JSON, _ source: String) throws {
        (vocabularySize, intermediateSize, positions) = (151936, 22016, 32768)
        try readShared(json, source)
        hasQueryBias = true
        guard json["use_sliding_window"]?.bool ?? false else { return }
        let window = json["sliding_window"] == nil ? 4096 : json["sliding_window"]?.integer
        if let types = json["layer_types"]?.array {
            windows = try types.map { type in
                switch type.string {
                case "full_attention": return nil
                case "sliding_attention": return window.map { max(1, $0) }
                default:
                    throw VQAError(
                        "cannot use the model", at: "\(source), layer_types",
                        because: "\(type.text().prefix(40)) is neither full_attention nor sliding_attention")
                }
            }
            guard windows.count == layers else {
                throw VQAError(
                    "cannot use the model", at: "\(source), layer_types",
                    because: "it has \(windows.count) entries for \(layers) layers")
            }
        } else {
            let first = json["max_window_layers"]?.integer ?? 28
            windows = (0..<layers).map { $0 >= first ? window.map { max(1, $0) } : nil }
        }
    }
}
