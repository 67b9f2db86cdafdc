import Support

/// The table of contents of a zip archive whose entries are stored as they are, as PyTorch writes them.
///
/// Format: PKWARE APPNOTE 6.3.10, sections 4.3 and 4.5.3 (zip64). Encrypted, overlapping and repeated
/// entries, archives in parts, and archives that do not end with their directory are refused, so that every
/// reader sees the same contents. The checksums are not verified: PyTorch can be told to write wrong ones.
struct ZipDirectory {
    /// Where the bytes of each stored entry lie in the file.
    private(set) var entries: [String: Range<Int>] = [:]
    /// The names of compressed entries, which cannot be read.
    private(set) var compressed: Set<String> = []

    init(_ file: MappedFile) throws {
        let directory = try Self.locate(file)
        var reader = ByteReader(file.bytes, in: directory.range, source: file.path)
        // Each entry takes 46 bytes or more, so the count cannot announce more than there is.
        guard directory.count <= reader.remaining / 46 else {
            throw reader.failure(
                "the zip directory announces \(directory.count) entries in \(reader.remaining) bytes")
        }
        var found: [Entry] = []
        for _ in 0..<directory.count {
            found.append(try Self.entry(&reader, file: file, limit: directory.range.lowerBound))
        }
        guard reader.remaining == 0 else {
            throw reader.failure("bytes follow the last entry of the zip directory")
        }
        try enter(found, file: file)
    }

    private struct Entry {
        let name: String
        /// Where its own header begins.
        let start: Int
        let data: Range<Int>
        let isCompressed: Bool
    }

    // MARK: Directory

    private static let endSize = 22

    /// Finds the end record, which must be the last thing of the file but for its comment.
    private static func locate(_ file: MappedFile) throws -> (range: Range<Int>, count: Int) {
        var position = file.count - endSize
        let lowest = max(0, file.count - endSize - 0xFFFF)
        while position >= lowest {
            var reader = ByteReader(file.bytes, in: position..<file.count, source: file.path)
            if try reader.integer(UInt32.self) == 0x0605_4B50 {
                try reader.take(16)
                if Int(try reader.integer(UInt16.self)) == reader.remaining {
                    return try readEnd(file, at: position)
                }
            }
            position -= 1
        }
        throw VQAError(
            "cannot read the checkpoint", at: file.path,
            because:
                "truncated: the zip directory that ends such a file is missing after \(file.count) bytes",
            remedy: "fetch it again")
    }

    private static func readEnd(_ file: MappedFile, at end: Int) throws -> (range: Range<Int>, count: Int) {
        var reader = ByteReader(file.bytes, in: end + 4..<file.count, source: file.path)
        let disks = (try reader.integer(UInt16.self), try reader.integer(UInt16.self))
        let counts = (try reader.integer(UInt16.self), try reader.integer(UInt16.self))
        let size = try reader.integer(UInt32.self)
        let start = try reader.integer(UInt32.self)
        guard disks == (0, 0), counts.0 == counts.1 else {
            throw reader.failure("the zip archive is one of several parts")
        }
        var limit = end
        var whole = (count: UInt64(counts.0), size: UInt64(size), start: UInt64(start))
        if let wide = try readWideEnd(file, before: end) {
            // A value that fits the plain record stands in both, or two readers would see two archives.
            guard counts.0 == .max || whole.count == wide.count, size == .max || whole.size == wide.size,
                start == .max || whole.start == wide.start
            else { throw reader.failure("the two end records of the zip archive disagree") }
            whole = (wide.count, wide.size, wide.start)
            limit = wide.position
        }
        guard whole.start <= UInt64(limit), whole.size == UInt64(limit) - whole.start else {
            throw reader.failure("the zip directory is not where its end record says")
        }
        guard let count = Int(exactly: whole.count) else {
            throw reader.failure("the zip directory is too large")
        }
        return (Int(whole.start)..<limit, count)
    }

    private typealias WideEnd = (count: UInt64, size: UInt64, start: UInt64, position: Int)

    /// The zip64 end record, found by its locator of 20 bytes before the plain end record; nil without a
    /// locator.
    private static func readWideEnd(_ file: MappedFile, before end: Int) throws -> WideEnd? {
        guard end >= 20 else { return nil }
        var locator = ByteReader(file.bytes, in: end - 20..<end, source: file.path)
        guard try locator.integer(UInt32.self) == 0x0706_4B50 else { return nil }
        try locator.take(4)
        let position = try locator.integer(UInt64.self)
        guard position <= UInt64(end - 20) else {
            throw locator.failure("the zip64 end record lies outside the file")
        }
        var reader = ByteReader(file.bytes, in: Int(position)..<end - 20, source: file.path)
        guard try reader.integer(UInt32.self) == 0x0606_4B50 else {
            throw reader.failure("expected a zip64 end record")
        }
        try reader.take(20)
        let counts = (try reader.integer(UInt64.self), try reader.integer(UInt64.self))
        guard counts.0 == counts.1 else { throw reader.failure("the zip archive is one of several parts") }
        let size = try reader.integer(UInt64.self)
        return (counts.0, size, try reader.integer(UInt64.self), Int(position))
    }

    // MARK: Entries

    private static func entry(_ reader: inout ByteReader, file: MappedFile, limit: Int) throws -> Entry {
        guard try reader.integer(UInt32.self) == 0x0201_4B50 else {
            throw reader.failure("expected a zip directory entry")
        }
        try reader.take(4)
        let flags = try reader.integer(UInt16.self)
        let method = try reader.integer(UInt16.self)
        try reader.take(8)
        var packed = UInt64(try reader.integer(UInt32.self))
        var size = UInt64(try reader.integer(UInt32.self))
        let nameCount = Int(try reader.integer(UInt16.self))
        let extraCount = Int(try reader.integer(UInt16.self))
        let commentCount = Int(try reader.integer(UInt16.self))
        try reader.take(8)
        var start = UInt64(try reader.integer(UInt32.self))
        let name = try reader.text(nameCount)
        let extra = try reader.take(extraCount)
        try reader.take(commentCount)
        try widen(&size, &packed, &start, from: ByteReader(file.bytes, in: extra, source: file.path))
        // Bit 0 marks encryption, bit 13 a hidden directory.
        guard flags & 0x2001 == 0 else {
            throw reader.failure("the zip entry \(shortened(name)) is encrypted")
        }
        guard method != 0 || packed == size else {
            throw reader.failure("the stored zip entry \(shortened(name)) has two sizes")
        }
        let data = try dataRange(
            name: name, start: start, size: packed, method: method, file: file, limit: limit)
        return Entry(name: name, start: Int(start), data: data, isCompressed: method != 0)
    }

    /// Takes the 64-bit values of the zip64 field (number 1) for those that do not fit the entry.
    private static func widen(
        _ size: inout UInt64, _ packed: inout UInt64, _ start: inout UInt64, from extra: ByteReader
    ) throws {
        var extra = extra
        let full = UInt64(UInt32.max)
        while extra.remaining >= 4 {
            let tag = try extra.integer(UInt16.self)
            let field = try extra.take(Int(try extra.integer(UInt16.self)))
            guard tag == 1 else { continue }
            var values = ByteReader(extra.bytes, in: field, source: extra.source)
            if size == full { size = try values.integer(UInt64.self) }
            if packed == full { packed = try values.integer(UInt64.self) }
            if start == full { start = try values.integer(UInt64.self) }
            return
        }
    }

    /// Checks the entry's own header, which stands before its bytes and repeats its name.
    private static func dataRange(
        name: String, start: UInt64, size: UInt64, method: UInt16, file: MappedFile, limit: Int
    ) throws -> Range<Int> {
        guard start <= UInt64(limit) else {
            throw VQAError(
                "cannot read the checkpoint", at: file.path,
                because: "the zip entry \(shortened(name)) begins outside the file")
        }
        var reader = ByteReader(file.bytes, in: Int(start)..<limit, source: file.path)
        guard try reader.integer(UInt32.self) == 0x0403_4B50 else {
            throw reader.failure("expected the header of the zip entry \(shortened(name))")
        }
        try reader.take(4)
        guard try reader.integer(UInt16.self) == method else {
            throw reader.failure("the zip entry \(shortened(name)) has another method in its own header")
        }
        try reader.take(16)
        let nameCount = Int(try reader.integer(UInt16.self))
        let extraCount = Int(try reader.integer(UInt16.self))
        guard try reader.text(nameCount) == name else {
            throw reader.failure("the zip entry \(shortened(name)) has another name in its own header")
        }
        try reader.take(extraCount)
        guard let size = Int(exactly: size), size <= reader.remaining else {
            throw reader.failure(
                "truncated: the zip entry \(shortened(name)) of \(size) bytes does not fit the file")
        }
        return try reader.take(size)
    }

    private mutating func enter(_ found: [Entry], file: MappedFile) throws {
        func refuse(_ entry: Entry, _ why: String) -> VQAError {
            VQAError(
                "cannot read the checkpoint", at: file.path,
                because: "the zip entry \(shortened(entry.name)) \(why)")
        }
        var names: Set<String> = []
        var position = 0
        for entry in found.sorted(by: { $0.start < $1.start }) {
            guard entry.start >= position else { throw refuse(entry, "overlaps another") }
            guard names.insert(entry.name).inserted else { throw refuse(entry, "appears twice") }
            position = entry.data.upperBound
            if entry.isCompressed {
                compressed.insert(entry.name)
            } else {
                entries[entry.name] = entry.data
            }
        }
    }
}
