/// A small PNG writer: 8-bit colour, no filters, one deflate block of fixed codes. Flat pictures become 1 to 3 % of their
/// size, because a pixel mostly repeats the one before it or the one above.
///
/// Sources: the PNG specification (ISO/IEC 15948), RFC 1950 (zlib), RFC 1951 (deflate).
enum ScenePNG {
    /// The file of a square picture of three bytes a pixel.
    static func file(_ canvas: SceneCanvas) -> [UInt8] {
        var result: [UInt8] = [0x89, 0x50, 0x4E, 0x47, 0x0D, 0x0A, 0x1A, 0x0A]
        let side = bigEndian(UInt32(canvas.side))
        // 8 bits a channel, red-green-blue, deflate, filters of each row, not interlaced.
        append("IHDR", side + side + [8, 2, 0, 0, 0], to: &result)
        append("IDAT", compressed(rows(of: canvas), stride: 3 * canvas.side + 1), to: &result)
        append("IEND", [], to: &result)
        return result
    }

    /// The rows, each behind its filter, 0.
    private static func rows(of canvas: SceneCanvas) -> [UInt8] {
        var result: [UInt8] = []
        let width = 3 * canvas.side
        result.reserveCapacity(canvas.side * (width + 1))
        for row in 0..<canvas.side {
            result.append(0)
            result += canvas.pixels[row * width..<(row + 1) * width]
        }
        return result
    }

    private static func append(_ name: String, _ content: [UInt8], to file: inout [UInt8]) {
        let body = Array(name.utf8) + content
        file += bigEndian(UInt32(content.count)) + body + bigEndian(checksum(body))
    }

    private static func bigEndian(_ value: UInt32) -> [UInt8] {
        [24, 16, 8, 0].map { UInt8(truncatingIfNeeded: value >> $0) }
    }

    // MARK: Checksums

    private static let table: [UInt32] = (0..<256).map { byte in
        (0..<8).reduce(UInt32(byte)) { value, _ in value & 1 == 1 ? 0xEDB8_8320 ^ (value >> 1) : value >> 1 }
    }

    /// The CRC-32 of a chunk's name and content.
    static func checksum(_ bytes: [UInt8]) -> UInt32 {
        ~bytes.reduce(UInt32.max) { table[Int(($0 ^ UInt32($1)) & 0xFF)] ^ ($0 >> 8) }
    }

    /// The Adler-32 of uncompressed data.
    static func adler(_ bytes: [UInt8]) -> UInt32 {
        var (a, b) = (1, 0)
        var start = 0
        // 5,552 is how many bytes the sums take before 32 bits are full (RFC 1950).
        while start < bytes.count {
            let end = min(bytes.count, start + 5552)
            for index in start..<end {
                a += Int(bytes[index])
                b += a
            }
            (a, b) = (a % 65521, b % 65521)
            start = end
        }
        return UInt32(b) << 16 | UInt32(a)
    }

    // MARK: Deflate

    /// `bytes` as a zlib stream. Repeats are looked for at two distances only: one pixel and one row.
    private static func compressed(_ bytes: [UInt8], stride: Int) -> [UInt8] {
        var bits = DeflateBits()
        bits.add(1, count: 1)  // the last block
        bits.add(1, count: 2)  // fixed codes
        bytes.withUnsafeBufferPointer { bytes in
            var position = 0
            while position < bytes.count {
                let above = repeated(bytes, at: position, distance: stride)
                let before = above == 258 ? 0 : repeated(bytes, at: position, distance: 3)
                if max(above, before) >= 3 {
                    bits.addMatch(
                        length: max(above, before), distance: above >= before ? stride : 3)
                    position += max(above, before)
                } else {
                    bits.addSymbol(Int(bytes[position]))
                    position += 1
                }
            }
        }
        bits.addSymbol(256)
        // Deflate with a window of 32 kB, no dictionary; the two bytes are a multiple of 31.
        return [0x78, 0x01] + bits.finished() + bigEndian(adler(bytes))
    }

    /// How many bytes from `position` on equal those `distance` before them, at most 258.
    private static func repeated(_ bytes: UnsafeBufferPointer<UInt8>, at position: Int, distance: Int) -> Int
    {
        guard position >= distance else { return 0 }
        let limit = min(258, bytes.count - position)
        var length = 0
        while length < limit, bytes[position + length] == bytes[position + length - distance] { length += 1 }
        return length
    }
}

/// Bits in the order of deflate: numbers from their lowest bit on, codes from their highest.
private struct DeflateBits {
    private var bytes: [UInt8] = []
    private var pending: UInt64 = 0
    private var pendingCount = 0

    /// The fixed codes of literals and lengths (RFC 1951, 3.2.6), turned around.
    private static let codes: [(code: UInt64, count: Int)] = (0..<288).map { symbol in
        switch symbol {
        case 0..<144: (reversed(0x30 + symbol, 8), 8)
        case 144..<256: (reversed(0x190 + symbol - 144, 9), 9)
        case 256..<280: (reversed(symbol - 256, 7), 7)
        default: (reversed(0xC0 + symbol - 280, 8), 8)
        }
    }

    /// For each length from 3 on: its symbol, and the number and value of the bits behind it.
    private static let lengths: [(symbol: Int, count: Int, extra: UInt64)] = (0...258).map { length in
        switch length {
        case ..<11: return (254 + length, 0, 0)
        case 258: return (285, 0, 0)
        default:
            let count = (length - 3).bitWidth - (length - 3).leadingZeroBitCount - 3
            let group = (length - 3) >> count
            return (257 + 4 * count + group, count, UInt64((length - 3) & (1 << count - 1)))
        }
    }

    private static func reversed(_ code: Int, _ count: Int) -> UInt64 {
        (0..<count).reduce(0) { $0 << 1 | UInt64(code >> $1 & 1) }
    }

    mutating func add(_ value: UInt64, count: Int) {
        pending |= value << UInt64(pendingCount)
        pendingCount += count
        while pendingCount >= 8 {
            bytes.append(UInt8(truncatingIfNeeded: pending))
            pending >>= 8
            pendingCount -= 8
        }
    }

    mutating func addSymbol(_ symbol: Int) {
        let entry = Self.codes[symbol]
        add(entry.code, count: entry.count)
    }

    /// - Parameters:
    ///   - length: 3...258.
    ///   - distance: 3, or at most 32,768.
    mutating func addMatch(length: Int, distance: Int) {
        let entry = Self.lengths[length]
        addSymbol(entry.symbol)
        add(entry.extra, count: entry.count)
        guard distance > 4 else { return add(Self.reversed(distance - 1, 5), count: 5) }
        let count = (distance - 1).bitWidth - (distance - 1).leadingZeroBitCount - 2
        let group = (distance - 1) >> count
        add(Self.reversed(2 * count + group, 5), count: 5)
        add(UInt64((distance - 1) & (1 << count - 1)), count: count)
    }

    consuming func finished() -> [UInt8] {
        if pendingCount > 0 { bytes.append(UInt8(truncatingIfNeeded: pending)) }
        return bytes
    }
}
