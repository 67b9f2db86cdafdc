#if canImport(Glibc)
    import Glibc
#else
    import Darwin
#endif

/// The ways of resizing of Pillow, with its codes (`resample` in a checkpoint's `preprocessor_config.json`).
/// All but `nearest` widen their window when they shrink an image, which is what antialiases it.
public enum ResizeFilter: Int, Sendable, CaseIterable {
    case nearest = 0
    case lanczos = 1
    case bilinear = 2
    case bicubic = 3
    case box = 4
    case hamming = 5

    /// Half the width of the window, in input pixels, when the size does not change.
    var support: Double {
        switch self {
        case .nearest: 0
        case .box: 0.5
        case .bilinear, .hamming: 1
        case .bicubic: 2
        case .lanczos: 3
        }
    }

    /// The weight at distance `x` from the centre, before the weights of a window are made to sum to one.
    func weight(at x: Double) -> Double {
        switch self {
        case .nearest: 0
        case .box: x > -0.5 && x <= 0.5 ? 1 : 0
        case .bilinear: max(0, 1 - abs(x))
        case .hamming: hamming(abs(x))
        case .bicubic: bicubic(abs(x))
        case .lanczos: x >= -3 && x < 3 ? sinc(x) * sinc(x / 3) : 0
        }
    }

    /// Keys's cubic with a = -0.5.
    private func bicubic(_ x: Double) -> Double {
        let a = -0.5
        if x < 1 { return ((a + 2) * x - (a + 3)) * x * x + 1 }
        if x < 2 { return (((x - 5) * x + 8) * x - 4) * a }
        return 0
    }

    /// Pillow's two constants are single precision.
    private func hamming(_ x: Double) -> Double {
        if x == 0 { return 1 }
        if x >= 1 { return 0 }
        let angle = x * Double.pi
        return sin(angle) / angle * (Double(0.54 as Float) + Double(0.46 as Float) * cos(angle))
    }

    private func sinc(_ x: Double) -> Double {
        if x == 0 { return 1 }
        let angle = x * Double.pi
        return sin(angle) / angle
    }
}
