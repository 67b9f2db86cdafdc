import Support

extension ConfigurationReader {
    // MARK: Numbers

    /// An integer within `range`. `1e6` counts as one; `64.0` does not.
    public mutating func integer(
        _ key: String, default fallback: Int, in range: ClosedRange<Int> = .min ... .max,
        aliases: [String] = [], help: String = ""
    ) -> Int {
        value(key, .some(fallback), aliases, help, .integer(range)) { $0.integer } ?? fallback
    }

    /// An integer that has no default: its absence is a problem.
    public mutating func requiredInteger(
        _ key: String, in range: ClosedRange<Int> = .min ... .max, aliases: [String] = [], help: String = ""
    ) -> Int {
        value(key, .required, aliases, help, .integer(range)) { $0.integer }
            ?? min(max(0, range.lowerBound), range.upperBound)
    }

    /// An integer that may be absent or null.
    public mutating func optionalInteger(
        _ key: String, in range: ClosedRange<Int> = .min ... .max, aliases: [String] = [], help: String = ""
    ) -> Int? {
        value(key, .absent, aliases, help, .integer(range)) { $0.integer }
    }

    /// A number within `range`; not NaN. A lower bound of `leastNormalMagnitude` stands for "above 0".
    public mutating func number(
        _ key: String, default fallback: Double, in range: ClosedRange<Double> = -.infinity ... .infinity,
        aliases: [String] = [], help: String = ""
    ) -> Double {
        value(key, .some(fallback), aliases, help, .number(range)) { $0.number } ?? fallback
    }

    /// A number that may be absent or null.
    public mutating func optionalNumber(
        _ key: String, in range: ClosedRange<Double> = -.infinity ... .infinity, aliases: [String] = [],
        help: String = ""
    ) -> Double? {
        value(key, .absent, aliases, help, .number(range)) { $0.number }
    }

    /// A list of integers; a single one is a list of one.
    public mutating func integers(
        _ key: String, default fallback: [Int], in range: ClosedRange<Int> = .min ... .max,
        aliases: [String] = [], help: String = ""
    ) -> [Int] {
        value(key, .some(fallback), aliases, help, .list(.integer(range))) { $0.list { $0.integer } }
            ?? fallback
    }

    /// A list of numbers; a single one is a list of one.
    public mutating func numbers(
        _ key: String, default fallback: [Double], in range: ClosedRange<Double> = -.infinity ... .infinity,
        aliases: [String] = [], help: String = ""
    ) -> [Double] {
        value(key, .some(fallback), aliases, help, .list(.number(range))) { $0.list { $0.number } }
            ?? fallback
    }

    // MARK: Texts and truth values

    /// `true` or `false`; `yes`, `no`, `on` and `off` are taken too.
    public mutating func bool(
        _ key: String, default fallback: Bool, aliases: [String] = [], help: String = ""
    ) -> Bool {
        value(key, .some(fallback), aliases, help, .bool) { $0.bool } ?? fallback
    }

    /// A truth value that may be absent or null.
    public mutating func optionalBool(_ key: String, aliases: [String] = [], help: String = "") -> Bool? {
        value(key, .absent, aliases, help, .bool) { $0.bool }
    }

    /// A text. Scalars that look like numbers or truth values are texts here: `answer: yes` is "yes".
    public mutating func string(
        _ key: String, default fallback: String, aliases: [String] = [], help: String = ""
    ) -> String {
        value(key, .some(fallback), aliases, help, .string) { $0.string } ?? fallback
    }

    /// A text that has no default: its absence is a problem.
    public mutating func requiredString(_ key: String, aliases: [String] = [], help: String = "") -> String {
        value(key, .required, aliases, help, .string) { $0.string } ?? ""
    }

    /// A text that may be absent or null.
    public mutating func optionalString(_ key: String, aliases: [String] = [], help: String = "") -> String? {
        value(key, .absent, aliases, help, .string) { $0.string }
    }

    /// A list of texts; a single one is a list of one.
    public mutating func strings(
        _ key: String, default fallback: [String], aliases: [String] = [], help: String = ""
    ) -> [String] {
        value(key, .some(fallback), aliases, help, .list(.string)) { $0.list { $0.string } } ?? fallback
    }

    // MARK: Choices

    /// One of a few words.
    ///
    /// - Parameter otherNames: further words and the word each stands for, such as the preset names of a release.
    public mutating func choice(
        _ key: String, default fallback: String, of words: [String], otherNames: [String: String] = [:],
        aliases: [String] = [], help: String = ""
    ) -> String {
        let found = value(key, .some(fallback), aliases, help, .choice(words, otherNames)) { $0.string }
        return found.map { otherNames[$0] ?? $0 } ?? fallback
    }

    /// One case of an enumeration of words.
    public mutating func choice<Case: RawRepresentable & CaseIterable>(
        _ key: String, default fallback: Case, otherNames: [String: Case] = [:], aliases: [String] = [],
        help: String = ""
    ) -> Case where Case.RawValue == String {
        let word = choice(
            key, default: fallback.rawValue, of: Case.allCases.map(\.rawValue),
            otherNames: otherNames.mapValues(\.rawValue), aliases: aliases, help: help)
        return Case(rawValue: word) ?? fallback
    }

    // MARK: The one path of all values

    /// What stands in for a value that was not given.
    enum Fallback<T> {
        case some(T)
        case absent
        case required
    }

    /// Looks a key up, checks what was found, and records it. Nil when there is no valid value.
    private mutating func value<T: ConfigurationRepresentable>(
        _ key: String, _ fallback: Fallback<T>, _ aliases: [String], _ help: String, _ kind: ValueKind,
        _ convert: (ConfigurationValue) -> T?
    ) -> T? {
        let path = prefix + key
        var defaultValue = ConfigurationValue.null
        if case .some(let value) = fallback { defaultValue = value.configurationValue }
        func entry(_ value: ConfigurationValue, isDefault: Bool) -> ResolvedConfiguration.Entry {
            .init(key: path, value: value, isDefault: isDefault, defaultValue: defaultValue, help: help)
        }
        let lookup = lookUp(key, aliases: aliases)
        guard case .given(let given) = lookup else {
            if case .absent = lookup, case .required = fallback {
                note(
                    place: "\(source.name): \(path)", order: 0, "it is missing", remedy: "set \(kind.wanted)")
            }
            append(entry(defaultValue, isDefault: true))
            return convert(defaultValue)
        }
        if given.value == .null, case .absent = fallback {
            append(entry(.null, isDefault: false))
            return nil
        }
        guard let value = kind.read(given.value), let result = convert(value) else {
            note(
                given, "'\(path)' must be \(kind.wanted), found \(given.value.found)",
                remedy: kind.remedy(for: given.value))
            if case .choice = kind { uncertainSections.insert(prefix) }
            return nil
        }
        append(entry(value, isDefault: false))
        return result
    }
}
