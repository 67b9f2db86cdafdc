import Support

/// What a SentencePiece model file (`tokenizer.model`, `spiece.model`, `spm.model`) holds, as far as it matters.
///
/// The file is a protocol buffer, `ModelProto` of sentencepiece_model.proto.
struct SentencePieceModel {
    /// What a token is for.
    enum Kind: Int {
        case normal = 1, unknown, control, userDefined, unused, byte
    }

    /// The algorithm; 3 and 4 (words, characters) are refused.
    enum Algorithm: Int { case unigram = 1, bytePairs = 2 }

    private(set) var pieces = ScoredPieces()
    private(set) var kinds: [Kind] = []
    private(set) var algorithm = Algorithm.unigram
    private(set) var fallsBackToBytes = false
    private(set) var unknownID = 0
    private(set) var beginningID = 1
    private(set) var endID = 2
    private(set) var paddingID = -1
    /// `precompiled_charsmap`, empty when text is not changed.
    private(set) var replacements: [UInt8] = []

    private let source: String

    /// Reads the bytes of a file.
    init(_ bytes: UnsafeBufferPointer<UInt8>, source: String) throws {
        self.source = source
        var message = MessageReader(bytes, source: source)
        while let field = try message.next() {
            switch (field.number, field.value) {
            case (1, .bytes(let piece)): try readPiece(piece)
            case (2, .bytes(let trainer)): try readTrainer(trainer)
            case (3, .bytes(let normalizer)):
                var reader = MessageReader(normalizer, source: source)
                while let field = try reader.next() {
                    if field.number == 2, case .bytes(let map) = field.value { replacements = Array(map) }
                }
            default: break
            }
        }
        guard !kinds.isEmpty else {
            throw VQAError(
                "cannot read the SentencePiece model", at: source, because: "it has no tokens",
                remedy: "is it a git-lfs pointer?")
        }
        guard kinds.indices.contains(unknownID) else {
            throw VQAError(
                "cannot read the SentencePiece model", at: source,
                because: "the unknown token \(unknownID) is not one of its \(kinds.count) tokens")
        }
    }

    private mutating func readPiece(_ bytes: UnsafeBufferPointer<UInt8>) throws {
        var text = UnsafeBufferPointer<UInt8>(rebasing: bytes[..<0])
        var score: Float = 0
        var kind = Kind.normal
        var reader = MessageReader(bytes, source: source)
        while let field = try reader.next() {
            switch (field.number, field.value) {
            case (1, .bytes(let value)): text = value
            case (2, .fixed32(let value)): score = Float(bitPattern: value)
            case (3, .number(let value)):
                guard let known = Int(exactly: value).flatMap(Kind.init(rawValue:)) else {
                    throw reader.failure("the token \(kinds.count) has the unknown type \(value)")
                }
                kind = known
            default: break
            }
        }
        guard String(validating: text, as: UTF8.self) != nil else {
            throw reader.failure("the token \(kinds.count) is not UTF-8")
        }
        guard score.isFinite else {
            throw reader.failure("the score of token \(kinds.count) is not a number")
        }
        pieces.append(text)
        pieces.scores.append(Double(score))
        kinds.append(kind)
    }

    private mutating func readTrainer(_ bytes: UnsafeBufferPointer<UInt8>) throws {
        var reader = MessageReader(bytes, source: source)
        while let field = try reader.next() {
            guard case .number(let value) = field.value else { continue }
            // An int32 that is negative is written as 64 bits.
            let number = Int(Int32(truncatingIfNeeded: value))
            switch field.number {
            case 3:
                guard let known = Algorithm(rawValue: number) else {
                    throw reader.failure("models of type \(number) are not supported; unigram and BPE are")
                }
                algorithm = known
            case 35: fallsBackToBytes = number != 0
            case 40: unknownID = number
            case 41: beginningID = number
            case 42: endID = number
            case 43: paddingID = number
            default: break
            }
        }
    }
}

/// Reads the fields of a protocol buffer message one after the other.
private struct MessageReader {
    enum Value {
        case number(UInt64)
        case fixed32(UInt32)
        case fixed64
        case bytes(UnsafeBufferPointer<UInt8>)
    }

    private let bytes: UnsafeBufferPointer<UInt8>
    private let source: String
    private var offset = 0

    init(_ bytes: UnsafeBufferPointer<UInt8>, source: String) {
        self.bytes = bytes
        self.source = source
    }

    func failure(_ why: String) -> VQAError {
        VQAError("cannot read the SentencePiece model", at: source, because: why)
    }

    /// The next field, or nil at the end.
    mutating func next() throws -> (number: UInt64, value: Value)? {
        guard offset < bytes.count else { return nil }
        let tag = try varint()
        switch tag & 7 {
        case 0: return (tag >> 3, .number(try varint()))
        case 1:
            _ = try take(8)
            return (tag >> 3, .fixed64)
        case 2:
            let length = try varint()
            guard let length = Int(exactly: length) else { throw failure("a field has \(length) bytes") }
            return (tag >> 3, .bytes(try take(length)))
        case 5:
            let four = try take(4)
            return (tag >> 3, .fixed32(four.reversed().reduce(0) { $0 << 8 | UInt32($1) }))
        default: throw failure("byte \(offset) is not the beginning of a field; the file is damaged")
        }
    }

    private mutating func varint() throws -> UInt64 {
        var value: UInt64 = 0
        for shift in stride(from: UInt64(0), to: 70, by: 7) {
            guard offset < bytes.count else { throw failure("it ends within a number; the file is cut off") }
            let byte = bytes[offset]
            offset += 1
            value |= UInt64(byte & 0x7F) << shift
            if byte & 0x80 == 0 { return value }
        }
        throw failure("the number before byte \(offset) is too long; the file is damaged")
    }

    private mutating func take(_ length: Int) throws -> UnsafeBufferPointer<UInt8> {
        guard length <= bytes.count - offset else {
            throw failure(
                "a field of \(length) bytes begins at byte \(offset) of \(bytes.count); the file is cut off")
        }
        defer { offset += length }
        return UnsafeBufferPointer(rebasing: bytes[offset..<(offset + length)])
    }
}
