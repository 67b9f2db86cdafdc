import Support
import Tasks

/// How a ScienceQA problem is written, as input and as answer, in the notation of the data set's own program
/// (lupantech/ScienceQA, `models/base_prompt.py`): C context, Q question, M options, L lecture, E explanation (the
/// record's `solution`), A answer. LaVIN and DVP write `Response:` where it writes `Answer:`.
public struct ScienceQAFormat: Sendable, Equatable, CustomStringConvertible {
    /// What the model reads. Those with L or E tell it the reason: upper bounds.
    public enum Input: String, Sendable, CaseIterable {
        case cqm = "CQM"
        case qcm = "QCM"
        case qcml = "QCML"
        case qcme = "QCME"
        case qcmle = "QCMLE"
        case qclm = "QCLM"
        case qcem = "QCEM"
        case qclem = "QCLEM"
    }

    /// What the model writes.
    public enum Output: String, Sendable, CaseIterable {
        case a = "A"
        case al = "AL"
        case ae = "AE"
        case ale = "ALE"
        case ael = "AEL"
        case la = "LA"
        case ea = "EA"
        case lea = "LEA"
        case ela = "ELA"
    }

    /// What the model reads.
    public var input: Input
    /// What the model writes.
    public var output: Output
    /// As released, AL writes the solution and AE the lecture, and `BECAUSE:` stands even where no reason follows.
    public var isReleased: Bool

    /// QCM-ALE, with every name meaning what it says, unless told otherwise.
    public init(_ input: Input = .qcm, _ output: Output = .ale, isReleased: Bool = false) {
        (self.input, self.output, self.isReleased) = (input, output, isReleased)
    }

    /// Reads a name such as `QCM-ALE`: `prompt_format`.
    public init(named name: String, isReleased: Bool = false) throws {
        let parts = name.split(separator: "-", omittingEmptySubsequences: false).map(String.init)
        guard parts.count == 2, let input = Input(rawValue: parts[0]), let output = Output(rawValue: parts[1])
        else {
            let names = Input.allCases.flatMap { input in
                Output.allCases.map { "\(input.rawValue)-\($0.rawValue)" }
            }
            throw VQAError(
                "cannot write prompts", at: "prompt_format",
                because: "\(name.prefix(40)) is not an input and an output joined by a hyphen",
                remedy: nearestMatch(to: name, in: names).map { "did you mean \($0)?" })
        }
        self.init(input, output, isReleased: isReleased)
    }

    /// Such as `QCM-ALE`.
    public var description: String { "\(input.rawValue)-\(output.rawValue)" }

    /// What the model reads.
    ///
    /// - Parameter caption: of the image, added to the context.
    public func prompt(for sample: Sample, caption: String? = nil) -> String {
        let given = [sample.context ?? "", caption ?? ""].joined(separator: " ")
        let context = stripped(given).isEmpty ? "N/A" : stripped(given)
        let question = "Question: \(sample.question)\n"
        let hint = "Context: \(context)\n"
        let options = "Options: \(Choices.inline(sample.choices ?? []))\n"
        func because(_ parts: String...) -> String { "BECAUSE: \(parts.joined(separator: " "))\n" }
        let (lecture, solution) = (passage("lecture", of: sample), passage("solution", of: sample))
        let text =
            switch input {
            case .cqm: hint + question + options
            case .qcm: question + hint + options
            case .qcml: question + hint + options + because(lecture)
            case .qcme: question + hint + options + because(solution)
            case .qcmle: question + hint + options + because(lecture, solution)
            case .qclm: question + hint + because(lecture) + options
            case .qcem: question + hint + because(solution) + options
            case .qclem: question + hint + because(lecture, solution) + options
            }
        return stripped((text + "Response:").replacing("  ", with: " "))
    }

    /// What the model is to write; nil when the right option is not known.
    public func target(for sample: Sample) -> String? {
        guard let letter = sample.correctChoice.flatMap(Choices.letter) else { return nil }
        let answer = "The answer is \(letter)."
        let (lecture, solution) = (passage("lecture", of: sample), passage("solution", of: sample))
        let text =
            switch output {
            case .a: answer
            case .al: "\(answer) BECAUSE: \(isReleased ? solution : lecture)"
            case .ae: "\(answer) BECAUSE: \(isReleased ? lecture : solution)"
            case .ale: "\(answer) BECAUSE: \(lecture) \(solution)"
            case .ael: "\(answer) BECAUSE: \(solution) \(lecture)"
            case .la: "\(lecture) \(answer)"
            case .ea: "\(solution) \(answer)"
            case .lea: "\(lecture) \(solution) \(answer)"
            case .ela: "\(solution) \(lecture) \(answer)"
            }
        let written = stripped(text.replacing("  ", with: " "))
        return !isReleased && written.hasSuffix(" BECAUSE:") ? answer : written
    }

    /// Lines are joined by the two characters `\n`, so that a text stays on one.
    private func passage(_ name: String, of sample: Sample) -> String {
        (sample.passages[name] ?? "").replacing("\n", with: "\\n")
    }

    private func stripped(_ text: String) -> String {
        let start = text.drop(while: \.isWhitespace)
        return String(
            start[..<(start.lastIndex { !$0.isWhitespace }.map(start.index(after:)) ?? start.startIndex)])
    }
}
