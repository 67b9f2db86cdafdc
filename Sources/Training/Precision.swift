import Runs
import Torch

/// How long one matrix product takes in a type; what `auto` decides by.
public struct PrecisionTiming: Sendable {
    /// The type of both factors.
    public let dtype: DType
    /// Multiply-adds a second, in thousands of millions.
    public let gigaFlops: Double
}

/// Times a small matrix product in each type that is safe to compute with here.
public func timePrecisions() throws -> [PrecisionTiming] {
    let rows = 512
    let size = 384
    return try withoutGradients {
        try [DType.float32, .bfloat16].map { dtype in
            let a = try Tensor.normal([rows, size]).to(dtype)
            let b = try Tensor.normal([4 * size, size]).to(dtype)
            _ = try a.linear(b)
            var best = Double.infinity
            for _ in 0..<5 {
                let clock = Stopwatch()
                _ = try a.linear(b)
                best = min(best, clock.seconds)
            }
            return PrecisionTiming(dtype: dtype, gigaFlops: Double(rows * size * 4 * size) / best / 1e9)
        }
    }
}

/// The type to compute frozen layers in: bf16 where the processor has it and it is faster, otherwise fp32.
public func chosenPrecision(_ wanted: TrainingConfiguration.Precision) throws -> DType {
    switch wanted {
    case .float32: return .float32
    case .bfloat16: return .bfloat16
    case .auto:
        guard Engine.hasNativeBFloat16 else { return .float32 }
        let timings = try timePrecisions()
        func speed(_ dtype: DType) -> Double { timings.first { $0.dtype == dtype }?.gigaFlops ?? 0 }
        // A clear lead, so that the noise of a busy machine does not decide.
        return speed(.bfloat16) > 1.3 * speed(.float32) ? .bfloat16 : .float32
    }
}
