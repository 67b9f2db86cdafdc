/// `text` for use between tags and inside quoted attributes. Control characters, which HTML does not allow, become
/// spaces.
func escaped(_ text: String) -> String {
    var result = ""
    result.reserveCapacity(text.utf8.count)
    for scalar in text.unicodeScalars {
        switch scalar {
        case "&": result += "&amp;"
        case "<": result += "&lt;"
        case ">": result += "&gt;"
        case "\"": result += "&quot;"
        case "'": result += "&#39;"
        case "\n", "\t": result.unicodeScalars.append(scalar)
        default:
            let isControl = scalar.value < 0x20 || (0x7F...0x9F).contains(scalar.value)
            result.unicodeScalars.append(isControl ? " " : scalar)
        }
    }
    return result
}

/// `12,345,678`.
func grouped(_ value: Int) -> String {
    let digits = String(value.magnitude)
    var result = ""
    for (index, digit) in digits.enumerated() {
        if index > 0, (digits.count - index) % 3 == 0 { result += "," }
        result.append(digit)
    }
    return (value < 0 ? "-" : "") + result
}

/// A percentage with one decimal and no sign: `97.4`. What is not finite is a dash.
func percentText(_ value: Double) -> String { value.isFinite ? decimal(value, 1) : "–" }

/// An image as a `data:` address, or nil when the bytes do not begin like a PNG, JPEG, GIF or WebP file. Other
/// formats, SVG above all, are not embedded.
func imageAddress(_ bytes: [UInt8]) -> String? {
    let type: String
    if bytes.starts(with: [0x89, 0x50, 0x4E, 0x47, 0x0D, 0x0A, 0x1A, 0x0A]) {
        type = "png"
    } else if bytes.starts(with: [0xFF, 0xD8, 0xFF]) {
        type = "jpeg"
    } else if bytes.starts(with: "GIF8".utf8) {
        type = "gif"
    } else if bytes.starts(with: "RIFF".utf8), bytes.dropFirst(8).starts(with: "WEBP".utf8) {
        type = "webp"
    } else {
        return nil
    }
    return "data:image/\(type);base64,\(base64(bytes))"
}

/// True for a PNG of at most 128 pixels in width: drawings that look better with hard edges when enlarged.
func isTinyPNG(_ bytes: [UInt8]) -> Bool {
    // The width is the first number of the IHDR chunk, big-endian, at byte 16.
    guard bytes.count > 24, bytes[0] == 0x89 else { return false }
    let width = bytes[16..<20].reduce(0) { $0 << 8 | Int($1) }
    return width <= 128
}

/// RFC 4648, section 4.
func base64(_ bytes: [UInt8]) -> String {
    let alphabet = Array("ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789+/".utf8)
    var result: [UInt8] = []
    result.reserveCapacity((bytes.count + 2) / 3 * 4)
    for start in stride(from: 0, to: bytes.count, by: 3) {
        let count = min(3, bytes.count - start)
        var group = 0
        for offset in 0..<3 { group = group << 8 | (offset < count ? Int(bytes[start + offset]) : 0) }
        for position in 0..<4 {
            let padding = position > count
            result.append(padding ? UInt8(ascii: "=") : alphabet[group >> (18 - 6 * position) & 63])
        }
    }
    return String(decoding: result, as: UTF8.self)
}
