import Support

/// What a column holds.
indirect enum ArrowType: Equatable {
    case null
    case integer(bits: Int, signed: Bool)
    case floating(bits: Int)
    case binary(isText: Bool, wide: Bool)
    case list(ArrowField, wide: Bool)
    case structure([ArrowField])
    /// A type that has no values here, by name; its columns are stepped over: validity and `buffers` more.
    case other(String, buffers: Int)
}

/// A column's name and type.
struct ArrowField: Equatable {
    var name: String
    var type: ArrowType
}

/// A table in the Arrow columnar format (arrow.apache.org, «IPC»): the file with a footer or the stream, not compressed.
/// The file is mapped; columns are read where they lie, one record batch after the other.
final class ArrowTable {
    private let file: MappedFile
    /// The columns.
    let fields: [ArrowField]
    private let batches: [Batch]

    private struct Batch {
        var metadata: Range<Int>
        var body: Range<Int>
    }

    /// The number of record batches.
    var batchCount: Int { batches.count }

    private static let mark = Array("ARROW1".utf8)

    /// Opens a table; throws when it is none, when it is compressed, or when it is damaged.
    init(_ path: String) throws {
        do {
            file = try MappedFile(path)
            let bytes = file.bytes
            if bytes.count >= 8, bytes.starts(with: Self.mark) {
                (fields, batches) = try Self.openFile(bytes)
            } else {
                (fields, batches) = try Self.openStream(bytes, from: 0)
            }
        } catch let error as VQAError {
            throw error.place == nil ? Self.placed(error, path) : error
        }
    }

    private static func placed(_ error: VQAError, _ path: String) -> VQAError {
        VQAError(error.what, at: path, because: error.why, remedy: error.remedy, kind: error.kind)
    }

    static func failure(_ why: String, _ remedy: String? = nil) -> VQAError {
        VQAError("cannot read the Arrow table", because: why, remedy: remedy)
    }

    // MARK: Messages

    private static func openFile(_ bytes: UnsafeRawBufferPointer) throws -> ([ArrowField], [Batch]) {
        guard bytes.count >= 18, bytes.suffix(6).elementsEqual(mark) else {
            throw failure("the file is cut off: it has no end mark")
        }
        let size = Int(
            Int32(littleEndian: bytes.loadUnaligned(fromByteOffset: bytes.count - 10, as: Int32.self)))
        guard size > 0, size <= bytes.count - 18 else { throw FlatTable.damaged }
        let start = bytes.count - 10 - size
        let footer = try FlatTable(root: UnsafeRawBufferPointer(rebasing: bytes[start..<(start + size)]))
        guard let schema = try footer.table(1) else { throw FlatTable.damaged }
        let batches = try footer.structures(3, words: 3).map { block in
            guard let offset = Int(exactly: block[0]), offset >= 0, offset < bytes.count else {
                throw FlatTable.damaged
            }
            guard let message = try message(bytes, at: offset), message.kind == 3 else {
                throw FlatTable.damaged
            }
            return message.batch
        }
        return (try Self.fields(of: schema, depth: 0), batches)
    }

    private static func openStream(_ bytes: UnsafeRawBufferPointer, from start: Int) throws -> (
        [ArrowField], [Batch]
    ) {
        var position = start
        var fields: [ArrowField]?
        var batches: [Batch] = []
        while let message = try message(bytes, at: position) {
            switch message.kind {
            case 1:
                guard fields == nil else { throw failure("it has two schemas") }
                guard let schema = try message.table.table(2) else { throw FlatTable.damaged }
                fields = try Self.fields(of: schema, depth: 0)
            case 3: batches.append(message.batch)
            case 2: break
            default: throw failure("it has a message of the unknown kind \(message.kind)")
            }
            position = message.batch.body.upperBound
        }
        guard let fields else { throw failure("it is no Arrow file and no Arrow stream") }
        return (fields, batches)
    }

    private typealias Message = (kind: UInt8, table: FlatTable, batch: Batch)

    /// The message at `position`; nil at the end of a stream.
    private static func message(_ bytes: UnsafeRawBufferPointer, at position: Int) throws -> Message? {
        func word(_ place: Int) throws -> UInt32 {
            guard place >= 0, place + 4 <= bytes.count else { throw failure("it is cut off") }
            return UInt32(littleEndian: bytes.loadUnaligned(fromByteOffset: place, as: UInt32.self))
        }
        if position >= bytes.count { return nil }
        var start = position
        var size = try word(start)
        start += 4
        if size == .max {
            size = try word(start)
            start += 4
        }
        if size == 0 { return nil }
        guard Int(size) <= bytes.count - start else {
            throw failure("it is no Arrow table, or it is cut off")
        }
        let metadata = start..<(start + Int(size))
        let table = try FlatTable(root: UnsafeRawBufferPointer(rebasing: bytes[metadata]))
        let length = try table.number(3, absent: Int64(0))
        guard length >= 0, length <= bytes.count - metadata.upperBound else { throw failure("it is cut off") }
        let body = metadata.upperBound..<(metadata.upperBound + Int(length))
        return (try table.number(1, absent: UInt8(0)), table, Batch(metadata: metadata, body: body))
    }

    // MARK: Schema

    private static let maximumDepth = 16

    private static func fields(of schema: FlatTable, depth: Int) throws -> [ArrowField] {
        guard try schema.number(0, absent: Int16(0)) == 0 else { throw failure("its numbers are big-endian") }
        return try schema.tables(1).map { try field($0, depth: 0) }
    }

    private static func field(_ table: FlatTable, depth: Int) throws -> ArrowField {
        guard depth < maximumDepth else { throw failure("its columns are nested too deep") }
        let name = try table.string(0) ?? ""
        let children = try table.tables(5).map { try field($0, depth: depth + 1) }
        let kind = try table.number(2, absent: UInt8(0))
        if try table.table(4) != nil { return ArrowField(name: name, type: .other("dictionary", buffers: 1)) }
        return ArrowField(name: name, type: try type(kind, try table.table(3), children))
    }

    private static func type(_ kind: UInt8, _ details: FlatTable?, _ children: [ArrowField]) throws
        -> ArrowType
    {
        switch kind {
        case 1: return .null
        case 2:
            let bits = Int(try details?.number(0, absent: Int32(0)) ?? 0)
            guard [8, 16, 32, 64].contains(bits) else { throw FlatTable.damaged }
            return .integer(bits: bits, signed: try details?.number(1, absent: UInt8(0)) ?? 0 != 0)
        case 3:
            let precision = Int(try details?.number(0, absent: Int16(0)) ?? 0)
            guard (0...2).contains(precision) else { throw FlatTable.damaged }
            return .floating(bits: 16 << precision)
        case 4, 5: return .binary(isText: kind == 5, wide: false)
        case 19, 20: return .binary(isText: kind == 20, wide: true)
        case 12, 21:
            guard children.count == 1 else { throw FlatTable.damaged }
            return .list(children[0], wide: kind == 21)
        case 13: return .structure(children)
        case 6: return .other("Bool", buffers: 1)
        case 7: return .other("Decimal", buffers: 1)
        case 8: return .other("Date", buffers: 1)
        case 9: return .other("Time", buffers: 1)
        case 10: return .other("Timestamp", buffers: 1)
        case 11: return .other("Interval", buffers: 1)
        case 15: return .other("FixedSizeBinary", buffers: 1)
        case 18: return .other("Duration", buffers: 1)
        default: throw failure("it has a column of a type that is not supported (number \(kind))")
        }
    }

    // MARK: Batches

    /// The columns of a record batch by name. They must not outlive the table.
    func columns(ofBatch number: Int) throws -> [String: ArrowColumn] {
        let batch = batches[number]
        let bytes = UnsafeRawBufferPointer(rebasing: file.bytes[batch.metadata])
        guard let record = try FlatTable(root: bytes).table(2) else { throw FlatTable.damaged }
        if let compression = try record.table(3) {
            let codec = try compression.number(0, absent: Int8(0)) == 0 ? "LZ4" : "Zstandard"
            throw Self.failure(
                "its buffers are compressed with \(codec)", "write it again without compression")
        }
        let length = try record.number(0, absent: Int64(0))
        var builder = ColumnBuilder(
            body: UnsafeRawBufferPointer(rebasing: file.bytes[batch.body]),
            nodes: try record.structures(1, words: 2), buffers: try record.structures(2, words: 2))
        var columns: [String: ArrowColumn] = [:]
        for field in fields {
            let column = try builder.column(field.type)
            guard column.count == length else { throw FlatTable.damaged }
            columns[field.name] = column
        }
        return columns
    }

    /// Lets go of the memory of a batch that was read.
    func release(batch number: Int) { file.release(batches[number].body) }
}
