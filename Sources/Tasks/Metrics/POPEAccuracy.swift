/// POPE's measure: is the answer yes or no, and how often is that right. The mean score is the accuracy; accuracy,
/// precision, recall, F1 and the share of yes are figures for each question file (`random/f1`) and as the mean over the
/// files (`average/f1`).
///
/// Source: haotian-liu/LLaVA, `llava/eval/eval_pope.py`, which is POPE's own rule: of the text before the first full stop,
/// without commas, any of the words `No`, `no`, `not` makes a no; everything else is a yes. Where that program divides by
/// zero, the figure is 0.
public struct POPEAccuracy: AnswerMetric {
    /// The measure has no settings.
    public init() {}

    /// In reports.
    public let name = "pope-accuracy"

    /// What the official rule takes the answer for.
    public static func isYes(_ answer: String) -> Bool {
        let sentence = answer.prefix { $0 != "." }
        let words = sentence.filter { $0 != "," }.split(separator: " ")
        return !words.contains { $0 == "No" || $0 == "no" || $0 == "not" }
    }

    /// 1 for the right one of yes and no.
    public func scores(of answers: [String], for samples: [Sample]) -> [Double] {
        zip(answers, samples).map { Self.isYes($0) == Self.isTrue($1) ? 1 : 0 }
    }

    /// True when the answer to the question is not `no`.
    private static func isTrue(_ sample: Sample) -> Bool { sample.answer != "no" }

    /// True for an answer with the word yes, or one that the rule takes for a no.
    public func isExpected(_ answer: String, for sample: Sample) -> Bool {
        !Self.isYes(answer) || answer.lowercased().split { !$0.isLetter }.contains("yes")
    }

    /// The figures by file and their means.
    public func figures(of answers: [String], for samples: [Sample]) -> Figures? {
        let files = Set(samples.compactMap { $0.labels["category"] }).sorted()
        guard !files.isEmpty else { return nil }
        let rows = zip(answers, samples).map { answer, sample in
            var row = [Double](repeating: 0, count: 4 * files.count)
            if let file = sample.labels["category"].flatMap(files.firstIndex) {
                let column =
                    (Self.isYes(answer) ? 0 : 2) + (Self.isYes(answer) == Self.isTrue(sample) ? 0 : 1)
                row[4 * file + column] = 1
            }
            return row
        }
        let kinds = ["accuracy", "precision", "recall", "f1", "yes_ratio"]
        let names = (files + (files.count > 1 ? ["average"] : [])).flatMap { file in
            kinds.map { "\(file)/\($0)" }
        }
        return Figures(names, rows: rows) { sums in
            let perFile = stride(from: 0, to: sums.count - 3, by: 4).map { Self.figures(sums[$0..<($0 + 4)]) }
            guard perFile.count > 1 else { return perFile.flatMap { $0 } }
            let means = kinds.indices.map { kind in
                perFile.reduce(0) { $0 + $1[kind] } / Double(perFile.count)
            }
            return perFile.flatMap { $0 } + means
        }
    }

    /// Accuracy, precision, recall, F1 and share of yes of (true yes, false yes, true no, false no).
    private static func figures(_ counts: ArraySlice<Double>) -> [Double] {
        let counts = Array(counts)
        let (truePositive, falsePositive) = (counts[0], counts[1])
        let (trueNegative, falseNegative) = (counts[2], counts[3])
        let all = counts.reduce(0, +)
        let precision = percent(truePositive, of: truePositive + falsePositive)
        let recall = percent(truePositive, of: truePositive + falseNegative)
        let f1 = precision + recall == 0 ? 0 : 2 * precision * recall / (precision + recall)
        return [
            percent(truePositive + trueNegative, of: all), precision, recall, f1,
            percent(truePositive + falsePositive, of: all),
        ]
    }
}

/// `yes` or `no` when the text says one of them, else its first line: a text that the metric lists as unexpected.
func yesOrNo(fromGenerated text: String) -> String {
    let line = firstLine(of: text)
    let words = line.lowercased().split { !$0.isLetter }
    if let first = words.first(where: { $0 == "yes" || $0 == "no" }) { return String(first) }
    return line
}
