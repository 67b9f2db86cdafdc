/// ScienceQA's accuracy with the columns of its table: subjects NAT, SOC, LAN; contexts TXT (a hint), IMG (an image), NO
/// (neither); grades G1-6, G7-12. Questions with a hint and an image count in TXT and in IMG.
///
/// Source: lupantech/ScienceQA, `tools/evaluate_acc.py`; LLaVA's reading of answers is that of haotian-liu/LLaVA,
/// `llava/eval/eval_science_qa.py`, whose IMG-accuracy is the column IMG.
public struct ScienceQAAccuracy: AnswerMetric {
    private let accuracy: ChoiceAccuracy

    /// The reading of answers of a published form.
    public init(form: ScienceQA.Form = .llava) {
        accuracy =
            switch form {
            case .llava: ChoiceAccuracy(rule: .llava, fallback: .wrong)
            case .official: ChoiceAccuracy(rule: .scienceQA, fallback: .random)
            case .lavin: ChoiceAccuracy(rule: .lavin, fallback: .random)
            }
    }

    /// In reports.
    public var name: String { accuracy.name }

    /// The option that the answer counts as. A letter alone is one in every form: predictions that were read before
    /// are not read twice.
    public func choice(_ answer: String, for sample: Sample) -> Int? {
        Choices.index(of: answer, among: sample.choices?.count ?? 0) ?? accuracy.choice(answer, for: sample)
    }

    /// 1 for the right option.
    public func scores(of answers: [String], for samples: [Sample]) -> [Double] {
        zip(answers, samples).map { answer, sample in
            guard let choice = choice(answer, for: sample) else { return 0 }
            return choice == sample.correctChoice ? 1 : 0
        }
    }

    /// False when the answer names no option.
    public func isExpected(_ answer: String, for sample: Sample) -> Bool {
        Choices.index(of: answer, among: sample.choices?.count ?? 0) != nil
            || accuracy.isExpected(answer, for: sample)
    }

    /// The columns of the official table.
    public func figures(of answers: [String], for samples: [Sample]) -> Figures? {
        func subject(_ name: String) -> (Sample) -> Bool { { $0.labels["subject"] == name } }
        func grades(_ range: ClosedRange<Int>) -> (Sample) -> Bool {
            let names = Set(range.map { "grade\($0)" })
            return { sample in sample.labels["grade"].map(names.contains) ?? false }
        }
        func hasImage(_ sample: Sample) -> Bool { sample.labels["image"] == "with image" }
        return shares(
            [
                ("NAT", subject("natural science")), ("SOC", subject("social science")),
                ("LAN", subject("language science")), ("TXT", { $0.context != nil }), ("IMG", hasImage),
                ("NO", { $0.context == nil && !hasImage($0) }), ("G1-6", grades(1...6)),
                ("G7-12", grades(7...12)),
            ], scores: scores(of: answers, for: samples), of: samples)
    }
}
