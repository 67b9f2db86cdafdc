import Support
import Torch

/// A decoder with a prompt, which it sees once; every further token costs one step.
public final class DecoderSession: GenerationSession {
    private let decoder: any TextDecoder
    private let cache: KeyValueCache
    private let tap: Tap?
    /// [B, T, D], until it is fed.
    private var prompt: Tensor?
    /// [B, S], true for real tokens; nil when no row is padded.
    private var mask: Tensor?
    public private(set) var rows: Int

    /// - Parameters:
    ///   - embeddings: of the prompt, [B, T, D], shorter rows padded on the left.
    ///   - mask: [B, T], true for real tokens; nil when no row is padded.
    ///   - maxNewTokens: how many tokens may follow.
    /// - Throws: `VQAError` when prompt and new tokens together exceed the model's context.
    public init(
        _ decoder: any TextDecoder, embeddings: Tensor, mask: Tensor? = nil, maxNewTokens: Int,
        tap: Tap? = nil
    ) throws {
        let shape = embeddings.shape
        guard shape.count == 3, shape[1] > 0 else {
            throw TorchError(.shape, operation: "generate", message: "needs a prompt [B, T, D], got \(shape)")
        }
        let capacity = shape[1] + max(1, maxNewTokens)
        guard shape[1] < decoder.configuration.context else {
            throw VQAError(
                "cannot generate", at: "the prompt",
                because:
                    "it has \(shape[1]) tokens, the model's context has \(decoder.configuration.context)",
                remedy: "shorten it")
        }
        self.decoder = decoder
        self.tap = tap
        self.mask = mask
        prompt = embeddings
        rows = shape[0]
        cache = try decoder.cache(rows: rows, capacity: capacity)
    }

    public func start() throws -> Tensor {
        guard let prompt else {
            throw VQAError(
                "cannot generate", at: "the session", because: "it was started before", kind: .failure)
        }
        self.prompt = nil
        return try scores(prompt)
    }

    public func step(_ tokens: [Int]) throws -> Tensor {
        guard tokens.count == rows, prompt == nil else {
            throw VQAError(
                "cannot generate", at: "the session", because: "it has \(rows) rows, not \(tokens.count)",
                kind: .failure)
        }
        if let mask { self.mask = try .concatenated([mask, .ones([rows, 1], .bool)], 1) }
        return try withoutGradients { try scores(decoder.embed(Tensor(tokens, [rows, 1]))) }
    }

    public func reorder(_ order: [Int]) throws {
        try cache.reorder(order)
        try decoder.reorder(order)
        mask = try mask?.selected(0, indices: Tensor(order))
        rows = order.count
    }

    private func scores(_ embeddings: Tensor) throws -> Tensor {
        try withoutGradients {
            let hidden = try decoder.hidden(embeddings, mask: mask, cache: cache, tap: tap)  // [B, T, D]
            return try decoder.logits(hidden.selected(1, embeddings.shape[1] - 1)).to(.float32)
        }
    }
}
