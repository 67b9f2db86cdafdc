import Support

/// A step that changes text before it is split into words.
indirect enum Normalizer: Sendable, Equatable {
    case bert(BertNormalizer)
    case lowercase
    case form(NormalizationForm)
    /// Removes all marks.
    case stripAccents
    /// Removes white space at the ends.
    case strip(left: Bool, right: Bool)
    /// Puts one text in place of another.
    case replace(pattern: [UInt8], content: [UInt8])
    /// Puts a text in place of every match.
    case replaceMatches(Pattern, content: [UInt8])
    /// Puts a text before a text that is not empty.
    case prepend([UInt8])
    /// SentencePiece's table of replacements.
    case precompiled(PrecompiledMap)
    /// Spells every byte as a character (see ``ByteAlphabet``).
    case byteLevel
    case sequence([Normalizer])

    /// Changes `text`; every byte keeps its origin. Text that grows beyond its limit is an error.
    func apply(to text: inout NormalizedText) throws {
        switch self {
        case .bert(let normalizer): normalizer.apply(to: &text)
        case .lowercase: text.lowercase()
        case .form(let form): form.apply(to: &text)
        case .stripAccents: text.remove(.mark)
        case .strip(let left, let right): text.strip(left: left, right: right)
        case .replace(let pattern, let content): try text.replace(pattern, with: content)
        case .replaceMatches(let pattern, let content): try text.replace(pattern, with: content)
        case .prepend(let prefix): try text.prepend(prefix)
        case .precompiled(let map): try map.apply(to: &text)
        case .byteLevel: text.spellBytes()
        case .sequence(let steps): for step in steps { try step.apply(to: &text) }
        }
    }

    /// Changes a text whose origin does not matter.
    func apply(to text: String) throws -> [UInt8] {
        var text = text
        return try text.withUTF8 { bytes in
            var normalized = NormalizedText(bytes, base: 0)
            try apply(to: &normalized)
            return normalized.bytes
        }
    }
}

/// What BERT does to text. Each step looks at the result of the one before.
struct BertNormalizer: Sendable, Equatable {
    /// Removes control, format and private-use scalars, NUL and U+FFFD, and turns white space into spaces.
    var cleansText = true
    /// Puts spaces around ideographs.
    var spacesIdeographs = true
    /// Decomposes and removes nonspacing marks.
    var stripsAccents = true
    var lowercases = true

    func apply(to text: inout NormalizedText) {
        if text.isPlain, applyToPlain(&text) { return }
        let classes = ScalarClasses.shared
        if cleansText || spacesIdeographs {
            text.rewrite { scalar, origin, builder in
                let kind = classes[scalar]
                if cleansText, kind.contains(.control) { return }
                if cleansText, kind.contains(.whiteSpace) {
                    builder.append(0x20, origin)
                } else if spacesIdeographs, kind.contains(.ideograph) {
                    builder.append(0x20, origin)
                    builder.append(scalar, origin)
                    builder.append(0x20, origin)
                } else {
                    builder.append(scalar, origin)
                }
            }
        }
        if stripsAccents {
            NormalizationForm.nfd.apply(to: &text)
            text.remove(.nonspacingMark)
        }
        if lowercases { text.lowercase() }
    }

    /// The whole work on ASCII without control characters other than white space; false for other text.
    private func applyToPlain(_ text: inout NormalizedText) -> Bool {
        if cleansText, text.bytes.contains(where: { Self.cleaned[Int($0 & 0x7F)] == 0 }) { return false }
        text.mapBytes { byte in
            let byte = cleansText ? Self.cleaned[Int(byte & 0x7F)] : byte
            return lowercases ? lowercased(byte) : byte
        }
        return true
    }

    /// What cleaning makes of each ASCII byte; 0 where it removes it.
    private static let cleaned: [UInt8] = (0..<128).map { value in
        let kind = ScalarClasses.shared[UInt32(value)]
        return kind.contains(.control) ? 0 : kind.contains(.whiteSpace) ? 0x20 : UInt8(value)
    }
}

@inline(__always)
private func lowercased(_ byte: UInt8) -> UInt8 {
    byte &- UInt8(ascii: "A") < 26 ? byte | 0x20 : byte
}

extension NormalizedText {
    /// Lower case, scalar by scalar: the Greek final sigma and other rules of context do not apply.
    fileprivate mutating func lowercase() {
        if isPlain { return mapBytes(lowercased) }
        guard contains(.uppercase) else { return }
        let classes = ScalarClasses.shared
        rewrite { scalar, origin, builder in
            if !classes[scalar].contains(.uppercase) {
                builder.append(scalar, origin)
            } else if scalar == 0x130 {
                builder.append(UInt32(UInt8(ascii: "i")), origin)
                builder.append(0x307, origin)
            } else {
                builder.append(LowercaseRun.lowercase(scalar), origin)
            }
        }
    }

    /// Removes the scalars of a class.
    fileprivate mutating func remove(_ kind: ScalarClass) {
        guard !isPlain, contains(kind) else { return }
        let classes = ScalarClasses.shared
        rewrite { scalar, origin, builder in
            if classes[scalar].isDisjoint(with: kind) { builder.append(scalar, origin) }
        }
    }

    fileprivate mutating func strip(left: Bool, right: Bool) {
        let classes = ScalarClasses.shared
        let kept = bytes.withUnsafeBufferPointer { bytes in
            var i = 0
            var first = bytes.count
            var end = 0
            while i < bytes.count {
                let start = i
                if classes[decodeScalar(bytes, &i)].contains(.whiteSpace) { continue }
                first = min(first, start)
                end = i
            }
            if first == bytes.count { return 0..<0 }
            return (left ? first : 0)..<(right ? end : bytes.count)
        }
        if !kept.isEmpty || left || right { self = slice(kept) }
    }

    /// The new text has the origin of the last byte of the old.
    fileprivate mutating func replace(_ pattern: [UInt8], with content: [UInt8]) throws {
        guard !pattern.isEmpty, bytes.count >= pattern.count else { return }
        var builder = TextBuilder(capacity: bytes.count)
        var found = false
        var i = 0
        while i < bytes.count {
            if bytes[i] == pattern[0], bytes[i...].starts(with: pattern) {
                found = true
                let origin = alignment(at: i + pattern.count - 1)
                for byte in content { builder.append(byte: byte, origin) }
                try checkLength(builder.bytes.count)
                i += pattern.count
            } else {
                builder.append(byte: bytes[i], alignment(at: i))
                i += 1
            }
        }
        if found { become(builder) }
    }

    fileprivate mutating func replace(_ pattern: Pattern, with content: [UInt8]) throws {
        var builder = TextBuilder(capacity: bytes.count)
        var found = false
        try bytes.withUnsafeBufferPointer { bytes in
            try pattern.forEachSpan(in: bytes, 0..<bytes.count) { range, isMatch in
                if isMatch {
                    found = true
                    let origin = alignment(at: range.upperBound - 1)
                    for byte in content { builder.append(byte: byte, origin) }
                } else {
                    for i in range { builder.append(byte: bytes[i], alignment(at: i)) }
                }
            }
        }
        try checkLength(builder.bytes.count)
        if found { become(builder) }
    }

    /// The new text has the origin of the first byte.
    mutating func prepend(_ prefix: [UInt8]) throws {
        guard !bytes.isEmpty else { return }
        try checkLength(bytes.count + prefix.count)
        var builder = TextBuilder(capacity: bytes.count + prefix.count)
        for byte in prefix { builder.append(byte: byte, alignment(at: 0)) }
        for i in bytes.indices { builder.append(byte: bytes[i], alignment(at: i)) }
        become(builder)
    }

    func checkLength(_ length: Int) throws {
        guard length <= limit else {
            throw VQAError(
                "cannot normalise the text",
                because: "the normalizers of this tokenizer make it over \(limit) bytes long")
        }
    }
}
