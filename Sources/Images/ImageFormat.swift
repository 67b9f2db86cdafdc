import Support

/// The formats that are decoded.
public enum ImageFormat: String, Sendable, CaseIterable {
    case jpeg = "JPEG"
    case png = "PNG"
    case webp = "WebP"

    /// Tells the format from the content; the name of the file does not count. Anything else is an error that
    /// says what the bytes look like, when that is known.
    public init(sniffing bytes: UnsafeRawBufferPointer, source: String) throws {
        guard bytes.count > 0 else {
            throw VQAError("cannot read the image", at: source, because: "the file is empty")
        }
        if Signature.matches(bytes, at: 0, "\u{FF}\u{D8}\u{FF}") {
            self = .jpeg
        } else if Signature.matches(bytes, at: 0, "\u{89}PNG\r\n\u{1A}\n") {
            self = .png
        } else if Signature.matches(bytes, at: 0, "RIFF"), Signature.matches(bytes, at: 8, "WEBP") {
            self = .webp
        } else {
            let known = Signature.others.first { Signature.matches(bytes, at: $0.offset, $0.bytes) }
            throw VQAError(
                "cannot read the image", at: source,
                because: known.map { "it is \($0.name), not an image that is read here" }
                    ?? "its first bytes are of no known image format",
                remedy: "give a JPEG, PNG or WebP file")
        }
    }
}

/// First bytes by which formats that are not decoded are named.
private struct Signature {
    let offset: Int
    /// One byte a character, U+0000 to U+00FF.
    let bytes: String
    let name: String

    static let others = [
        Signature(offset: 0, bytes: "GIF8", name: "a GIF"),
        Signature(offset: 0, bytes: "II*\0", name: "a TIFF"),
        Signature(offset: 0, bytes: "MM\0*", name: "a TIFF"),
        Signature(offset: 4, bytes: "ftypavi", name: "an AVIF"),
        Signature(offset: 4, bytes: "ftyphei", name: "a HEIF"),
        Signature(offset: 4, bytes: "ftypmif1", name: "a HEIF"),
        Signature(offset: 4, bytes: "ftyp", name: "a video or HEIF file"),
        Signature(offset: 0, bytes: "\0\0\0\u{0C}jP  ", name: "a JPEG 2000"),
        Signature(offset: 0, bytes: "\u{FF}\u{0A}", name: "a JPEG XL"),
        Signature(offset: 0, bytes: "\0\0\0\u{0C}JXL ", name: "a JPEG XL"),
        Signature(offset: 0, bytes: "8BPS", name: "a Photoshop file"),
        Signature(offset: 0, bytes: "\0\0\u{01}\0", name: "an ICO"),
        Signature(offset: 0, bytes: "qoif", name: "a QOI"),
        Signature(offset: 0, bytes: "P5", name: "a PGM"),
        Signature(offset: 0, bytes: "P6", name: "a PPM"),
        Signature(offset: 0, bytes: "BM", name: "a BMP"),
        Signature(offset: 0, bytes: "%PDF", name: "a PDF"),
        Signature(offset: 0, bytes: "PK\u{03}\u{04}", name: "a ZIP archive"),
        Signature(offset: 0, bytes: "\u{93}NUMPY", name: "a NumPy array"),
        Signature(
            offset: 0, bytes: "version https://git-lfs",
            name: "a git-lfs pointer (fetch the file with git lfs pull)"),
        Signature(offset: 0, bytes: "<", name: "a text such as HTML or SVG"),
        Signature(offset: 0, bytes: "{", name: "a text such as JSON"),
    ]

    static func matches(_ data: UnsafeRawBufferPointer, at offset: Int, _ pattern: String) -> Bool {
        let wanted = pattern.unicodeScalars
        guard data.count - offset >= wanted.count else { return false }
        return zip(data[offset...], wanted).allSatisfy { UInt32($0) == $1.value }
    }
}
