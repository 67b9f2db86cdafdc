import Backbones
import Runs
import Support

/// Measures a program that opens a model and generates.
public struct GenerationTimer {
    private let start = ContinuousClock.now

    /// Starts to count.
    public init() {}

    /// What opening the model took.
    public struct Opened {
        let seconds: Double
        let weightBytes: Int
        let peakBytes: Int

        /// `opened in 1.2 s: weights 4.3 GB, peak memory 4.6 GB; 620 tokens of prompt in 20.1 s, then 23 tokens, 2.9 a second;
        /// peak memory 5.5 GB`.
        public func text(_ result: GeneratedText) -> String {
            let later = max(0, result.ids.count - 1)
            let rate = Double(later) / max(1e-9, result.seconds - result.firstTokenSeconds)
            return
                "opened in \(decimal(seconds, 1)) s: weights \(byteText(weightBytes)), peak memory \(byteText(peakBytes)); "
                + "\(counted(result.promptTokens, "token")) of prompt in \(decimal(result.firstTokenSeconds, 2)) s, then "
                + "\(counted(later, "token")), \(decimal(rate, 2)) a second; peak memory \(byteText(peakResidentBytes()))"
        }
    }

    /// To be called when `model` has been opened.
    public func opened(_ model: LanguageModel) throws -> Opened {
        Opened(
            seconds: (ContinuousClock.now - start) / .seconds(1), weightBytes: try model.byteCount(),
            peakBytes: peakResidentBytes())
    }
}
