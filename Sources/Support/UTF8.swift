/// True when the bytes are well-formed UTF-8 (The Unicode Standard, table 3-7).
public func isUTF8(_ bytes: UnsafeBufferPointer<UInt8>) -> Bool {
    var i = 0
    while true {
        i = endOfShortCharacters(bytes, from: i)
        guard i < bytes.count else { return true }
        guard let end = endOfCharacter(bytes, at: i) else { return false }
        i = end
    }
}

/// Steps over characters of one and two bytes, eight bytes at a time and without a branch for each. Stops at the beginning of a
/// character, at the latest before a longer one or a fault.
private func endOfShortCharacters(_ bytes: UnsafeBufferPointer<UInt8>, from start: Int) -> Int {
    let ones: UInt64 = 0x0101_0101_0101_0101
    let highest = ones &* 0x80
    let raw = UnsafeRawBufferPointer(bytes)
    var i = start
    /// Whether the byte before is the first of two.
    var open: UInt64 = 0
    while i + 8 <= raw.count {
        let word = UInt64(littleEndian: raw.loadUnaligned(fromByteOffset: i, as: UInt64.self))
        // Of each byte the bits 7, 6 and 5, and whether one of 1 to 4 is set.
        let (seventh, sixth, fifth) = (word & highest, word << 1 & highest, word << 2 & highest)
        let low = ((word & (ones &* 0x1E)) &+ (ones &* 0x7F)) & highest
        let first = seventh & sixth
        let isOther = first & fifth | first & ~low
        guard isOther == 0, first << 8 | open == seventh & ~sixth else { break }
        open = first >> 56
        i += 8
    }
    return open == 0 ? i : i - 1
}

/// Where the character that begins at `start` ends; nil when there is none.
private func endOfCharacter(_ bytes: UnsafeBufferPointer<UInt8>, at start: Int) -> Int? {
    let first = bytes[start]
    if first < 0x80 { return start + 1 }
    let more: Int
    var lowest: UInt8 = 0x80
    var highest: UInt8 = 0xBF
    switch first {
    case 0xC2...0xDF: more = 1
    case 0xE0...0xEF:
        more = 2
        if first == 0xE0 { lowest = 0xA0 }
        if first == 0xED { highest = 0x9F }
    case 0xF0...0xF4:
        more = 3
        if first == 0xF0 { lowest = 0x90 }
        if first == 0xF4 { highest = 0x8F }
    default: return nil
    }
    guard bytes.count - start > more, bytes[start + 1] >= lowest, bytes[start + 1] <= highest else {
        return nil
    }
    for k in 1...more where bytes[start + k] & 0xC0 != 0x80 { return nil }
    return start + 1 + more
}
