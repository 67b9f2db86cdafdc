import Support

/// A value of Thrift's compact protocol (thrift.apache.org, «thrift-compact-protocol»), as far as Parquet's metadata need one.
enum ThriftValue {
    /// A truth value (0 or 1) or an integer.
    case integer(Int64)
    /// A text or binary value, where it lies.
    case bytes(UnsafeRawBufferPointer)
    case list([ThriftStructure])
    case structure(ThriftStructure)
    /// Something that was stepped over: numbers with a fraction, maps, lists of anything but structures.
    case other
}

/// The fields of a structure by their numbers.
struct ThriftStructure {
    fileprivate(set) var fields: [Int16: ThriftValue] = [:]

    /// An integer, nil when it is absent.
    func integer(_ field: Int16) throws -> Int? {
        switch fields[field] {
        case nil: return nil
        case .integer(let value):
            guard let number = Int(exactly: value) else { throw ThriftReader.damaged }
            return number
        default: throw ThriftReader.damaged
        }
    }

    /// An integer that must be there and must not be negative.
    func count(_ field: Int16) throws -> Int {
        guard let value = try integer(field), value >= 0 else { throw ThriftReader.damaged }
        return value
    }

    /// A text that must be there.
    func text(_ field: Int16) throws -> String {
        guard case .bytes(let bytes) = fields[field], let text = String(validating: bytes, as: UTF8.self)
        else {
            throw ThriftReader.damaged
        }
        return text
    }

    /// A list of structures that must be there.
    func list(_ field: Int16) throws -> [ThriftStructure] {
        switch fields[field] {
        case .list(let list): return list
        default: throw ThriftReader.damaged
        }
    }

    /// A structure, nil when it is absent.
    func structure(_ field: Int16) throws -> ThriftStructure? {
        switch fields[field] {
        case nil: return nil
        case .structure(let structure): return structure
        default: throw ThriftReader.damaged
        }
    }
}

/// Reads structures of the compact protocol. Lengths are compared with the bytes that are left, nesting has a limit.
struct ThriftReader {
    private let bytes: UnsafeRawBufferPointer
    /// Behind what was read.
    private(set) var position = 0

    /// The largest footer or page header: what is read takes some fifty times its bytes at worst.
    static let limit = 16 << 20
    private static let maximumDepth = 16

    /// Reads from the start of `bytes`.
    init(_ bytes: UnsafeRawBufferPointer) { self.bytes = bytes }

    static var damaged: VQAError { ParquetFile.failure("its metadata are damaged") }

    /// The next structure.
    mutating func structure() throws -> ThriftStructure { try structure(depth: 0) }

    private mutating func byte() throws -> UInt8 {
        guard position < bytes.count else { throw Self.damaged }
        defer { position += 1 }
        return bytes[position]
    }

    private mutating func variable() throws -> UInt64 {
        guard let value = littleEndianVariable(bytes, &position, end: bytes.count) else { throw Self.damaged }
        return value
    }

    private mutating func integer() throws -> Int64 { zigzag(try variable()) }

    private mutating func run(_ count: UInt64) throws -> UnsafeRawBufferPointer {
        guard count <= UInt64(bytes.count - position) else { throw Self.damaged }
        let start = position
        position += Int(count)
        return UnsafeRawBufferPointer(rebasing: bytes[start..<position])
    }

    private mutating func structure(depth: Int) throws -> ThriftStructure {
        guard depth < Self.maximumDepth else { throw ParquetFile.failure("its metadata are nested too deep") }
        var result = ThriftStructure()
        var number: Int16 = 0
        while true {
            let head = try byte()
            if head == 0 { return result }
            let step = Int16(head >> 4)
            if step == 0 {
                guard let explicit = Int16(exactly: try integer()) else { throw Self.damaged }
                number = explicit
            } else {
                let (next, overflow) = number.addingReportingOverflow(step)
                guard !overflow else { throw Self.damaged }
                number = next
            }
            // The type of a field is the value of a truth value.
            switch head & 0xF {
            case 1: result.fields[number] = .integer(1)
            case 2: result.fields[number] = .integer(0)
            case let type: result.fields[number] = try value(type, depth: depth)
            }
        }
    }

    private mutating func value(_ type: UInt8, depth: Int) throws -> ThriftValue {
        switch type {
        case 1, 2: return .integer(try byte() == 1 ? 1 : 0)
        case 3: return .integer(Int64(Int8(bitPattern: try byte())))
        case 4, 5, 6: return .integer(try integer())
        case 7:
            _ = try run(8)
            return .other
        case 8: return .bytes(try run(try variable()))
        case 9, 10: return try list(depth: depth)
        case 11:
            try skipMap(depth: depth)
            return .other
        case 12: return .structure(try structure(depth: depth + 1))
        case 13:
            _ = try run(16)
            return .other
        default: throw Self.damaged
        }
    }

    private mutating func list(depth: Int) throws -> ThriftValue {
        guard depth < Self.maximumDepth else { throw Self.damaged }
        let head = try byte()
        let count = head >> 4 == 15 ? try variable() : UInt64(head >> 4)
        // Every element takes a byte or more.
        guard count <= UInt64(bytes.count - position) else { throw Self.damaged }
        guard head & 0xF == 12 else {
            for _ in 0..<count { _ = try value(head & 0xF, depth: depth + 1) }
            return .other
        }
        return .list(try (0..<count).map { _ in try structure(depth: depth + 1) })
    }

    private mutating func skipMap(depth: Int) throws {
        guard depth < Self.maximumDepth else { throw Self.damaged }
        let count = try variable()
        if count == 0 { return }
        let types = try byte()
        guard count <= UInt64(bytes.count - position) else { throw Self.damaged }
        for _ in 0..<count {
            _ = try value(types >> 4, depth: depth + 1)
            _ = try value(types & 0xF, depth: depth + 1)
        }
    }
}

/// A number of seven bits a byte, the lowest first; nil when it does not end before `end` or has more than 64 bits.
func littleEndianVariable(_ bytes: UnsafeRawBufferPointer, _ position: inout Int, end: Int) -> UInt64? {
    var value: UInt64 = 0
    var shift: UInt64 = 0
    while position < end, shift < 64 {
        let byte = bytes[position]
        position += 1
        if shift == 63, byte > 1 { return nil }
        value |= UInt64(byte & 0x7F) << shift
        if byte < 0x80 { return value }
        shift += 7
    }
    return nil
}

/// The signed number that is stored as 0, -1, 1, -2, …
func zigzag(_ value: UInt64) -> Int64 { Int64(bitPattern: value >> 1 ^ (0 &- (value & 1))) }
