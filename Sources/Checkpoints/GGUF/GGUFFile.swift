import Support

/// A GGUF file of version 2 or 3, mapped: metadata and tensors, read in place.
///
/// Format: `docs/gguf.md` of github.com/ggml-org/ggml. Everything is checked on opening: each count and length
/// against the bytes that are there before anything is made of it; keys and names are unique; tensors lie in the
/// file, aligned, and do not overlap. The file must not be rewritten in place while it is in use.
public struct GGUFFile: Sendable {
    /// The file that was opened.
    public let path: String
    /// 2 or 3; they differ only in that version 3 allows big-endian files, which are refused here.
    public let version: Int
    /// Every tensor starts at a multiple of this many bytes.
    public let alignment: Int
    /// What the file says beside its tensors.
    public let metadata: GGUFMetadata
    /// All tensors in the order of the file, under the names of the file, such as `blk.0.attn_q.weight`.
    public let tensors: [GGUFTensor]
    private let positions: [String: Int]
    let file: MappedFile

    /// Most tensors of one file.
    static let tensorLimit = 200_000

    /// Maps and checks a file.
    public init(opening path: String) throws { try self.init(MappedFile(path)) }

    init(_ file: MappedFile) throws {
        var reader = GGUFReader(file)
        let header = try reader.header()
        var metadata = GGUFMetadata(path: file.path)
        for _ in 0..<header.keys {
            let key = try reader.key()
            guard metadata.add(key, try reader.value()) else {
                throw reader.failure("the key \(shortened(key)) appears twice")
            }
        }
        let alignment = try Self.alignment(metadata, reader)
        var entries: [GGUFReader.Entry] = []
        entries.reserveCapacity(header.tensors)
        for _ in 0..<header.tensors { entries.append(try reader.entry()) }
        let places = try place(entries, alignment: alignment, headerEnd: reader.offset, in: file)

        self.file = file
        path = file.path
        version = header.version
        self.alignment = alignment
        self.metadata = metadata
        var positions: [String: Int] = [:]
        tensors = try zip(entries, places).enumerated().map { index, pair in
            let (entry, range) = pair
            guard positions.updateValue(index, forKey: entry.name) == nil else {
                throw TensorInfo.failure(entry.name, in: file.path, because: "the name appears twice")
            }
            return GGUFTensor(
                name: entry.name, type: entry.type, shape: entry.shape, file: file.path,
                bytes: UnsafeRawBufferPointer(rebasing: file.bytes[range]), owner: file)
        }
        self.positions = positions
    }

    /// The tensor of that name in the file.
    public func tensor(named name: String) throws -> GGUFTensor {
        if let position = positions[name] { return tensors[position] }
        throw TensorInfo.failure(name, in: path, because: "there is no such tensor")
    }

    /// True when there is a tensor of that name.
    public func holds(_ name: String) -> Bool { positions[name] != nil }

    /// A tensor as ``Checkpoint`` holds it, under the name it has in the file or another one.
    func record(of tensor: GGUFTensor, named name: String? = nil, rows: RowOrder? = nil) throws
        -> TensorRecord
    {
        let info = try TensorInfo(
            name: name ?? tensor.name, elementType: tensor.elementType, shape: tensor.shape, file: path)
        return TensorRecord(info: info, file: file, layout: .gguf(tensor, rows: rows))
    }

    private static func alignment(_ metadata: GGUFMetadata, _ reader: GGUFReader) throws -> Int {
        guard let alignment = try metadata.integer("general.alignment") else { return 32 }
        guard alignment > 0, alignment <= 1 << 20, alignment & (alignment - 1) == 0 else {
            throw reader.failure("general.alignment is \(alignment), not a power of two up to 2^20")
        }
        return alignment
    }
}

/// Reads the front part of a GGUF file: header, metadata, tensor list.
struct GGUFReader {
    private var reader: ByteReader
    private let file: MappedFile
    private var innerLists = 0

    /// One line of the tensor list.
    struct Entry {
        let name: String
        let type: GGMLType
        /// Outermost dimension first; the file has it the other way round.
        let shape: [Int]
        /// Counted from the start of the data.
        let offset: Int
        let byteCount: Int
    }

    private static let keyLimit = 65_535
    /// Real files have no list in a list; the format allows it.
    private static let nestingLimit = 8
    /// Lists in lists, all together: each costs more memory than its bytes in the file.
    private static let innerListLimit = 100_000
    /// As ggml has it.
    private static let dimensionLimit = 4
    /// Fewest bytes a metadata value with its key, a tensor's line, a list in a list, and a text can take.
    private static let smallest = (key: 13, entry: 24, list: 12, text: 8)

    init(_ file: MappedFile) {
        self.file = file
        reader = ByteReader(file.bytes, in: 0..<file.count, source: file.path)
    }

    var offset: Int { reader.offset }

    func failure(_ why: String, remedy: String? = nil) -> VQAError { reader.failure(why, remedy: remedy) }

    // MARK: Header

    mutating func header() throws -> (version: Int, tensors: Int, keys: Int) {
        let magic = try reader.integer(UInt32.self)
        guard magic == 0x4655_4747 else { throw failure("it does not begin with \"GGUF\"") }
        let version = try reader.integer(UInt32.self)
        guard version & 0xFFFF != 0 else {
            throw failure("it is a big-endian GGUF file", remedy: "convert it on a little-endian machine")
        }
        guard version == 2 || version == 3 else {
            throw failure(
                "it is a GGUF file of version \(version); versions 2 and 3 are read",
                remedy: version == 1 ? "convert the model again with a current llama.cpp" : nil)
        }
        let tensors = try count("tensors", limit: GGUFFile.tensorLimit)
        let keys = try count("metadata keys", limit: .max)
        // Checked apart first, so that the product cannot overflow.
        guard keys <= reader.remaining / Self.smallest.key,
            tensors <= (reader.remaining - keys * Self.smallest.key) / Self.smallest.entry
        else {
            throw failure(
                "truncated: \(tensors) tensors and \(keys) metadata keys do not fit into the \(reader.remaining) bytes left",
                remedy: "fetch it again")
        }
        return (Int(version), tensors, keys)
    }

    private mutating func count(_ what: String, limit: Int) throws -> Int {
        let number = try reader.integer(UInt64.self)
        guard let count = Int(exactly: number), count <= limit else {
            throw failure("it claims \(number) \(what)")
        }
        return count
    }

    // MARK: Metadata

    mutating func key() throws -> String {
        let key = try text(limit: Self.keyLimit)
        guard !key.isEmpty else { throw failure("an empty key") }
        return key
    }

    private mutating func text(limit: Int = .max) throws -> String {
        let length = try reader.integer(UInt64.self)
        guard length <= UInt64(limit), let count = Int(exactly: length) else {
            throw failure("a text claims \(length) bytes")
        }
        return try reader.text(count)
    }

    private mutating func type() throws -> GGUFValueType {
        let code = try reader.integer(UInt32.self)
        guard let type = GGUFValueType(rawValue: code) else {
            throw failure("a value of unknown type \(code)")
        }
        return type
    }

    mutating func value() throws -> GGUFValue {
        switch try type() {
        case .uint8: .integer(Int(try reader.integer(UInt8.self)))
        case .int8: .integer(Int(try reader.integer(Int8.self)))
        case .uint16: .integer(Int(try reader.integer(UInt16.self)))
        case .int16: .integer(Int(try reader.integer(Int16.self)))
        case .uint32: .integer(Int(try reader.integer(UInt32.self)))
        case .int32: .integer(Int(try reader.integer(Int32.self)))
        case .int64: .integer(Int(try reader.integer(Int64.self)))
        case .uint64: large(try reader.integer(UInt64.self))
        case .float32: .double(Double(Float(bitPattern: try reader.integer(UInt32.self))))
        case .float64: .double(Double(bitPattern: try reader.integer(UInt64.self)))
        case .bool: .bool(try bool())
        case .string: .string(try text())
        case .array: .array(try array(depth: 1))
        }
    }

    private func large(_ value: UInt64) -> GGUFValue {
        Int(exactly: value).map { .integer($0) } ?? .large(value)
    }

    private mutating func bool() throws -> Bool {
        let byte = try reader.byte()
        guard byte <= 1 else { throw failure("a truth value is \(byte)") }
        return byte == 1
    }

    private mutating func array(depth: Int) throws -> GGUFArray {
        guard depth <= Self.nestingLimit else {
            throw failure("lists nested deeper than \(Self.nestingLimit)")
        }
        let type = try type()
        let claimed = try reader.integer(UInt64.self)
        let smallest = type.size ?? (type == .string ? Self.smallest.text : Self.smallest.list)
        guard let count = Int(exactly: claimed), count <= reader.remaining / smallest else {
            throw failure(
                "a list claims \(claimed) elements, more than the \(reader.remaining) bytes left can hold")
        }
        let start = reader.offset
        var starts: [Int] = []
        var nested: [GGUFArray] = []
        switch type {
        case .string:
            starts.reserveCapacity(count)
            for _ in 0..<count { starts.append(try skipText()) }
        case .array:
            guard count <= Self.innerListLimit - innerLists else {
                throw failure("more than \(Self.innerListLimit) lists in lists")
            }
            innerLists += count
            nested.reserveCapacity(count)
            for _ in 0..<count { nested.append(try array(depth: depth + 1)) }
        case .bool:
            for _ in 0..<count { _ = try bool() }
        default:
            try reader.take(count * smallest)
        }
        return GGUFArray(
            count: count, nested: nested, type: type, range: start..<reader.offset, starts: starts, file: file
        )
    }

    /// Steps over a text and returns where it begins, after its length.
    private mutating func skipText() throws -> Int {
        let length = try reader.integer(UInt64.self)
        guard let count = Int(exactly: length) else { throw failure("a text claims \(length) bytes") }
        return try reader.take(count).lowerBound
    }

    // MARK: Tensor list

    mutating func entry() throws -> Entry {
        let name = try text(limit: Self.keyLimit)
        let rank = try reader.integer(UInt32.self)
        func refuse(_ why: String, _ remedy: String? = nil) -> VQAError {
            TensorInfo.failure(name, in: file.path, because: why, remedy: remedy)
        }
        guard rank <= UInt32(Self.dimensionLimit) else {
            throw refuse("it claims \(rank) dimensions, more than \(Self.dimensionLimit)")
        }
        var shape: [Int] = []
        for _ in 0..<rank {
            let size = try reader.integer(UInt64.self)
            guard let size = Int(exactly: size) else { throw refuse("a dimension claims \(size)") }
            shape.insert(size, at: 0)
        }
        let code = try reader.integer(UInt32.self)
        guard let type = GGMLType(rawValue: code) else {
            throw refuse("the ggml type \(code) is not known", "convert the model to F16 or Q8_0")
        }
        guard let bytes = byteCount(of: shape, type), byteCounts(of: shape, .float64) != nil else {
            throw refuse("the shape \(describe(shape)) of \(type) is not a possible size")
        }
        let claimed = try reader.integer(UInt64.self)
        guard let offset = Int(exactly: claimed) else {
            throw refuse("it claims to start at byte \(claimed)")
        }
        return Entry(name: name, type: type, shape: shape, offset: offset, byteCount: bytes)
    }
}

/// Where each tensor's bytes lie in the file: aligned, inside, and no two in the same place. Gaps are allowed.
private func place(_ entries: [GGUFReader.Entry], alignment: Int, headerEnd: Int, in file: MappedFile) throws
    -> [Range<Int>]
{
    let dataStart = (headerEnd + alignment - 1) / alignment * alignment
    let dataCount = max(0, file.count - dataStart)
    for entry in entries {
        func refuse(_ why: String, _ remedy: String? = nil) -> VQAError {
            TensorInfo.failure(entry.name, in: file.path, because: why, remedy: remedy)
        }
        guard entry.offset % alignment == 0 else {
            throw refuse("it starts at byte \(entry.offset) of the data, no multiple of \(alignment)")
        }
        guard entry.byteCount <= dataCount, entry.offset <= dataCount - entry.byteCount else {
            throw refuse(
                "truncated: it takes \(entry.byteCount) bytes at byte \(entry.offset) of the data, which have \(dataCount)",
                "fetch it again")
        }
    }
    var previous: GGUFReader.Entry?
    for entry in entries.sorted(by: { $0.offset < $1.offset }) where entry.byteCount > 0 {
        if let previous, previous.offset + previous.byteCount > entry.offset {
            throw TensorInfo.failure(
                entry.name, in: file.path, because: "it overlaps the tensor \(shortened(previous.name))")
        }
        previous = entry
    }
    return entries.map { entry in
        guard entry.byteCount > 0 else { return 0..<0 }
        return dataStart + entry.offset..<dataStart + entry.offset + entry.byteCount
    }
}
