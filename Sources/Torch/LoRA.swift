/// A change of low rank to a frozen linear layer: scale · B (A x) (Hu et al. 2021). Its keys, under those of the layer,
/// are peft's.
public struct LoRA: Module {
    /// [r, in], uniform in ±1/√in at first, as in peft.
    public var a: Tensor
    /// [out, r], 0 at first, so that nothing changes.
    public var b: Tensor
    /// Of the change: alpha / r, or alpha / √r.
    public var scale: Double
    /// Probability of dropout of the input of A. Every call draws: set it to 0 outside training.
    public var dropout: Double

    /// - Parameter rank: r, the number of directions.
    public init(_ inputs: Int, _ outputs: Int, rank: Int, scale: Double, dropout: Double = 0) throws {
        a = try .empty([rank, inputs], on: .meta)
        b = try .empty([outputs, rank], on: .meta)
        (self.scale, self.dropout) = (scale, dropout)
    }

    /// Lists A and B.
    public mutating func visit(_ visitor: ParameterVisitor) throws {
        try visitor("lora_A.weight", &a, .fanIn(a.shape.last ?? 1))
        try visitor("lora_B.weight", &b, .zeros)
    }

    /// What is added to the result of the layer for `x`: [..., in] → [..., out], in the type of A.
    public func callAsFunction(_ x: Tensor) throws(TorchError) -> Tensor {
        try x.to(a.dtype).dropout(dropout).linear(a).linear(b) * scale
    }

    /// What is added to the weight: scale · B A, [out, in].
    public func change() throws(TorchError) -> Tensor { try b.matmul(a) * scale }
}
