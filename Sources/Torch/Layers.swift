/// A layer whose weight may be kept in 4 or 8 bits a number.
public protocol PackableLayer: Module {
    /// [out, in], or [count, size] of a table.
    var weight: Tensor { get set }
    /// The weight in 4 or 8 bits, in the place of ``weight``.
    var quantised: QuantisedWeight? { get }
    /// Takes `weight`, which has the same shape, in the place of the weight.
    mutating func quantise(_ weight: QuantisedWeight) throws(TorchError)
}

/// Refuses a weight that has not the shape of the layer's own.
private func requireShape(_ weight: Tensor, of layer: some PackableLayer) throws(TorchError) {
    guard weight.shape == layer.weight.shape else {
        throw TorchError(
            .shape, operation: "unpack",
            message: "the weight is \(weight.shape), the layer's \(layer.weight.shape)")
    }
}

/// y = x Wᵀ + b, weight [out, in]; with a LoRA, plus its change.
public struct Linear: Module, PackableLayer {
    /// [out, in]. While ``quantised`` has the numbers, this is only their shape, on the meta device.
    public var weight: Tensor
    /// The weight in 4 or 8 bits a number, in the place of ``weight``.
    public private(set) var quantised: QuantisedWeight?
    /// [out], nil for a map without bias.
    public var bias: Tensor?
    /// A change of low rank.
    public var lora: LoRA?
    private let initialization: (weight: Initialization, bias: Initialization)

    /// - Parameter initialization: of weight and bias; PyTorch's default when nil.
    public init(
        _ inputs: Int, _ outputs: Int, bias: Bool = true,
        _ initialization: (Initialization, Initialization)? = nil
    ) throws {
        weight = try .empty([outputs, inputs], on: .meta)
        self.bias = bias ? try .empty([outputs], on: .meta) : nil
        self.initialization = initialization ?? (.fanIn(inputs), .fanIn(inputs))
    }

    /// Lists weight, bias and the parts of the LoRA, those that there are. A quantised weight is the buffer
    /// `weight.packed`: it is loaded and saved as it is, not trained, and not converted.
    public mutating func visit(_ visitor: ParameterVisitor) throws {
        if var present = quantised {
            try visitor("weight.packed", &present.packed, .zeros, buffer: true)
            quantised = present
        } else {
            try visitor("weight", &weight, initialization.weight)
        }
        try visitor("bias", &bias, initialization.bias)
        if var present = lora {
            try present.visit(visitor)
            lora = present
        }
    }

    /// True when the map is its weight and bias alone, and neither is trained.
    public var isFrozenPlain: Bool {
        quantised == nil && lora == nil && !weight.requiresGradient && bias?.requiresGradient != true
    }

    /// Replaces the weight by one of 4 or 8 bits a number. A layer that has no memory yet can then be loaded from a
    /// checkpoint of such weights.
    public mutating func quantise(bits: Int) throws(TorchError) {
        try quantise(QuantisedWeight(weight, bits: bits))
    }

    /// Takes `weight`, which has the same shape, in the place of the weight.
    public mutating func quantise(_ weight: QuantisedWeight) throws(TorchError) {
        guard weight.shape == self.weight.shape else {
            throw TorchError(
                .shape, operation: "quantise",
                message: "the quantised weight is \(weight.shape), the layer's \(self.weight.shape)")
        }
        self.weight = try .empty(weight.shape, on: .meta)
        quantised = weight
    }

    /// Takes a plain weight of the same shape in the place of the packed one.
    public mutating func unpack(_ weight: Tensor) throws(TorchError) {
        try requireShape(weight, of: self)
        self.weight = weight
        quantised = nil
    }

    /// Lets products of many rows with a packed weight be rounded: see ``QuantisedWeight/rounds``.
    public mutating func allowRounding() { quantised?.rounds = true }

    /// Adds the change of the LoRA to the weight, which becomes a new tensor, and drops the LoRA. A quantised weight
    /// would lose precision and is refused.
    public mutating func mergeLoRA() throws(TorchError) {
        guard let present = lora else { return }
        guard quantised == nil else {
            throw TorchError(
                .notImplemented, operation: "mergeLoRA",
                message: "a LoRA cannot be merged into a quantised weight")
        }
        weight = try (weight.to(.float32) + present.change().to(.float32)).detached().to(weight.dtype)
        lora = nil
    }

    /// [..., in] → [..., out]
    public func callAsFunction(_ x: Tensor) throws(TorchError) -> Tensor {
        let result = if let quantised { try x.linear(quantised, bias) } else { try x.linear(weight, bias) }
        guard let lora else { return result }
        return try (result + lora(x)).to(result.dtype)
    }
}

/// Layer norm over the last dimension.
public struct LayerNorm: Module {
    /// The scale, [size], 1 at first.
    public var weight: Tensor
    /// The shift, [size], 0 at first.
    public var bias: Tensor
    /// Added to the variance under the root.
    public let epsilon: Double

    /// - Parameter size: of the last dimension.
    public init(_ size: Int, epsilon: Double = 1e-5) throws {
        weight = try .empty([size], on: .meta)
        bias = try .empty([size], on: .meta)
        self.epsilon = epsilon
    }

    /// Lists weight and bias.
    public mutating func visit(_ visitor: ParameterVisitor) throws {
        try visitor("weight", &weight, .ones)
        try visitor("bias", &bias, .zeros)
    }

    /// [..., size] → [..., size]
    public func callAsFunction(_ x: Tensor) throws(TorchError) -> Tensor {
        try x.layerNorm(weight.shape, weight, bias, epsilon: epsilon)
    }
}

/// Root-mean-square norm over the last dimension.
public struct RMSNorm: Module {
    /// The scale, [size], 1 at first.
    public var weight: Tensor
    /// Added to the mean square under the root.
    public let epsilon: Double

    /// - Parameter size: of the last dimension.
    public init(_ size: Int, epsilon: Double = 1e-6) throws {
        weight = try .empty([size], on: .meta)
        self.epsilon = epsilon
    }

    /// Lists weight; there is no bias.
    public mutating func visit(_ visitor: ParameterVisitor) throws {
        try visitor("weight", &weight, .ones)
    }

    /// [..., size] → [..., size]
    public func callAsFunction(_ x: Tensor) throws(TorchError) -> Tensor {
        guard x.dtype != weight.dtype else { return try x.rmsNorm(weight.shape, weight, epsilon: epsilon) }
        // A trained scale (float32) on a bfloat16 stream: libtorch's kernel takes one type, and warns of two.
        let scale = try weight.to(.float32)
        return try x.to(.float32).rmsNorm(weight.shape, scale, epsilon: epsilon).to(x.dtype)
    }
}

/// A table of vectors, weight [count, size].
public struct Embedding: Module, PackableLayer {
    /// [count, size]. While ``quantised`` has the numbers, this is only their shape, on the meta device.
    public var weight: Tensor
    /// The table in 4 or 8 bits a number, in the place of ``weight``; its vectors come out as float32.
    public private(set) var quantised: QuantisedWeight?
    private let initialization: Initialization

    /// `count` vectors of `size` numbers, N(0, 1) at first as in PyTorch unless told otherwise.
    public init(_ count: Int, _ size: Int, _ initialization: Initialization = .normal(deviation: 1)) throws {
        weight = try .empty([count, size], on: .meta)
        self.initialization = initialization
    }

    /// Lists weight, or the buffer `weight.packed` when it is quantised.
    public mutating func visit(_ visitor: ParameterVisitor) throws {
        guard var present = quantised else {
            return try visitor("weight", &weight, initialization)
        }
        try visitor("weight.packed", &present.packed, .zeros, buffer: true)
        quantised = present
    }

    /// Takes `weight`, which has the same shape, in the place of the table.
    public mutating func quantise(_ weight: QuantisedWeight) throws(TorchError) {
        guard weight.shape == self.weight.shape else {
            throw TorchError(
                .shape, operation: "quantise",
                message: "the quantised table is \(weight.shape), the embedding's \(self.weight.shape)")
        }
        self.weight = try .empty(weight.shape, on: .meta)
        quantised = weight
    }

    /// Takes a plain table of the same shape in the place of the packed one.
    public mutating func unpack(_ weight: Tensor) throws(TorchError) {
        try requireShape(weight, of: self)
        self.weight = weight
        quantised = nil
    }

    /// int64 [...] → [..., size]
    public func callAsFunction(_ indices: Tensor) throws(TorchError) -> Tensor {
        if let quantised { try quantised.rows(indices) } else { try weight.embedding(indices) }
    }
}

/// Two-dimensional convolution, weight [out, in / groups, k, k].
public struct Convolution: Module {
    /// [out, in / groups, k, k]
    public var weight: Tensor
    /// [out], nil for a convolution without bias.
    public var bias: Tensor?
    private let stride: Int
    private let padding: Int
    private let groups: Int
    private let initialization: Initialization

    /// - Parameters:
    ///   - kernel: side k of the square window.
    ///   - padding: zeros added on each of the four sides.
    ///   - groups: divides `inputs` and `outputs`; `inputs` groups make it depthwise.
    public init(
        _ inputs: Int, _ outputs: Int, kernel: Int, stride: Int = 1, padding: Int = 0, groups: Int = 1,
        bias: Bool = true
    ) throws {
        weight = try .empty([outputs, inputs / max(1, groups), kernel, kernel], on: .meta)
        self.bias = bias ? try .empty([outputs], on: .meta) : nil
        (self.stride, self.padding, self.groups) = (stride, padding, groups)
        initialization = .fanIn(Double(inputs / max(1, groups)) * Double(kernel) * Double(kernel))
    }

    /// Lists weight and, when there is one, bias.
    public mutating func visit(_ visitor: ParameterVisitor) throws {
        try visitor("weight", &weight, initialization)
        try visitor("bias", &bias, initialization)
    }

    /// [B, in, H, W] → [B, out, H', W']
    public func callAsFunction(_ x: Tensor) throws(TorchError) -> Tensor {
        try x.convolved(weight, bias, stride: stride, padding: padding, groups: groups)
    }
}

/// Batch norm in evaluation: the running statistics are constants.
public struct BatchNorm: Module {
    /// The scale, [channels], 1 at first.
    public var weight: Tensor
    /// The shift, [channels], 0 at first.
    public var bias: Tensor
    /// The running mean, [channels]; a buffer.
    public var mean: Tensor
    /// The running variance, [channels]; a buffer.
    public var variance: Tensor
    /// How many batches the statistics have seen; kept because checkpoints have it.
    public var batches: Tensor
    private let epsilon: Double

    /// - Parameter epsilon: added to the variance under the root.
    public init(_ channels: Int, epsilon: Double = 1e-5) throws {
        weight = try .empty([channels], on: .meta)
        bias = try .empty([channels], on: .meta)
        mean = try .empty([channels], on: .meta)
        variance = try .empty([channels], on: .meta)
        batches = try .empty([], .int64, on: .meta)
        self.epsilon = epsilon
    }

    /// Lists weight and bias, and the buffers running_mean, running_var and num_batches_tracked.
    public mutating func visit(_ visitor: ParameterVisitor) throws {
        try visitor("weight", &weight, .ones)
        try visitor("bias", &bias, .zeros)
        try visitor("running_mean", &mean, .zeros, buffer: true)
        try visitor("running_var", &variance, .ones, buffer: true)
        try visitor("num_batches_tracked", &batches, .zeros, buffer: true)
    }

    /// [B, C, H, W] → the same shape
    public func callAsFunction(_ x: Tensor) throws(TorchError) -> Tensor {
        try x.batchNorm(mean: mean, variance: variance, weight, bias, epsilon: epsilon)
    }
}

/// [B, T, heads · size] → [B, heads, T, size]
public func splitHeads(_ x: Tensor, _ heads: Int) throws(TorchError) -> Tensor {
    let shape = x.shape
    guard shape.count == 3, heads > 0 else {
        throw TorchError(.shape, operation: "splitHeads", message: "needs [B, T, D], got \(shape)")
    }
    return try x.reshaped([shape[0], shape[1], heads, shape[2] / heads]).transposed(1, 2)
}

/// [B, heads, T, size] → [B, T, heads · size]
public func mergeHeads(_ x: Tensor) throws(TorchError) -> Tensor {
    let shape = x.shape
    guard shape.count == 4 else {
        throw TorchError(.shape, operation: "mergeHeads", message: "needs [B, H, T, D], got \(shape)")
    }
    // Sizes of an empty tensor may be any; a product that overflows fails in the reshape.
    return try x.transposed(1, 2).reshaped([shape[0], shape[2], shape[1] &* shape[3]])
}
