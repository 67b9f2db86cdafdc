/// The characters that byte-level vocabularies write bytes with: printable bytes of Latin-1 stand for
/// themselves, the others for the scalars from U+0100 on, in order (GPT-2's `bytes_to_unicode`).
enum ByteAlphabet {
    /// The scalar for each byte; all are below U+0144, so their UTF-8 has one or two bytes.
    static let scalars: [UInt32] = {
        var next: UInt32 = 0x100
        return (UInt32(0)..<256).map { byte in
            if (0x21...0x7E).contains(byte) || (0xA1...0xAC).contains(byte) || byte >= 0xAE { return byte }
            next += 1
            return next - 1
        }
    }()

    /// For each scalar below U+0144 the byte that it stands for, or -1.
    static let bytes: [Int16] = {
        var bytes = [Int16](repeating: -1, count: 0x144)
        for (byte, scalar) in scalars.enumerated() { bytes[Int(scalar)] = Int16(byte) }
        return bytes
    }()

    /// The UTF-8 of the scalar for each byte.
    static let texts: [[UInt8]] = scalars.map { scalar in
        scalar < 0x80
            ? [UInt8(scalar)] : [UInt8(0xC0 | scalar >> 6), UInt8(0x80 | scalar & 0x3F)]
    }

    /// Appends the bytes that a token stands for; false when the token is not written in this alphabet, and
    /// nothing is appended.
    static func appendBytes(of token: UnsafeBufferPointer<UInt8>, to text: inout [UInt8]) -> Bool {
        let start = text.count
        var i = 0
        while i < token.count {
            let scalar = decodeScalar(token, &i)
            guard scalar < UInt32(bytes.count), bytes[Int(scalar)] >= 0 else {
                text.removeLast(text.count - start)
                return false
            }
            text.append(UInt8(truncatingIfNeeded: bytes[Int(scalar)]))
        }
        return true
    }
}

extension NormalizedText {
    /// Spells every byte by its character; each has the origin of its byte.
    mutating func spellBytes() {
        var builder = TextBuilder(capacity: bytes.count * 2)
        for i in bytes.indices { builder.append(ByteAlphabet.scalars[Int(bytes[i])], alignment(at: i)) }
        become(builder)
    }
}
