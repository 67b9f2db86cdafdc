import Support

/// A column of one record batch. Positions out of range and damaged offsets are errors.
final class ArrowColumn {
    /// What it holds.
    let type: ArrowType
    /// The number of its values.
    let count: Int
    private let validity: UnsafeRawBufferPointer?
    private let offsets: UnsafeRawBufferPointer
    private let data: UnsafeRawBufferPointer
    private let child: ArrowColumn?

    fileprivate init(
        _ type: ArrowType, _ count: Int, validity: UnsafeRawBufferPointer?, offsets: UnsafeRawBufferPointer,
        data: UnsafeRawBufferPointer, child: ArrowColumn?
    ) {
        self.type = type
        self.count = count
        self.validity = validity
        self.offsets = offsets
        self.data = data
        self.child = child
    }

    private func check(_ index: Int) throws {
        guard index >= 0, index < count else {
            throw ArrowTable.failure("a column is shorter than the table")
        }
    }

    /// True when there is no value.
    func isNull(_ index: Int) throws -> Bool {
        try check(index)
        if case .null = type { return true }
        guard let validity else { return false }
        return validity[index / 8] >> UInt8(index % 8) & 1 == 0
    }

    /// The bounds of a value in the data or in the child.
    private func range(_ index: Int, wide: Bool, within limit: Int) throws -> Range<Int> {
        try check(index)
        func offset(_ position: Int) throws -> Int {
            if wide {
                let value = offsets.loadUnaligned(fromByteOffset: 8 * position, as: Int64.self)
                guard let offset = Int(exactly: Int64(littleEndian: value)) else { throw FlatTable.damaged }
                return offset
            }
            return Int(
                Int32(littleEndian: offsets.loadUnaligned(fromByteOffset: 4 * position, as: Int32.self)))
        }
        let start = try offset(index)
        let end = try offset(index + 1)
        guard start >= 0, start <= end, end <= limit else { throw FlatTable.damaged }
        return start..<end
    }

    /// The bytes of a text or binary value.
    func bytes(_ index: Int) throws -> UnsafeRawBufferPointer {
        guard case .binary(_, let wide) = type else { throw unexpected("bytes") }
        return UnsafeRawBufferPointer(rebasing: data[try range(index, wide: wide, within: data.count)])
    }

    /// A text.
    func string(_ index: Int) throws -> String {
        guard let text = String(validating: try bytes(index), as: UTF8.self) else {
            throw ArrowTable.failure("a text is not UTF-8")
        }
        return text
    }

    /// An integer.
    func integer(_ index: Int) throws -> Int {
        guard case .integer(let bits, let signed) = type else { throw unexpected("integers") }
        try check(index)
        func load<Number: FixedWidthInteger>(_ type: Number.Type) throws -> Int {
            let value = data.loadUnaligned(fromByteOffset: index * MemoryLayout<Number>.size, as: Number.self)
            guard let number = Int(exactly: Number(littleEndian: value)) else { throw FlatTable.damaged }
            return number
        }
        switch (bits, signed) {
        case (8, true): return try load(Int8.self)
        case (16, true): return try load(Int16.self)
        case (32, true): return try load(Int32.self)
        case (64, true): return try load(Int64.self)
        case (8, false): return try load(UInt8.self)
        case (16, false): return try load(UInt16.self)
        case (32, false): return try load(UInt32.self)
        default: return try load(UInt64.self)
        }
    }

    /// A number.
    func double(_ index: Int) throws -> Double {
        guard case .floating(let bits) = type else { return Double(try integer(index)) }
        try check(index)
        switch bits {
        case 64:
            return Double(
                bitPattern: UInt64(
                    littleEndian: data.loadUnaligned(fromByteOffset: 8 * index, as: UInt64.self)))
        case 32:
            return Double(
                Float(
                    bitPattern: UInt32(
                        littleEndian: data.loadUnaligned(fromByteOffset: 4 * index, as: UInt32.self))))
        default: throw unexpected("numbers of 32 or 64 bits")
        }
    }

    /// The values of a list: positions in the column of all lists' values.
    func list(_ index: Int) throws -> (values: ArrowColumn, range: Range<Int>) {
        guard case .list(_, let wide) = type, let child else { throw unexpected("lists") }
        if try isNull(index) { return (child, 0..<0) }
        return (child, try range(index, wide: wide, within: child.count))
    }

    private func unexpected(_ wanted: String) -> VQAError {
        ArrowTable.failure("a column holds \(type.name), not \(wanted)")
    }
}

extension ArrowType {
    /// For people.
    var name: String {
        switch self {
        case .null: "nothing"
        case .integer: "integers"
        case .floating: "floating-point numbers"
        case .binary(let isText, _): isText ? "texts" : "bytes"
        case .list: "lists"
        case .structure: "structures"
        case .other(let name, _): "values of the type \(name)"
        }
    }
}

/// Hands the nodes and buffers of a record batch to its columns, in the order of the format: a column before its children.
struct ColumnBuilder {
    let body: UnsafeRawBufferPointer
    let nodes: [[Int64]]
    let buffers: [[Int64]]
    private var nextNode = 0
    private var nextBuffer = 0

    init(body: UnsafeRawBufferPointer, nodes: [[Int64]], buffers: [[Int64]]) {
        self.body = body
        self.nodes = nodes
        self.buffers = buffers
    }

    private mutating func buffer() throws -> UnsafeRawBufferPointer {
        guard nextBuffer < buffers.count else { throw FlatTable.damaged }
        let entry = buffers[nextBuffer]
        nextBuffer += 1
        guard let offset = Int(exactly: entry[0]), let length = Int(exactly: entry[1]), offset >= 0,
            length >= 0,
            offset <= body.count, length <= body.count - offset
        else {
            throw ArrowTable.failure("a buffer reaches beyond its record batch")
        }
        return UnsafeRawBufferPointer(rebasing: body[offset..<(offset + length)])
    }

    /// A buffer of at least `count` elements of `bits` bits.
    private mutating func buffer(_ count: Int, bits: Int) throws -> UnsafeRawBufferPointer {
        let buffer = try buffer()
        let (need, overflow) = count.multipliedReportingOverflow(by: bits)
        guard !overflow, need / 8 + (need % 8 == 0 ? 0 : 1) <= buffer.count else {
            throw ArrowTable.failure("a buffer is shorter than its column")
        }
        return buffer
    }

    /// The next column, which holds `type`.
    mutating func column(_ type: ArrowType) throws -> ArrowColumn {
        guard nextNode < nodes.count, let count = Int(exactly: nodes[nextNode][0]), count >= 0,
            count < Int.max
        else {
            throw FlatTable.damaged
        }
        let hasNulls = nodes[nextNode][1] != 0
        nextNode += 1
        let none = UnsafeRawBufferPointer(start: nil, count: 0)
        var validity: UnsafeRawBufferPointer?
        if type != .null { validity = hasNulls ? try buffer(count, bits: 1) : try skipped() }
        switch type {
        case .null: return ArrowColumn(type, count, validity: nil, offsets: none, data: none, child: nil)
        case .integer(let bits, _), .floating(let bits):
            let data = try buffer(count, bits: bits)
            return ArrowColumn(type, count, validity: validity, offsets: none, data: data, child: nil)
        case .binary(_, let wide):
            let offsets = try offsets(count, wide: wide)
            return ArrowColumn(
                type, count, validity: validity, offsets: offsets, data: try buffer(), child: nil)
        case .list(let field, let wide):
            let offsets = try offsets(count, wide: wide)
            let child = try column(field.type)
            return ArrowColumn(type, count, validity: validity, offsets: offsets, data: none, child: child)
        case .structure(let fields):
            for field in fields { _ = try column(field.type) }
            return ArrowColumn(type, count, validity: validity, offsets: none, data: none, child: nil)
        case .other(_, let more):
            for _ in 0..<more { _ = try buffer() }
            return ArrowColumn(type, count, validity: validity, offsets: none, data: none, child: nil)
        }
    }

    /// A column without nulls may leave its validity out; whatever is there is not looked at.
    private mutating func skipped() throws -> UnsafeRawBufferPointer? {
        _ = try buffer()
        return nil
    }

    /// One offset more than there are values; an empty column may have none.
    private mutating func offsets(_ count: Int, wide: Bool) throws -> UnsafeRawBufferPointer {
        try buffer(count == 0 ? 0 : count + 1, bits: wide ? 64 : 32)
    }
}
