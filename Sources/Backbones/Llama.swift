import Support

// LLaMA 1, 2 and 3, Vicuna, SmolLM2: `model_type` llama.
extension DecoderConfiguration {
    /// Reads a `LlamaConfig`.
    mutating func readLlama(_ json: JSON, _ source: String) throws {
        keyValueHeads = json["num_attention_heads"]?.integer ?? heads
        try readShared(json, source)
        hasQueryBias = json["attention_bias"]?.bool ?? false
        hasOutputBias = hasQueryBias
        hasFeedForwardBias = json["mlp_bias"]?.bool ?? false
    }
}
