/// The scalars of the original text that a piece of normalised text stands for: `start ..< end`.
struct Alignment: Sendable, Equatable {
    var start: UInt32
    var end: UInt32
}

/// A stretch of text on its way through the normalizers: UTF-8 and, byte by byte, where it came from.
struct NormalizedText: Sendable {
    /// The text as it is now.
    private(set) var bytes: [UInt8]
    /// Where each byte came from; nil as long as byte `i` is just scalar `base + i` of the original.
    private(set) var alignment: [Alignment]?
    /// The number of the first scalar of this stretch in the whole original text.
    let base: UInt32
    /// The scalar of the original at which this stretch began, before any normalizer.
    private(set) var origin: UInt32
    /// The length in bytes that normalizers may let it grow to: a chain of replacements could double it at
    /// each step.
    let limit: Int

    /// - Parameter base: the number of scalars before this stretch.
    init(_ utf8: UnsafeBufferPointer<UInt8>, base: UInt32) {
        self.base = base
        origin = base
        limit = utf8.count * 64 + 65_536
        bytes = Array(utf8)
        guard utf8.contains(where: { $0 >= 0x80 }) else { return }
        var alignment: [Alignment] = []
        alignment.reserveCapacity(utf8.count)
        var next = base
        for byte in utf8 {
            if byte & 0xC0 != 0x80 { next += 1 }
            alignment.append(Alignment(start: max(next, base + 1) - 1, end: max(next, base + 1)))
        }
        self.alignment = alignment
    }

    /// Puts in place of this text what a normalizer has built of it.
    mutating func become(_ builder: consuming TextBuilder) {
        bytes = builder.bytes
        alignment = builder.alignment
    }

    /// True when every byte is ASCII and stands for the scalar at its place.
    var isPlain: Bool { alignment == nil }

    /// Where the byte came from.
    @inline(__always)
    func alignment(at index: Int) -> Alignment {
        if let alignment { return alignment[index] }
        return Alignment(start: base + UInt32(index), end: base + UInt32(index) + 1)
    }

    /// Where a range of bytes came from.
    func span(_ range: Range<Int>) -> Alignment {
        guard !range.isEmpty else {
            return Alignment(start: base + UInt32(range.lowerBound), end: base + UInt32(range.lowerBound))
        }
        return Alignment(
            start: alignment(at: range.lowerBound).start, end: alignment(at: range.upperBound - 1).end)
    }

    /// Changes bytes in place, keeping text ASCII and of the same length. Only for text that ``isPlain``.
    mutating func mapBytes(_ change: (UInt8) -> UInt8) {
        bytes.withUnsafeMutableBufferPointer { bytes in
            for i in bytes.indices { bytes[i] = change(bytes[i]) }
        }
    }

    /// Builds the text anew: `body` is called with each scalar and where it came from.
    @inline(__always)
    mutating func rewrite(_ body: (UInt32, Alignment, inout TextBuilder) -> Void) {
        var builder = TextBuilder(capacity: bytes.count)
        bytes.withUnsafeBufferPointer { bytes in
            var i = 0
            while i < bytes.count {
                let origin = alignment(at: i)
                body(decodeScalar(bytes, &i), origin, &builder)
            }
        }
        become(builder)
    }

    /// True when any scalar has one of the classes.
    func contains(_ kinds: ScalarClass) -> Bool {
        let classes = ScalarClasses.shared
        return bytes.withUnsafeBufferPointer { bytes in
            var i = 0
            while i < bytes.count {
                if !classes[decodeScalar(bytes, &i)].isDisjoint(with: kinds) { return true }
            }
            return false
        }
    }

    /// A part of this text as a text of its own.
    func slice(_ range: Range<Int>) -> NormalizedText {
        if range == bytes.startIndex..<bytes.endIndex { return self }
        var builder = TextBuilder(capacity: range.count)
        for i in range { builder.append(byte: bytes[i], alignment(at: i)) }
        var part = self
        part.become(builder)
        part.origin = range.isEmpty ? origin : alignment(at: range.lowerBound).start
        return part
    }
}

/// Normalised text under construction.
struct TextBuilder {
    private(set) var bytes: [UInt8] = []
    private(set) var alignment: [Alignment] = []

    /// The number of bytes so far.
    var count: Int { bytes.count }

    init(capacity: Int) {
        bytes.reserveCapacity(capacity)
        alignment.reserveCapacity(capacity)
    }

    @inline(__always)
    mutating func append(byte: UInt8, _ origin: Alignment) {
        bytes.append(byte)
        alignment.append(origin)
    }

    @inline(__always)
    mutating func append(_ scalar: UInt32, _ origin: Alignment) {
        if scalar < 0x80 {
            append(byte: UInt8(scalar), origin)
        } else if scalar < 0x800 {
            append(byte: UInt8(0xC0 | scalar >> 6), origin)
            append(byte: UInt8(0x80 | scalar & 0x3F), origin)
        } else if scalar < 0x10000 {
            append(byte: UInt8(0xE0 | scalar >> 12), origin)
            append(byte: UInt8(0x80 | scalar >> 6 & 0x3F), origin)
            append(byte: UInt8(0x80 | scalar & 0x3F), origin)
        } else {
            append(byte: UInt8(0xF0 | scalar >> 18 & 7), origin)
            append(byte: UInt8(0x80 | scalar >> 12 & 0x3F), origin)
            append(byte: UInt8(0x80 | scalar >> 6 & 0x3F), origin)
            append(byte: UInt8(0x80 | scalar & 0x3F), origin)
        }
    }
}

/// The scalar at `offset`, which moves to the next. The bytes come from a `String`, so they are UTF-8; a
/// stretch that is cut within a scalar gives U+FFFD.
@inline(__always)
func decodeScalar(_ bytes: UnsafeBufferPointer<UInt8>, _ offset: inout Int) -> UInt32 {
    let first = UInt32(bytes[offset])
    offset += 1
    if first < 0x80 { return first }
    let more = first >= 0xF0 ? 3 : first >= 0xE0 ? 2 : 1
    guard first >= 0xC0, bytes.count - offset >= more else { return 0xFFFD }
    var scalar = first & (0x3F >> UInt32(more))
    for _ in 0..<more {
        scalar = scalar << 6 | UInt32(bytes[offset]) & 0x3F
        offset += 1
    }
    return scalar
}
