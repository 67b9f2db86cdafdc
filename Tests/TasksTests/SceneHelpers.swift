import Foundation
import Support
import Tasks

/// Writes scenes into a new folder and hands it to `body`.
func withScenes<Result>(
    _ format: SceneFormat, _ options: SceneOptions, _ body: (String, SceneManifest) throws -> Result
) throws -> Result {
    try withFolder { folder in
        let manifest = try SceneGenerator(options).write(format: format, to: "\(folder)/scenes")
        return try body("\(folder)/scenes", manifest)
    }
}

/// The files below `folder`, sorted, relative to it.
func files(below folder: String) -> [String] {
    let all = FileManager.default.enumerator(atPath: folder)?.compactMap { $0 as? String } ?? []
    return all.filter { !isFolder("\(folder)/\($0)") }.sorted()
}

/// A hash of names and contents of everything below `folder`.
func hash(of folder: String) throws -> String {
    var hash = SHA256()
    for name in files(below: folder) {
        hash.add(name)
        hash.add(try SHA256.hexadecimal(ofFile: "\(folder)/\(name)"))
    }
    return hash.hexadecimal()
}

/// A picture that was read back from a PNG file of ours.
struct ReadPicture {
    var side = 0
    var pixels: [UInt8] = []

    func pixel(_ x: Int, _ y: Int) -> [UInt8] { Array(pixels[3 * (y * side + x)..<3 * (y * side + x) + 3]) }
}

/// Reads the PNG files that the generator writes: one IDAT of one block with fixed codes. From RFC 1950 and 1951; shares
/// nothing with the writer, and checks every checksum.
func readPNG(_ path: String) throws -> ReadPicture {
    let bytes = try readFile(path, limit: 1 << 24)
    func fault(_ why: String) -> VQAError { VQAError("cannot read the PNG", at: path, because: why) }
    guard bytes.prefix(8) == [137, 80, 78, 71, 13, 10, 26, 10] else { throw fault("signature") }
    func joined(_ bytes: ArraySlice<UInt8>) -> Int { bytes.reduce(0) { ($0 << 8) | Int($1) } }
    func number(_ offset: Int) -> Int { joined(bytes[offset..<offset + 4]) }
    var offset = 8
    var chunks: [(name: String, content: [UInt8])] = []
    while offset < bytes.count {
        let length = number(offset)
        let body = Array(bytes[offset + 4..<offset + 8 + length])
        guard crc(body) == number(offset + 8 + length) else { throw fault("CRC of chunk \(chunks.count)") }
        chunks.append((String(decoding: body.prefix(4), as: UTF8.self), Array(body.dropFirst(4))))
        offset += 12 + length
    }
    guard chunks.map(\.name) == ["IHDR", "IDAT", "IEND"], offset == bytes.count else { throw fault("chunks") }
    let side = number(16)
    guard number(20) == side, Array(chunks[0].content.suffix(5)) == [8, 2, 0, 0, 0] else {
        throw fault("IHDR")
    }
    let stream = chunks[1].content
    guard stream[0] == 0x78, (Int(stream[0]) << 8 | Int(stream[1])) % 31 == 0 else { throw fault("zlib") }
    let raw = try inflate(Array(stream[2..<stream.count - 4]))
    var (a, b) = (1, 0)
    for byte in raw {
        a = (a + Int(byte)) % 65521
        b = (b + a) % 65521
    }
    guard joined(stream.suffix(4)) == (b << 16) | a else { throw fault("Adler-32") }
    guard raw.count == side * (3 * side + 1) else { throw fault("\(raw.count) bytes") }
    var picture = ReadPicture(side: side)
    let width = 3 * side
    for row in 0..<side {
        let start = row * (width + 1)
        guard raw[start] == 0 else { throw fault("filter") }
        picture.pixels += raw[start + 1..<start + 1 + width]
    }
    return picture
}

private func crc(_ bytes: [UInt8]) -> Int {
    var value: UInt32 = .max
    for byte in bytes {
        value ^= UInt32(byte)
        for _ in 0..<8 { value = value & 1 == 1 ? (value >> 1) ^ 0xEDB8_8320 : value >> 1 }
    }
    return Int(~value)
}

private func inflate(_ bytes: [UInt8]) throws -> [UInt8] {
    var position = 0
    func bits(_ count: Int) -> Int {
        var value = 0
        for index in 0..<count {
            value |= (Int(bytes[position >> 3]) >> (position & 7) & 1) << index
            position += 1
        }
        return value
    }
    func code(_ count: Int) -> Int { (0..<count).reduce(0) { value, _ in value << 1 | bits(1) } }
    func symbol() -> Int {
        var value = code(7)
        if value < 0x18 { return 256 + value }
        value = value << 1 | bits(1)
        if value < 0xC0 { return value - 0x30 }
        if value < 0xC8 { return value - 0xC0 + 280 }
        return (value << 1 | bits(1)) - 0x190 + 144
    }
    guard bits(3) == 0b011 else { throw VQAError("cannot inflate", because: "block type") }
    var result: [UInt8] = []
    while true {
        let value = symbol()
        if value < 256 {
            result.append(UInt8(value))
            continue
        }
        if value == 256 { break }
        let lengthCode = value - 257
        let extra = lengthCode < 8 || lengthCode == 28 ? 0 : lengthCode / 4 - 1
        let length: Int
        if lengthCode == 28 {
            length = 258
        } else if lengthCode < 8 {
            length = 3 + lengthCode
        } else {
            length = 3 + ((4 + lengthCode % 4) << extra) + bits(extra)
        }
        let distanceCode = code(5)
        let distanceExtra = distanceCode < 4 ? 0 : distanceCode / 2 - 1
        let distance: Int
        if distanceCode < 4 {
            distance = 1 + distanceCode
        } else {
            distance = 1 + ((2 + distanceCode % 2) << distanceExtra) + bits(distanceExtra)
        }
        guard distance <= result.count else {
            throw VQAError("cannot inflate", because: "distance \(distance)")
        }
        for _ in 0..<length { result.append(result[result.count - distance]) }
    }
    guard (position + 7) / 8 == bytes.count else {
        throw VQAError("cannot inflate", because: "bytes left over")
    }
    return result
}
