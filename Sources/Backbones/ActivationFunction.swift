import Torch

/// The function between the two maps of a feed-forward part, under its name in `config.json`.
public enum ActivationFunction: String, Sendable, CaseIterable {
    /// The exact GELU.
    case gelu
    /// The GELU approximated by tanh.
    case geluTanh = "gelu_pytorch_tanh"
    /// x · σ(1.702 x), of OpenAI's CLIP.
    case quickGelu = "quick_gelu"
    /// x · σ(x)
    case silu
    /// max(x, 0)
    case relu

    /// Element by element, any shape.
    public func callAsFunction(_ x: Tensor) throws(TorchError) -> Tensor {
        switch self {
        case .gelu: try x.gelu()
        case .geluTanh: try x.geluTanh()
        case .quickGelu: try x.quickGelu()
        case .silu: try x.silu()
        case .relu: try x.relu()
        }
    }

    /// The function of `gate`, times `up`, of equal shapes: the middle of a gated feed-forward part.
    public func gated(_ gate: Tensor, _ up: Tensor) throws(TorchError) -> Tensor {
        try self == .silu ? gate.siluMultiplied(by: up) : self(gate) * up
    }
}
