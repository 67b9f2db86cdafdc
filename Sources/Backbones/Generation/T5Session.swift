import Support
import Torch

/// The decoder of a ``T5`` with what the encoder has read; every token costs one step. Keys and values of
/// cross-attention are computed once, those of self-attention lie in memory allocated once.
public final class T5Session: GenerationSession {
    private let model: T5
    private let cache: KeyValueCache
    private let pass: T5Pass
    /// One row for each row of the batch.
    private var memory: T5Memory
    /// The row of the encoder's output that each row of the batch reads; rows with the same number have equal memory.
    private var readers: [Int]
    /// What the decoder is given, until it is fed.
    private var prompt: [Int]?

    /// - Parameters:
    ///   - encoded: the encoder's output, [B, S, D].
    ///   - mask: [B, S], true for real tokens; nil when no row is padded.
    ///   - prompt: what every row of the decoder begins with; the start token unless given.
    ///   - maxNewTokens: how many tokens may follow.
    public init(
        _ model: T5, encoded: Tensor, mask: Tensor? = nil, prompt: [Int]? = nil, maxNewTokens: Int,
        tap: Tap? = nil
    ) throws {
        let shape = encoded.shape
        let configuration = model.configuration
        let prompt = prompt ?? [configuration.startID]
        guard shape.count == 3, shape[1] > 0, !prompt.isEmpty else {
            throw TorchError(
                .shape, operation: "generate", message: "needs [B, S, D] and a first token, got \(shape)")
        }
        let capacity = prompt.count.addingReportingOverflow(max(1, maxNewTokens))
        guard !capacity.overflow else {
            throw VQAError(
                "cannot generate", at: "the answer", because: "\(maxNewTokens) tokens are too many")
        }
        self.model = model
        self.prompt = prompt
        pass = T5Pass(tap: tap)
        readers = Array(0..<shape[0])
        memory = try withoutGradients { try model.memory(encoded, mask: mask) }
        cache = try KeyValueCache(
            layers: configuration.decoderLayers, rows: shape[0], heads: configuration.heads,
            capacity: capacity.partialValue, headSize: configuration.headSize,
            dtype: memory.pairs.first?.key.dtype ?? encoded.dtype)
    }

    /// Rows of the batch at the moment.
    public var rows: Int { readers.count }

    /// Feeds the prompt: scores of the next token, float32 [B, V].
    public func start() throws -> Tensor {
        guard let prompt else { throw misuse("it was started before") }
        self.prompt = nil
        return try scores(Tensor(readers.flatMap { _ in prompt }, [rows, prompt.count]))
    }

    /// Feeds one more token a row: scores of the one after it, float32 [rows, V].
    public func step(_ tokens: [Int]) throws -> Tensor {
        guard prompt == nil, tokens.count == rows else {
            throw misuse(
                "it has \(rows) rows and was \(prompt == nil ? "" : "not ")started, \(tokens.count) tokens came"
            )
        }
        return try scores(Tensor(tokens, [rows, 1]))
    }

    /// Makes row i a copy of the former row `order[i]`.
    public func reorder(_ order: [Int]) throws {
        guard order.allSatisfy(readers.indices.contains) else {
            throw misuse("\(order) names rows beyond \(rows)")
        }
        guard order != Array(readers.indices) else { return }
        try withoutGradients {
            try cache.reorder(order)
            // Beams of one question change places among themselves and read the same: nothing to copy.
            let next = order.map { readers[$0] }
            if next != readers { memory = try memory.selected(Tensor(order)) }
            readers = next
        }
    }

    /// int64 [B, T] → float32 [B, V], after the last of them.
    private func scores(_ ids: Tensor) throws -> Tensor {
        try withoutGradients {
            let hidden = try model.decode(model.embed(ids), memory: memory, cache: cache, pass: pass)
            cache.advance(by: ids.shape[1])
            return try model.logits(hidden.selected(1, -1)).to(.float32)
        }
    }

    private func misuse(_ why: String) -> VQAError {
        VQAError("cannot generate", at: "the session", because: why, kind: .failure)
    }
}
