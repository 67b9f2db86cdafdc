import CImages
import Support

/// What a file may ask for. All of it is checked from the headers, before memory for pixels is taken.
public struct DecodeLimits: Sendable, Equatable {
    /// Width × height.
    public var pixels: Int
    /// Bytes of the file.
    public var bytes: Int
    /// Passes of a JPEG over the picture: a small progressive file may ask for thousands.
    public var scans: Int

    /// Limits; what is not given is as in ``standard``.
    public init(pixels: Int = 50_000_000, bytes: Int = 20_000_000, scans: Int = 100) {
        self.pixels = pixels
        self.bytes = bytes
        self.scans = scans
    }

    /// 50 million pixels, 20 million bytes, 100 scans.
    public static let standard = DecodeLimits()
}

/// What becomes of pixels that are not opaque.
public enum Transparency: String, Sendable, CaseIterable {
    /// Alpha is left out and the colour below it stays: Pillow's `convert("RGB")`.
    case dropped
    /// Laid over white with Pillow's rounding: transformers 5's `convert_to_rgb`, and Idefics.
    case overWhite = "over white"
}

/// What the first bytes and the headers of a file tell.
public struct ImageHeader: Sendable, Equatable {
    /// Told from the first bytes.
    public let format: ImageFormat
    /// In pixels.
    public let width: Int
    /// In pixels.
    public let height: Int
}

extension Image {
    /// Decodes a JPEG, PNG or WebP file. The pixels are those of Pillow's `Image.open(path).convert("RGB")`:
    /// grey is repeated, palettes are looked up, alpha is left out, 16-bit colour keeps its high byte, 16-bit
    /// grey is clipped, four-component JPEGs are taken as inverted CMYK. An EXIF orientation is not applied.
    public init(
        contentsOf path: String, limits: DecodeLimits = .standard, transparency: Transparency = .dropped
    ) throws {
        let file = try MappedFile(path)
        self = try withExtendedLifetime(file) {
            try Image.decode(file.bytes, source: path, limits: limits, transparency: transparency)
        }
    }

    /// Decodes the bytes of a file; `source` names it in errors. See
    /// ``init(contentsOf:limits:transparency:)``.
    public static func decode(
        _ bytes: [UInt8], source: String, limits: DecodeLimits = .standard,
        transparency: Transparency = .dropped
    ) throws -> Image {
        try bytes.withUnsafeBytes {
            try decode($0, source: source, limits: limits, transparency: transparency)
        }
    }

    /// Decodes the bytes of a file; `source` names it in errors. See
    /// ``init(contentsOf:limits:transparency:)``.
    public static func decode(
        _ bytes: UnsafeRawBufferPointer, source: String, limits: DecodeLimits = .standard,
        transparency: Transparency = .dropped
    ) throws -> Image {
        guard bytes.count <= limits.bytes else {
            throw VQAError(
                "cannot read the image", at: source,
                because: "it has \(bytes.count) bytes, more than the limit of \(limits.bytes)")
        }
        let found = try header(bytes, source: source)
        guard found.width * found.height <= limits.pixels else {
            throw VQAError(
                "cannot read the image", at: source,
                because:
                    "it has \(found.width)×\(found.height) pixels, more than the limit of \(limits.pixels)",
                remedy: "scale it down first")
        }
        return try decodePixels(bytes, found, source: source, limits: limits, transparency: transparency)
    }

    /// Reads format and size without decoding pixels. Files of other formats are refused by name; sides above
    /// ``maximumSide`` and animations are refused.
    public static func header(_ bytes: UnsafeRawBufferPointer, source: String) throws -> ImageHeader {
        let format = try ImageFormat(sniffing: bytes, source: source)
        let (base, count) = (bytes.baseAddress?.assumingMemoryBound(to: UInt8.self), bytes.count)
        var size = cimages_size()
        var message = cimages_message()
        let status =
            switch format {
            case .jpeg: cimages_jpeg_size(base, count, &size, &message)
            case .png: cimages_png_size(base, count, &size, &message)
            case .webp: cimages_webp_size(base, count, &size, &message)
            }
        try check(status, message, source: source)
        let (width, height) = (Int(size.width), Int(size.height))
        guard (1...maximumSide).contains(width), (1...maximumSide).contains(height) else {
            throw VQAError(
                "cannot read the image", at: source,
                because: "its header says \(width)×\(height), and a side must be 1 to \(maximumSide) pixels")
        }
        return ImageHeader(format: format, width: width, height: height)
    }

    private static func decodePixels(
        _ bytes: UnsafeRawBufferPointer, _ header: ImageHeader, source: String, limits: DecodeLimits,
        transparency: Transparency
    ) throws -> Image {
        let (base, count) = (bytes.baseAddress?.assumingMemoryBound(to: UInt8.self), bytes.count)
        let size = cimages_size(width: UInt32(header.width), height: UInt32(header.height))
        let overWhite: Int32 = transparency == .overWhite ? 1 : 0
        let needed = header.width * header.height * 3
        let pixels = try [UInt8](unsafeUninitializedCapacity: needed) { buffer, filled in
            var message = cimages_message()
            let target = buffer.baseAddress
            let status =
                switch header.format {
                case .jpeg:
                    cimages_jpeg_decode(base, count, size, Int32(clamping: limits.scans), target, &message)
                case .png: cimages_png_decode(base, count, size, overWhite, target, &message)
                case .webp: cimages_webp_decode(base, count, size, overWhite, target, &message)
                }
            try check(status, message, source: source, limits: limits)
            filled = needed
        }
        return Image(uncheckedWidth: header.width, height: header.height, pixels: pixels)
    }

    /// Turns a status of the C side into an error.
    static func check(
        _ status: cimages_status, _ message: cimages_message, source: String, limits: DecodeLimits = .standard
    ) throws {
        let detail = text(of: message)
        let colon = detail.isEmpty ? "" : ": \(detail)"
        let why: String
        switch status {
        case CIMAGES_OK: return
        case CIMAGES_TRUNCATED: why = "the file is truncated: it ends before the picture does"
        case CIMAGES_UNSUPPORTED: why = "this kind of file is not supported\(colon)"
        case CIMAGES_LIMIT: why = "it has more scans than the limit of \(limits.scans)"
        case CIMAGES_MEMORY:
            throw VQAError(
                "cannot read the image", at: source, because: "out of memory\(colon)", kind: .failure)
        default: why = "the file is damaged\(colon)"
        }
        throw VQAError("cannot read the image", at: source, because: why)
    }

    static func text(of message: cimages_message) -> String {
        withUnsafeBytes(of: message.text) { String(decoding: $0.prefix { $0 != 0 }, as: UTF8.self) }
    }
}
