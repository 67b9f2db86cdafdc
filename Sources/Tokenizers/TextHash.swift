/// The hash of a text, which can be continued byte by byte: the hashes of all beginnings of a word are found in one pass.
///
/// Eight bytes at a time are mixed in by a multiplication to 128 bits, whose halves are put together again.
struct TextHash: Sendable {
    /// The hash of the whole words of eight bytes so far.
    private var words: UInt64
    /// The bytes after them.
    private var rest: UInt64 = 0
    private var count: UInt64 = 0

    /// The hash of no bytes. The seed keeps files from being made whose texts all collide.
    init(seed: UInt64) { words = seed }

    @inline(__always)
    mutating func add(_ byte: UInt8) {
        rest |= UInt64(byte) << (8 * (count & 7))
        count &+= 1
        if count & 7 == 0 {
            words = Self.mix(words ^ rest, 0xa076_1d64_78bd_642f)
            rest = 0
        }
    }

    var value: UInt64 {
        @inline(__always) get {
            Self.mix(words ^ rest, 0xe703_7ed1_a0b4_28db ^ count &* 0x9e37_79b9_7f4a_7c15)
        }
    }

    /// The value for a text as a whole; the same as byte by byte.
    @inline(__always)
    static func value(of text: UnsafeBufferPointer<UInt8>, seed: UInt64) -> UInt64 {
        var hash = TextHash(seed: seed)
        let bytes = UnsafeRawBufferPointer(text)
        var i = 0
        while i + 8 <= bytes.count {
            hash.words = mix(hash.words ^ word(bytes, i), 0xa076_1d64_78bd_642f)
            i += 8
        }
        hash.rest = lastBytes(bytes, from: i)
        hash.count = UInt64(truncatingIfNeeded: bytes.count)
        return hash.value
    }

    /// Whether the texts are the same.
    @inline(__always)
    static func areEqual(_ a: UnsafeBufferPointer<UInt8>, _ b: UnsafeBufferPointer<UInt8>) -> Bool {
        guard a.count == b.count else { return false }
        let (a, b) = (UnsafeRawBufferPointer(a), UnsafeRawBufferPointer(b))
        var i = 0
        while i + 8 <= a.count {
            if word(a, i) != word(b, i) { return false }
            i += 8
        }
        return lastBytes(a, from: i) == lastBytes(b, from: i)
    }

    @inline(__always)
    private static func mix(_ a: UInt64, _ b: UInt64) -> UInt64 {
        let product = a.multipliedFullWidth(by: b)
        return product.high ^ product.low
    }

    @inline(__always)
    private static func word(_ bytes: UnsafeRawBufferPointer, _ i: Int) -> UInt64 {
        UInt64(littleEndian: bytes.loadUnaligned(fromByteOffset: i, as: UInt64.self))
    }

    /// The bytes from `i` on, fewer than eight, as a number. Reads that overlap spare the loop over bytes.
    @inline(__always)
    private static func lastBytes(_ bytes: UnsafeRawBufferPointer, from i: Int) -> UInt64 {
        let count = bytes.count - i
        if count == 0 { return 0 }
        if bytes.count >= 8 { return word(bytes, bytes.count - 8) >> UInt64(64 - 8 * count) }
        if count >= 4 {
            let first = UInt32(littleEndian: bytes.loadUnaligned(fromByteOffset: i, as: UInt32.self))
            let last = UInt32(
                littleEndian: bytes.loadUnaligned(fromByteOffset: bytes.count - 4, as: UInt32.self))
            return UInt64(first) | UInt64(last) << UInt64(8 * count - 32)
        }
        return UInt64(bytes[i]) | UInt64(bytes[i + count / 2]) << UInt64(8 * (count / 2))
            | UInt64(bytes[i + count - 1]) << UInt64(8 * (count - 1))
    }
}
