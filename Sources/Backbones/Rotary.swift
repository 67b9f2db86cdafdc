import Support
import Torch

#if canImport(Glibc)
    import Glibc
#else
    import Darwin
#endif

/// How rotary position embeddings (Su et al. 2021, arXiv 2104.09864) are scaled to longer texts.
public struct RotaryConfiguration: Sendable, Equatable {
    /// The ways of scaling, under their names in `config.json`.
    public enum Scaling: Sendable, Equatable {
        /// No scaling.
        case standard
        /// Positions divided by a factor.
        case linear(factor: Double)
        /// The base grows with the text beyond the trained length.
        case dynamic(factor: Double)
        /// LLaMA 3.1: low frequencies divided, high ones kept, smooth between.
        case llama3(factor: Double, low: Double, high: Double, trained: Double)
        /// YaRN (Peng et al. 2023, arXiv 2309.00071).
        case yarn(
            factor: Double, fast: Double, slow: Double, trained: Double, attention: Double, truncates: Bool)
    }

    /// `rope_theta`: the base of the frequencies.
    public var base = 10000.0
    /// How positions beyond the trained length are met.
    public var scaling = Scaling.standard
    /// Width of a head.
    public var headSize = 128
    /// The length the model was trained for.
    public var positions = 2048

    /// No scaling, heads of 128.
    public init() {}

    /// Reads `rope_parameters`, or the older pair `rope_theta` and `rope_scaling`.
    init(_ json: JSON, headSize: Int, positions: Int, source: String) throws {
        (self.headSize, self.positions) = (headSize, positions)
        let given = json["rope_parameters"] ?? json["rope_scaling"] ?? .null
        base = given["rope_theta"]?.double ?? json["rope_theta"]?.double ?? base
        guard base > 1, base.isFinite else {
            throw VQAError("cannot use the model", at: "\(source), rope_theta", because: "it is \(base)")
        }
        func number(_ key: String, _ fallback: Double? = nil) throws -> Double {
            let found = given[key]
            guard let value = found == nil || found == .null ? fallback : found?.double, value.isFinite else {
                throw VQAError(
                    "cannot use the model", at: "\(source), rope_parameters", because: "\(key) is no number")
            }
            return value
        }
        switch given["rope_type"]?.string ?? given["type"]?.string ?? "default" {
        case "default": scaling = .standard
        case "linear": scaling = .linear(factor: try positive(number("factor"), "factor", source))
        case "dynamic": scaling = .dynamic(factor: try positive(number("factor"), "factor", source))
        case "llama3":
            scaling = .llama3(
                factor: try positive(number("factor"), "factor", source),
                low: try positive(number("low_freq_factor"), "low_freq_factor", source),
                high: try positive(number("high_freq_factor"), "high_freq_factor", source),
                trained: try positive(
                    number("original_max_position_embeddings", Double(positions)),
                    "original_max_position_embeddings", source))
        case "yarn": scaling = try yarn(number, source)
        case let other:
            throw VQAError(
                "cannot use the model", at: "\(source), rope_parameters",
                because: "rope_type \(other.prefix(40)) is not one of default, linear, dynamic, llama3, yarn")
        }
    }

    private func yarn(_ number: (String, Double?) throws -> Double, _ source: String) throws -> Scaling {
        let trained = try positive(
            number("original_max_position_embeddings", Double(positions)), "original_max_position_embeddings",
            source)
        let factor = try positive(number("factor", Double(positions) / trained), "factor", source)
        // 0 stands for absent: then the paper's √ scaling of the logits, 0.1 ln(factor) + 1.
        let given = try number("attention_factor", 0)
        let whole = try number("mscale", 0)
        let part = try number("mscale_all_dim", 0)
        func scale(_ by: Double) -> Double { factor <= 1 ? 1 : 0.1 * by * log(factor) + 1 }
        let attention =
            given > 0 ? given : (whole > 0 && part > 0 ? scale(whole) / scale(part) : scale(1))
        return .yarn(
            factor: factor, fast: try positive(number("beta_fast", 32), "beta_fast", source),
            slow: try positive(number("beta_slow", 1), "beta_slow", source), trained: trained,
            attention: attention, truncates: true)
    }

    private func positive(_ value: Double, _ key: String, _ source: String) throws -> Double {
        if value > 0 { return value }
        throw VQAError(
            "cannot use the model", at: "\(source), rope_parameters", because: "\(key) is \(value)")
    }

    /// What cosines and sines are multiplied by.
    public var attentionScale: Double {
        if case .yarn(_, _, _, _, let attention, _) = scaling { attention } else { 1 }
    }

    /// The turn per position of each pair of dimensions, [Dh / 2], for a text of `length` tokens.
    public func frequencies(length: Int) -> [Float] {
        let half = headSize / 2
        func standard(_ base: Double) -> [Double] {
            (0..<half).map { 1 / pow(base, Double(2 * $0) / Double(headSize)) }
        }
        switch scaling {
        case .standard: return standard(base).map(Float.init)
        case .linear(let factor): return standard(base).map { Float($0 / factor) }
        case .dynamic(let factor):
            let seen = max(Double(length), Double(positions))
            let growth = factor * seen / Double(positions) - (factor - 1)
            let exponent = Double(headSize) / Double(max(1, headSize - 2))
            return standard(base * pow(growth, exponent)).map(Float.init)
        case .llama3(let factor, let low, let high, let trained):
            return standard(base).map { frequency in
                let wavelength = 2 * Double.pi / frequency
                if wavelength > trained / low { return Float(frequency / factor) }
                if wavelength < trained / high { return Float(frequency) }
                let smooth = (trained / wavelength - low) / (high - low)
                return Float((1 - smooth) * frequency / factor + smooth * frequency)
            }
        case .yarn(let factor, let fast, let slow, let trained, _, let truncates):
            // The pair whose wave turns `turns` times within the trained length.
            func pair(_ turns: Double) -> Double {
                Double(headSize) * log(trained / (turns * 2 * Double.pi)) / (2 * log(base))
            }
            let low = max(0, truncates ? pair(fast).rounded(.down) : pair(fast))
            let high = min(Double(headSize - 1), truncates ? pair(slow).rounded(.up) : pair(slow))
            let width = low == high ? 0.001 : high - low
            return standard(base).enumerated().map { index, frequency in
                let ramp = min(1, max(0, (Double(index) - low) / width))
                return Float(frequency / factor * ramp + frequency * (1 - ramp))
            }
        }
    }
}

extension RotaryConfiguration {
    /// Cosine and sine for every position below `length`, [length, Dh / 2] each.
    func tables(length: Int) throws -> (cosine: Tensor, sine: Tensor) {
        let angles =
            try Tensor.arange(0, Double(length), .float32).unsqueezed(1) * Tensor(frequencies(length: length))
        return (try angles.cos() * attentionScale, try angles.sin() * attentionScale)
    }
}

/// The cosines and sines that turn the heads of one forward pass.
struct Rotation {
    /// [B or 1, T, Dh / 2]
    private let cosine: Tensor
    /// [B or 1, T, Dh / 2]
    private let sine: Tensor

    /// - Parameters:
    ///   - positions: int64 [B or 1, T].
    ///   - length: tokens of the whole text, for scalings that depend on it.
    init(_ configuration: RotaryConfiguration, positions: Tensor, length: Int, dtype: DType) throws {
        let frequencies = try Tensor(configuration.frequencies(length: length))  // [Dh / 2]
        let angles = try positions.to(.float32).unsqueezed(-1) * frequencies
        cosine = try (angles.cos() * configuration.attentionScale).to(dtype)
        sine = try (angles.sin() * configuration.attentionScale).to(dtype)
    }

    private init(cosine: Tensor, sine: Tensor) { (self.cosine, self.sine) = (cosine, sine) }

    /// The same of the last positions only.
    func tail(_ count: Int) throws -> Rotation {
        let start = cosine.shape[1] - count
        return Rotation(cosine: try cosine.sliced(1, start), sine: try sine.sliced(1, start))
    }

    /// [B, H, T, Dh] → the same, each pair (i, i + Dh/2) turned by its angle.
    ///
    /// One operation where it can be; gradients, second ones included, and tables of half types take the plain form.
    func callAsFunction(_ x: Tensor) throws -> Tensor {
        if !x.requiresGradient, cosine.dtype == .float32, x.device == .cpu {
            return try x.rotated(cosines: cosine, sines: sine)
        }
        let half = (x.shape.last ?? 0) / 2
        let (first, second) = (try x.sliced(-1, 0, half), try x.sliced(-1, half))
        let (cosine, sine) = (try cosine.unsqueezed(1), try sine.unsqueezed(1))  // [B or 1, 1, T, Dh / 2]
        return try .concatenated([first * cosine - second * sine, second * cosine + first * sine], -1)
    }
}
