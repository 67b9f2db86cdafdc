import Support

/// Image files made from the encoded bytes that a table holds, so that they are read like any others.
///
/// Each image is written once, as `<SHA-256 of the bytes>.<jpg, png, webp or bin>`. The name says what the file holds, so a file
/// that is there is right, and equal images share one.
struct UnpackedImages {
    private let folder: String

    /// Makes the folder.
    init(folder: String) throws {
        self.folder = folder
        try makeFolder(folder)
    }

    /// The path of the image with these bytes, which is written unless it is there.
    func path(of bytes: UnsafeRawBufferPointer) throws -> String {
        var hash = SHA256()
        hash.add(bytes)
        let kinds: [(start: [UInt8], name: String)] = [
            ([0xFF, 0xD8], "jpg"), ([0x89, 0x50, 0x4E, 0x47], "png"), (Array("RIFF".utf8), "webp"),
        ]
        let kind = kinds.first { bytes.starts(with: $0.start) }?.name ?? "bin"
        let path = "\(folder)/\(hash.hexadecimal()).\(kind)"
        if fileExists(path) { return path }
        var file = try AtomicFile(path)
        try file.write(bytes)
        try file.commit()
        return path
    }
}
