import CTorch

/// How the elements of a loss are folded.
public enum LossReduction: Int32, Sendable {
    case none = 0
    case mean = 1
    case sum = 2
}

/// How an image tensor is resampled.
public enum Interpolation: Int32, Sendable {
    case nearest = 0
    case bilinear = 1
    case bicubic = 2
}

// The functions behind layers, and losses.
extension Tensor {
    /// Two-dimensional convolution: self [B, C, H, W], weight [O, C / groups, h, w].
    public func convolved(
        _ weight: Tensor, _ bias: Tensor? = nil, stride: Int = 1, padding: Int = 0, dilation: Int = 1,
        groups: Int = 1
    ) throws(TorchError) -> Tensor {
        let stride = [Int64(stride), Int64(stride)]
        let padding = [Int64(padding), Int64(padding)]
        let dilation = [Int64(dilation), Int64(dilation)]
        return try .make((self, weight, bias)) {
            $0.pointee.convolution(
                handle, weight.handle, bias?.handle, stride, padding, dilation, Int64(groups), $1)
        }
    }

    /// Normalised over the last dimensions, whose sizes `shape` repeats.
    public func layerNorm(
        _ shape: [Int], _ weight: Tensor? = nil, _ bias: Tensor? = nil, epsilon: Double
    ) throws(TorchError) -> Tensor {
        try .make((self, weight, bias)) { torch, out in
            withSizes(shape) {
                torch.pointee.layer_norm(handle, $0, $1, weight?.handle, bias?.handle, epsilon, out)
            }
        }
    }

    /// Divided by the root of the mean square over the last dimensions.
    public func rmsNorm(_ shape: [Int], _ weight: Tensor? = nil, epsilon: Double) throws(TorchError) -> Tensor
    {
        try .make((self, weight)) { torch, out in
            withSizes(shape) { torch.pointee.rms_norm(handle, $0, $1, weight?.handle, epsilon, out) }
        }
    }

    /// silu(self) · up, element by element: the gated feed-forward part of LLaMA (Shazeer 2020) in one pass. Equal shapes,
    /// or such as multiply.
    public func siluMultiplied(by up: Tensor) throws(TorchError) -> Tensor {
        try .make((self, up)) { $0.pointee.silu_multiply(handle, up.handle, $1) }
    }

    /// Batch norm of [B, C, …] with the running statistics, or in training with those of the batch (which
    /// then update the running ones in place).
    public func batchNorm(
        mean: Tensor, variance: Tensor, _ weight: Tensor? = nil, _ bias: Tensor? = nil,
        training: Bool = false,
        momentum: Double = 0.1, epsilon: Double
    ) throws(TorchError) -> Tensor {
        try .make((self, mean, variance, weight, bias)) {
            $0.pointee.batch_norm(
                handle, weight?.handle, bias?.handle, mean.handle, variance.handle, training, momentum,
                epsilon, $1)
        }
    }

    /// [B, C, …] normalised over each of `groups` equal parts of its channels; weight and bias [C].
    public func groupNorm(
        _ groups: Int, _ weight: Tensor? = nil, _ bias: Tensor? = nil, epsilon: Double
    ) throws(TorchError) -> Tensor {
        try .make((self, weight, bias)) {
            $0.pointee.group_norm(handle, Int64(groups), weight?.handle, bias?.handle, epsilon, $1)
        }
    }

    /// The rows of self [V, D] that `indices` name: [indices.shape…, D].
    public func embedding(_ indices: Tensor) throws(TorchError) -> Tensor {
        try .make((self, indices)) { $0.pointee.embedding(handle, indices.handle, $1) }
    }

    /// Zeroes elements with the given probability and scales the others by 1 / (1 − p); draws from the
    /// default generator. A probability of 0 returns self.
    public func dropout(_ probability: Double) throws(TorchError) -> Tensor {
        if probability == 0 { return self }
        return try .make(self) { $0.pointee.dropout(handle, probability, $1) }
    }

    /// Scaled dot-product attention: self (queries) [B, H, T, D], key and value [B, Hk, S, D].
    ///
    /// - Parameters:
    ///   - mask: broadcast to [B, H, T, S]; a boolean one is true where attention is allowed, a floating one
    ///     is added to the scores.
    ///   - causal: query i sees the keys 0…i, also when there are more keys than queries; excludes a mask.
    ///   - scale: of the scores; 1/√D unless given.
    ///   - grouped: H is a multiple of Hk, and neighbouring query heads share a key head.
    public func attention(
        key: Tensor, value: Tensor, mask: Tensor? = nil, dropout: Double = 0, causal: Bool = false,
        scale: Double? = nil, grouped: Bool = false
    ) throws(TorchError) -> Tensor {
        let scale = scale ?? 1 / Double(Swift.max(1, shape.last ?? 1)).squareRoot()
        return try .make((self, key, value, mask)) {
            $0.pointee.attention(
                handle, key.handle, value.handle, mask?.handle, dropout, causal, scale, grouped, $1)
        }
    }

    /// Rotary positions (Su et al. 2021) for self [B, H, T, D]: number i of a head turns with number i + R / 2, the order
    /// of the Hugging Face checkpoints; numbers beyond R stay. On the CPU, in one pass; gradients reach self alone.
    ///
    /// - Parameters:
    ///   - cosines: of the angles, [B or 1, T, R / 2].
    ///   - sines: as the cosines.
    public func rotated(cosines: Tensor, sines: Tensor) throws(TorchError) -> Tensor {
        try .make((self, cosines, sines)) { $0.pointee.rotary(handle, cosines.handle, sines.handle, $1) }
    }

    /// Adaptive average pooling of [B, C, H, W] to the given size.
    public func averagePool(_ height: Int, _ width: Int) throws(TorchError) -> Tensor {
        try .make(self) { $0.pointee.average_pool(handle, Int64(height), Int64(width), $1) }
    }

    /// The largest of each square window: [B, C, H, W] → [B, C, H', W']. Padding never wins.
    public func maxPool(_ kernel: Int, stride: Int, padding: Int = 0) throws(TorchError) -> Tensor {
        try .make(self) { $0.pointee.max_pool(handle, Int64(kernel), Int64(stride), Int64(padding), $1) }
    }

    /// [B, C, H, W] resampled to the given size.
    public func interpolated(
        _ height: Int, _ width: Int, _ mode: Interpolation, alignCorners: Bool = false,
        antialias: Bool = false
    ) throws(TorchError) -> Tensor {
        try .make(self) {
            $0.pointee.interpolate(
                handle, Int64(height), Int64(width), mode.rawValue, alignCorners, antialias, $1)
        }
    }

    // MARK: Losses

    /// Cross-entropy of logits [N, C] (or [N, C, …]) against class indices [N] (or probabilities [N, C]).
    /// Targets equal to `ignoring` do not count.
    public func crossEntropy(
        _ target: Tensor, weight: Tensor? = nil, ignoring: Int = -100, smoothing: Double = 0,
        _ reduction: LossReduction = .mean
    ) throws(TorchError) -> Tensor {
        try .make((self, target, weight)) {
            $0.pointee.cross_entropy(
                handle, target.handle, weight?.handle, reduction.rawValue, Int64(ignoring), smoothing, $1)
        }
    }

    /// Binary cross-entropy of logits against targets in 0…1 of the same shape.
    public func binaryCrossEntropy(
        _ target: Tensor, weight: Tensor? = nil, positiveWeight: Tensor? = nil,
        _ reduction: LossReduction = .mean
    ) throws(TorchError) -> Tensor {
        try .make((self, target, weight, positiveWeight)) {
            $0.pointee.binary_cross_entropy(
                handle, target.handle, weight?.handle, positiveWeight?.handle, reduction.rawValue, $1)
        }
    }

    /// Pointwise target · (log target − self), self being log-probabilities; `.mean` divides by the number of
    /// elements.
    public func klDivergence(_ target: Tensor, logTarget: Bool = false, _ reduction: LossReduction = .mean)
        throws(TorchError) -> Tensor
    {
        try .make((self, target)) {
            $0.pointee.kl_divergence(handle, target.handle, reduction.rawValue, logTarget, $1)
        }
    }

    /// (self − target)², element by element, then folded.
    public func meanSquaredError(_ target: Tensor, _ reduction: LossReduction = .mean) throws(TorchError)
        -> Tensor
    {
        try .make((self, target)) {
            $0.pointee.mean_squared_error(handle, target.handle, reduction.rawValue, $1)
        }
    }

    /// |self − target|, element by element, then folded.
    public func absoluteError(_ target: Tensor, _ reduction: LossReduction = .mean) throws(TorchError)
        -> Tensor
    {
        try .make((self, target)) { $0.pointee.absolute_error(handle, target.handle, reduction.rawValue, $1) }
    }
}
