import Support
import Torch

/// A decoder with a prompt, which it sees once; every further token costs one step.
///
/// Where nothing looks into the forward pass, a step is one call of ``FusedDecoder``: the operations of the plain pass would
/// spend most of a token's time between them.
public final class DecoderSession: GenerationSession {
    private let decoder: any TextDecoder
    private let cache: KeyValueCache
    private let tap: Tap?
    /// [B, T, D], or a [1, T, D] for each row, until they are fed.
    private var prompts: [Tensor]?
    /// [B, S], true for real tokens; nil when no row is padded.
    private var mask: Tensor?
    /// Tokens of padding before each row.
    private var padding: [Int]
    private let fused: FusedDecoder?
    /// Rows B of the batch at the moment.
    public private(set) var rows: Int

    /// More rows than this are faster as one matrix product.
    private static let mostFusedRows = 8

    /// - Parameters:
    ///   - embeddings: of the prompt, [B, T, D], shorter rows padded on the left.
    ///   - mask: [B, T], true for real tokens; nil when no row is padded.
    ///   - maxNewTokens: how many tokens may follow.
    ///   - fuses: whether steps may be fused; the plain pass gives the same up to rounding.
    /// - Throws: `VQAError` when prompt and new tokens together exceed the model's context.
    public init(
        _ decoder: any TextDecoder, embeddings: Tensor, mask: Tensor? = nil, maxNewTokens: Int,
        tap: Tap? = nil,
        fuses: Bool = true
    ) throws {
        let shape = embeddings.shape
        guard shape.count == 3, shape[1] > 0 else {
            throw TorchError(.shape, operation: "generate", message: "needs a prompt [B, T, D], got \(shape)")
        }
        let context = decoder.configuration.context
        guard shape[1] < context else {
            throw VQAError(
                "cannot generate", at: "the prompt",
                because: "it has \(shape[1]) tokens, the model's context has \(context)", remedy: "shorten it"
            )
        }
        // No text is longer than the context, whatever was asked for.
        let capacity = shape[1] + min(max(1, maxNewTokens), context - shape[1])
        self.decoder = decoder
        self.tap = tap
        self.mask = mask
        prompts = [embeddings]
        rows = shape[0]
        padding =
            try mask.map { try $0.to(.int64).sum([1]).integers().map { shape[1] - $0 } }
            ?? Array(repeating: 0, count: shape[0])
        cache = try decoder.cache(rows: rows, capacity: capacity)
        let whole = decoder as? Decoder
        let isPlain = try tap == nil && mask.map { try Self.isLeftPadded($0) } ?? true
        fused = fuses && isPlain ? try whole?.fused(capacity: capacity) : nil
    }

    /// A batch whose prompts are fed one by one, without padding: a row's scores do not depend on the rows beside it, as far
    /// as the steps are fused, and no time is spent on padding.
    ///
    /// - Parameters:
    ///   - prompts: the embeddings of each, [1, T, D].
    ///   - maxNewTokens: how many tokens may follow the longest.
    /// - Throws: `VQAError` when there is no prompt, or the longest fills the model's context.
    public convenience init(_ decoder: any TextDecoder, prompts: [Tensor], maxNewTokens: Int) throws {
        let lengths = prompts.compactMap { $0.shape.count == 3 && $0.shape[0] == 1 ? $0.shape[1] : nil }
        guard let longest = lengths.max(), let position = lengths.firstIndex(of: longest),
            lengths.count == prompts.count
        else {
            throw TorchError(.shape, operation: "generate", message: "needs prompts [1, T, D]")
        }
        let template = try prompts[position].expanded([prompts.count, -1, -1])
        let mask =
            try lengths.allSatisfy { $0 == longest }
            ? nil
            : Tensor(
                lengths.flatMap { length in (0..<longest).map { $0 >= longest - length } },
                [prompts.count, longest])
        try self.init(decoder, embeddings: template, mask: mask, maxNewTokens: maxNewTokens)
        if prompts.count > 1 { self.prompts = prompts }
    }

    /// Whether padding stands before the real tokens only, [B, T].
    private static func isLeftPadded(_ mask: Tensor) throws -> Bool {
        let shown = try mask.to(.int64)
        return try (shown.sliced(1, 1) .>= shown.sliced(1, 0, mask.shape[1] - 1)).all().integerItem() != 0
    }

    /// Feeds the prompt: scores of the next token, float32 [B, V].
    public func start() throws -> Tensor {
        guard let prompts else {
            throw VQAError(
                "cannot generate", at: "the session", because: "it was started before", kind: .failure)
        }
        self.prompts = nil
        if prompts.count == 1 { return try scores(prompts[0], mask, cache) }
        let longest = prompts.reduce(0) { max($0, $1.shape[1]) }
        var rows: [Tensor] = []
        for (row, prompt) in prompts.enumerated() {
            let length = prompt.shape[1]
            let own = try decoder.cache(rows: 1, capacity: length)
            rows.append(try scores(prompt, nil, own))
            try cache.adopt(own, row: row, at: longest - length)
        }
        cache.advance(by: longest)
        return try .concatenated(rows, 0)
    }

    /// Feeds one token a row: scores of the one after it, float32 [B, V]. Throws when the cache is full.
    public func step(_ tokens: [Int]) throws -> Tensor {
        guard tokens.count == rows, prompts == nil else {
            throw VQAError(
                "cannot generate", at: "the session", because: "it has \(rows) rows, not \(tokens.count)",
                kind: .failure)
        }
        if let mask { self.mask = try .concatenated([mask, .ones([rows, 1], .bool)], 1) }
        if let fused, rows <= Self.mostFusedRows { return try fusedStep(fused, tokens) }
        return try withoutGradients { try scores(decoder.embed(Tensor(tokens, [rows, 1])), mask, cache) }
    }

    /// Makes row i a copy of the former row `order[i]`.
    public func reorder(_ order: [Int]) throws {
        guard order.allSatisfy(padding.indices.contains) else {
            throw VQAError(
                "cannot generate", at: "the session", because: "it has no row of that number", kind: .failure)
        }
        try cache.reorder(order)
        try decoder.reorder(order)
        mask = try mask?.selected(0, indices: Tensor(order))
        padding = order.map { padding[$0] }
        rows = order.count
    }

    private func fusedStep(_ fused: FusedDecoder, _ tokens: [Int]) throws -> Tensor {
        guard cache.length < cache.capacity else {
            throw VQAError(
                "cannot go on", at: "the text", because: "it fills the cache of \(cache.capacity) tokens")
        }
        let states = padding.map {
            FusedDecoder.Row(position: cache.length - $0, length: cache.length, start: $0)
        }
        let scores = try fused.step(tokens: tokens, rows: states, keys: cache.keys, values: cache.values)
        cache.advance(by: 1)
        return scores
    }

    private func scores(_ embeddings: Tensor, _ mask: Tensor?, _ cache: KeyValueCache) throws -> Tensor {
        try withoutGradients {
            let hidden = try decoder.hidden(embeddings, mask: mask, cache: cache, tap: tap)  // [B, T, D]
            return try decoder.logits(hidden.selected(1, embeddings.shape[1] - 1)).to(.float32)
        }
    }
}
