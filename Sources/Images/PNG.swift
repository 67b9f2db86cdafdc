import CImages
import Support

extension Image {
    /// The image as a PNG file.
    public func pngData() throws -> [UInt8] {
        let size = cimages_size(width: UInt32(width), height: UInt32(height))
        let capacity = cimages_png_capacity(size)
        return try [UInt8](unsafeUninitializedCapacity: capacity) { buffer, filled in
            var used = capacity
            var message = cimages_message()
            guard cimages_png_encode(pixels, size, buffer.baseAddress, &used, &message) == CIMAGES_OK else {
                throw VQAError(
                    "cannot encode the image", at: "\(width)×\(height)", because: Image.text(of: message),
                    kind: .failure)
            }
            filled = used
        }
    }

    /// Writes the image as a PNG file, whole or not at all.
    public func writePNG(to path: String) throws {
        let data = try pngData()
        var file = try AtomicFile(path)
        try data.withUnsafeBytes { try file.write($0) }
        try file.commit()
    }
}
