import Support

/// Letters and prompts of multiple-choice questions.
public enum Choices {
    /// What LLaVA 1.5 adds to multiple-choice questions (haotian-liu/LLaVA, `docs/Evaluation.md`).
    public static let instruction = "Answer with the option's letter from the given choices directly."
    /// The same in Chinese (`llava/eval/model_vqa_mmbench.py`).
    public static let chineseInstruction = "请直接回答选项字母。"

    /// The letter of an option: A for 0 to Z for 25; options beyond have none.
    public static func letter(_ index: Int) -> String? {
        guard (0..<26).contains(index) else { return nil }
        return String(UnicodeScalar(UInt8(ascii: "A") + UInt8(index)))
    }

    /// The option of a capital letter, when there are that many.
    public static func index(of letter: some StringProtocol, among count: Int) -> Int? {
        let bytes = letter.utf8
        guard bytes.count == 1, let byte = bytes.first, byte >= UInt8(ascii: "A") else { return nil }
        let index = Int(byte - UInt8(ascii: "A"))
        return index < min(count, 26) ? index : nil
    }

    /// The prompt of LLaVA 1.5: the hint and the question, then each option on a line as `A. …`, then `instruction`.
    public static func prompt(
        hint: String? = nil, question: String, choices: [String], instruction: String = Choices.instruction
    ) -> String {
        let options = choices.enumerated().map { "\(letter($0) ?? String($0 + 1)). \($1)" }
        return ([hint, question].compactMap { $0 } + options + [instruction]).joined(separator: "\n")
    }

    /// The options on one line, `(A) … (B) …`, as ScienceQA lists them.
    public static func inline(_ choices: [String]) -> String {
        choices.enumerated().map { "(\(letter($0) ?? String($0 + 1))) \($1)" }.joined(separator: " ")
    }
}

/// How an option is read from a text: each evaluation program has its own rule. The raw value is its name in reports.
public enum ChoiceRule: String, Sendable, CaseIterable {
    /// The whole text is the letter, or is exactly the text of the option but for case and white space around it.
    /// SEED-Bench's programs know the letter alone.
    case letterOrText = "letter-or-text"
    /// LLaVA's rule for ScienceQA (haotian-liu/LLaVA, `llava/eval/eval_science_qa.py`): the whole text is a letter from
    /// A to E, or begins with one as in `B. `, or has exactly one `The answer is B.`.
    case llava
    /// ScienceQA's own rule (lupantech/ScienceQA, `models/run_gpt3.py`): exactly one `The answer is B.`.
    case scienceQA = "scienceqa"
    /// LaVIN's and DVP's rule for ScienceQA: the first `The answer is B.`.
    case lavin
    /// The rule of MMBench's evaluation without a judge (open-compass/VLMEvalKit, `vlmeval/utils/matching_util.py`):
    /// one letter alone among the last four words, else the text of one option alone within the answer.
    case vlmEvalKit = "vlmevalkit"
    /// What people accept: `B`, `(B)`, `B.`, `Answer: B`, `the answer is (B)`, the option's text.
    case lenient

    /// The option that `text` names, or nil.
    public func choice(in text: String, among choices: [String]) -> Int? {
        switch self {
        case .letterOrText:
            let word = text[...].trimmed
            return Choices.index(of: word, among: choices.count) ?? Self.option(equalTo: word, choices)
        case .llava:
            return Self.answerOfLLaVA(text).flatMap { Choices.index(of: $0, among: min(5, choices.count)) }
        case .scienceQA:
            let found = Self.statedAnswers(text)
            guard found.count == 1 else { return nil }
            return Choices.index(of: found[0], among: min(5, choices.count))
        case .lavin:
            return Self.statedAnswers(text).first.flatMap {
                Choices.index(of: $0, among: min(5, choices.count))
            }
        case .vlmEvalKit: return Self.inferred(text, choices)
        case .lenient: return Self.accepted(text, choices)
        }
    }

    /// The letters of all `The answer is X` that another character follows on the same line.
    private static func statedAnswers(_ text: String) -> [Substring] {
        text.matches(of: #/The answer is ([A-Z])./#.matchingSemantics(.unicodeScalar)).map(\.output.1)
    }

    private static func answerOfLLaVA(_ text: String) -> Substring? {
        let letters = "ABCDE"
        if text.utf8.count == 1, let first = text.first, letters.contains(first) { return text[...] }
        if let first = text.first, letters.contains(first), text.dropFirst().hasPrefix(". ") {
            return text.prefix(1)
        }
        let found = statedAnswers(text)
        return found.count == 1 ? found[0] : nil
    }

    private static func option(equalTo word: Substring, _ choices: [String]) -> Int? {
        let word = word.lowercased()
        return choices.firstIndex { $0[...].trimmed.lowercased() == word }
    }

    private static let refusals = [
        "Sorry, I can't help with images of people yet.", "I can't process this file.",
        "I'm sorry, but without the image provided", "Cannot determine the answer",
        "Failed to obtain answer via API",
    ]

    private static func inferred(_ text: String, _ choices: [String]) -> Int? {
        if refusals.contains(where: text.contains) { return nil }
        let marks: Set<Character> = [".", "(", ")", "[", "]", ",", ":", ";", "!", "*", "#", "{", "}"]
        let words = text.split { marks.contains($0) || $0.isWhitespace }
        let letters = choices.indices.filter { index in
            Choices.letter(index).map { words.contains(Substring($0)) } ?? false
        }
        if letters.count == 1, let letter = Choices.letter(letters[0]),
            let place = words.firstIndex(of: Substring(letter)), place > words.count - 5
        {
            return letters[0]
        }
        if letters.isEmpty, words.contains("Z") { return nil }
        let answer = text.lowercased()
        guard answer.unicodeScalars.count <= 2 * choices.reduce(0, { $0 + $1.unicodeScalars.count }) else {
            return nil
        }
        let named = choices.indices.filter { answer.contains(choices[$0].lowercased()) }
        return named.count == 1 ? named[0] : nil
    }

    private static func accepted(_ text: String, _ choices: [String]) -> Int? {
        let text = text[...].trimmed
        if let whole = Choices.index(of: text, among: choices.count) { return whole }
        if let start = text.prefixMatch(of: #/(?:\(([A-Z])\)|([A-Z])[.):,])(?:\s|$)/#),
            let letter = start.output.1 ?? start.output.2,
            let index = Choices.index(of: letter, among: choices.count)
        {
            return index
        }
        if let equal = option(equalTo: text.hasSuffix(".") ? text.dropLast() : text, choices)
            ?? option(equalTo: text, choices)
        {
            return equal
        }
        let stated = text.matches(of: #/(?:[Aa]nswer(?: is)?|[Oo]ption)\s*:?\s*\(?([A-Z])(?![A-Za-z])/#)
        if let last = stated.last, let index = Choices.index(of: last.output.1, among: choices.count) {
            return index
        }
        let lower = text.lowercased()
        let named = choices.indices.filter {
            !choices[$0].isEmpty && lower.contains(choices[$0].lowercased())
        }
        return named.count == 1 ? named[0] : nil
    }
}

/// The letter of the option in what a model wrote, else its first line: a text that the metric lists as unexpected.
func letter(fromGenerated text: String, for sample: Sample, by rule: ChoiceRule = .lenient) -> String {
    if let choices = sample.choices, let index = rule.choice(in: text, among: choices),
        let letter = Choices.letter(index)
    {
        return letter
    }
    return firstLine(of: text)
}
