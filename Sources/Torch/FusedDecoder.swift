import CTorch

/// A decoder of the LLaMA family (RMS norms, rotary positions, SwiGLU; also Qwen2 with its biases and Mistral with its
/// window) that makes one token for each of a few rows in a single call: the model's own forward pass, one operation
/// after the other, would spend most of its time between them.
///
/// Weights may be float32, float16, bfloat16 or quantised, with a bias and a LoRA or without; the arithmetic is float32.
/// It keeps references to the weights as they are now: make a new one when a module's tensors are replaced. No
/// gradients and no taps: for these, and for whole prompts, use the model itself.
public final class FusedDecoder {
    /// The pieces of one layer.
    public struct Layer {
        /// The norm before attention, [D].
        public var inputNorm: Tensor
        /// Query, key and value maps, D → H · size and D → K · size.
        public var query: Linear, key: Linear, value: Linear
        /// H · size → D
        public var output: Linear
        /// The norm before the feed-forward part, [D].
        public var outputNorm: Tensor
        /// The feed-forward part: down(silu(gate(x)) · up(x)).
        public var gate: Linear, up: Linear, down: Linear

        /// Names every piece.
        public init(
            inputNorm: Tensor, query: Linear, key: Linear, value: Linear, output: Linear, outputNorm: Tensor,
            gate: Linear, up: Linear, down: Linear
        ) {
            (self.inputNorm, self.query, self.key, self.value) = (inputNorm, query, key, value)
            (self.output, self.outputNorm, self.gate, self.up, self.down) = (
                output, outputNorm, gate, up, down
            )
        }
    }

    /// Sizes that the weights do not tell.
    public struct Shape: Sendable {
        /// Query heads H, key and value heads K, and numbers of a head.
        public var heads: Int, keyValueHeads: Int, headSize: Int
        /// Under the root of the norms.
        public var epsilon: Double
        /// How many keys a query sees, its own included; nil for all.
        public var window: Int?

        /// Names every size.
        public init(heads: Int, keyValueHeads: Int, headSize: Int, epsilon: Double, window: Int? = nil) {
            (self.heads, self.keyValueHeads, self.headSize) = (heads, keyValueHeads, headSize)
            (self.epsilon, self.window) = (epsilon, window)
        }
    }

    /// One row of a step.
    public struct Row: Sendable {
        /// Of the rotation, from 0.
        public var position: Int
        /// Keys that the cache holds for this row; the new one is written behind them.
        public var length: Int
        /// The first key that counts: those before it are padding.
        public var start: Int

        /// - Parameter start: 0 without padding on the left.
        public init(position: Int, length: Int, start: Int = 0) {
            (self.position, self.length, self.start) = (position, length, start)
        }
    }

    private let handle: CTDecoder
    private let layerCount: Int

    /// Looks at all weights and refuses shapes that do not fit.
    ///
    /// - Parameters:
    ///   - embedding: the table of tokens [V, D].
    ///   - finalNorm: [D].
    ///   - head: D → V, without the embedding's memory being used twice when both are one tensor.
    ///   - cosines: of the angle of every position and pair of numbers, [positions, rotated / 2]; number i of a head turns
    ///     with number i + rotated / 2.
    ///   - sines: as the cosines.
    public init(
        layers: [Layer], embedding: Embedding, finalNorm: Tensor, head: Linear, shape: Shape, cosines: Tensor,
        sines: Tensor
    ) throws(TorchError) {
        let torch = try engine()
        let given = layers.map {
            CTDecoderLayer(
                inputNorm: $0.inputNorm.handle, outputNorm: $0.outputNorm.handle, query: $0.query.view,
                key: $0.key.view, value: $0.value.view, output: $0.output.view, gate: $0.gate.view,
                up: $0.up.view, down: $0.down.view)
        }
        var result: CTDecoder?
        let status = withExtendedLifetime((layers, embedding, finalNorm, head, cosines, sines)) {
            withUnsafeTemporaryAllocation(of: CTDecoderLayer.self, capacity: max(1, given.count)) { buffer in
                for (index, layer) in given.enumerated() { buffer.initializeElement(at: index, to: layer) }
                guard let base = buffer.baseAddress else { return Int32(CT_ERROR_INTERNAL) }
                var model = CTDecoderModel(
                    layers: base, layerCount: Int32(clamping: given.count),
                    heads: Int32(clamping: shape.heads),
                    keyValueHeads: Int32(clamping: shape.keyValueHeads),
                    headSize: Int32(clamping: shape.headSize),
                    window: Int64(shape.window ?? 0), epsilon: shape.epsilon, finalNorm: finalNorm.handle,
                    cosines: cosines.handle, sines: sines.handle, head: head.view, embedding: embedding.view)
                return torch.pointee.decoder(&model, &result)
            }
        }
        try check(status, torch)
        guard let result else { throw TorchError.last(torch) }
        (handle, layerCount) = (result, layers.count)
    }

    deinit {
        if let torch = try? engine() { torch.pointee.release_decoder(handle) }
    }

    /// Feeds one token a row and gives the logits of the next, float32 [B, V].
    ///
    /// - Parameters:
    ///   - tokens: one id a row.
    ///   - rows: where each row stands.
    ///   - keys: one cache a layer, [B, K, capacity, size]; the new keys, rotated, are written into it.
    ///   - values: as the keys.
    public func step(tokens: [Int], rows: [Row], keys: [Tensor], values: [Tensor]) throws(TorchError)
        -> Tensor
    {
        try step(tokens: tokens, embeddings: nil, rows, keys, values)
    }

    /// The same for inputs [B, D] that are no tokens.
    public func step(embeddings: Tensor, rows: [Row], keys: [Tensor], values: [Tensor]) throws(TorchError)
        -> Tensor
    {
        try step(tokens: nil, embeddings: embeddings, rows, keys, values)
    }

    private func step(
        tokens: [Int]?, embeddings: Tensor?, _ rows: [Row], _ keys: [Tensor], _ values: [Tensor]
    ) throws(TorchError) -> Tensor {
        guard !rows.isEmpty, tokens.map({ $0.count == rows.count }) ?? true, keys.count == layerCount,
            values.count == layerCount
        else {
            throw TorchError(
                .shape, operation: "decoder_step",
                message:
                    "needs a token a row and a cache a layer, got \(tokens?.count ?? 0) tokens for \(rows.count) "
                    + "rows, \(keys.count) and \(values.count) caches for \(layerCount) layers")
        }
        let positions = rows.map { Int64($0.position) }
        let lengths = rows.map { Int64($0.length) }
        let starts = rows.map { Int64($0.start) }
        let ids = tokens.map { $0.map(Int64.init) } ?? []
        return try .make((self, embeddings)) { torch, out in
            withHandles(keys) { keys, _ in
                withHandles(values) { values, _ in
                    withPointers(positions, lengths, starts, ids) { positions, lengths, starts, ids in
                        var step = CTDecoderStep(
                            rows: Int64(rows.count), tokens: tokens == nil ? nil : ids,
                            embeddings: embeddings?.handle, positions: positions, lengths: lengths,
                            starts: starts,
                            keys: keys, values: values)
                        return torch.pointee.decoder_step(handle, &step, out)
                    }
                }
            }
        }
    }
}

/// Calls `body` with the memory of four lists; that of an empty one is not to be read.
private func withPointers(
    _ a: [Int64], _ b: [Int64], _ c: [Int64], _ d: [Int64],
    _ body: (UnsafePointer<Int64>, UnsafePointer<Int64>, UnsafePointer<Int64>, UnsafePointer<Int64>) -> Int32
) -> Int32 {
    body(a, b, c, d)
}

extension Linear {
    /// This layer as the shim takes it; the handles live as long as the layer does.
    fileprivate var view: CTDecoderLinear {
        let shape = weight.shape
        return CTDecoderLinear(
            weight: quantised?.packed.handle ?? weight.handle, bits: Int32(quantised?.bits ?? 0),
            out: Int64(shape.first ?? 0), in: Int64(shape.last ?? 0), bias: bias?.handle,
            loraA: lora?.a.handle,
            loraB: lora?.b.handle, loraScale: lora?.scale ?? 0)
    }
}

extension Embedding {
    /// This table as the shim takes it.
    fileprivate var view: CTDecoderLinear {
        let shape = weight.shape
        return CTDecoderLinear(
            weight: quantised?.packed.handle ?? weight.handle, bits: Int32(quantised?.bits ?? 0),
            out: Int64(shape.first ?? 0), in: Int64(shape.last ?? 0), bias: nil, loraA: nil, loraB: nil,
            loraScale: 0)
    }
}
