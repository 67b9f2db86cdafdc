/// The one error type of everything above the tensor engine: a single line that says what went wrong, where, why,
/// and what to do about it.
public struct VQAError: Error, Sendable, Equatable, CustomStringConvertible {
    /// Whose mistake it is; decides the exit code of the program.
    public enum Kind: Int32, Sendable {
        /// The work itself failed: disk full, out of memory, interrupted. Exit code 1.
        case failure = 1
        /// The input or the command was wrong. Exit code 2.
        case badInput = 2
    }

    /// Whose mistake it is.
    public let kind: Kind
    /// What could not be done, for example `cannot read the checkpoint`.
    public let what: String
    /// The file, key, record or argument, when there is one.
    public let place: String?
    /// The reason.
    public let why: String
    /// What the user can do, when there is something to suggest.
    public let remedy: String?

    /// Takes the parts as ``description`` joins them; bad input unless `kind` says otherwise.
    public init(
        _ what: String, at place: String? = nil, because why: String, remedy: String? = nil,
        kind: Kind = .badInput
    ) {
        self.kind = kind
        self.what = what
        self.place = place
        self.why = why
        self.remedy = remedy
    }

    /// One line, without control characters, whatever the parts hold.
    public var description: String {
        let head = place.map { "\(what): \($0): \(why)" } ?? "\(what): \(why)"
        return oneLine(remedy.map { "\(head); \($0)" } ?? head)
    }
}

/// `text` with line breaks and other control characters replaced by spaces, so that it can be printed on one line.
public func oneLine(_ text: String) -> String {
    var result = String.UnicodeScalarView()
    for scalar in text.unicodeScalars {
        result.append(scalar.value < 0x20 || scalar.value == 0x7F ? " " : scalar)
    }
    return String(result)
}

/// The entry of `candidates` nearest to `word` in edits, when it is near enough to be worth suggesting.
public func nearestMatch(to word: String, in candidates: some Sequence<String>) -> String? {
    let limit = max(2, word.count / 3)
    var best: (distance: Int, word: String)?
    for candidate in candidates {
        let distance = editDistance(Array(word.lowercased()), Array(candidate.lowercased()))
        if distance <= limit, distance < (best?.distance ?? .max) { best = (distance, candidate) }
    }
    return best?.word
}

/// Levenshtein distance: insertions, deletions and replacements, each at cost 1.
private func editDistance(_ a: [Character], _ b: [Character]) -> Int {
    guard !a.isEmpty else { return b.count }
    guard !b.isEmpty else { return a.count }
    var row = Array(0...b.count)
    for i in 1...a.count {
        var diagonal = row[0]
        row[0] = i
        for j in 1...b.count {
            let replaced = diagonal + (a[i - 1] == b[j - 1] ? 0 : 1)
            diagonal = row[j]
            row[j] = min(replaced, row[j] + 1, row[j - 1] + 1)
        }
    }
    return row[b.count]
}
