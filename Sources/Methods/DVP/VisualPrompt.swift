import Torch

/// DVP's cross-attention: one query taken from the text gathers the visual tokens into one prompt. No norm, residual or
/// gate around it; every map has a bias and PyTorch's default initialisation (specification of DVP, 2.2).
public struct VisualPromptAttention: Module {
    private var value: Linear
    private var key: Linear
    private var query: Linear
    private var merge: Linear
    private let heads: Int

    /// - Parameters:
    ///   - textSize: width D of the language model.
    ///   - visualSize: width V of the visual tokens.
    ///   - innerSize: width of the attention, a multiple of `heads`.
    public init(textSize: Int, visualSize: Int, innerSize: Int, heads: Int) throws {
        value = try Linear(visualSize, innerSize)
        key = try Linear(visualSize, innerSize)
        query = try Linear(textSize, innerSize)
        merge = try Linear(innerSize, textSize)
        self.heads = heads
    }

    /// Lists linear_v, linear_k, linear_q and linear_merge.
    public mutating func visit(_ visitor: ParameterVisitor) throws {
        try visitor("linear_v", &value)
        try visitor("linear_k", &key)
        try visitor("linear_q", &query)
        try visitor("linear_merge", &merge)
    }

    /// queries [B, P, D], visual tokens [B, N, V] → prompt [B, P, D]
    public func callAsFunction(_ text: Tensor, visual: Tensor, dropout: Double = 0) throws -> Tensor {
        let attended = try splitHeads(query(text), heads).attention(
            key: splitHeads(key(visual), heads), value: splitHeads(value(visual), heads), dropout: dropout)
        return try merge(mergeHeads(attended))
    }
}

/// The answer classifier: Linear, LayerNorm, GELU, Linear. Keys numbered as in the release's `Sequential`.
public struct AnswerClassifier: Module {
    private var expand: Linear
    private var norm: LayerNorm
    private var classify: Linear

    /// - Parameters:
    ///   - size: width D of the feature it reads.
    ///   - hidden: width between the two maps.
    ///   - classes: size C of the answer vocabulary.
    public init(_ size: Int, hidden: Int, classes: Int, start: DVPSettings.HeadStart = .normal) throws {
        let values: (Initialization, Initialization)? =
            start == .normal ? (.normal(deviation: 0.02), .zeros) : nil
        expand = try Linear(size, hidden, values)
        norm = try LayerNorm(hidden)
        classify = try Linear(hidden, classes, values)
    }

    /// Lists 0 and 3, the maps, and 1, the norm between them.
    public mutating func visit(_ visitor: ParameterVisitor) throws {
        try visitor("0", &expand)
        try visitor("1", &norm)
        try visitor("3", &classify)
    }

    /// [B, D] → logits [B, C]
    public func callAsFunction(_ feature: Tensor) throws -> Tensor {
        try classify(norm(expand(feature)).gelu())
    }
}
