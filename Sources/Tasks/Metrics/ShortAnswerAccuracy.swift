/// The accuracy of TextVQA: the VQA formula over ten annotators, with both sides always through EvalAI's processor.
///
/// Source: facebookresearch/mmf, `EvalAIAnswerProcessor` and `TextVQAAccuracyEvaluator` (LLaVA's `m4c_evaluator.py`).
public struct TextVQAAccuracy: AnswerMetric {
    /// The measure has no settings.
    public init() {}

    /// In reports.
    public let name = "textvqa-accuracy"

    /// The accuracy of each answer; 0 where a sample has no annotators.
    public func scores(of answers: [String], for samples: [Sample]) -> [Double] {
        zip(answers, samples).map { answer, sample in
            let answer = evalAINormalisedAnswer(answer)
            let matches = sample.answers.count { sameBytes(evalAINormalisedAnswer($0), answer) }
            return leaveOneOutAccuracy(matches: matches, annotators: sample.answers.count)
        }
    }
}

/// EvalAI's answer processor (spec SQ-LLaVA, appendix F): lower case, without commas and question marks, `'s` as a word of its
/// own, then the VQA normaliser. Examples: `a man's hat` → `man 's hat`, `New York, NY` → `new york ny`.
public func evalAINormalisedAnswer(_ text: String) -> String {
    if text.allBytes(AnswerNormaliser.isPlain) { return AnswerNormaliser.replacement(of: text) }
    var bytes: [UInt8] = []
    for byte in text.lowercased().utf8 where byte != UInt8(ascii: ",") && byte != UInt8(ascii: "?") {
        if byte == UInt8(ascii: "s"), bytes.last == UInt8(ascii: "'") {
            bytes[bytes.count - 1] = UInt8(ascii: " ")
            bytes.append(UInt8(ascii: "'"))
        }
        bytes.append(byte)
    }
    // White space goes at the ends before and after line breaks and tabs become spaces; `stripped` does both.
    return normalisedAnswer(AnswerNormaliser.stripped(String(decoding: bytes, as: UTF8.self)))
}

/// The accuracy of VizWiz: the VQA formula over ten annotators. The model's answer is always normalised, the references never
/// are.
///
/// Source: the data set's `vqaEval.py` by Qing Li, read in two public copies. Its table of contractions was written with
/// typographic apostrophes, so that `dont` becomes `don’t`; this is kept, because published figures have it.
public struct VizWizAccuracy: AnswerMetric {
    /// The measure has no settings.
    public init() {}

    /// In reports.
    public let name = "vizwiz-accuracy"

    /// The accuracy of each answer; 0 where a sample has no annotators.
    public func scores(of answers: [String], for samples: [Sample]) -> [Double] {
        zip(answers, samples).map { answer, sample in
            let answer = Self.normalised(answer)
            let matches = sample.answers.count { sameBytes($0, answer) }
            return leaveOneOutAccuracy(matches: matches, annotators: sample.answers.count)
        }
    }

    /// What finding the unanswerable questions is worth when the answer `unanswerable` says so: the F1 and the average
    /// precision of the official program, in per cent. The program takes a model's confidence; an answer is 0 or 1.
    public func figures(of answers: [String], for samples: [Sample]) -> Figures? {
        guard samples.contains(where: { $0.labels["answerable"] != nil }) else { return nil }
        let rows = zip(answers, samples).map { answer, sample -> [Double] in
            let said = Self.normalised(answer) == "unanswerable"
            let is_ = sample.labels["answerable"] == "no"
            return [said && is_ ? 1 : 0, said ? 1 : 0, is_ ? 1 : 0, 1]
        }
        return Figures(["unanswerable_f1", "unanswerable_average_precision"], rows: rows) { sums in
            let (hits, said, all, count) = (sums[0], sums[1], sums[2], sums[3])
            let f1 = said + all > 0 ? 2 * hits / (said + all) : 0
            let recall = all > 0 ? hits / all : 0
            let precision = said > 0 ? hits / said : 0
            let rest = count > 0 ? all / count : 0
            return [100 * f1, 100 * (recall * precision + (1 - recall) * rest)]
        }
    }

    /// The VQA normaliser with VizWiz's table of contractions.
    static func normalised(_ text: String) -> String {
        AnswerNormaliser.withoutArticles(
            AnswerNormaliser.withoutPunctuation(AnswerNormaliser.stripped(text)),
            replacing: typographicReplacement)
    }

    /// Keys whose value has plain apostrophes in the table; two keys are written with one.
    private static let plainValues: Set<String> = [
        "aint", "arent", "cant", "couldve", "couldnt", "weve", "wheres", "whove",
    ]

    private static func typographicReplacement(of word: String) -> String {
        let hasPlain = word.utf8.contains(UInt8(ascii: "'"))
        if hasPlain, word != "couldn'tve", word != "hadn'tve" { return word }
        let key = hasPlain ? word : String(word.map { $0 == "’" ? "'" : $0 })
        let found = AnswerNormaliser.replacement(of: key)
        if found == key { return word }
        return plainValues.contains(word) ? found : String(found.map { $0 == "'" ? "’" : $0 })
    }
}

/// The direct answers of A-OKVQA: min(1, matches / 3) over the ten references.
public struct DirectAnswerAccuracy: AnswerMetric {
    /// Whose program is followed.
    public enum Scorer: String, Sendable {
        /// allenai/aokvqa, `eval_predictions.py`: equality letter by letter; difficult questions are left out.
        case official
        /// The released code of Q&A Prompts (spec 5.2): the list of references goes through its printed form, which loses
        /// answers with an apostrophe and cuts answers with a comma; difficult questions count.
        case released
    }

    /// Whose program is followed.
    public let scorer: Scorer

    /// The official measure unless told otherwise.
    public init(_ scorer: Scorer = .official) { self.scorer = scorer }

    /// In reports.
    public var name: String { scorer == .official ? "aokvqa-direct-answer" : "aokvqa-direct-answer-released" }

    /// 0, 1/3, 2/3 or 1.
    public func scores(of answers: [String], for samples: [Sample]) -> [Double] {
        zip(answers, samples).map { answer, sample in
            let (answer, references) =
                scorer == .official
                ? (answer, sample.answers) : (answer.lowercased(), Self.printedAndCut(sample.answers))
            return Double(min(3, references.count { sameBytes($0, answer) })) / 3
        }
    }

    /// All but the difficult ones in the official program.
    public func counts(_ sample: Sample) -> Bool {
        scorer == .released || sample.labels["difficult_direct_answer"] != "true"
    }

    /// What the released code compares with: the list as Python prints it, without apostrophes and outer brackets, cut at
    /// commas, without spaces around the parts.
    private static func printedAndCut(_ answers: [String]) -> [String] {
        var text = answers.map(printed).joined(separator: ", ").filter { $0 != "'" }[...]
        while let first = text.first, first == "[" || first == "]" { text.removeFirst() }
        while let last = text.last, last == "[" || last == "]" { text.removeLast() }
        return text.split(separator: ",", omittingEmptySubsequences: false).map { String($0.trimmed) }
    }

    /// A string as Python prints it in a list: in double quotes when it has an apostrophe and no double quote.
    private static func printed(_ text: String) -> String {
        let quote: Character = text.contains("'") && !text.contains("\"") ? "\"" : "'"
        var result = String(quote)
        for scalar in text.unicodeScalars {
            switch scalar {
            case "\\": result += "\\\\"
            case "\n": result += "\\n"
            case "\r": result += "\\r"
            case "\t": result += "\\t"
            case "'" where quote == "'": result += "\\'"
            default: result.unicodeScalars.append(scalar)
            }
        }
        return result + String(quote)
    }
}

/// Questions with options: an answer is right when it equals the right option, letter by letter (allenai/aokvqa,
/// `eval_predictions.py`).
public struct OptionEquality: AnswerMetric {
    /// The measure has no settings.
    public init() {}

    /// In reports.
    public let name = "multiple-choice-accuracy"

    /// 1 for the right option, 0 for another or none.
    public func scores(of answers: [String], for samples: [Sample]) -> [Double] {
        zip(answers, samples).map { answer, sample in
            guard let choices = sample.choices, let right = sample.correctChoice,
                choices.indices.contains(right)
            else { return 0 }
            return sameBytes(choices[right], answer) ? 1 : 0
        }
    }

    /// One of the options.
    public func isExpected(_ answer: String, for sample: Sample) -> Bool {
        sample.choices?.contains { sameBytes($0, answer) } ?? true
    }
}

/// An answer is right when it equals any of the references after the VQA normaliser on both sides.
public struct NormalisedMatch: AnswerMetric {
    /// The measure has no settings.
    public init() {}

    /// In reports.
    public let name = "normalised-match"

    /// 1 for a right answer, 0 for a wrong one.
    public func scores(of answers: [String], for samples: [Sample]) -> [Double] {
        zip(answers, samples).map { answer, sample in
            let answer = normalisedAnswer(AnswerNormaliser.stripped(answer))
            return sample.answers.contains {
                sameBytes(normalisedAnswer(AnswerNormaliser.stripped($0)), answer)
            } ? 1 : 0
        }
    }
}

/// The official VQA accuracy of OK-VQA, whose references are stemmed, with the model's answer stemmed first.
public struct StemmedVQAAccuracy: AnswerMetric {
    private let stemmer: (any AnswerStemmer)?

    /// Without stemmer it is ``VQAAccuracy``.
    public init(stemmer: (any AnswerStemmer)?) { self.stemmer = stemmer }

    /// In reports.
    public var name: String { stemmer.map { "vqa-accuracy-\($0.name)" } ?? VQAAccuracy().name }

    /// The accuracy of each answer; 0 where a sample has no annotators.
    public func scores(of answers: [String], for samples: [Sample]) -> [Double] {
        VQAAccuracy().scores(
            of: stemmer.map { stemmer in answers.map(stemmer.stem) } ?? answers, for: samples)
    }
}

/// The mean over the annotators of min(1, matches among the others / 3). An annotator who gave the answer has one match fewer
/// among the others.
func leaveOneOutAccuracy(matches: Int, annotators: Int) -> Double {
    guard annotators > 0 else { return 0 }
    let thirds = matches * min(3, matches - 1) + (annotators - matches) * min(3, matches)
    return Double(thirds) / Double(3 * annotators)
}

/// Equal byte by byte: Swift calls differently composed accents equal, the official programs do not.
func sameBytes(_ a: String, _ b: String) -> Bool {
    let same = a.utf8.withContiguousStorageIfAvailable { first in
        b.utf8.withContiguousStorageIfAvailable { second in
            first.count == second.count && first.indices.allSatisfy { first[$0] == second[$0] }
        }
    }
    return (same ?? nil) ?? a.utf8.elementsEqual(b.utf8)
}

extension String {
    /// True when every byte satisfies `predicate`; quicker than asking the view one by one.
    func allBytes(_ predicate: (UInt8) -> Bool) -> Bool {
        utf8.withContiguousStorageIfAvailable { $0.allSatisfy(predicate) } ?? utf8.allSatisfy(predicate)
    }
}
