import Support

/// The lengths of one call of ``generate(_:prompt:options:embedded:numbers:decode:onToken:shouldStop:)``, as the
/// reference counts them: prompt ids and new tokens.
///
/// A prompt that is given as embeddings has no ids and counts as 0 tokens. `max_new_tokens` is then the longest
/// result, and `max_length` and `min_length` are less by the embedded positions.
public struct GenerationLength: Sendable, Equatable {
    /// Ids of the longest prompt.
    public let prompt: Int
    /// Prompt and new tokens at most.
    public let maximum: Int
    /// No end of sequence before so many tokens, prompt included.
    public let minimum: Int
    /// New tokens at most.
    public var maximumNew: Int { maximum - prompt }

    /// - Parameters:
    ///   - options: validated options.
    ///   - prompt: ids of the longest prompt.
    ///   - embedded: positions that the model was given as embeddings, without ids.
    /// - Throws: `VQAError` when `max_length` leaves no room for a new token.
    public init(_ options: GenerationOptions, prompt: Int, embedded: Int = 0) throws {
        self.prompt = prompt
        if let new = options.maxNewTokens {
            maximum = prompt + new
        } else if let length = options.maxLength {
            maximum = length - embedded
        } else {
            maximum = prompt + 20
        }
        if let new = options.minNewTokens {
            minimum = prompt + new
        } else {
            minimum = max(0, options.minLength - embedded)
        }
        guard maximum > prompt else {
            throw VQAError(
                GenerationOptions.what, at: "max_length",
                because:
                    "it is \(options.maxLength ?? 0), and the prompt alone has \(prompt + embedded) tokens",
                remedy: "set max_new_tokens")
        }
    }
}
