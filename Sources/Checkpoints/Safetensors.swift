import Support

/// Reader of the safetensors format: 8 bytes of little-endian header length, a JSON header, the numbers.
///
/// Format: the README of github.com/huggingface/safetensors, "Format". All its rules are enforced, and
/// duplicate keys, unknown fields and bytes after the last tensor are errors too.
enum Safetensors {
    /// Longest header read. The reference library takes 100 MB; 25 MB holds some 200,000 tensors.
    static let headerLimit = 25_000_000
    /// Most tensors, and most metadata texts, of one file.
    static let entryLimit = 200_000

    /// The tensors of a file and the texts of its `__metadata__`. A name may still occur twice:
    /// ``Checkpoint`` looks.
    static func read(_ file: MappedFile) throws -> (records: [TensorRecord], metadata: [String: String]) {
        let header = try headerRange(file)
        let bytes = UnsafeRawBufferPointer(rebasing: file.bytes[header])
        let contents = try bytes.withMemoryRebound(to: UInt8.self) { bytes in
            try readHeader(bytes, file: file)
        }
        let records = try place(contents.entries, in: file, dataStart: header.upperBound)
        return (records, contents.metadata)
    }

    private static func headerRange(_ file: MappedFile) throws -> Range<Int> {
        guard file.count >= 8 else {
            throw failure(file, "truncated: expected at least 8 bytes, found \(file.count)", fetchAgain)
        }
        let length = UInt64(littleEndian: file.bytes.loadUnaligned(as: UInt64.self))
        guard length <= UInt64(headerLimit) else {
            throw failure(file, "its header claims \(length) bytes, more than the limit of \(headerLimit)")
        }
        let end = 8 + Int(length)
        guard end <= file.count else {
            throw failure(file, "truncated: expected at least \(end) bytes, found \(file.count)", fetchAgain)
        }
        guard length > 0, file.bytes[8] == UInt8(ascii: "{") else {
            throw failure(file, "its header does not begin with '{'")
        }
        return 8..<end
    }

    // MARK: Header

    private struct Entry {
        let info: TensorInfo
        /// Bytes counted from the end of the header; `begin` ≤ `end` is not yet known.
        let begin: Int
        let end: Int
    }

    private static func readHeader(_ bytes: UnsafeBufferPointer<UInt8>, file: MappedFile) throws
        -> (entries: [Entry], metadata: [String: String])
    {
        var json = JSONCursor(bytes, source: "\(file.path), header")
        var entries: [Entry] = []
        var metadata: [String: String]?
        try json.beginObject()
        while let name = try json.nextKey() {
            guard name == "__metadata__" else {
                guard entries.count < entryLimit else {
                    throw json.failure("more than \(entryLimit) tensors")
                }
                entries.append(try readEntry(&json, name: name, file: file))
                continue
            }
            guard metadata == nil else { throw json.failure("\"__metadata__\" appears twice") }
            metadata = try readTexts(&json)
        }
        try json.end()
        return (entries, metadata ?? [:])
    }

    private static func readTexts(_ json: inout JSONCursor) throws -> [String: String] {
        var texts: [String: String] = [:]
        try json.beginObject()
        while let key = try json.nextKey() {
            let text = try json.string()
            guard texts.count < entryLimit else {
                throw json.failure("more than \(entryLimit) metadata texts")
            }
            guard texts.updateValue(text, forKey: key) == nil else {
                throw json.failure("the metadata key \"\(shortened(key))\" appears twice")
            }
        }
        return texts
    }

    private static func readEntry(_ json: inout JSONCursor, name: String, file: MappedFile) throws -> Entry {
        var type: ElementType?
        var shape: [Int]?
        var offsets: [Int]?
        try json.beginObject()
        while let field = try json.nextKey() {
            switch field {
            case "dtype" where type == nil: type = try readType(&json, name: name, file: file)
            case "shape" where shape == nil: shape = try readIntegers(&json)
            case "data_offsets" where offsets == nil: offsets = try readIntegers(&json)
            case "dtype", "shape", "data_offsets": throw json.failure("the field \"\(field)\" appears twice")
            default: throw json.failure("the field \"\(shortened(field))\" is not part of the format")
            }
        }
        guard let type, let shape, let offsets, offsets.count == 2 else {
            throw TensorInfo.failure(
                name, in: file.path, because: "dtype, shape or two data_offsets are missing")
        }
        let info = try TensorInfo(name: name, elementType: type, shape: shape, file: file.path)
        return Entry(info: info, begin: offsets[0], end: offsets[1])
    }

    private static func readType(_ json: inout JSONCursor, name: String, file: MappedFile) throws
        -> ElementType
    {
        let text = try json.string()
        if let type = ElementType(safetensorsName: text) { return type }
        let known = ElementType.allCases.map(\.safetensorsName).joined(separator: ", ")
        throw TensorInfo.failure(
            name, in: file.path, because: "the type \(shortened(text)) is not supported",
            remedy: "convert it to one of \(known)")
    }

    private static func readIntegers(_ json: inout JSONCursor) throws -> [Int] {
        var values: [Int] = []
        try json.beginArray()
        while try json.nextElement() {
            let value = try json.integer()
            guard value >= 0 else { throw json.failure("the number \(value) is negative") }
            guard values.count < 64 else { throw json.failure("more than 64 dimensions") }
            values.append(value)
        }
        return values
    }

    // MARK: Data

    /// Checks that the tensors fill the data of the file, one after the other, without holes or overlaps.
    private static func place(_ entries: [Entry], in file: MappedFile, dataStart: Int) throws
        -> [TensorRecord]
    {
        let dataCount = file.count - dataStart
        var position = 0
        var records: [TensorRecord] = []
        records.reserveCapacity(entries.count)
        for entry in entries.sorted(by: { ($0.begin, $0.end) < ($1.begin, $1.end) }) {
            let info = entry.info
            func refuse(_ why: String) -> VQAError {
                TensorInfo.failure(info.name, in: file.path, because: why)
            }
            let range = "bytes \(entry.begin) to \(entry.end)"
            guard entry.begin <= entry.end else { throw refuse("\(range) run backwards") }
            guard entry.end - entry.begin == info.byteCount else {
                throw refuse(
                    "\(range) do not hold \(describe(info.shape)) of \(info.elementType), which takes \(info.byteCount) bytes"
                )
            }
            guard entry.begin >= position else {
                throw refuse("\(range) overlap the tensor before, which ends at \(position)")
            }
            guard entry.begin == position else {
                throw refuse("\(range) leave a hole after byte \(position)")
            }
            position = entry.end
            guard position <= dataCount else { continue }
            let bytes = dataStart + entry.begin..<dataStart + entry.end
            records.append(TensorRecord(info: info, file: file, layout: .contiguous(bytes)))
        }
        guard position <= dataCount else {
            let (expected, overflow) = dataStart.addingReportingOverflow(position)
            let amount = overflow ? "more than 2^63" : "\(expected)"
            throw failure(file, "truncated: expected \(amount) bytes, found \(file.count)", fetchAgain)
        }
        guard position == dataCount else {
            throw failure(file, "\(dataCount - position) bytes follow the last tensor")
        }
        return records
    }

    private static let fetchAgain = "fetch it again"

    private static func failure(_ file: MappedFile, _ why: String, _ remedy: String? = nil) -> VQAError {
        VQAError("cannot read the checkpoint", at: file.path, because: why, remedy: remedy)
    }
}
