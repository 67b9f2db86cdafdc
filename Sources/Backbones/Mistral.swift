import Support

// Mistral 7B (Jiang et al. 2023, arXiv 2310.06825): LLaMA with a sliding window.
extension DecoderConfiguration {
    /// Reads a `MistralConfig`.
    mutating func readMistral(_ json: JSON, _ source: String) throws {
        (intermediateSize, keyValueHeads, positions) = (14336, 8, 4096 * 32)
        try readShared(json, source)
        // An absent key means the class's default, null means none.
        let window = json["sliding_window"] == nil ? 4096 : json["sliding_window"]?.integer
        windows = Array(repeating: window.map { max(1, $0) }, count: layers)
    }
}
