import Support

/// What a key may hold: turns what was written into a typed value and says in words what it wants.
indirect enum ValueKind {
    case bool
    case integer(ClosedRange<Int>)
    case number(ClosedRange<Double>)
    case string
    case choice([String], [String: String])
    case list(ValueKind)

    // MARK: Reading

    /// The typed value, or nil when `written` is of another sort or out of range.
    func read(_ written: GivenValue.Value) -> ConfigurationValue? {
        switch (self, written) {
        case (.list(let kind), .list(let values)):
            let read = values.compactMap { kind.read($0) }
            return read.count == values.count ? .list(read) : nil
        case (.list(let kind), _):
            return kind.read(written).map { .list([$0]) }
        case (.string, .plain(let text)), (.string, .quoted(let text)):
            return .string(text)
        case (.choice(let words, let otherNames), .plain(let text)),
            (.choice(let words, let otherNames), .quoted(let text)):
            if let word = otherNames[text] { return .string(word) }
            return words.contains(text) ? .string(text) : nil
        case (.bool, .plain(let text)):
            return Self.bool(text).map { .bool($0) }
        case (.integer(let range), .plain(let text)):
            return Self.integer(text).flatMap { range.contains($0) ? .integer($0) : nil }
        case (.number(let range), .plain(let text)):
            return Self.number(text).flatMap { range.contains($0) ? .number($0) : nil }
        default:
            return nil
        }
    }

    private static func bool(_ text: String) -> Bool? {
        switch text.lowercased() {
        case "true", "yes", "on": true
        case "false", "no", "off": false
        default: nil
        }
    }

    private static func integer(_ text: String) -> Int? {
        if let value = Int(text) { return value }
        guard text.contains(where: { $0 == "e" || $0 == "E" }), let value = number(text) else { return nil }
        return Int(exactly: value)
    }

    /// Digits, point, sign and exponent, or YAML's `.inf`; not what C would also take (`nan`, `0x1p3`).
    private static func number(_ text: String) -> Double? {
        switch text.lowercased() {
        case ".inf", "+.inf": return .infinity
        case "-.inf": return -.infinity
        default: break
        }
        guard text.utf8.allSatisfy({ "0123456789.eE+-".utf8.contains($0) }), let value = Double(text) else {
            return nil
        }
        return value.isFinite ? value : nil
    }

    // MARK: Words

    /// What the key wants, for `must be …`.
    var wanted: String {
        switch self {
        case .bool: "true or false"
        case .integer(let range): "an integer" + Self.words(range, unbounded: Int.min, Int.max)
        case .number(let range):
            range.lowerBound == .leastNormalMagnitude
                ? "a number above 0"
                    + (range.upperBound < .infinity ? " up to \(plain(range.upperBound))" : "")
                : "a number" + Self.words(range, unbounded: -.infinity, .infinity)
        case .string: "a text"
        case .choice(let words, _): words.count == 1 ? words[0] : "one of \(words.joined(separator: ", "))"
        case .list(let kind): "a list, each \(kind.wanted)"
        }
    }

    /// A nearer hint than the range: the nearest word of a choice.
    func remedy(for written: GivenValue.Value) -> String? {
        guard case .choice(let words, let otherNames) = self else { return nil }
        switch written {
        case .plain(let text), .quoted(let text):
            let match =
                text.utf8.count > 200 ? nil : nearestMatch(to: text, in: words + otherNames.keys.sorted())
            return match.map { "did you mean '\($0)'?" }
        default: return nil
        }
    }

    private static func words<T: Comparable>(_ range: ClosedRange<T>, unbounded low: T, _ high: T) -> String {
        switch (range.lowerBound > low, range.upperBound < high) {
        case (true, true): " from \(plain(range.lowerBound)) to \(plain(range.upperBound))"
        case (true, false): " of at least \(plain(range.lowerBound))"
        case (false, true): " of at most \(plain(range.upperBound))"
        case (false, false): ""
        }
    }
}

/// A number in a sentence: `1`, not `1.0`.
private func plain<T>(_ value: T) -> String {
    let text = "\(value)"
    return text.hasSuffix(".0") ? String(text.dropLast(2)) : text
}
