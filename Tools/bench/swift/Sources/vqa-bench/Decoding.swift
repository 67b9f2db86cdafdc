import Support
import Torch

/// Prints how fast weights are read: products with one row of input (`products`), or steps and a prompt of a decoder
/// with random weights of 4 bits, of the sizes of SmolLM2-135M (`small`) or of a quarter of LLaVA-7B (`large`).
func measureDecoding(_ part: String) throws {
    print("kernels", try Engine.kernels(), "threads", try Engine.threads())
    switch part {
    case "small":
        try measureDecoder(
            DecoderSize(layers: 30, width: 576, heads: 9, keyHeads: 3, inner: 1_536, words: 49_152))
    case "large": try measureDecoder(.quarterOfLLaVA)
    default:
        for (out, columns) in [(4_096, 4_096), (576, 576), (1_536, 576), (576, 1_536)] {
            for kind in Weights.allCases { try measureProduct(out, columns, kind) }
        }
    }
}

/// Shows the bytes of a quarter of LLaVA-7B's weights, made up, then a round is a token that reads them all.
func measureBandwidth(bits: Int) throws {
    try Engine.setThreads(2)
    let size = DecoderSize.quarterOfLLaVA
    let weights = bits == 8 ? Weights.eightBits : .fourBits
    let head = try weights.layer(size.width, size.words)
    let layers = try size.decoderLayers(weights)
    let decoder = try size.decoder(layers, head: head)
    let caches = try size.caches(rows: 1)
    var at = 0
    try serve(.integer(layers.byteCount + head.byteCount)) {
        try size.step(decoder, caches, rows: 1, at: at % 512)
        at += 1
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

    static let quarterOfLLaVA = DecoderSize(
        layers: 8, width: 4_096, heads: 32, keyHeads: 32, headSize: 128, inner: 11_008, words: 32_064)

    /// Each layer's weights lie in memory of their own.
    func decoderLayers(_ weights: Weights) throws -> [FusedDecoder.Layer] {
        let (queries, keys) = (heads * headSize, keyHeads * headSize)
        let one = try Tensor.ones([width])
        let pattern = try FusedDecoder.Layer(
            inputNorm: one, query: weights.layer(width, queries), key: weights.layer(width, keys),
            value: weights.layer(width, keys), output: weights.layer(queries, width), outputNorm: one,
            gate: weights.layer(width, inner), up: weights.layer(width, inner),
            down: weights.layer(inner, width))
        return try (0..<layers).map { _ in
            var layer = pattern
            for path in linears { layer[keyPath: path] = try pattern[keyPath: path].copy() }
            return layer
        }
    }

    func decoder(_ layers: [FusedDecoder.Layer], head: Linear) throws -> FusedDecoder {
        var embedding = try Embedding(words, width)
        if let table = head.quantised { try embedding.quantise(table) }
        let rates = try (Tensor.arange(0, Double(headSize / 2)).to(.float32) * (-18.4 / Double(headSize))).exp()
        let angles = try Tensor.arange(0, 4_096).to(.float32).unsqueezed(1) * rates
        return try FusedDecoder(
            layers: layers, embedding: embedding, finalNorm: .ones([width]), head: head,
            shape: .init(heads: heads, keyValueHeads: keyHeads, headSize: headSize, epsilon: 1e-5),
            cosines: angles.cos(), sines: angles.sin())
    }

    /// Keys and values of each layer, for 1,000 tokens.
    func caches(rows: Int) throws -> [Tensor] {
        try (0..<2 * layers).map { _ in try Tensor.zeros([rows, keyHeads, 1_000, headSize]) }
    }

    func step(_ decoder: FusedDecoder, _ caches: [Tensor], rows: Int, at position: Int) throws {
        _ = try decoder.step(
            tokens: Array(repeating: position % words, count: rows),
            rows: Array(repeating: .init(position: position, length: position), count: rows),
            keys: Array(caches.prefix(layers)), values: Array(caches.suffix(layers)))
    }
}

extension [FusedDecoder.Layer] {
    fileprivate var byteCount: Int {
        reduce(0) { sum, layer in linears.reduce(sum) { $0 + layer[keyPath: $1].byteCount } }
    }
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
    let layers = try size.decoderLayers(.fourBits)
    try measureSteps(size, layers, head: Weights.fourBits.layer(size.width, size.words))
    try measurePrompt(size, layers)
}

private nonisolated(unsafe) let linears: [WritableKeyPath<FusedDecoder.Layer, Linear>] = [
    \.query, \.key, \.value, \.output, \.gate, \.up, \.down,
]

private func measureSteps(_ size: DecoderSize, _ layers: [FusedDecoder.Layer], head: Linear) throws {
    let decoder = try size.decoder(layers, head: head)
    let bytes = layers.byteCount + head.byteCount
    for (rows, length) in [(1, 0), (1, 500), (4, 0)] {
        let caches = try size.caches(rows: rows)
        var at = length
        let time = try seconds(rounds: 9, calls: size.layers > 10 ? 16 : 3) {
            try size.step(decoder, caches, rows: rows, at: at)
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
