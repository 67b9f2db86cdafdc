import Support

/// Image files made from images that a data set keeps in another form: base64 text in a table, arrays of pixels.
///
/// Each image is written once, under the SHA-256 of what it was made from, so reading the data again writes nothing and
/// equal images share a file.
struct DecodedImages {
    private let folder: String

    /// The largest image, in bytes.
    static let limit = 64 << 20

    /// Writes into `folder/task`, which is made when the first image is written.
    init(folder: String, task: String) { self.folder = "\(folder)/\(task)" }

    /// The path of the image that `base64` holds: JPEG, PNG or WebP.
    func path(base64: String) throws -> String {
        let bytes = Array(base64.utf8)
        guard bytes.count <= Self.limit / 3 * 4 else {
            throw refusal("it has \(bytes.count) base64 digits, more than the limit of \(Self.limit / 3 * 4)")
        }
        let name = bytes.withUnsafeBytes(digest)
        for kind in Kind.allCases where fileExists("\(folder)/\(name).\(kind.rawValue)") {
            return "\(folder)/\(name).\(kind.rawValue)"
        }
        let image = try decodeBase64(bytes)
        guard let kind = Kind(image) else { throw refusal("it is no JPEG, PNG or WebP image") }
        return try write(image, "\(name).\(kind.rawValue)")
    }

    /// The path of a PNG of RGB pixels: `height` rows of `width` times three bytes.
    func path(rgb: UnsafeRawBufferPointer, width: Int, height: Int) throws -> String {
        let name = "\(digest(rgb)).png"
        if fileExists("\(folder)/\(name)") { return "\(folder)/\(name)" }
        return try write(storedPNG(rgb: rgb, width: width, height: height), name)
    }

    private func write(_ image: [UInt8], _ name: String) throws -> String {
        try makeFolder(folder)
        var file = try AtomicFile("\(folder)/\(name)")
        try image.withUnsafeBytes { try file.write($0) }
        try file.commit()
        return "\(folder)/\(name)"
    }

    private func digest(_ bytes: UnsafeRawBufferPointer) -> String {
        var hash = SHA256()
        hash.add(bytes)
        return hash.hexadecimal()
    }

    private enum Kind: String, CaseIterable {
        case jpg, png, webp

        init?(_ bytes: [UInt8]) {
            if bytes.starts(with: [0xFF, 0xD8, 0xFF]) {
                self = .jpg
            } else if bytes.starts(with: [0x89, 0x50, 0x4E, 0x47, 0x0D, 0x0A, 0x1A, 0x0A]) {
                self = .png
            } else if bytes.starts(with: Array("RIFF".utf8)),
                bytes.dropFirst(8).starts(with: Array("WEBP".utf8))
            {
                self = .webp
            } else {
                return nil
            }
        }
    }
}

private func refusal(_ why: String) -> VQAError { VQAError("cannot decode the image", because: why) }

/// The bytes of base64 digits, of the usual or the URL-safe alphabet; line breaks are stepped over, and the padding may
/// be missing.
func decodeBase64(_ text: [UInt8]) throws -> [UInt8] {
    var bytes: [UInt8] = []
    bytes.reserveCapacity(text.count / 4 * 3 + 3)
    var bits: UInt32 = 0
    var digits = 0
    var padding = 0
    for byte in text {
        let value: UInt32
        switch byte {
        case UInt8(ascii: "A")...UInt8(ascii: "Z"): value = UInt32(byte) - 65
        case UInt8(ascii: "a")...UInt8(ascii: "z"): value = UInt32(byte) - 71
        case UInt8(ascii: "0")...UInt8(ascii: "9"): value = UInt32(byte) + 4
        case UInt8(ascii: "+"), UInt8(ascii: "-"): value = 62
        case UInt8(ascii: "/"), UInt8(ascii: "_"): value = 63
        case UInt8(ascii: "="):
            padding += 1
            continue
        case 0x0A, 0x0D, 0x20: continue
        default: throw refusal("it is no base64 text")
        }
        guard padding == 0 else { throw refusal("it is no base64 text: digits follow the padding") }
        bits = bits << 6 | value
        digits += 1
        if digits == 4 {
            bytes += [UInt8(bits >> 16 & 0xFF), UInt8(bits >> 8 & 0xFF), UInt8(bits & 0xFF)]
            (bits, digits) = (0, 0)
        }
    }
    guard padding <= 2, digits != 1 else { throw refusal("it is no base64 text: its end is missing") }
    if digits == 2 { bytes.append(UInt8(bits >> 4 & 0xFF)) }
    if digits == 3 { bytes += [UInt8(bits >> 10 & 0xFF), UInt8(bits >> 2 & 0xFF)] }
    return bytes
}

/// A PNG file whose pixels are stored, not compressed (PNG specification, sections 5 and 11; RFC 1950, 1951).
func storedPNG(rgb: UnsafeRawBufferPointer, width: Int, height: Int) -> [UInt8] {
    var rows: [UInt8] = []
    rows.reserveCapacity(height * (3 * width + 1))
    for row in 0..<height {
        rows.append(0)  // No filter.
        rows += rgb[(3 * width * row)..<(3 * width * (row + 1))]
    }
    var stream: [UInt8] = [0x78, 0x01]
    var start = 0
    repeat {
        let end = min(rows.count, start + 0xFFFF)
        let length = UInt16(end - start)
        stream.append(end == rows.count ? 1 : 0)
        for value in [length, ~length] { stream += [UInt8(value & 0xFF), UInt8(value >> 8)] }
        stream += rows[start..<end]
        start = end
    } while start < rows.count
    var (low, high): (UInt32, UInt32) = (1, 0)
    for byte in rows {
        low = (low + UInt32(byte)) % 65521
        high = (high + low) % 65521
    }
    stream += bigEndian(high << 16 | low)

    var file: [UInt8] = [0x89, 0x50, 0x4E, 0x47, 0x0D, 0x0A, 0x1A, 0x0A]
    func chunk(_ type: String, _ content: [UInt8]) {
        let body = Array(type.utf8) + content
        file += bigEndian(UInt32(content.count)) + body + bigEndian(crc32(body))
    }
    // Eight bits a channel, RGB, no interlacing.
    chunk("IHDR", bigEndian(UInt32(width)) + bigEndian(UInt32(height)) + [8, 2, 0, 0, 0])
    chunk("IDAT", stream)
    chunk("IEND", [])
    return file
}

private func bigEndian(_ value: UInt32) -> [UInt8] {
    [UInt8(value >> 24), UInt8(value >> 16 & 0xFF), UInt8(value >> 8 & 0xFF), UInt8(value & 0xFF)]
}

/// The checksum of PNG and ZIP.
func crc32(_ bytes: [UInt8]) -> UInt32 {
    var sum: UInt32 = 0xFFFF_FFFF
    for byte in bytes {
        sum ^= UInt32(byte)
        for _ in 0..<8 { sum = sum & 1 == 1 ? sum >> 1 ^ 0xEDB8_8320 : sum >> 1 }
    }
    return ~sum
}
