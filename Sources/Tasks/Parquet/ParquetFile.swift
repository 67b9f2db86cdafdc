import Support

/// A table in the format Parquet (github.com/apache/parquet-format). The file is mapped; rows are put together from the pages of
/// the columns that are asked for, one page of each at a time, so that memory does not grow with the file.
///
/// Reads pages of both versions, uncompressed or with Snappy or Zstandard, in the encodings PLAIN, RLE_DICTIONARY,
/// RLE (truth values), DELTA_BINARY_PACKED, DELTA_LENGTH_BYTE_ARRAY and DELTA_BYTE_ARRAY. What it does not read it refuses by
/// name. Checksums of pages are not looked at.
package final class ParquetFile {
    /// The path.
    package let path: String
    /// The number of rows.
    package let rowCount: Int
    let file: MappedFile
    let leaves: [ParquetLeaf]
    let nodes: [ParquetNode]
    let groups: [Group]

    /// Some rows: where their columns lie.
    struct Group {
        let rows: Int
        let chunks: [ParquetChunk]
    }

    /// The number of row groups.
    package var groupCount: Int { groups.count }
    /// The names of the columns, or of the structures and lists that they make.
    package var names: [String] { nodes.map(\.name) }

    /// Opens a file; throws when it is none, encrypted, damaged, or of a kind that is not supported.
    package init(_ path: String) throws {
        self.path = path
        do {
            file = try MappedFile(path)
            let (footer, end) = try Self.footer(of: file.bytes)
            let schema = try ParquetSchema(footer.list(2))
            (leaves, nodes) = (schema.leaves, schema.nodes)
            groups = try footer.list(4).map { try Self.group($0, leaves: schema.leaves, end: end) }
            rowCount = try groups.reduce(0) { sum, group in
                let (total, overflow) = sum.addingReportingOverflow(group.rows)
                guard !overflow else { throw ThriftReader.damaged }
                return total
            }
            guard try footer.count(3) == rowCount else {
                throw Self.failure("its row groups have \(rowCount) rows in place of \(try footer.count(3))")
            }
        } catch let error as VQAError {
            throw error.place == nil ? Self.placed(error, path) : error
        }
    }

    static func failure(_ why: String, _ remedy: String? = nil) -> VQAError {
        VQAError("cannot read the Parquet file", because: why, remedy: remedy)
    }

    static func placed(_ error: VQAError, _ place: String) -> VQAError {
        VQAError(error.what, at: place, because: error.why, remedy: error.remedy, kind: error.kind)
    }

    /// The metadata at the end of the file, and where they begin.
    private static func footer(of bytes: UnsafeRawBufferPointer) throws -> (ThriftStructure, Int) {
        let mark = Array("PAR1".utf8)
        if bytes.starts(with: Array("version https://git-lfs".utf8)) {
            throw failure("it is a git-lfs pointer, not the file itself", "run 'git lfs pull'")
        }
        if bytes.starts(with: Array("PARE".utf8)) || bytes.suffix(4).elementsEqual(Array("PARE".utf8)) {
            throw failure("it is encrypted", "write it again without encryption")
        }
        guard bytes.starts(with: mark) else {
            throw failure("it is no Parquet file: it does not begin with PAR1")
        }
        guard bytes.count >= 12, bytes.suffix(4).elementsEqual(mark) else {
            throw failure("it is cut off: it does not end with PAR1", "fetch it again")
        }
        let size = Int(
            UInt32(littleEndian: bytes.loadUnaligned(fromByteOffset: bytes.count - 8, as: UInt32.self)))
        guard size <= bytes.count - 12 else { throw failure("its metadata are longer than the file") }
        guard size <= ThriftReader.limit else {
            throw failure("its metadata have \(size) bytes, more than the limit of \(ThriftReader.limit)")
        }
        let start = bytes.count - 8 - size
        var reader = ThriftReader(UnsafeRawBufferPointer(rebasing: bytes[start..<(bytes.count - 8)]))
        let footer = try reader.structure()
        guard footer.fields[8] == nil else {
            throw failure("some of its columns are encrypted", "write it again without encryption")
        }
        return (footer, start)
    }

    private static func group(_ entry: ThriftStructure, leaves: [ParquetLeaf], end: Int) throws -> Group {
        let columns = try entry.list(1)
        guard columns.count == leaves.count else {
            throw failure("a row group has \(columns.count) columns in place of \(leaves.count)")
        }
        let chunks = try zip(columns, leaves).map { try chunk($0, leaf: $1, end: end) }
        let rows = try entry.count(3)
        for (leaf, chunk) in zip(leaves, chunks) where leaf.repetition == 0 && chunk.count != rows {
            throw failure("the column '\(leaf.name)' has \(chunk.count) entries for \(rows) rows")
        }
        return Group(rows: rows, chunks: chunks)
    }

    private static func chunk(_ column: ThriftStructure, leaf: ParquetLeaf, end: Int) throws -> ParquetChunk {
        if case .bytes(let path) = column.fields[1], !path.isEmpty {
            throw failure("the column '\(leaf.name)' lies in another file", "write the table to one file")
        }
        guard column.fields[8] == nil else {
            throw failure("the column '\(leaf.name)' is encrypted", "write it again without encryption")
        }
        guard let details = try column.structure(3) else { throw ThriftReader.damaged }
        let codec = try ParquetCodec(try details.count(4), column: leaf.name)
        let count = try details.count(5)
        // A column without entries may have no place.
        guard count > 0 else { return ParquetChunk(codec: codec, count: 0, range: 0..<0) }
        let data = try details.count(9)
        // 0 stands for none: a page cannot be at the file's mark.
        let dictionary = try details.integer(11) ?? 0
        let start = dictionary > 0 ? min(dictionary, data) : data
        let size = try details.count(7)
        guard start >= 4, start <= end, size <= end - start else {
            throw failure("the column '\(leaf.name)' reaches beyond the file", "fetch the file again")
        }
        return ParquetChunk(codec: codec, count: count, range: start..<(start + size))
    }
}
