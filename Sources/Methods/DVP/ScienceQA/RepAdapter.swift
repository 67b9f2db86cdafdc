import Torch

/// LaVIN's adapter with a router (Luo et al. 2023, arXiv 2305.15023), placed on what enters an attention: one narrowing
/// map, two widening ones, and weights between these two that a token decides. Specification of DVP, 2.9.
///
/// The maps are stored as convolutions of width 1, [out, in / groups, 1]; the widening ones have two groups.
///
/// Legend: B batch, T tokens, D width, R narrow width.
public struct RepAdapter: Module {
    /// conv_A, [R, D, 1] and [R].
    private var narrow: (weight: Tensor, bias: Tensor)
    /// conv_B, [D, R / 2, 1] and [D].
    private var first: (weight: Tensor, bias: Tensor)
    /// conv_D, likewise.
    private var second: (weight: Tensor, bias: Tensor)
    private var router: Linear
    private let scale: Double
    private let temperature: Double
    private let start: Initialization

    /// - Parameters:
    ///   - size: D, even.
    ///   - bottleneck: R, even.
    ///   - scale: of what is added.
    ///   - temperature: the router's scores are divided by this.
    public init(_ size: Int, bottleneck: Int, scale: Double = 1, temperature: Double = 10) throws {
        narrow = (try .empty([bottleneck, size, 1], on: .meta), try .empty([bottleneck], on: .meta))
        first = (try .empty([size, bottleneck / 2, 1], on: .meta), try .empty([size], on: .meta))
        second = (try .empty([size, bottleneck / 2, 1], on: .meta), try .empty([size], on: .meta))
        router = try Linear(size, 2)
        (self.scale, self.temperature) = (scale, temperature)
        start = .xavier(size, bottleneck)
    }

    /// Lists conv_A, conv_B, conv_D and expert_weights. The widening maps start at zero, so the adapter is the identity.
    public mutating func visit(_ visitor: ParameterVisitor) throws {
        try visitor("conv_A.weight", &narrow.weight, start)
        try visitor("conv_A.bias", &narrow.bias, .zeros)
        try visitor("conv_B.weight", &first.weight, .zeros)
        try visitor("conv_B.bias", &first.bias, .zeros)
        try visitor("conv_D.weight", &second.weight, .zeros)
        try visitor("conv_D.bias", &second.bias, .zeros)
        try visitor("expert_weights", &router)
    }

    /// The shares of the two widening maps that a token decides: [..., D] → [..., 2].
    public func route(_ token: Tensor) throws -> Tensor {
        try (router(token.to(.float32)) / temperature).softmax(-1)
    }

    /// [B, T, D] → [B, T, D]
    ///
    /// - Parameter route: [B or 1, T or 1, 2].
    public func callAsFunction(_ x: Tensor, route: Tensor, dropout: Double = 0) throws -> Tensor {
        let low = try x.to(.float32).linear(narrow.weight.squeezed(2), narrow.bias).dropout(dropout)
        let one = try widened(low, first) * route.sliced(-1, 0, 1)
        let two = try widened(low, second) * route.sliced(-1, 1, 2)
        return try x + ((one + two) * scale).to(x.dtype)
    }

    /// [B, T, R] → [B, T, D]: each half of the narrow width makes a half of the wide one.
    private func widened(_ x: Tensor, _ map: (weight: Tensor, bias: Tensor)) throws -> Tensor {
        let weight = try map.weight.squeezed(2)  // [D, R / 2]
        let (size, half) = (weight.shape[0], weight.shape[1])
        let parts = try [0, 1].map { part in
            try x.sliced(-1, part * half, (part + 1) * half)
                .linear(
                    weight.sliced(0, part * size / 2, (part + 1) * size / 2),
                    map.bias.sliced(0, part * size / 2, (part + 1) * size / 2))
        }
        return try .concatenated(parts, -1)
    }
}

/// Brings the class tokens of the image tower to the width of the language model: Linear, SiLU, Linear. Keys as in LaVIN's
/// checkpoints.
struct ClassTokenProjection: Module {
    private var narrow: Linear
    private var widen: Linear

    init(_ inputs: Int, hidden: Int, _ outputs: Int) throws {
        narrow = try Linear(inputs, hidden, (.xavier(inputs, hidden), .zeros))
        widen = try Linear(hidden, outputs, (.xavier(hidden, outputs), .zeros))
    }

    mutating func visit(_ visitor: ParameterVisitor) throws {
        try visitor("conv_A", &narrow)
        try visitor("conv_B", &widen)
    }

    /// [B, C, V] → [B, C, D]
    func callAsFunction(_ x: Tensor) throws -> Tensor { try widen(narrow(x).silu()) }
}
