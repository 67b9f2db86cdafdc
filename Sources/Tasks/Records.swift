import Support

/// Maps a text file and hands out its bytes. Refuses, with the remedy, what is no UTF-8 text at the first
/// glance: compressed files, UTF-16, pointers of git-lfs. A UTF-8 byte-order mark is stepped over.
func withText<Result>(
    of path: String, _ body: (UnsafeBufferPointer<UInt8>) throws -> Result
) throws -> Result {
    try withText(of: path) { bytes, _ in try body(bytes) }
}

/// The same, with the file beside its bytes.
func withText<Result>(
    of path: String, _ body: (UnsafeBufferPointer<UInt8>, MappedFile) throws -> Result
) throws -> Result {
    let file = try MappedFile(path)
    defer { withExtendedLifetime(file) {} }
    let bytes = file.bytes.bindMemory(to: UInt8.self)
    func refuse(_ why: String, _ remedy: String) -> VQAError {
        VQAError("cannot read the file", at: path, because: why, remedy: remedy)
    }
    if bytes.starts(with: [0x1F, 0x8B]) { throw refuse("it is compressed", "unpack it with gunzip first") }
    if bytes.starts(with: Array("PK\u{3}\u{4}".utf8)) { throw refuse("it is a ZIP file", "unpack it first") }
    if bytes.starts(with: [0xFF, 0xFE]) || bytes.starts(with: [0xFE, 0xFF]) {
        throw refuse("it is UTF-16", "save it as UTF-8")
    }
    if bytes.starts(with: Array("version https://git-lfs".utf8)) {
        throw refuse("it is a git-lfs pointer, not the file itself", "run 'git lfs pull'")
    }
    let mark = bytes.starts(with: [0xEF, 0xBB, 0xBF]) ? 3 : 0
    return try body(UnsafeBufferPointer(rebasing: bytes[mark...]), file)
}

/// Walks over the records of a JSON list. `parse` reads one value, `use` gets it with its number, from 1.
///
/// A record that `parse` refuses is reported as ``Problem/Kind/badRecord`` and stepped over; broken syntax
/// cannot be stepped over and is thrown. What was read of `file`, if it is given, leaves the memory: some files have gigabytes.
func readList<Record>(
    _ cursor: inout JSONCursor, of file: MappedFile? = nil, log: inout ProblemLog,
    parse: (inout JSONCursor) throws -> Record,
    use: (Record, Int, inout ProblemLog) throws -> Void
) throws {
    try cursor.beginArray()
    var number = 0
    var released = 0
    while try cursor.nextElement() {
        number += 1
        if let file, cursor.offset - released > 16 << 20 {
            file.release(released..<cursor.offset)
            released = cursor.offset
        }
        let start = cursor
        let record: Record
        do {
            record = try parse(&cursor)
        } catch let error as VQAError {
            try log.report(.badRecord, named(error, "record \(number)"))
            cursor = start
            try cursor.skipValue()
            continue
        }
        try use(record, number, &log)
    }
}

/// Walks over the records of a file that is either one JSON list or has one JSON value a line. Empty lines
/// are stepped over. The number is the record of the list or the line of the file, from 1.
func readRecords<Record>(
    of path: String, log: inout ProblemLog, parse: (inout JSONCursor) throws -> Record,
    use: (Record, Int, inout ProblemLog) throws -> Void
) throws {
    try withText(of: path) { bytes, file in
        if bytes.first(where: { !isJSONSpace($0) }) == UInt8(ascii: "[") {
            var cursor = JSONCursor(bytes, source: path)
            try readList(&cursor, of: file, log: &log, parse: parse, use: use)
            try cursor.end()
        } else {
            try readLines(bytes, of: path, log: &log, parse: parse, use: use)
        }
    }
}

/// What the numbers of ``readRecords(of:log:parse:use:)`` count in this file: `record` or `line`.
func recordWord(of path: String) throws -> String {
    let isList = try withText(of: path) { bytes in
        bytes.first { !isJSONSpace($0) } == UInt8(ascii: "[")
    }
    return isList ? "record" : "line"
}

/// Walks over the lines of `bytes`, the text of the file `path`; see ``readRecords(of:log:parse:use:)``.
func readLines<Record>(
    _ bytes: UnsafeBufferPointer<UInt8>, of path: String, log: inout ProblemLog,
    parse: (inout JSONCursor) throws -> Record, use: (Record, Int, inout ProblemLog) throws -> Void
) throws {
    var start = 0
    var line = 0
    while start < bytes.count {
        let end = bytes[start...].firstIndex(of: UInt8(ascii: "\n")) ?? bytes.count
        let text = UnsafeBufferPointer(rebasing: bytes[start..<end])
        start = end + 1
        line += 1
        if text.allSatisfy(isJSONSpace) { continue }
        var cursor = JSONCursor(text, source: "\(path), line \(line)")
        let record: Record
        do {
            record = try parse(&cursor)
            try cursor.end()
        } catch {
            try log.report(.badRecord, error)
            continue
        }
        try use(record, line, &log)
    }
}

private func isJSONSpace(_ byte: UInt8) -> Bool {
    byte == 0x20 || byte == 0x0A || byte == 0x0D || byte == 0x09
}

/// Reads a list of strings.
func readStrings(_ cursor: inout JSONCursor, _ name: String) throws -> [String] {
    guard try cursor.peek() == .array else { throw cursor.failure("\(name) is not a list of strings") }
    try cursor.beginArray()
    var strings: [String] = []
    while try cursor.nextElement() { strings.append(try readString(&cursor, name)) }
    return strings
}

/// Reads a string, or says which key has none.
func readString(_ cursor: inout JSONCursor, _ name: String) throws -> String {
    guard try cursor.peek() == .string else { throw cursor.failure("\(name) is not a string") }
    return try cursor.string()
}

/// Makes sure that each string with the same text shares one storage: question types repeat 400,000 times.
struct StringPool {
    private var strings: Set<String> = []

    mutating func callAsFunction(_ text: String) -> String {
        text.utf8.count <= 15 ? text : strings.insert(text).memberAfterInsert
    }
}

/// Walks over the members of one JSON object whose keys are ids; see ``readList(_:log:parse:use:)``. Members are numbered
/// from 1.
func readMembers<Record>(
    _ cursor: inout JSONCursor, log: inout ProblemLog, parse: (String, inout JSONCursor) throws -> Record,
    use: (Record, Int, inout ProblemLog) throws -> Void
) throws {
    try cursor.beginObject()
    var number = 0
    while let key = try cursor.nextKey() {
        number += 1
        let start = cursor
        let record: Record
        do {
            record = try parse(key, &cursor)
        } catch let error as VQAError {
            try log.report(.badRecord, named(error, "record \(number)"))
            cursor = start
            try cursor.skipValue()
            continue
        }
        try use(record, number, &log)
    }
}

/// The error with the name of a record at the end of its place.
private func named(_ error: VQAError, _ name: String) -> VQAError {
    VQAError(
        error.what, at: error.place.map { "\($0), \(name)" } ?? name, because: error.why,
        remedy: error.remedy, kind: error.kind)
}
