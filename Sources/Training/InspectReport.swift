import Support

/// What `vqa inspect` found at a path.
public struct InspectReport: Sendable {
    /// One line of the text for people.
    public struct Fact: Sendable, Equatable {
        /// What it is about.
        public let label: String
        /// What was found.
        public let text: String

        init(_ label: String, _ text: String) {
            self.label = label
            self.text = text
        }
    }

    /// What was looked at.
    public let path: String
    /// What it is, such as `checkpoint` or `run`: the word in JSON.
    public let kind: String
    /// The lines for people.
    public var facts: [Fact] = []
    /// A table below the facts; all rows have the same number of cells.
    public var rows: [[String]] = []
    /// The figures for programs, beside `path` and `kind`.
    public var members: [JSON.Member] = []

    init(_ path: String, _ kind: String) {
        self.path = path
        self.kind = kind
    }

    /// Adds a fact for people and its value for programs.
    mutating func add(_ label: String, _ text: String, _ key: String, _ value: JSON) {
        facts.append(Fact(label, text))
        members.append(JSON.Member(key, value))
    }

    /// For people.
    public var lines: [String] {
        var lines = ["\(path): \(kind)"]
        let width = facts.map(\.label.count).max() ?? 0
        lines += facts.map { "  \($0.label.padded(to: width))  \($0.text)" }
        if !rows.isEmpty { lines += [""] + Self.table(rows) }
        return lines.map(oneLine)
    }

    /// `{"path", "kind", …}`
    public var json: JSON { .object([.init("path", .string(path)), .init("kind", .string(kind))] + members) }

    /// Columns of equal width, the last one ragged.
    private static func table(_ rows: [[String]]) -> [String] {
        let columns = rows.map(\.count).max() ?? 0
        let widths = (0..<columns).map { column in
            rows.map { column < $0.count ? $0[column].count : 0 }.max() ?? 0
        }
        return rows.map { row in
            let cells = row.enumerated().map { $0 == row.count - 1 ? $1 : $1.padded(to: widths[$0]) }
            return "  " + cells.joined(separator: "  ")
        }
    }
}

extension String {
    /// With spaces at the end, up to `width` characters.
    func padded(to width: Int) -> String { self + String(repeating: " ", count: max(0, width - count)) }
}

/// `22713216` as `22,713,216`.
func grouped(_ number: Int) -> String {
    var result = ""
    let digits = String(number.magnitude)
    for (index, digit) in digits.enumerated() {
        if index > 0, (digits.count - index) % 3 == 0 { result += "," }
        result.append(digit)
    }
    return number < 0 ? "-" + result : result
}

/// `1 question`, `2 questions`.
func counted(_ number: Int, _ noun: String) -> String {
    "\(grouped(number)) \(noun)\(number == 1 ? "" : "s")"
}
