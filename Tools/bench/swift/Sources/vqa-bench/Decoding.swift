import Torch

/// Prints how fast weights are read: products with one row of input (`products`), or steps and a prompt of a decoder
/// with random weights of 4 bits, of the sizes of SmolLM2-135M (`small`) or of a quarter of LLaVA-7B (`large`).
func measureDecoding(_ part: String) throws {
    print("kernels", try Engine.kernels(), "threads", try Engine.threads())
    switch part {
    case "small":
        try measureDecoder(
            DecoderSize(layers: 30, width: 576, heads: 9, keyHeads: 3, inner: 1_536, words: 49_152))
    case "large":
        try measureDecoder(
            DecoderSize(
                layers: 8, width: 4_096, heads: 32, keyHeads: 32, headSize: 128, inner: 11_008, words: 32_064)
        )
    default:
        for (out, columns) in [(4_096, 4_096), (576, 576), (1_536, 576), (576, 1_536)] {
            for kind in Weights.allCases { try measureProduct(out, columns, kind) }
        }
    }
}

private enum Weights: String, CaseIterable {
    case fourBits = "4 bit"
    case eightBits = "8 bit"
    case bfloat16 = "bf16"
    case float32 = "fp32"

    func layer(_ inputs: Int, _ outputs: Int) throws -> Linear {
        var layer = try Linear(inputs, outputs, bias: false)
        layer.weight = try .uniform([outputs, inputs], -0.05, 0.05)
        switch self {
        case .fourBits: try layer.quantise(bits: 4)
        case .eightBits: try layer.quantise(bits: 8)
        case .bfloat16: layer.weight = try layer.weight.to(.bfloat16)
        case .float32: break
        }
        return layer
    }
}

private struct DecoderSize {
    var layers: Int, width: Int, heads: Int, keyHeads: Int
    var headSize = 64
    var inner: Int, words: Int
}

extension Linear {
    fileprivate var byteCount: Int { quantised?.byteCount ?? weight.count * weight.dtype.size }

    /// The same weights in memory of their own.
    fileprivate func copy() throws -> Linear {
        var copy = self
        if var packed = quantised {
            packed.packed = try packed.packed.clone()
            try copy.quantise(packed)
        } else {
            copy.weight = try weight.clone()
        }
        return copy
    }
}

/// Seconds of one call: the best of several rounds.
private func seconds(rounds: Int = 7, calls: Int = 1, _ body: () throws -> Void) rethrows -> Double {
    var best = Double.infinity
    let clock = ContinuousClock()
    for _ in 0..<rounds {
        let start = clock.now
        for _ in 0..<calls { try body() }
        let time = (clock.now - start).components
        best = min(best, (Double(time.seconds) + Double(time.attoseconds) / 1e18) / Double(calls))
    }
    return best
}

/// One row of input. Large matrices take turns, so that none stays in the cache.
private func measureProduct(_ out: Int, _ columns: Int, _ kind: Weights) throws {
    let first = try kind.layer(columns, out)
    let count = out * columns > 4 << 20 ? max(2, (256 << 20) / first.byteCount) : 1
    let layers = try [first] + (1..<count).map { _ in try first.copy() }
    let x = try Tensor.uniform([1, columns], -1, 1).to(kind == .bfloat16 ? .bfloat16 : .float32)
    let time = try withoutGradients {
        try seconds(rounds: kind == .bfloat16 ? 2 : 7, calls: count == 1 ? 100 : 1) {
            for layer in layers { _ = try layer(x) }
        } / Double(count)
    }
    report(
        "\(kind.rawValue) \(out)×\(columns)",
        "\(rounded(Double(first.byteCount) / time / 1e9)) GB/s, \(rounded(time * 1e6)) µs")
    guard out * columns > 4 << 20, kind == .fourBits || kind == .eightBits else { return }
    for rows in [4, 16, 32, 33] {
        let x = try Tensor.uniform([rows, columns], -1, 1)
        let time = try withoutGradients { try seconds(rounds: 5) { _ = try first(x) } }
        report("  \(rows) rows", "\(rounded(time * 1e6)) µs")
    }
}

private func measureDecoder(_ size: DecoderSize) throws {
    let (queries, keys) = (size.heads * size.headSize, size.keyHeads * size.headSize)
    let one = try Tensor.ones([size.width])
    let weights = Weights.fourBits
    let pattern = try FusedDecoder.Layer(
        inputNorm: one, query: weights.layer(size.width, queries), key: weights.layer(size.width, keys),
        value: weights.layer(size.width, keys), output: weights.layer(queries, size.width), outputNorm: one,
        gate: weights.layer(size.width, size.inner), up: weights.layer(size.width, size.inner),
        down: weights.layer(size.inner, size.width))
    let layers = try (0..<size.layers).map { _ in
        var layer = pattern
        for path in linears { layer[keyPath: path] = try pattern[keyPath: path].copy() }
        return layer
    }
    try measureSteps(size, layers, head: weights.layer(size.width, size.words))
    try measurePrompt(size, layers)
}

private nonisolated(unsafe) let linears: [WritableKeyPath<FusedDecoder.Layer, Linear>] = [
    \.query, \.key, \.value, \.output, \.gate, \.up, \.down,
]

private func measureSteps(_ size: DecoderSize, _ layers: [FusedDecoder.Layer], head: Linear) throws {
    var embedding = try Embedding(size.words, size.width)
    if let table = head.quantised { try embedding.quantise(table) }
    let rates = try
        (Tensor.arange(0, Double(size.headSize / 2)).to(.float32) * (-18.4 / Double(size.headSize))).exp()
    let angles = try Tensor.arange(0, 4_096).to(.float32).unsqueezed(1) * rates
    let decoder = try FusedDecoder(
        layers: layers, embedding: embedding, finalNorm: .ones([size.width]), head: head,
        shape: .init(heads: size.heads, keyValueHeads: size.keyHeads, headSize: size.headSize, epsilon: 1e-5),
        cosines: angles.cos(), sines: angles.sin())
    let bytes = layers.reduce(head.byteCount) { sum, layer in
        linears.reduce(sum) { $0 + layer[keyPath: $1].byteCount }
    }
    for (rows, length) in [(1, 0), (1, 500), (4, 0)] {
        let caches = try (0..<2 * size.layers).map { _ in
            try Tensor.zeros([rows, size.keyHeads, 1_000, size.headSize])
        }
        var at = length
        let time = try seconds(rounds: 9, calls: size.layers > 10 ? 16 : 3) {
            _ = try decoder.step(
                tokens: Array(repeating: at % size.words, count: rows),
                rows: Array(repeating: .init(position: at, length: at), count: rows),
                keys: Array(caches.prefix(size.layers)), values: Array(caches.suffix(size.layers)))
            at += 1
        }
        report(
            "step of \(rows) rows after \(length) keys",
            "\(rounded(time * 1e3)) ms, \(rounded(Double(rows) / time)) tokens/s, "
                + "\(rounded(Double(bytes) / time / 1e9)) GB/s of \(bytes >> 20) MiB")
    }
}

/// The linear layers alone, for 512 rows of input, and the same with fp32 weights.
private func measurePrompt(_ size: DecoderSize, _ layers: [FusedDecoder.Layer]) throws {
    let layers = layers.prefix(max(1, 10_000 / size.width * layers.count / 30))
    let inputs = try linears.map { try Tensor.uniform([512, layers[0][keyPath: $0].weight.shape[1]], -1, 1) }
    func time(_ layers: [FusedDecoder.Layer]) throws -> Double {
        try withoutGradients {
            try seconds(rounds: 3) {
                for layer in layers {
                    for (path, input) in zip(linears, inputs) { _ = try layer[keyPath: path](input) }
                }
            }
        } / Double(layers.count)
    }
    var plain = layers[0]
    for path in linears {
        guard let packed = plain[keyPath: path].quantised else { continue }
        plain[keyPath: path] = try Linear(packed.shape[1], packed.shape[0], bias: false)
        plain[keyPath: path].weight = try packed.dequantised()
    }
    let (quantised, floating) = try (time(Array(layers)), time([plain]))
    report(
        "products of one layer with 512 rows",
        "\(rounded(quantised * 1e3)) ms; with fp32 weights \(rounded(floating * 1e3)) ms")
}

private func rounded(_ number: Double) -> Double { (number * 10).rounded() / 10 }

private func report(_ what: String, _ figure: String) { print("\(what): \(figure)") }
