import Support

/// A table of a FlatBuffers message (google.github.io/flatbuffers, «Internals»), read field by field. Every offset is compared
/// with the bytes that are there.
struct FlatTable {
    let bytes: UnsafeRawBufferPointer
    private let position: Int
    private let vtable: Int
    private let vtableSize: Int

    /// The root table of `bytes`.
    init(root bytes: UnsafeRawBufferPointer) throws {
        try self.init(bytes, at: Int(try Self.read(UInt32.self, bytes, at: 0)))
    }

    private init(_ bytes: UnsafeRawBufferPointer, at position: Int) throws {
        self.bytes = bytes
        self.position = position
        vtable = position - Int(try Self.read(Int32.self, bytes, at: position))
        vtableSize = Int(try Self.read(UInt16.self, bytes, at: vtable))
        guard vtableSize >= 4, vtable + vtableSize <= bytes.count else { throw Self.damaged }
    }

    static var damaged: VQAError {
        VQAError("cannot read the Arrow table", because: "its metadata are damaged")
    }

    private static func read<Number: FixedWidthInteger>(
        _ type: Number.Type, _ bytes: UnsafeRawBufferPointer, at position: Int
    ) throws -> Number {
        guard position >= 0, position <= bytes.count - MemoryLayout<Number>.size else { throw damaged }
        return Number(littleEndian: bytes.loadUnaligned(fromByteOffset: position, as: Number.self))
    }

    /// Where the field's value stands; nil when it has its default.
    private func place(_ field: Int) throws -> Int? {
        let entry = 4 + 2 * field
        guard entry + 2 <= vtableSize else { return nil }
        let offset = Int(try Self.read(UInt16.self, bytes, at: vtable + entry))
        return offset == 0 ? nil : position + offset
    }

    private func indirect(_ field: Int) throws -> Int? {
        guard let place = try place(field) else { return nil }
        return place + Int(try Self.read(UInt32.self, bytes, at: place))
    }

    /// A number; `absent` when the field is not there.
    func number<Number: FixedWidthInteger>(_ field: Int, absent: Number) throws -> Number {
        guard let place = try place(field) else { return absent }
        return try Self.read(Number.self, bytes, at: place)
    }

    /// A table.
    func table(_ field: Int) throws -> FlatTable? {
        guard let place = try indirect(field) else { return nil }
        return try FlatTable(bytes, at: place)
    }

    /// A text.
    func string(_ field: Int) throws -> String? {
        guard let place = try indirect(field) else { return nil }
        let count = Int(try Self.read(UInt32.self, bytes, at: place))
        guard count <= bytes.count - place - 4 else { throw Self.damaged }
        return String(validating: bytes[(place + 4)..<(place + 4 + count)], as: UTF8.self)
    }

    /// Where the elements of a list begin, and how many there are; each takes `size` bytes.
    private func list(_ field: Int, size: Int) throws -> (start: Int, count: Int)? {
        guard let place = try indirect(field) else { return nil }
        let count = Int(try Self.read(UInt32.self, bytes, at: place))
        guard count <= (bytes.count - place - 4) / size else { throw Self.damaged }
        return (place + 4, count)
    }

    /// A list of tables.
    func tables(_ field: Int) throws -> [FlatTable] {
        guard let (start, count) = try list(field, size: 4) else { return [] }
        return try (0..<count).map { index in
            let place = start + 4 * index
            return try FlatTable(bytes, at: place + Int(try Self.read(UInt32.self, bytes, at: place)))
        }
    }

    /// A list of structures of `words` 64-bit numbers.
    func structures(_ field: Int, words: Int) throws -> [[Int64]] {
        guard let (start, count) = try list(field, size: 8 * words) else { return [] }
        return try (0..<count).map { index in
            try (0..<words).map { try Self.read(Int64.self, bytes, at: start + 8 * (words * index + $0)) }
        }
    }
}
