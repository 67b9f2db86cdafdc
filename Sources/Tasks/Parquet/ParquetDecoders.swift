import Support

/// The values of a page, one after the other.
protocol ParquetDecoder {
    /// The next value that is not null.
    mutating func next() throws -> ParquetValue
}

/// The decoder of a page's values in the encoding with this number.
func decoder(
    encoding: Int, leaf: ParquetLeaf, memory: ParquetMemory, range: Range<Int>, dictionary: [ParquetValue]?
) throws -> any ParquetDecoder {
    switch encoding {
    case 0: return PlainDecoder(leaf, memory, range)
    case 2, 8:
        guard let dictionary else { throw ParquetFile.failure("a page needs a dictionary that is not there") }
        return try DictionaryDecoder(dictionary, memory, range)
    case 3 where leaf.type == .boolean: return try BooleanRunDecoder(memory, range)
    case 5 where leaf.type == .int32 || leaf.type == .int64:
        return DeltaDecoder(leaf: leaf, deltas: try ParquetDeltas(memory, range))
    case 6 where leaf.type == .byteArray: return try SuffixDecoder(memory, range)
    case 7: return try PrefixDecoder(leaf, memory, range)
    default:
        let names = [
            3: "RLE", 4: "BIT_PACKED", 5: "DELTA_BINARY_PACKED", 6: "DELTA_LENGTH_BYTE_ARRAY",
            9: "BYTE_STREAM_SPLIT",
        ]
        throw ParquetFile.failure(
            "values in the encoding \(names[encoding] ?? "number \(encoding)") are not supported in this column",
            "write the file again with the encoding PLAIN")
    }
}

private var exhausted: VQAError { ParquetFile.failure("a page has fewer values than it says") }

/// An integer as the column means it.
private func integer(_ value: Int64, _ leaf: ParquetLeaf) throws -> ParquetValue {
    guard leaf.isUnsigned else {
        return .integer(leaf.type == .int32 ? Int64(Int32(truncatingIfNeeded: value)) : value)
    }
    if leaf.type == .int32 { return .integer(Int64(UInt32(truncatingIfNeeded: value))) }
    guard value >= 0 else { throw ParquetFile.failure("a number without sign is above \(Int64.max)") }
    return .integer(value)
}

/// Values as they are.
struct PlainDecoder: ParquetDecoder {
    private let leaf: ParquetLeaf
    private let memory: ParquetMemory
    private var position: Int
    private let end: Int
    private var bit = 0

    init(_ leaf: ParquetLeaf, _ memory: ParquetMemory, _ range: Range<Int>) {
        self.leaf = leaf
        self.memory = memory
        position = range.lowerBound
        end = range.upperBound
    }

    private mutating func load<Number: FixedWidthInteger>(_ type: Number.Type) throws -> Number {
        let size = MemoryLayout<Number>.size
        guard size <= end - position else { throw exhausted }
        defer { position += size }
        return Number(littleEndian: memory.bytes.loadUnaligned(fromByteOffset: position, as: Number.self))
    }

    private mutating func bytes(_ count: Int) throws -> ParquetValue {
        guard count <= end - position else { throw exhausted }
        defer { position += count }
        return .bytes(ParquetBytes(memory: memory, range: position..<(position + count)))
    }

    mutating func next() throws -> ParquetValue {
        switch leaf.type {
        case .boolean:
            guard position < end else { throw exhausted }
            let value = memory.bytes[position] >> UInt8(bit) & 1 == 1
            bit = (bit + 1) % 8
            if bit == 0 { position += 1 }
            return .boolean(value)
        case .int32: return try integer(Int64(load(Int32.self)), leaf)
        case .int64: return try integer(load(Int64.self), leaf)
        case .float: return .number(Double(Float(bitPattern: try load(UInt32.self))))
        case .double: return .number(Double(bitPattern: try load(UInt64.self)))
        case .byteArray: return try bytes(Int(try load(UInt32.self)))
        case .fixed(let length): return try bytes(length)
        }
    }
}

/// Positions in the dictionary of the column.
struct DictionaryDecoder: ParquetDecoder {
    private let dictionary: [ParquetValue]
    private var positions: ParquetRuns

    init(_ dictionary: [ParquetValue], _ memory: ParquetMemory, _ range: Range<Int>) throws {
        // A page of nothing but nulls may have no width.
        let width = range.isEmpty ? 0 : Int(memory.bytes[range.lowerBound])
        guard width <= 32 else { throw ParquetFile.failure("a page of positions in a dictionary is damaged") }
        self.dictionary = dictionary
        positions = ParquetRuns(memory, range.dropFirst(), width: width)
    }

    mutating func next() throws -> ParquetValue {
        let position = try positions.next()
        guard position < dictionary.count else {
            throw ParquetFile.failure("a value's position is beyond the dictionary")
        }
        return dictionary[position]
    }
}

/// Truth values in runs, behind their length.
struct BooleanRunDecoder: ParquetDecoder {
    private var runs: ParquetRuns

    init(_ memory: ParquetMemory, _ range: Range<Int>) throws {
        var range = range
        let part = try lengthPrefixed(memory, &range)
        runs = ParquetRuns(memory, part, width: 1)
    }

    mutating func next() throws -> ParquetValue { .boolean(try runs.next() != 0) }
}

/// The part of a page behind its length in four bytes; `range` goes on behind it.
func lengthPrefixed(_ memory: ParquetMemory, _ range: inout Range<Int>) throws -> Range<Int> {
    guard range.count >= 4 else { throw exhausted }
    let size = Int(
        UInt32(littleEndian: memory.bytes.loadUnaligned(fromByteOffset: range.lowerBound, as: UInt32.self)))
    guard size <= range.count - 4 else { throw exhausted }
    let start = range.lowerBound + 4
    range = (start + size)..<range.upperBound
    return start..<(start + size)
}

/// Integers as differences.
struct DeltaDecoder: ParquetDecoder {
    let leaf: ParquetLeaf
    var deltas: ParquetDeltas

    mutating func next() throws -> ParquetValue { try integer(deltas.next(), leaf) }
}

/// The lengths of all values as differences, then their bytes.
struct SuffixDecoder: ParquetDecoder {
    private let memory: ParquetMemory
    private var lengths: ParquetDeltas
    private var position: Int
    private let end: Int

    init(_ memory: ParquetMemory, _ range: Range<Int>) throws {
        self.memory = memory
        lengths = try ParquetDeltas(memory, range)
        position = try lengths.endOfNumbers()
        end = range.upperBound
    }

    mutating func bytes() throws -> ParquetBytes {
        guard let length = Int(exactly: try lengths.next()), length >= 0, length <= end - position else {
            throw exhausted
        }
        defer { position += length }
        return ParquetBytes(memory: memory, range: position..<(position + length))
    }

    mutating func next() throws -> ParquetValue { .bytes(try bytes()) }
}

/// Values that begin like the one before: the lengths of the common parts, then what follows them.
struct PrefixDecoder: ParquetDecoder {
    private let length: Int?
    private var prefixes: ParquetDeltas
    private var suffixes: SuffixDecoder
    private var last: ParquetBytes

    init(_ leaf: ParquetLeaf, _ memory: ParquetMemory, _ range: Range<Int>) throws {
        switch leaf.type {
        case .byteArray: length = nil
        case .fixed(let size): length = size
        default: throw ParquetFile.failure("a page of texts is in a column of numbers")
        }
        prefixes = try ParquetDeltas(memory, range)
        suffixes = try SuffixDecoder(memory, prefixes.endOfNumbers()..<range.upperBound)
        last = ParquetBytes(memory: memory, range: range.lowerBound..<range.lowerBound)
    }

    mutating func next() throws -> ParquetValue {
        let suffix = try suffixes.bytes()
        guard let prefix = Int(exactly: try prefixes.next()), prefix >= 0, prefix <= last.count,
            prefix + suffix.count <= ParquetPage.limit, length == nil || length == prefix + suffix.count
        else { throw ParquetFile.failure("a page of texts with common beginnings is damaged") }
        guard prefix > 0 else {
            last = suffix
            return .bytes(suffix)
        }
        let memory = try ParquetMemory(count: prefix + suffix.count) { memory in
            last.withBytes { memory.copyBytes(from: $0.prefix(prefix)) }
            suffix.withBytes {
                UnsafeMutableRawBufferPointer(rebasing: memory[prefix...]).copyBytes(from: $0)
            }
        }
        last = ParquetBytes(memory: memory, range: 0..<memory.bytes.count)
        return .bytes(last)
    }
}
