/// VL-ICL Bench's measure: equality with the answer, whatever the case of letters, after a cut of the generated text.
///
/// Sources: ys-zong/VL-ICL, `evals/eval.py` (cut at the first line break, else at the first full stop, unless it comes
/// first; the operator tasks keep the first run of digits; `matching_mi` asks whether `yes` occurs), and MAPD's variant.
public struct VLICLAccuracy: AnswerMetric {
    private let scoring: VLICLBench.Scoring

    /// The rule of the benchmark or of MAPD.
    public init(scoring: VLICLBench.Scoring = .benchmark) { self.scoring = scoring }

    /// In reports.
    public var name: String { scoring == .benchmark ? "vl-icl-accuracy" : "vl-icl-accuracy-mapd" }

    /// 1 for the right answer. Samples whose answer is an image are an error.
    public func scores(of answers: [String], for samples: [Sample]) throws -> [Double] {
        try VLICLBench.requireTextAnswers(samples, of: name)
        return zip(answers, samples).map { answer, sample in
            let task = sample.labels["task"] ?? ""
            let truth = (sample.answer ?? "").lowercased()
            if task == "matching_mi" {
                let saysYes = Self.cut(answer[...].trimmed).lowercased().contains("yes")
                return (truth == "yes" && saysYes) || (truth == "no" && !saysYes) ? 1 : 0
            }
            return read(answer, task: task).lowercased() == truth ? 1 : 0
        }
    }

    /// False when nothing is left after the cut, or no number where one is asked for.
    public func isExpected(_ answer: String, for sample: Sample) -> Bool {
        !read(answer, task: sample.labels["task"] ?? "").isEmpty
    }

    /// What is compared.
    private func read(_ answer: String, task: String) -> String {
        var text = answer[...].trimmed
        if scoring == .mapd {
            while text.last == "." { text.removeLast() }
            text = Substring(text.replacing("Answer", with: "").replacing("answer", with: ""))
            while text.first == ":" { text.removeFirst() }
            while text.last == ":" { text.removeLast() }
            text = text.trimmed
        }
        let cut = Self.cut(text)
        let isNumber = task.contains("operator_induction") || (scoring == .mapd && task.contains("clevr"))
        guard isNumber else { return String(cut) }
        return String(cut.drop { !$0.isDecimalDigit }.prefix { $0.isDecimalDigit })
    }

    /// Up to the first line break, or to the first full stop where there is none; neither cuts at the very beginning.
    private static func cut(_ text: Substring) -> Substring {
        let lineBreak = text.firstIndex { $0 == "\n" || $0 == "\r\n" }
        let place = lineBreak == nil || lineBreak == text.startIndex ? text.firstIndex(of: ".") : lineBreak
        guard let place, place != text.startIndex else { return text }
        return text[..<place]
    }
}

extension Character {
    /// A decimal digit of any script, as `\d` finds it.
    fileprivate var isDecimalDigit: Bool {
        unicodeScalars.count == 1 && unicodeScalars.first?.properties.numericType == .decimal
    }
}
