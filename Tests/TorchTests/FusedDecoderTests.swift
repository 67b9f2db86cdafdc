import Testing
import Torch

/// A decoder of the LLaMA family in single operations: what the fused step must equal.
private struct PlainDecoder {
    var layers: [FusedDecoder.Layer]
    var embedding: Embedding
    var head: Linear
    var finalNorm: Tensor
    var shape: FusedDecoder.Shape
    let cosines: Tensor
    let sines: Tensor

    /// Odd sizes: D 52, feed-forward 70, V 83, heads of 10 numbers of which 8 turn.
    init(heads: Int, keyValueHeads: Int, window: Int?, layers count: Int = 3) throws {
        let generator = try Generator(seed: 11)
        let (width, size, inner, vocabulary) = (52, 10, 70, 83)
        func linear(_ inputs: Int, _ outputs: Int, bias: Bool = false) throws -> Linear {
            var layer = try Linear(inputs, outputs, bias: bias)
            layer.weight = try .normal(
                [outputs, inputs], deviation: 1.4 / Double(inputs).squareRoot(), generator)
            if bias { layer.bias = try .normal([outputs], generator) }
            return layer
        }
        func norm() throws -> Tensor { try .uniform([width], 0.5, 1.5, generator) }
        layers = try (0..<count).map { index in
            FusedDecoder.Layer(
                inputNorm: try norm(), query: try linear(width, heads * size, bias: index > 0),
                key: try linear(width, keyValueHeads * size, bias: true),
                value: try linear(width, keyValueHeads * size, bias: true),
                output: try linear(heads * size, width),
                outputNorm: try norm(), gate: try linear(width, inner), up: try linear(width, inner),
                down: try linear(inner, width))
        }
        embedding = try Embedding(vocabulary, width)
        try embedding.initialize(seed: 2)
        head = try linear(width, vocabulary)
        finalNorm = try norm()
        shape = .init(
            heads: heads, keyValueHeads: keyValueHeads, headSize: size, epsilon: 1e-5, window: window)
        let angles =
            try Tensor.arange(0, 40).to(.float32).unsqueezed(1)
            * Tensor([1, 0.4, 0.13, 0.05] as [Float], [1, 4])
        (cosines, sines) = try (angles.cos(), angles.sin())
    }

    /// Does `body` with every linear layer.
    mutating func forEachLinear(_ body: (inout Linear) throws -> Void) throws {
        for index in layers.indices {
            try body(&layers[index].query)
            try body(&layers[index].key)
            try body(&layers[index].value)
            try body(&layers[index].output)
            try body(&layers[index].gate)
            try body(&layers[index].up)
            try body(&layers[index].down)
        }
        try body(&head)
    }

    func fused() throws -> FusedDecoder {
        try FusedDecoder(
            layers: layers, embedding: embedding, finalNorm: finalNorm, head: head, shape: shape,
            cosines: cosines, sines: sines)
    }

    /// x [B, H, T, size], positions int64 [B, T].
    private func rotated(_ x: Tensor, _ positions: Tensor) throws -> Tensor {
        let (cosine, sine) = try (
            cosines.embedding(positions).unsqueezed(1), sines.embedding(positions).unsqueezed(1)
        )
        let (first, second, rest) = try (x.sliced(3, 0, 4), x.sliced(3, 4, 8), x.sliced(3, 8))
        return try .concatenated(
            [first * cosine - second * sine, second * cosine + first * sine, rest], 3)
    }

    /// Inputs [B, T, D] → logits [B, T, V]. A key j counts for a query i when j = i, or start ≤ j < i and within the
    /// window.
    func callAsFunction(_ inputs: Tensor, positions: Tensor, starts: [Int]) throws -> Tensor {
        let (rows, length) = (inputs.shape[0], inputs.shape[1])
        var allowed: [Bool] = []
        for start in starts {
            for i in 0..<length {
                for j in 0..<length {
                    let near = shape.window.map { i - j < $0 } ?? true
                    allowed.append(j == i || (j >= start && j < i && near))
                }
            }
        }
        let mask = try Tensor(allowed, [rows, 1, length, length])
        var hidden = inputs
        for layer in layers {
            let x = try hidden.rmsNorm([52], layer.inputNorm, epsilon: shape.epsilon)
            let query = try rotated(splitHeads(layer.query(x), shape.heads), positions)
            let key = try rotated(splitHeads(layer.key(x), shape.keyValueHeads), positions)
            let value = try splitHeads(layer.value(x), shape.keyValueHeads)
            let mixed = try query.attention(key: key, value: value, mask: mask, grouped: true)
            hidden = try hidden + layer.output(mergeHeads(mixed))
            let y = try hidden.rmsNorm([52], layer.outputNorm, epsilon: shape.epsilon)
            hidden = try hidden + layer.down(layer.gate(y).silu() * layer.up(y))
        }
        return try head(hidden.rmsNorm([52], finalNorm, epsilon: shape.epsilon))
    }
}

/// What a fused decoder gives for the same rows, token after token: [B, T, V].
private func fusedLogits(
    _ model: PlainDecoder, _ ids: [[Int]], positions: [[Int]], starts: [Int], cacheType: DType = .float32,
    embeddings: Bool = false
) throws -> Tensor {
    let decoder = try model.fused()
    let (rows, length) = (ids.count, ids[0].count)
    // What is not written must not be read.
    let caches = try (0..<2 * model.layers.count).map { _ in
        try Tensor(
            full: .nan, [rows, model.shape.keyValueHeads, length + 3, model.shape.headSize], cacheType)
    }
    let (keys, values) = (Array(caches.prefix(model.layers.count)), Array(caches.suffix(model.layers.count)))
    var results: [Tensor] = []
    for time in 0..<length {
        let places = (0..<rows).map {
            FusedDecoder.Row(position: positions[$0][time], length: time, start: min(starts[$0], time))
        }
        let tokens = ids.map { $0[time] }
        results.append(
            embeddings
                ? try decoder.step(
                    embeddings: model.embedding(Tensor(tokens)), rows: places, keys: keys, values: values)
                : try decoder.step(tokens: tokens, rows: places, keys: keys, values: values))
    }
    return try .stacked(results, 1)
}

extension TorchTests {
    @Suite struct FusedDecoders {
        /// Rows of tokens, padded on the left, and their positions.
        private func input(rows: Int, length: Int) throws -> (ids: [[Int]], positions: [[Int]], starts: [Int])
        {
            let flat = try Tensor.integers([rows * length], 0, 83, Generator(seed: 21)).integers()
            let ids = (0..<rows).map { Array(flat[($0 * length)..<(($0 + 1) * length)]) }
            let starts = (0..<rows).map { [0, 3, 1, 2, 5][$0 % 5] }
            return (ids, starts.map { start in (0..<length).map { max(0, $0 - start) } }, starts)
        }

        private func difference(
            _ model: PlainDecoder, rows: Int, length: Int = 11, cacheType: DType = .float32,
            embeddings: Bool = false
        ) throws -> Double {
            let (ids, positions, starts) = try input(rows: rows, length: length)
            let inputs = try model.embedding(Tensor(ids.flatMap { $0 }, [rows, length]))
            let expected = try withoutGradients {
                try model(
                    inputs, positions: Tensor(positions.flatMap { $0 }, [rows, length]), starts: starts)
            }
            let found = try fusedLogits(
                model, ids, positions: positions, starts: starts, cacheType: cacheType, embeddings: embeddings
            )
            #expect(found.dtype == .float32)
            return try (found - expected).abs().max().item()
                / max(1, expected.abs().max().item())
        }

        @Test(
            "the fused step equals the plain path: heads, groups, biases, window, padding, rows, every kernel"
        )
        func shapes() throws {
            for (heads, keyValueHeads, window) in [(6, 2, nil), (3, 3, 4), (4, 1, 2)] {
                let model = try PlainDecoder(heads: heads, keyValueHeads: keyValueHeads, window: window)
                try withEachKernels { name in
                    for rows in [1, 3, 5] {
                        let found = try difference(model, rows: rows)
                        #expect(found < 1e-5, "\(name), \(heads) heads, \(rows) rows")
                    }
                }
            }
        }

        @Test("inputs may be embeddings")
        func embeddings() throws {
            let model = try PlainDecoder(heads: 6, keyValueHeads: 2, window: nil)
            #expect(try difference(model, rows: 2, embeddings: true) < 1e-5)
        }

        @Test(
            "quantised weights, also of different bits in one layer, and a quantised table",
            arguments: [4, 8])
        func quantised(bits: Int) throws {
            var model = try PlainDecoder(heads: 6, keyValueHeads: 2, window: nil)
            var index = 0
            try model.forEachLinear { layer in
                if index % 5 != 4 { try layer.quantise(bits: index % 3 == 1 ? 12 - bits : bits) }
                index += 1
            }
            try model.embedding.quantise(QuantisedWeight(model.embedding.weight, bits: bits))
            try withEachKernels { name in
                let found = try difference(model, rows: 3)
                #expect(found < 1e-5, "\(name)")
            }
        }

        @Test("16-bit weights are read as they are", arguments: [DType.float16, .bfloat16])
        func halves(dtype: DType) throws {
            var model = try PlainDecoder(heads: 6, keyValueHeads: 2, window: 5)
            try model.forEachLinear { $0.weight = try $0.weight.to(dtype) }
            model.embedding.weight = try model.embedding.weight.to(dtype)
            var plain = model
            try plain.forEachLinear { $0.weight = try $0.weight.to(.float32) }
            plain.embedding.weight = try plain.embedding.weight.to(.float32)
            let (ids, positions, starts) = try input(rows: 2, length: 7)
            let expected = try fusedLogits(plain, ids, positions: positions, starts: starts)
            let found = try fusedLogits(model, ids, positions: positions, starts: starts)
            #expect(try relativeDifference(found, expected) < 1e-6)
            #expect(try difference(plain, rows: 2, cacheType: dtype) < 0.02)
        }

        @Test("rotation as one operation equals slices and products, with its gradients", arguments: [1, 2])
        func rotation(tables: Int) throws {
            let angles = try Tensor.uniform([tables, 5, 3], -3, 3, Generator(seed: 3))
            let (cosines, sines) = try (angles.cos(), angles.sin())
            func parts(_ x: Tensor) throws -> Tensor {
                let (cosine, sine) = try (cosines.unsqueezed(1), sines.unsqueezed(1))
                let (first, second) = try (x.sliced(3, 0, 3), x.sliced(3, 3, 6))
                return try .concatenated(
                    [first * cosine - second * sine, second * cosine + first * sine, x.sliced(3, 6)], 3)
            }
            func slopes(_ rotate: (Tensor) throws -> Tensor) throws -> (
                value: Tensor, first: Tensor, second: Tensor
            ) {
                // Seen through a transposition, as heads are.
                let x = try Tensor.normal([2, 5, 4, 7], Generator(seed: 4))
                try x.requireGradient()
                let value = try rotate(x.transposed(1, 2))
                let first = try #require(
                    try gradients(of: [value.square().square().sum()], withRespectTo: [x], createGraph: true)[
                        0])
                let second = try #require(try gradients(of: [first.square().sum()], withRespectTo: [x])[0])
                return (value, first, second)
            }
            let (found, expected) = try (
                slopes { try $0.rotated(cosines: cosines, sines: sines) }, slopes(parts)
            )
            #expect(try relativeDifference(found.value, expected.value) < 1e-6)
            #expect(try relativeDifference(found.first, expected.first) < 1e-5)
            #expect(try relativeDifference(found.second, expected.second) < 1e-5)

            let x = try Tensor.normal([2, 4, 5, 7], Generator(seed: 4))
            let half = try x.to(.bfloat16).rotated(cosines: cosines, sines: sines)
            #expect(half.dtype == .bfloat16)
            #expect(try relativeDifference(half, x.rotated(cosines: cosines, sines: sines)) < 0.01)
            #expect(throws: TorchError.self) { try x.sliced(2, 1).rotated(cosines: cosines, sines: sines) }
            #expect(throws: TorchError.self) { try x.sliced(3, 2).rotated(cosines: cosines, sines: sines) }
            #expect(throws: TorchError.self) { try x.to(.float64).rotated(cosines: cosines, sines: sines) }
        }

        @Test("a LoRA counts")
        func lora() throws {
            var model = try PlainDecoder(heads: 6, keyValueHeads: 2, window: nil)
            let generator = try Generator(seed: 31)
            var index = 0
            try model.forEachLinear { layer in
                let shape = layer.weight.shape
                if index % 2 == 0 { try layer.quantise(bits: 8) }
                index += 1
                layer.lora = try LoRA(shape[1], shape[0], rank: 3, scale: 0.5)
                layer.lora?.a = try .normal([3, shape[1]], deviation: 0.2, generator)
                layer.lora?.b = try .normal([shape[0], 3], deviation: 0.2, generator)
            }
            #expect(try difference(model, rows: 3) < 1e-5)
        }

        @Test("the result does not depend on the number of threads")
        func threads() throws {
            let before = try Engine.threads()
            defer { try? Engine.setThreads(before) }
            let model = try PlainDecoder(heads: 6, keyValueHeads: 2, window: nil)
            let (ids, positions, starts) = try input(rows: 2, length: 6)
            let results = try [1, 2, 3].map { count in
                try Engine.setThreads(count)
                return try fusedLogits(model, ids, positions: positions, starts: starts).floats()
            }
            #expect(results[0] == results[1] && results[0] == results[2])
        }

        @Test("many steps hold no tensors")
        func memory() throws {
            let model = try PlainDecoder(heads: 6, keyValueHeads: 2, window: nil)
            let before = Engine.liveTensors()
            let (ids, positions, starts) = try input(rows: 1, length: 30)
            for _ in 0..<5 { _ = try fusedLogits(model, ids, positions: positions, starts: starts) }
            #expect(Engine.liveTensors() == before)
        }

        @Test("what does not fit is refused")
        func errors() throws {
            let model = try PlainDecoder(heads: 6, keyValueHeads: 2, window: nil, layers: 1)
            let decoder = try model.fused()
            let cache = try Tensor.zeros([1, 2, 4, 10])
            func step(
                tokens: [Int] = [1], position: Int = 0, length: Int = 0, start: Int = 0, keys: [Tensor]? = nil
            ) throws -> Tensor {
                try decoder.step(
                    tokens: tokens, rows: [.init(position: position, length: length, start: start)],
                    keys: keys ?? [cache], values: [cache.clone()])
            }
            #expect(try step().shape == [1, 83])
            #expect(throws: TorchError.self) { try step(tokens: []) }
            #expect(throws: TorchError.self) { try step(tokens: [83]) }
            #expect(throws: TorchError.self) { try step(tokens: [-1]) }
            #expect(throws: TorchError.self) { try step(position: 40) }
            #expect(throws: TorchError.self) { try step(position: -1) }
            #expect(throws: TorchError.self) { try step(length: 4) }
            #expect(throws: TorchError.self) { try step(length: -1) }
            #expect(throws: TorchError.self) { try step(length: 2, start: 3) }
            #expect(throws: TorchError.self) { try step(keys: []) }
            #expect(throws: TorchError.self) { try step(keys: [.zeros([2, 2, 4, 10])]) }
            #expect(throws: TorchError.self) { try step(keys: [.zeros([1, 2, 4, 10], .int64)]) }
            #expect(throws: TorchError.self) {
                try decoder.step(
                    embeddings: .ones([1, 51]), rows: [.init(position: 0, length: 0)], keys: [cache],
                    values: [cache])
            }
            var wrong = model
            wrong.layers[0].down = try Linear(71, 52)
            #expect(throws: TorchError.self) { try wrong.fused() }
            wrong = model
            wrong.head = try Linear(52, 83)
            #expect(throws: TorchError.self) { try wrong.fused() }
            wrong = model
            wrong.shape.keyValueHeads = 4
            #expect(throws: TorchError.self) { try wrong.fused() }
        }
    }
}
