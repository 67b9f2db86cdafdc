import Support

/// How the texts of tokens are joined to a text again: steps, each of which changes the list of texts.
struct TokenDecoder: Sendable, Equatable {
    /// One step. Texts are UTF-8.
    enum Step: Sendable, Equatable {
        /// Spaces before all tokens but those that go on a word; with `cleanup` the spaces before punctuation
        /// and English contractions go.
        case wordPiece(prefix: [UInt8], cleanup: Bool)
        /// Characters of the ``ByteAlphabet`` become the bytes that they stand for.
        case byteLevel
        /// The character for spaces becomes a space; in the first token it goes when one was put there.
        case metaspace(replacement: [UInt8], dropsFirst: Bool)
        /// Tokens such as `<0x0A>` become bytes.
        case byteFallback
        /// All texts become one.
        case fuse
        /// Removes up to so many of a character at the ends of each text.
        case strip([UInt8], left: Int, right: Int)
        case replace([UInt8], with: [UInt8])
        case replaceMatches(Pattern, with: [UInt8])
        /// The end of a word becomes a space.
        case suffix([UInt8])
    }

    /// With nil, tokens are joined with spaces.
    let steps: [Step]?

    /// The text of these tokens.
    func decode(_ tokens: [[UInt8]]) throws -> String {
        guard let steps else {
            return String(decoding: Array(tokens.joined(separator: [0x20])), as: UTF8.self)
        }
        var texts = tokens
        for step in steps { try step.apply(to: &texts) }
        return String(decoding: Array(texts.joined()), as: UTF8.self)
    }

    init(_ steps: [Step]?) { self.steps = steps }

    /// Reads `decoder`; nil and null join with spaces.
    init(_ json: JSON?, source: String) throws {
        guard let json, !json.isNull else {
            steps = nil
            return
        }
        steps = try Self.read(ComponentReader(json, "decoder", source: source))
    }

    private static func read(_ reader: ComponentReader) throws -> [Step] {
        let json = reader.json
        switch try reader.type() {
        case "WordPiece":
            return [
                .wordPiece(
                    prefix: Array((json["prefix"]?.string ?? "##").utf8),
                    cleanup: try reader.flag("cleanup", missing: true))
            ]
        case "ByteLevel": return [.byteLevel]
        case "Metaspace":
            let metaspace = try Metaspace(reader)
            return [.metaspace(replacement: metaspace.replacement, dropsFirst: metaspace.prefix != .never)]
        case "ByteFallback": return [.byteFallback]
        case "Fuse": return [.fuse]
        case "Strip":
            return [
                .strip(
                    Array(try reader.string("content").utf8), left: try reader.size("start", missing: 0),
                    right: try reader.size("stop", missing: 0))
            ]
        case "Replace":
            let content = Array(try reader.string("content").utf8)
            if let literal = json["pattern"]?["String"]?.string, !literal.isEmpty {
                return [.replace(Array(literal.utf8), with: content)]
            }
            return [.replaceMatches(try reader.pattern(), with: content)]
        case "BPEDecoder": return [.suffix(Array((json["suffix"]?.string ?? "</w>").utf8))]
        case "Sequence":
            return try reader.array("decoders").flatMap {
                try read(ComponentReader($0, reader.name, source: reader.source))
            }
        case let type: throw reader.unsupported(type)
        }
    }
}

extension TokenDecoder.Step {
    /// What this step makes of the texts.
    fileprivate func apply(to texts: inout [[UInt8]]) throws {
        switch self {
        case .wordPiece(let prefix, let cleanup): Self.joinWordPieces(&texts, prefix, cleanup)
        case .byteLevel:
            var bytes: [UInt8] = []
            for text in texts {
                let isSpelled = text.withUnsafeBufferPointer { ByteAlphabet.appendBytes(of: $0, to: &bytes) }
                if !isSpelled { bytes += text }
            }
            texts = [repaired(bytes)]
        case .metaspace(let replacement, let dropsFirst):
            for index in texts.indices {
                texts[index] = replacing(
                    replacement, in: texts[index], with: index == 0 && dropsFirst ? [] : [0x20])
            }
        case .byteFallback: texts = Self.joinBytes(texts)
        case .fuse: texts = [Array(texts.joined())]
        case .strip(let content, let left, let right):
            for index in texts.indices { texts[index] = Self.strip(texts[index], content, left, right) }
        case .replace(let pattern, let content):
            for index in texts.indices { texts[index] = replacing(pattern, in: texts[index], with: content) }
        case .replaceMatches(let pattern, let content):
            for index in texts.indices {
                var text: [UInt8] = []
                try texts[index].withUnsafeBufferPointer { old in
                    try pattern.forEachSpan(in: old, 0..<old.count) { range, isMatch in
                        text += isMatch ? content : Array(old[range])
                    }
                }
                texts[index] = text
            }
        case .suffix(let suffix):
            for index in texts.indices {
                texts[index] = replacing(
                    suffix, in: texts[index], with: index == texts.count - 1 ? [] : [0x20])
            }
        }
    }

    private static func joinWordPieces(_ texts: inout [[UInt8]], _ prefix: [UInt8], _ cleanup: Bool) {
        for index in texts.indices {
            if index > 0 {
                if texts[index].starts(with: prefix) {
                    texts[index].removeFirst(prefix.count)
                } else {
                    texts[index].insert(0x20, at: 0)
                }
            }
            if cleanup { texts[index] = cleaned(texts[index]) }
        }
    }

    /// Bytes in a row are a text when they are UTF-8, else each is U+FFFD.
    private static func joinBytes(_ texts: [[UInt8]]) -> [[UInt8]] {
        var result: [[UInt8]] = []
        var bytes: [UInt8] = []
        func flush() {
            guard !bytes.isEmpty else { return }
            if String(validating: bytes, as: UTF8.self) != nil {
                result.append(bytes)
            } else {
                for _ in bytes { result.append([0xEF, 0xBF, 0xBD]) }
            }
            bytes.removeAll()
        }
        for text in texts {
            if let byte = byteValue(text) {
                bytes.append(byte)
            } else {
                flush()
                result.append(text)
            }
        }
        flush()
        return result
    }

    /// The byte of a token such as `<0x0A>`. The reference takes a plus sign for a digit too.
    private static func byteValue(_ text: [UInt8]) -> UInt8? {
        guard text.count == 6, text.starts(with: Array("<0x".utf8)), text[5] == UInt8(ascii: ">") else {
            return nil
        }
        func digit(_ byte: UInt8) -> UInt8? {
            Character(UnicodeScalar(byte)).hexDigitValue.map { UInt8(truncatingIfNeeded: $0) }
        }
        guard let low = digit(text[4]) else { return nil }
        if text[3] == UInt8(ascii: "+") { return low }
        return digit(text[3]).map { $0 << 4 | low }
    }

    private static func strip(_ text: [UInt8], _ content: [UInt8], _ left: Int, _ right: Int) -> [UInt8] {
        guard !content.isEmpty else { return text }
        var kept = text[...]
        var count = 0
        while count < left, kept.starts(with: content) {
            kept = kept.dropFirst(content.count)
            count += 1
        }
        count = 0
        while count < right, kept.count >= content.count, kept.suffix(content.count).elementsEqual(content) {
            kept = kept.dropLast(content.count)
            count += 1
        }
        return Array(kept)
    }
}

/// The bytes as UTF-8: what is not well-formed becomes U+FFFD.
func repaired(_ bytes: [UInt8]) -> [UInt8] { Array(String(decoding: bytes, as: UTF8.self).utf8) }

/// The text with each `pattern` replaced.
func replacing(_ pattern: [UInt8], in text: [UInt8], with content: [UInt8]) -> [UInt8] {
    guard let first = pattern.first, text.contains(first) else { return text }
    var result: [UInt8] = []
    result.reserveCapacity(text.count)
    var i = 0
    while i < text.count {
        if text[i] == first, text[i...].starts(with: pattern) {
            result += content
            i += pattern.count
        } else {
            result.append(text[i])
            i += 1
        }
    }
    return result
}

/// The text without the spaces that English has not: before punctuation and contractions. The replacements of
/// the reference, one after the other.
///
/// - Parameter shortensNegation: also the one that only the WordPiece decoder has.
func cleaned(_ text: [UInt8], shortensNegation: Bool = true) -> [UInt8] {
    var text = text
    for (pattern, content) in cleanups where shortensNegation || pattern != Array(" do not".utf8) {
        text = replacing(pattern, in: text, with: content)
    }
    return text
}

private let cleanups: [(of: [UInt8], with: [UInt8])] = [
    (" .", "."), (" ?", "?"), (" !", "!"), (" ,", ","), (" ' ", "'"), (" n't", "n't"), (" 'm", "'m"),
    (" do not", " don't"), (" 's", "'s"), (" 've", "'ve"), (" 're", "'re"),
].map { (Array($0.utf8), Array($1.utf8)) }
