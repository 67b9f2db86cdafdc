import Support

/// Small files that several tests put into their folder.
extension TemporaryFolder {
    /// A PNG of one red pixel.
    func image(_ name: String) throws -> String {
        // Signature; IHDR of 1×1 with 8-bit RGB; IDAT with one stored block; IEND.
        let bytes: [UInt8] = [
            0x89, 0x50, 0x4E, 0x47, 0x0D, 0x0A, 0x1A, 0x0A, 0x00, 0x00, 0x00, 0x0D, 0x49, 0x48, 0x44, 0x52,
            0x00, 0x00, 0x00, 0x01, 0x00, 0x00, 0x00, 0x01, 0x08, 0x02, 0x00, 0x00, 0x00, 0x90, 0x77, 0x53,
            0xDE, 0x00, 0x00, 0x00, 0x0F, 0x49, 0x44, 0x41, 0x54, 0x78, 0x01, 0x01, 0x04, 0x00, 0xFB, 0xFF,
            0x00, 0xFF, 0x00, 0x00, 0x03, 0x01, 0x01, 0x00, 0x8D, 0x1D, 0xE5, 0x82, 0x00, 0x00, 0x00, 0x00,
            0x49, 0x45, 0x4E, 0x44, 0xAE, 0x42, 0x60, 0x82,
        ]
        return try write(name, bytes)
    }

    /// A safetensors file of `count` tensors `layer.N.weight` of two by two zeros.
    func layers(_ name: String, count: Int) throws -> String {
        let entries = (0..<count).map { index in
            "\"layer.\(index).weight\":{\"dtype\":\"F32\",\"shape\":[2,2],"
                + "\"data_offsets\":[\(16 * index),\(16 * index + 16)]}"
        }
        let header = Array("{\(entries.joined(separator: ","))}".utf8)
        let length = withUnsafeBytes(of: UInt64(header.count).littleEndian) { Array($0) }
        return try write(name, length + header + [UInt8](repeating: 0, count: 16 * count))
    }

    /// easy-VQA with one image and two questions in each split.
    func easyVQA() throws {
        _ = try write("answers.txt", "red\nyes\nno\n")
        for split in ["train", "test"] {
            _ = try write(
                "\(split)/questions.json",
                "[[\"what color is it?\", \"red\", 0], [\"is there a circle?\", \"no\", 0]]")
            try makeFolder("\(path)/\(split)/images")
            _ = try image("\(split)/images/0.png")
        }
    }

    func write(_ name: String, _ bytes: [UInt8]) throws -> String {
        var file = try AtomicFile("\(path)/\(name)")
        try bytes.withUnsafeBytes { try file.write($0) }
        try file.commit()
        return "\(path)/\(name)"
    }
}
