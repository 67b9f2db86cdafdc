import Support

/// How the texts of tokens are joined to a text again.
enum TokenDecoder: Sendable, Equatable {
    /// With spaces between.
    case spaces
    /// With spaces before all tokens but those that go on a word; with `cleanup` the spaces before
    /// punctuation and English contractions go.
    case wordPiece(prefix: String, cleanup: Bool)

    /// The text of these tokens.
    func decode(_ tokens: [String]) -> String {
        switch self {
        case .spaces: return tokens.joined(separator: " ")
        case .wordPiece(let prefix, let cleanup):
            var text: [UInt8] = []
            text.reserveCapacity(tokens.count * 8)
            for (index, token) in tokens.enumerated() {
                let start = text.count
                if index > 0, token.utf8.starts(with: prefix.utf8) {
                    text.append(contentsOf: token.utf8.dropFirst(prefix.utf8.count))
                } else {
                    if index > 0 { text.append(UInt8(ascii: " ")) }
                    text.append(contentsOf: token.utf8)
                }
                if cleanup { Self.clean(&text, from: start) }
            }
            return String(decoding: text, as: UTF8.self)
        }
    }

    /// The replacements of the reference, one after the other, in each token with the space before it.
    private static let replacements: [(of: [UInt8], with: [UInt8])] = [
        (" .", "."), (" ?", "?"), (" !", "!"), (" ,", ","), (" ' ", "'"), (" n't", "n't"), (" 'm", "'m"),
        (" do not", " don't"), (" 's", "'s"), (" 've", "'ve"), (" 're", "'re"),
    ].map { (Array($0.utf8), Array($1.utf8)) }

    private static func clean(_ text: inout [UInt8], from start: Int) {
        guard mayNeedCleaning(text[start...]) else { return }
        for (pattern, content) in replacements {
            var i = start
            while i + pattern.count <= text.count {
                if text[i...].starts(with: pattern) {
                    text.replaceSubrange(i..<(i + pattern.count), with: content)
                    i += content.count
                } else {
                    i += 1
                }
            }
        }
    }

    /// True when a space stands before a byte that goes on one of the patterns.
    private static func mayNeedCleaning(_ token: ArraySlice<UInt8>) -> Bool {
        var afterSpace = false
        for byte in token {
            if afterSpace {
                switch byte {
                case UInt8(ascii: "."), UInt8(ascii: "?"), UInt8(ascii: "!"), UInt8(ascii: ","),
                    UInt8(ascii: "'"), UInt8(ascii: "n"), UInt8(ascii: "d"):
                    return true
                default: break
                }
            }
            afterSpace = byte == UInt8(ascii: " ")
        }
        return false
    }

    /// Reads `decoder`; nil and null join with spaces.
    init(_ json: JSON?, source: String) throws {
        self = .spaces
        guard let json, !json.isNull else { return }
        let reader = ComponentReader(json, "decoder", source: source)
        switch try reader.type() {
        case "WordPiece":
            self = .wordPiece(prefix: json["prefix"]?.string ?? "##", cleanup: json["cleanup"]?.bool ?? true)
        case "Sequence":
            let steps = try reader.array("decoders")
            guard steps.count <= 1 else { throw reader.failure("a sequence of several is not read yet") }
            if let step = steps.first { self = try TokenDecoder(step, source: source) }
        case let type: throw reader.unsupported(type)
        }
    }
}
