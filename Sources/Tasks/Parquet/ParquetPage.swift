import CSnappy
import CZstd
import Support

/// How the pages of a column are compressed.
enum ParquetCodec {
    case none, snappy, zstandard

    /// The codec with this number in the format; those that are not read are refused by name.
    init(_ number: Int, column: String) throws {
        switch number {
        case 0: self = .none
        case 1: self = .snappy
        case 6: self = .zstandard
        default:
            let names = [2: "GZIP", 3: "LZO", 4: "BROTLI", 5: "LZ4", 7: "LZ4_RAW"]
            throw ParquetFile.failure(
                "the column '\(column)' is compressed with \(names[number] ?? "codec number \(number)"), "
                    + "which is not supported",
                "write it again with the codec snappy, zstd or none")
        }
    }

    /// The content of a part of the file, which must have `size` bytes.
    func unpacked(_ file: MappedFile, _ range: Range<Int>, size: Int) throws -> ParquetMemory {
        guard self != .none else {
            guard size == range.count else { throw ParquetFile.failure("a page's two sizes differ") }
            return ParquetMemory(file, range)
        }
        // A page of nothing but nulls has no bytes of values, packed or not.
        guard size > 0 else { return try ParquetMemory(count: 0) { _ in } }
        guard size <= 16 << 20 || size / 1024 <= range.count else {
            throw ParquetFile.failure(
                "a page grows from \(range.count) to \(size) bytes, more than a thousandfold",
                "if the file is to be trusted, write it again without compression")
        }
        defer { file.release(range) }
        let source = UnsafeRawBufferPointer(rebasing: file.bytes[range])
        return try ParquetMemory(count: size) { memory in
            guard unpack(source, memory) == size else {
                throw ParquetFile.failure("a compressed page is damaged")
            }
        }
    }

    /// Unpacks into memory of the right size and returns the number of bytes; nil for damaged input.
    private func unpack(_ source: UnsafeRawBufferPointer, _ memory: UnsafeMutableRawBufferPointer) -> Int? {
        if case .zstandard = self {
            let count = ZSTD_decompress(memory.baseAddress, memory.count, source.baseAddress, source.count)
            return ZSTD_isError(count) == 0 ? count : nil
        }
        var count = memory.count
        let status = snappy_uncompress(
            source.baseAddress?.assumingMemoryBound(to: CChar.self), source.count,
            memory.baseAddress?.assumingMemoryBound(to: CChar.self), &count)
        return status == SNAPPY_OK ? count : nil
    }
}

/// A page's header, and where its content lies.
struct ParquetPage {
    enum Kind {
        case dictionary
        /// Levels and values are compressed together.
        case first
        /// The levels stand before the values, uncompressed.
        case second(repetitions: Int, definitions: Int, isCompressed: Bool)
        /// An index, or a kind that is not known: it is stepped over.
        case other
    }

    /// The largest page, unpacked.
    static let limit = 512 << 20

    let kind: Kind
    /// The number of entries: values and nulls.
    let count: Int
    let encoding: Int
    /// Where the content lies in the file.
    let content: Range<Int>
    /// Its size when it is unpacked.
    let size: Int

    /// Reads the header at the start of `range`, which ends with the column.
    init(_ file: MappedFile, _ range: Range<Int>, leaf: ParquetLeaf) throws {
        let bytes = UnsafeRawBufferPointer(rebasing: file.bytes[range].prefix(ThriftReader.limit))
        var reader = ThriftReader(bytes)
        let header = try reader.structure()
        size = try header.count(2)
        let packed = try header.count(3)
        let start = range.lowerBound + reader.position
        guard packed <= range.upperBound - start else {
            throw ParquetFile.failure("a page reaches beyond its column")
        }
        guard size <= Self.limit else {
            throw ParquetFile.failure(
                "a page has \(size) bytes, more than the limit of \(Self.limit)",
                "write it again with smaller pages")
        }
        content = start..<(start + packed)
        let kind = try header.count(1)
        let details: Int16? = [0: 5, 2: 7, 3: 8][kind]
        guard let details else {
            (self.kind, count, encoding) = (.other, 0, 0)
            return
        }
        guard let page = try header.structure(details) else { throw ThriftReader.damaged }
        count = try page.count(1)
        encoding = try page.count(kind == 3 ? 4 : 2)
        switch kind {
        case 2: self.kind = .dictionary
        case 3:
            let (definitions, repetitions) = (try page.count(5), try page.count(6))
            // Both are numbers of 64 bits here, from 32 in a sound file: compared one after the other.
            guard definitions <= min(packed, size), repetitions <= min(packed, size) - definitions else {
                throw ParquetFile.failure("the levels of a page are longer than the page")
            }
            self.kind = .second(
                repetitions: repetitions, definitions: definitions, isCompressed: try page.integer(7) != 0)
        default:
            self.kind = .first
            // RLE is the hybrid of runs and packed groups.
            let hasLevels = [(3, leaf.definition), (4, leaf.repetition)].filter { $0.1 > 0 }
            for (field, _) in hasLevels where try page.count(Int16(field)) != 3 {
                throw ParquetFile.failure(
                    "the levels of a page are in the old encoding BIT_PACKED, which is not supported",
                    "write the file again with a newer program")
            }
        }
    }
}
