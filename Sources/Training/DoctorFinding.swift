import Support

/// One thing that was looked at: how it is, and what to do when it is not as it should be.
public struct Finding: Sendable, Equatable {
    /// How it is. The raw value is the word in JSON.
    public enum Grade: String, Sendable {
        case good = "ok"
        /// Works, but not as it could, or was not needed here.
        case warning
        /// Nothing can be done with it as it is.
        case bad = "error"
    }

    /// What was looked at, such as `tokenizer`.
    public let name: String
    /// How it is.
    public let grade: Grade
    /// What was found.
    public let text: String
    /// What to do; nil when nothing needs doing.
    public let remedy: String?
    /// The figures for programs: an object, or null.
    public let value: JSON

    /// Line breaks in the texts become spaces.
    public init(_ name: String, _ grade: Grade, _ text: String, remedy: String? = nil, value: JSON = .null) {
        self.name = name
        self.grade = grade
        self.text = oneLine(text)
        self.remedy = remedy.map(oneLine)
        self.value = value
    }

    /// A fault in the words of an error.
    init(_ name: String, _ error: VQAError, grade: Grade = .bad) {
        let why = error.place.map { "\($0): \(error.why)" } ?? error.why
        self.init(name, grade, why, remedy: error.remedy)
    }

    /// `{"name", "grade", "text", "remedy", "value"}`
    public var json: JSON {
        var members: [JSON.Member] = [
            .init("name", .string(name)), .init("grade", .string(grade.rawValue)),
            .init("text", .string(text)),
            .init("remedy", remedy.map { .string($0) } ?? .null),
        ]
        if !value.isNull { members.append(.init("value", value)) }
        return .object(members)
    }

    /// One line each, `OK` or `!!` in front and names in one column. Remedies stand on lines of their own.
    static func lines(_ findings: [Finding]) -> [String] {
        let width = findings.map(\.name.count).max() ?? 0
        return findings.flatMap { finding in
            let name = finding.name + String(repeating: " ", count: width - finding.name.count)
            let mark = finding.grade == .good ? "OK" : "!!"
            let line = "\(mark)  \(name)  \(finding.text)"
            let indent = String(repeating: " ", count: width + 6)
            return [line] + (finding.remedy.map { ["\(indent)→ \($0)"] } ?? [])
        }
    }
}
