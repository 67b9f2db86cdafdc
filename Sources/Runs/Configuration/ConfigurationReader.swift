import Support

/// Reads typed values out of a ``ConfigurationSource`` and remembers everything about them: what was asked, what was
/// found, what was wrong.
///
/// Value calls do not throw. A problem is recorded and the default (or a harmless stand-in) is returned, so that one
/// pass finds all problems; ``finish()`` then throws them together. Keys that nobody asked for are problems too.
public struct ConfigurationReader {
    let source: ConfigurationSource
    /// Dotted path of the section being read, with its final dot; empty at the root.
    var prefix = ""
    var problems: [(order: Int, error: VQAError)] = []
    var entries: [ResolvedConfiguration.Entry] = []
    var sectionHelp: [String: String] = [:]
    /// Full names of every key and alias that was asked for.
    var known: Set<String> = []
    /// Keys of the source that were read or reported.
    var consumed: Set<String> = []
    /// Sections with a wrong choice: which keys belong there is not certain, so unknown ones are not reported.
    var uncertainSections: Set<String> = []

    /// Starts at the root of `source`.
    public init(_ source: ConfigurationSource) {
        self.source = source
    }

    // MARK: Sections

    /// Reads the keys of a section. An absent section reads as an empty one.
    public mutating func section<T>(
        _ key: String, help: String = "", _ body: (inout ConfigurationReader) throws -> T
    ) rethrows -> T {
        let outer = prefix
        enter(key, help: help)
        defer { prefix = outer }
        return try body(&self)
    }

    /// Reads a section that may be left out (or be null); nil then.
    public mutating func optionalSection<T>(
        _ key: String, help: String = "", _ body: (inout ConfigurationReader) throws -> T
    ) rethrows -> T? {
        guard isGiven(key) else {
            let path = prefix + key
            known.insert(path)
            consumed.insert(path)
            append(.init(key: path, value: .null, isDefault: true, defaultValue: .null, help: help))
            return nil
        }
        return try section(key, help: help, body)
    }

    /// The keys given directly under a section, sorted: for sections whose keys are free names.
    public func names(in section: String) -> [String] {
        let start = prefix + section + "."
        var names: Set<String> = []
        for leaves in [source.file, source.overrides] {
            for key in leaves.keys where key.hasPrefix(start) {
                names.insert(String(key.dropFirst(start.count).prefix { $0 != "." }))
            }
        }
        return names.sorted()
    }

    /// True when the key, or a key under it, was given a value.
    public func isGiven(_ key: String) -> Bool {
        let path = prefix + key
        if let value = (source.overrides[path] ?? source.file[path])?.value, value != .null { return true }
        return !names(in: key).isEmpty
    }

    private mutating func enter(_ key: String, help: String) {
        let path = prefix + key
        known.insert(path)
        for leaves in [source.overrides, source.file] {
            guard let given = leaves[path] else { continue }
            consumed.insert(path)
            if !given.value.isEmpty {
                note(given, "'\(path)' must be a section, found \(given.value.found)")
            }
        }
        if !help.isEmpty { sectionHelp[path] = help }
        prefix = path + "."
    }

    // MARK: Problems

    /// Adds a problem that the caller found, at the place of `key` in the current section.
    ///
    /// - Parameter because: for example `'heads' must divide the width 768`.
    public mutating func report(_ key: String, because: String, remedy: String? = nil) {
        let path = prefix + key
        if let given = source.overrides[path] ?? source.file[path] {
            note(given, because, remedy: remedy)
        } else {
            note(place: "\(source.name): \(path)", order: 0, because, remedy: remedy)
        }
    }

    /// Ends the reading: throws ``ConfigurationProblems`` with everything that was wrong, or returns the complete
    /// record of keys and values.
    public mutating func finish() throws -> ResolvedConfiguration {
        reportUnknownKeys()
        guard problems.isEmpty else {
            let sorted = problems.enumerated().sorted {
                ($0.element.order, $0.offset) < ($1.element.order, $1.offset)
            }
            throw ConfigurationProblems(problems: sorted.map(\.element.error))
        }
        return ResolvedConfiguration(entries: entries, sectionHelp: sectionHelp)
    }

    private mutating func reportUnknownKeys() {
        let limit = 20
        var unknown: [String: GivenValue] = [:]
        for leaves in [source.file, source.overrides] {
            for (key, given) in leaves where !consumed.contains(key) {
                let name = unknownPart(of: key)
                if let other = unknown[name], other.order <= given.order { continue }
                unknown[name] = given
            }
        }
        let certain = unknown.filter { !isUncertain($0.key) }.sorted { $0.value.order < $1.value.order }
        for (key, given) in certain.prefix(limit) {
            let match = suggestion(for: key)
            note(given, "unknown key '\(key)'", remedy: match.map { "did you mean '\($0)'?" })
        }
        if certain.count > limit {
            note(place: source.name, order: .max, "\(certain.count - limit) more unknown keys")
        }
    }

    /// The shortest leading part of `key` under which nothing was asked for: a misspelt section is one problem.
    private func unknownPart(of key: String) -> String {
        for parent in ConfigurationSource.parents(of: key) {
            if !known.contains(parent), !known.contains(where: { $0.hasPrefix(parent + ".") }) {
                return parent
            }
        }
        return key
    }

    private func isUncertain(_ key: String) -> Bool {
        uncertainSections.contains { $0.isEmpty || key.hasPrefix($0) }
    }

    /// A key that was asked for and looks like `key`: first among its neighbours, then the same name elsewhere.
    private func suggestion(for key: String) -> String? {
        let parent = key.lastIndex(of: ".").map { String(key[...$0]) } ?? ""
        let last = String(key.dropFirst(parent.count))
        let neighbours = known.filter { $0.hasPrefix(parent) }.map { $0.dropFirst(parent.count) }
            .filter { !$0.contains(".") }.map(String.init).sorted()
        if let match = nearestMatch(to: last, in: neighbours) { return parent + match }
        return known.filter { $0.hasSuffix("." + last) || $0 == last }.min()
    }

    mutating func note(_ given: GivenValue, _ because: String, remedy: String? = nil) {
        note(place: given.place, order: given.order, because, remedy: remedy)
    }

    mutating func note(place: String, order: Int, _ because: String, remedy: String? = nil) {
        problems.append(
            (order, VQAError("cannot use the configuration", at: place, because: because, remedy: remedy)))
    }

    // MARK: Lookup

    /// What stands under a key.
    enum Lookup {
        case absent
        /// Keys below it, where a value was wanted; the problem is noted.
        case section
        case given(GivenValue)
    }

    /// Finds what was given for a key under any of its names and records the names as known.
    ///
    /// An override beats the file, whichever names they use. Two names in the same layer are a problem.
    mutating func lookUp(_ key: String, aliases: [String]) -> Lookup {
        let names = [prefix + key] + aliases.map { $0.contains(".") ? $0 : prefix + $0 }
        known.formUnion(names)
        consumed.formUnion(names)
        for leaves in [source.overrides, source.file] {
            let given = names.filter { leaves[$0] != nil }
            if given.count > 1, let second = leaves[given[1]] {
                note(
                    second, "'\(given[0])' and '\(given[1])' name the same setting",
                    remedy: "give one of them")
            }
            if let first = given.first.flatMap({ leaves[$0] }) { return .given(first) }
        }
        let start = prefix + key + "."
        for leaves in [source.file, source.overrides] {
            let inner = leaves.filter { $0.key.hasPrefix(start) }
            guard let first = inner.values.min(by: { $0.order < $1.order }) else { continue }
            consumed.formUnion(inner.keys)
            note(first, "'\(prefix + key)' must be a value, found a section")
            return .section
        }
        return .absent
    }

    /// Keeps the first record of a key; reading a key again adds nothing.
    mutating func append(_ entry: ResolvedConfiguration.Entry) {
        if !entries.contains(where: { $0.key == entry.key }) { entries.append(entry) }
    }
}

/// Everything that is wrong with a configuration, one line each. The program exits with code 2.
public struct ConfigurationProblems: Error, Sendable, CustomStringConvertible {
    /// In the order of the file, then of the overrides; never empty.
    public let problems: [VQAError]

    /// The problems, each on its own line.
    public var description: String { problems.map(\.description).joined(separator: "\n") }
}
