import Support

/// What a file is, judged by its first bytes and never by its name alone.
public enum FileKind: Sendable, Equatable {
    case safetensors
    /// A zip archive, the form `torch.save` writes since PyTorch 1.6.
    case torchZip
    /// The stream of pickles and raw storages that `torch.save` wrote before.
    case torchLegacy
    /// A JSON text: the index of a checkpoint in parts, when it is one.
    case json
    case gguf
    /// Nothing or something that is no checkpoint; the texts say what it seems to be and what to do.
    case other(String, remedy: String?)

    /// Judges the file at `path`.
    public static func sniff(_ path: String) throws -> FileKind {
        let file = try MappedFile(path)
        return withExtendedLifetime(file) { judge(file.bytes, path: path) }
    }

    /// The first bytes of every legacy file: a pickle (protocol 2, LONG1 of 10 bytes, STOP) of PyTorch's
    /// magic number 0x1950a86a20f9469cfc6c.
    static let legacyMagic: [UInt8] = [
        0x80, 0x02, 0x8A, 0x0A, 0x6C, 0xFC, 0x9C, 0x46, 0xF9, 0x20, 0x6A, 0xA8, 0x50, 0x19, 0x2E,
    ]

    static func judge(_ bytes: UnsafeRawBufferPointer, path: String) -> FileKind {
        if bytes.isEmpty { return .other("the file is empty", remedy: "fetch it again") }
        if bytes.starts(with: "version https://git-lfs".utf8) {
            return .other("it looks like a git-lfs pointer", remedy: "run git lfs pull")
        }
        // Eight bytes of header length, then the header. A length within the cap has zeros above its fourth
        // byte, which no text has.
        if bytes.count > 8, bytes[8] == UInt8(ascii: "{"), bytes[4..<8].allSatisfy({ $0 == 0 }) {
            return .safetensors
        }
        if bytes.starts(with: "PK\u{3}\u{4}".utf8) { return .torchZip }
        if bytes.starts(with: legacyMagic) { return .torchLegacy }
        if bytes.starts(with: "GGUF".utf8) { return .gguf }
        return judgeText(bytes) ?? judgeOtherBinary(bytes, path: path)
    }

    private static func judgeText(_ bytes: UnsafeRawBufferPointer) -> FileKind? {
        let head = bytes.prefix(256).drop { [0x20, 0x09, 0x0A, 0x0D].contains($0) }
        if head.first == UInt8(ascii: "{") { return .json }
        let text = String(decoding: head, as: UTF8.self).lowercased()
        if text.hasPrefix("<!doctype") || text.hasPrefix("<html") || text.hasPrefix("<?xml") {
            return .other(
                "it is a web page, not weights", remedy: "fetch the file itself instead of its page")
        }
        return nil
    }

    private static func judgeOtherBinary(_ bytes: UnsafeRawBufferPointer, path: String) -> FileKind {
        let extensionName = path.split(separator: "/").last?.split(separator: ".").last?.lowercased()
        let save = "save its state_dict in PyTorch as safetensors"
        if bytes.starts(with: [0x89, 0x48, 0x44, 0x46]) {
            return .other("it is an HDF5 file (Keras), another format", remedy: "convert it to safetensors")
        }
        if bytes.starts(with: [0x93, 0x4E, 0x55, 0x4D, 0x50, 0x59]) {
            return .other("it is a NumPy array, another format", remedy: "convert it to safetensors")
        }
        if bytes.starts(with: [0x1F, 0x8B]) || bytes.starts(with: [0x28, 0xB5, 0x2F, 0xFD]) {
            return .other("it is a compressed file", remedy: "decompress it first")
        }
        if bytes.count > 262, bytes[257..<262].elementsEqual("ustar".utf8) {
            return .other("it is a tar archive (PyTorch before 0.1.10 saved so)", remedy: save)
        }
        if extensionName == "onnx" || looksLikeONNX(bytes) {
            return .other(
                "it is an ONNX graph, another format", remedy: "use the weights it was exported from")
        }
        if bytes.count > 1, bytes[0] == 0x80, bytes[1] <= 5 {
            return .other("it is a pickle that torch.save did not write", remedy: save)
        }
        // Its own reader says best what is wrong with its length or header.
        if extensionName == "safetensors" { return .safetensors }
        return .other("it is none of safetensors, PyTorch zip, PyTorch legacy", remedy: nil)
    }

    /// A protobuf whose first field is a small `ir_version`, followed by a producer name or an operator set.
    private static func looksLikeONNX(_ bytes: UnsafeRawBufferPointer) -> Bool {
        bytes.count > 16 && bytes[0] == 0x08 && (1...32).contains(bytes[1])
            && [0x12, 0x3A, 0x42].contains(bytes[2])
    }
}
