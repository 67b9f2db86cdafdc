import Support

/// The table of replacements in a SentencePiece model (`precompiled_charsmap`): a trie of texts in a double
/// array (the layout of Darts-clone), whose values are places in a list of replacements.
///
/// It is applied as the `tokenizers` library does, which differs from SentencePiece itself: a cluster of
/// characters (Unicode's extended grapheme) of fewer than six bytes is replaced as a whole by what the shortest
/// of its prefixes in the table becomes; in other clusters each character is looked up on its own.
struct PrecompiledMap: Sendable, Equatable {
    private let units: [UInt32]
    /// Replacements, each ended by a zero byte.
    private let texts: [UInt8]

    private static let failed = "cannot read the table of replacements"

    /// Reads the bytes of `precompiled_charsmap`: the size of the trie, its units, the replacements.
    init(_ bytes: [UInt8], source: String) throws {
        guard bytes.count >= 4 else {
            throw VQAError(Self.failed, at: source, because: "it has only \(bytes.count) bytes")
        }
        func unit(_ index: Int) -> UInt32 {
            (0..<4).reduce(0) { $0 | UInt32(bytes[index + $1]) << UInt32(8 * $1) }
        }
        let size = Int(unit(0))
        guard size % 4 == 0, size <= bytes.count - 4, size >= 4 else {
            throw VQAError(
                Self.failed, at: source,
                because: "a trie of \(size) bytes does not fit its \(bytes.count) bytes")
        }
        units = (0..<(size / 4)).map { unit(4 + $0 * 4) }
        texts = Array(bytes[(4 + size)...])
        guard String(validating: texts, as: UTF8.self) != nil else {
            throw VQAError(Self.failed, at: source, because: "its replacements are not UTF-8")
        }
    }

    /// Reads the table from base 64, as tokenizer.json writes it.
    init(base64 text: String, source: String) throws {
        var bytes: [UInt8] = []
        bytes.reserveCapacity(text.utf8.count / 4 * 3)
        var pending: UInt32 = 0
        var count = 0
        for byte in text.utf8 {
            if byte == UInt8(ascii: "=") { break }
            guard let value = Self.base64Value(byte) else {
                throw VQAError(Self.failed, at: source, because: "it is not written in base 64")
            }
            pending = pending << 6 | value
            count += 1
            if count % 4 == 0 {
                bytes += [UInt8(pending >> 16 & 0xFF), UInt8(pending >> 8 & 0xFF), UInt8(pending & 0xFF)]
                pending = 0
            }
        }
        if count % 4 == 2 { bytes.append(UInt8(pending >> 4 & 0xFF)) }
        if count % 4 == 3 { bytes += [UInt8(pending >> 10 & 0xFF), UInt8(pending >> 2 & 0xFF)] }
        try self.init(bytes, source: source)
    }

    private static func base64Value(_ byte: UInt8) -> UInt32? {
        switch byte {
        case UInt8(ascii: "A")...UInt8(ascii: "Z"): UInt32(byte - UInt8(ascii: "A"))
        case UInt8(ascii: "a")...UInt8(ascii: "z"): UInt32(byte - UInt8(ascii: "a")) + 26
        case UInt8(ascii: "0")...UInt8(ascii: "9"): UInt32(byte - UInt8(ascii: "0")) + 52
        case UInt8(ascii: "+"): 62
        case UInt8(ascii: "/"): 63
        default: nil
        }
    }

    // MARK: Looking up

    /// The replacement for the shortest prefix of `text` in the table, as a range of ``texts``.
    private func replacement(_ text: Slice<UnsafeBufferPointer<UInt8>>) -> Range<Int>? {
        var node = Self.offset(units[0])
        for byte in text {
            if byte == 0 { return nil }
            node ^= Int(byte)
            guard node < units.count else { return nil }
            let unit = units[node]
            guard unit & (1 << 31 | 0xFF) == UInt32(byte) else { return nil }
            node ^= Self.offset(unit)
            guard unit >> 8 & 1 == 1 else { continue }
            guard node < units.count else { return nil }
            let start = Int(units[node] & 0x7FFF_FFFF)
            guard start <= texts.count else { return nil }
            return start..<(texts[start...].firstIndex(of: 0) ?? texts.count)
        }
        return nil
    }

    private static func offset(_ unit: UInt32) -> Int { Int((unit >> 10) << ((unit & (1 << 9)) >> 6)) }

    // MARK: Applying

    func apply(to text: inout NormalizedText) throws {
        var builder = TextBuilder(capacity: text.bytes.count)
        var isChanged = false
        text.bytes.withUnsafeBufferPointer { bytes in
            var start = 0
            while start < bytes.count {
                let end = Self.clusterEnd(bytes, from: start)
                if end - start < 6, let found = replacement(bytes[start..<end]) {
                    isChanged = true
                    append(found, for: start..<end, bytes, text, &builder)
                } else {
                    var i = start
                    while i < end {
                        let scalarStart = i
                        let scalar = decodeScalar(bytes, &i)
                        if let found = replacement(bytes[scalarStart..<i]) {
                            isChanged = true
                            append(found, for: scalarStart..<i, bytes, text, &builder)
                        } else {
                            builder.append(scalar, text.alignment(at: scalarStart))
                        }
                    }
                }
                start = end
            }
        }
        try text.checkLength(builder.bytes.count)
        if isChanged { text.become(builder) }
    }

    /// New scalars have the origins of the old ones in order; those that are left over have that of the last,
    /// and of old ones that are left over the origin is lost.
    private func append(
        _ replacement: Range<Int>, for old: Range<Int>, _ bytes: UnsafeBufferPointer<UInt8>,
        _ text: NormalizedText, _ builder: inout TextBuilder
    ) {
        texts.withUnsafeBufferPointer { texts in
            var i = replacement.lowerBound
            var place = old.lowerBound
            var origin = text.alignment(at: place)
            while i < replacement.upperBound {
                let scalar = decodeScalar(texts, &i)
                if place < old.upperBound {
                    origin = text.alignment(at: place)
                    _ = decodeScalar(bytes, &place)
                }
                builder.append(scalar, origin)
            }
        }
    }

    /// The end of the cluster of characters that begins at `start`. Where scalars follow that may join others,
    /// Swift knows the rules (Unicode Standard Annex 29).
    private static func clusterEnd(_ bytes: UnsafeBufferPointer<UInt8>, from start: Int) -> Int {
        var end = start
        let first = decodeScalar(bytes, &end)
        if end == bytes.count { return end }
        var i = end
        let second = decodeScalar(bytes, &i)
        if standsAlone(first), standsAlone(second) { return first == 0x0D && second == 0x0A ? i : end }
        var size = 64
        while true {
            var limit = min(bytes.count, start + size)
            while limit > end, limit < bytes.count, bytes[limit] & 0xC0 == 0x80 { limit -= 1 }
            let window = String(decoding: bytes[start..<limit], as: UTF8.self)
            let length = window.first.map { $0.utf8.count } ?? end - start
            if start + length < limit || limit == bytes.count { return start + max(length, end - start) }
            size *= 4
        }
    }

    /// True for scalars of which two are never in one cluster, but for CR LF: those below U+0300, Greek and
    /// Cyrillic letters, kana, ideographs, Hangul syllables.
    private static func standsAlone(_ scalar: UInt32) -> Bool {
        switch scalar {
        case 0..<0x300, 0x370..<0x483, 0x48A..<0x530, 0x3041..<0x3097, 0x30A0..<0x3100, 0x4E00..<0xA000,
            0xAC00..<0xD7A4:
            true
        default: false
        }
    }
}
