import Support

/// The measure of captions. The score of a caption is its CIDEr-D, from 0 to 10; the mean is the corpus' CIDEr, so that the
/// score in per cent is what papers print. Beside it stand BLEU-1 to BLEU-4, ROUGE-L, CIDEr and, when their Java programs
/// are there (``JavaMeasures``), METEOR and SPICE, all in per cent. ``CaptionMeasures`` has the details.
///
/// CIDEr weighs words by their frequency in the references of all samples given, as the official program does: figures of a
/// part of a data set are not those of the whole.
public struct CaptionMetric: AnswerMetric {
    /// How METEOR and SPICE are found; throws the reason when they are not wanted or not there.
    public var java: @Sendable () throws -> JavaMeasures

    /// With METEOR and SPICE where the environment has them.
    public init(java: @escaping @Sendable () throws -> JavaMeasures = JavaMeasures.fromEnvironment) {
        self.java = java
    }

    /// In reports.
    public let name = "cider"
    /// CIDEr's.
    public let maximum = 10.0

    /// CIDEr-D of each caption.
    public func scores(of answers: [String], for samples: [Sample]) -> [Double] {
        CaptionMeasures(candidates: answers, references: samples.map(\.answers)).cider
    }

    /// BLEU, ROUGE-L, CIDEr, METEOR and SPICE in per cent.
    public func figures(of answers: [String], for samples: [Sample]) -> Figures? {
        judgement(of: answers, for: samples).figures
    }

    /// Both from the same tokens: cutting captions into tokens takes longer than the measures.
    public func judgement(
        of answers: [String], for samples: [Sample]
    ) -> (scores: [Double], figures: Figures?) {
        let tokenizer = CaptionTokenizer()
        let candidates = answers.map { tokenizer.tokens(of: $0) }
        let references = samples.map { $0.answers.map { tokenizer.tokens(of: $0) } }
        let measures = CaptionMeasures(candidateTokens: candidates, referenceTokens: references)
        var rows = zip(measures.bleu, zip(measures.rougeL, measures.cider)).map { bleu, others in
            bleu.matches + bleu.total + [bleu.length, bleu.referenceLength, others.0, others.1, 1]
        }
        var names = ["bleu_1", "bleu_2", "bleu_3", "bleu_4", "rouge_l", "cider"]
        var remarks: [String] = []
        var hasMeteor = false
        var hasSpice = false
        func attempt(_ body: () throws -> Void) {
            do { try body() } catch { remarks.append(oneLine("\(error)")) }
        }
        attempt {
            let java = try java()
            let texts = candidates.map { $0.joined(separator: " ") }
            let referenceTexts = references.map { $0.map { $0.joined(separator: " ") } }
            attempt {
                let statistics = try java.meteorStatistics(texts, referenceTexts)
                rows = zip(rows, statistics).map { $0 + $1 }
                names.append("meteor")
                hasMeteor = true
            }
            attempt {
                let scores = try java.spice(texts, referenceTexts)
                rows = zip(rows, scores).map { $0 + [$1] }
                names.append("spice")
                hasSpice = true
            }
        }
        let figures = Figures(names, rows: rows, remarks: remarks) { [hasMeteor, hasSpice] sums in
            Self.figures(of: sums, hasMeteor: hasMeteor, hasSpice: hasSpice)
        }
        return (measures.cider, figures)
    }

    /// A caption has words.
    public func isExpected(_ answer: String, for sample: Sample) -> Bool {
        answer.contains { !$0.isWhitespace }
    }

    private static func figures(of sums: [Double], hasMeteor: Bool, hasSpice: Bool) -> [Double] {
        var counts = CaptionMeasures.BLEUCounts()
        counts.matches = Array(sums[0..<4])
        counts.total = Array(sums[4..<8])
        counts.length = sums[8]
        counts.referenceLength = sums[9]
        let count = max(1, sums[12])
        var values = CaptionMeasures.bleu(of: counts) + [sums[10] / count, sums[11] / count]
        if hasMeteor {
            values.append(JavaMeasures.meteor(of: Array(sums[13..<(13 + JavaMeasures.meteorWidth)])))
        }
        if hasSpice { values.append((sums.last ?? 0) / count) }
        return values.map { 100 * $0 }
    }
}
