import Support

#if canImport(Glibc)
    import Glibc
#else
    import Darwin
#endif

/// The standard output. Unlike `print`, it reports a full disk.
enum Output {
    /// Prints a text and a line break.
    static func print(_ text: String) throws {
        try write(text + "\n", to: STDOUT_FILENO, path: "standard output")
    }

    /// Prints a part of a text at once, without a line break.
    static func part(_ text: String) throws { try write(text, to: STDOUT_FILENO, path: "standard output") }

    /// Prints lines.
    static func print(_ lines: [String]) throws { try print(lines.joined(separator: "\n")) }

    /// Prints a value: on one line, or indented.
    static func print(_ json: JSON, indented: Bool = false) throws {
        try print(json.text(indented: indented))
    }

    static func write(_ text: String, to descriptor: Int32, path: String) throws {
        try Array(text.utf8).withUnsafeBytes { try writeAll($0, to: descriptor, path: path) }
    }
}
