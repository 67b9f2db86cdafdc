import Torch

/// A bottleneck adapter (Houlsby et al. 2019): x + scale · up(act(down(x))), placed on a sub-layer's
/// output.
public struct BottleneckAdapter: Module {
    /// The function between the two maps.
    public enum Activation: String, Sendable, CaseIterable { case relu, silu }

    /// How the maps start.
    public enum Start: String, Sendable, CaseIterable {
        /// Weights N(0, 0.01): the frozen model is perturbed from the first step, as DVP's release does for BERT and T5.
        case normal
        /// Xavier uniform, as its release does for LLaMA.
        case xavier
        /// The up-projection starts at zero, so the adapter is the identity at first.
        case identity
    }

    private var down: Linear
    private var up: Linear
    private let activation: Activation
    private let scale: Double

    /// - Parameters:
    ///   - size: width D of the sub-layer's output.
    ///   - bottleneck: width between the two maps.
    ///   - scale: what the output of the maps is multiplied by. The states of a decoder are large, and so must be what
    ///     changes them.
    public init(
        _ size: Int, bottleneck: Int, activation: Activation = .relu, start: Start, scale: Double = 1
    ) throws {
        let shrink: Initialization
        let grow: Initialization
        switch start {
        case .normal: (shrink, grow) = (.normal(deviation: 0.01), .normal(deviation: 0.01))
        case .xavier: (shrink, grow) = (.xavier(size, bottleneck), .xavier(bottleneck, size))
        case .identity: (shrink, grow) = (.fanIn(size), .zeros)
        }
        down = try Linear(size, bottleneck, (shrink, .zeros))
        up = try Linear(bottleneck, size, (grow, .zeros))
        self.activation = activation
        self.scale = scale
    }

    /// Lists down_sampler and up_sampler.
    public mutating func visit(_ visitor: ParameterVisitor) throws {
        try visitor("down_sampler", &down)
        try visitor("up_sampler", &up)
    }

    /// [..., D] → [..., D]
    public func callAsFunction(_ x: Tensor) throws -> Tensor {
        let narrow = try down(x)
        let change = try up(activation == .relu ? narrow.relu() : narrow.silu())
        return try scale == 1 ? x + change : x.adding(change, scale: scale)
    }
}
