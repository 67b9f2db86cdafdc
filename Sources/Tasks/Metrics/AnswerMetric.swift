/// A measure of answers. The score of a set is the mean of the scores of its answers; what is no mean, such as an F1, is
/// one of its ``figures(of:for:)``.
public protocol AnswerMetric: Sendable {
    /// The name in reports, such as `vqa-accuracy`.
    var name: String { get }
    /// The largest score of an answer: 1 for shares, 10 for CIDEr.
    var maximum: Double { get }

    /// The score of each answer, from 0 to 1; `answers` and `samples` go together by position. All are given
    /// at once because some measures weigh words by the whole set.
    func scores(of answers: [String], for samples: [Sample]) throws -> [Double]

    /// What is reported beside the mean score; nil when there is nothing.
    func figures(of answers: [String], for samples: [Sample]) throws -> Figures?

    /// Both at once, for measures that do the same work for both.
    func judgement(
        of answers: [String], for samples: [Sample]
    ) throws -> (scores: [Double], figures: Figures?)

    /// False when the answer has not the form that the measure can judge: neither yes nor no, none of the options. Such
    /// answers are scored all the same, counted and listed.
    func isExpected(_ answer: String, for sample: Sample) -> Bool

    /// False for a question that the official program leaves out of the mean. It needs no prediction; with one, the measure
    /// sees it all the same, because figures such as consistency are about it.
    func counts(_ sample: Sample) -> Bool
}

extension AnswerMetric {
    /// 1.
    public var maximum: Double { 1 }
    /// None.
    public func figures(of answers: [String], for samples: [Sample]) throws -> Figures? { nil }
    /// One after the other.
    public func judgement(
        of answers: [String], for samples: [Sample]
    ) throws -> (scores: [Double], figures: Figures?) {
        (try scores(of: answers, for: samples), try figures(of: answers, for: samples))
    }
    /// Every answer.
    public func isExpected(_ answer: String, for sample: Sample) -> Bool { true }
    /// Every question.
    public func counts(_ sample: Sample) -> Bool { true }
}

/// Figures of a whole set of answers that are functions of sums over the samples: precision of the counts of hits, BLEU
/// of the counts of matching n-grams. The sums let the bootstrap give each figure its interval.
public struct Figures: Sendable {
    /// The names in the result, such as `f1`.
    public let names: [String]
    /// What each sample adds to the sums: as many rows as samples, all of the same length.
    public let rows: [[Double]]
    /// What the reader of the report should know, one line each: why a figure is missing.
    public let remarks: [String]
    /// The figures, one for each name, of the sums of all rows. Shares are in per cent, as `overall` is.
    public let values: @Sendable (_ sums: [Double]) -> [Double]
    /// Figures that are no function of a few sums. They are reported without interval.
    public let fixed: [(name: String, value: Double)]

    /// Figures of the sums of `rows`, and `fixed` ones.
    public init(
        _ names: [String], rows: [[Double]], fixed: [(name: String, value: Double)] = [],
        remarks: [String] = [],
        values: @escaping @Sendable (_ sums: [Double]) -> [Double]
    ) {
        self.fixed = fixed
        self.names = names
        self.rows = rows
        self.remarks = remarks
        self.values = values
    }
}

/// An answer is right when it equals any of the reference answers; white space around it and the case of
/// letters do not count.
public struct ExactMatch: AnswerMetric {
    /// The measure has no settings.
    public init() {}

    /// In reports.
    public let name = "exact-match"

    /// 1 for a right answer, 0 for a wrong one.
    public func scores(of answers: [String], for samples: [Sample]) -> [Double] {
        zip(answers, samples).map { answer, sample in
            let answer = comparable(answer)
            return sample.answers.contains { comparable($0) == answer } ? 1 : 0
        }
    }

    private func comparable(_ text: String) -> String { String(text[...].trimmed).lowercased() }
}

/// The accuracy of the VQA challenge: with ten annotators, an answer that m of them gave scores 0, 0.3, 0.6,
/// 0.9, 1 for m = 0, 1, 2, 3, 4 and more. It is the mean over the annotators of min(1, matches among the
/// others / 3).
///
/// Source: GT-Vision-Lab/VQA, `vqaEval.py`. The official program leaves both sides as they are when all
/// annotators gave the same text, so there `Yes` is wrong where all ten wrote `yes`.
public struct VQAAccuracy: AnswerMetric {
    /// When texts go through the normaliser before they are compared.
    public enum Normalisation: String, Sendable {
        /// As the official program: both sides, only when two annotators differ.
        case official
        /// Both sides in every case, as the fork of the program that LIVE uses.
        case always
        /// As the official program was before 2018, and as LAVIS has it (Q&A Prompts' spec 5.5): the model's answer in every
        /// case; of the references only the punctuation, and only when two annotators differ.
        case older
    }

    /// When texts are normalised.
    public var normalisation: Normalisation

    /// The official measure unless told otherwise.
    public init(normalisation: Normalisation = .official) { self.normalisation = normalisation }

    /// In reports.
    public var name: String {
        switch normalisation {
        case .official: "vqa-accuracy"
        case .always: "vqa-accuracy-always-normalised"
        case .older: "vqa-accuracy-older"
        }
    }

    /// The accuracy of each answer; 0 where a sample has no annotators.
    public func scores(of answers: [String], for samples: [Sample]) -> [Double] {
        let count = min(answers.count, samples.count)
        if normalisation == .older {
            return concurrently(count) { olderScore(answers[$0], against: samples[$0].answers) }
        }
        return concurrently(count, with: AnswerTable()) { table, index in
            score(answers[index], against: samples[index].answers, &table)
        }
    }

    private func score(_ answer: String, against annotators: [String], _ table: inout AnswerTable) -> Double {
        guard let first = annotators.first.map({ table.entry(of: $0) }) else { return 0 }
        let given = table.entry(of: answer)
        var differ = false
        var matches = (stripped: 0, normalised: 0)
        for annotator in annotators {
            let reference = table.entry(of: annotator)
            if reference.stripped != first.stripped { differ = true }
            if reference.stripped == given.stripped { matches.stripped += 1 }
            if reference.normalised == given.normalised { matches.normalised += 1 }
        }
        return leaveOneOutAccuracy(
            matches: differ || normalisation == .always ? matches.normalised : matches.stripped,
            annotators: annotators.count)
    }

    private func olderScore(_ answer: String, against annotators: [String]) -> Double {
        guard let first = annotators.first else { return 0 }
        let answer = normalisedAnswer(AnswerNormaliser.stripped(answer))
        let differ = annotators.contains { !sameBytes($0, first) }
        let matches = annotators.count {
            sameBytes(differ ? AnswerNormaliser.withoutPunctuation($0) : $0, answer)
        }
        return leaveOneOutAccuracy(matches: matches, annotators: annotators.count)
    }
}
