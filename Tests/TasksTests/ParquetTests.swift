import Foundation
import Support
import Tasks
import Testing

/// All rows of a file, as the golden files have them: texts and bytes with one character a byte.
func parquetRows(_ path: String, _ columns: [String]? = nil) throws -> [JSON] {
    let rows = try ParquetFile(path).rows(columns)
    var result: [JSON] = []
    while let row = try rows.next() { result.append(json(.structure(row))) }
    return result
}

private func json(_ value: ParquetValue) -> JSON {
    switch value {
    case .null: .null
    case .boolean(let value): .bool(value)
    case .integer(let value): .integer(Int(value))
    case .number(let value): .number(value)
    case .bytes(let bytes):
        .string(
            bytes.withBytes { bytes in
                String(String.UnicodeScalarView(bytes.map { UnicodeScalar($0) }))
            })
    case .list(let values): .array(values.map(json))
    case .structure(let record):
        .object(zip(record.names, record.values).map { JSON.Member($0, json($1)) })
    }
}

/// The number of a JSON value that is one, whole or not.
private func sameValue(_ a: JSON, _ b: JSON) -> Bool {
    switch (a, b) {
    case (.number(let a), .integer(let b)), (.integer(let b), .number(let a)): a == Double(b)
    case (.array(let a), .array(let b)): a.count == b.count && zip(a, b).allSatisfy(sameValue)
    case (.object(let a), .object(let b)):
        a.count == b.count && zip(a, b).allSatisfy { $0.key == $1.key && sameValue($0.value, $1.value) }
    default: a == b
    }
}

@Suite("Parquet files")
struct ParquetTests {
    /// `[file: name of its table]` and the tables.
    private func goldens() throws -> (files: [String: String], tables: JSON) {
        let expected = try JSON(contentsOf: fixture("parquet/expected.json"))
        let tables = try #require(expected["tables"])
        guard case .object(let members) = expected["files"] else { return ([:], tables) }
        return (Dictionary(uniqueKeysWithValues: members.map { ($0.key, $0.value.string ?? "") }), tables)
    }

    @Test("all page versions, encodings, codecs and nestings have the reference's values")
    func values() throws {
        let (files, tables) = try goldens()
        #expect(files.count == 36)
        for (name, table) in files.sorted(by: { $0.key < $1.key }) {
            let rows = try parquetRows(fixture("parquet/\(name).parquet"))
            let expected = try #require(tables[table]?.array)
            #expect(rows.count == expected.count, "\(name)")
            for (index, (row, wanted)) in zip(rows, expected).enumerated() where !sameValue(row, wanted) {
                Issue.record("\(name), row \(index + 1): \(row) is not \(wanted)")
                break
            }
        }
    }

    @Test("chosen columns come in the order asked for; names and numbers are told before")
    func columns() throws {
        let path = fixture("parquet/nested_v2_snappy.parquet")
        let file = try ParquetFile(path)
        #expect(file.rowCount == 18 && file.groupCount == 3)
        #expect(file.names == ["turns", "deep", "pair", "pairs", "number", "image", "big", "map"])
        let rows = try parquetRows(path, ["number", "image"])
        #expect(rows.map { $0["number"]?.integer } == Array(0..<18))
        #expect(rows[0]["image"]?["bytes"]?.string == "\u{FF}\u{D8}" && rows[0]["turns"] == nil)
        let found = message { _ = try file.rows(["numbers"]) }
        #expect(found.contains("it has no column 'numbers'; it has 'number'"), "\(found)")
        let empty = try ParquetFile(fixture("parquet/empty.parquet"))
        #expect(empty.rowCount == 0 && empty.names.count == 11)
    }

    @Test(
        "codecs, encodings and types that are not read are refused by name",
        arguments: [
            ("refused_gzip", "compressed with GZIP"), ("refused_brotli", "compressed with BROTLI"),
            ("refused_lz4", "compressed with LZ4_RAW"), ("refused_split", "the encoding BYTE_STREAM_SPLIT"),
            ("refused_int96", "the type INT96"), ("bomb_page", "more than a thousandfold"),
            ("bomb_words", "more than 256 times the bytes of the file"),
        ])
    func refusals(_ name: String, _ expected: String) throws {
        let found = message {
            let rows = try ParquetFile(fixture("parquet/\(name).parquet")).rows()
            while try rows.next() != nil {}
        }
        #expect(found.contains(expected) && found.contains("\(name).parquet"), "\(found)")
        // What to do about it.
        #expect(found.contains("; "), "\(found)")
    }

    @Test("what is no whole Parquet file says so")
    func marks() throws {
        let whole = try readFile(fixture("parquet/required.parquet"), limit: 1 << 20)
        let size = whole.count
        var longFooter = whole
        longFooter.replaceSubrange((size - 8)..<(size - 4), with: [255, 255, 255, 127])
        var garbage = whole
        for index in (size - 60)..<(size - 8) { garbage[index] = 0xFF }
        let cases: [([UInt8], String)] = [
            ([], "does not begin with PAR1"), (Array("PAR1".utf8), "does not end with PAR1"),
            (Array("PAR1PAR1".utf8), "does not end with PAR1"), (Array(whole.dropLast(3)), "cut off"),
            (Array("PARE".utf8) + whole.dropFirst(4), "encrypted"),
            (whole.dropLast(4) + Array("PARE".utf8), "encrypted"),
            (Array("version https://git-lfs.github.com/spec/v1\n".utf8), "git-lfs pointer"),
            (Array("[{}]".utf8), "does not begin with PAR1"), (longFooter, "longer than the file"),
            (garbage, "metadata are damaged"),
        ]
        for (bytes, expected) in cases {
            try withFile(bytes) { path in
                let found = message { _ = try parquetRows(path) }
                #expect(found.contains("cannot read the Parquet file: \(path)"), "\(found)")
                #expect(found.contains(expected), "\(found)")
            }
        }
        #expect(message { _ = try ParquetFile("/nowhere.parquet") }.contains("cannot open the file"))
    }

    @Test("changed levels and counts are errors with file, row and column")
    func levels() throws {
        let path = fixture("parquet/flat_plain_v1_none.parquet")
        let whole = try readFile(path, limit: 1 << 20)
        // The definition levels of the first page are five bytes: four packed groups, of which the first is 1 1 1 1 1 1 0 1.
        let start = try #require(whole.indices.first { whole[$0...].starts(with: [5, 0, 0, 0, 9, 0xBF]) })
        var changed = whole
        changed[start] = 200
        try withFile(changed) { file in
            let found = message { _ = try parquetRows(file) }
            #expect(found.contains("\(file), row 1, column 'truth'"), "\(found)")
            #expect(found.contains("fewer values than it says"), "\(found)")
        }
    }
}

@Suite("Hostile Parquet files")
struct ParquetRobustnessTests {
    @Test(
        "mutated files never trap and never hang",
        arguments: [
            "flat_plain_v1_snappy", "flat_words_v2_zstd", "flat_delta_v1_none", "flat_delta_v2_snappy",
            "nested_v1_none", "nested_v2_none", "nested_v1_zstd", "nested_one_page", "runs", "fallback",
            "old_pairs", "required",
        ])
    func mutations(_ name: String) throws {
        let whole = try readFile(fixture("parquet/\(name).parquet"), limit: 1 << 20)
        try withFolder { folder in
            try mutate(whole, at: "\(folder)/file", seed: 90, milliseconds: 250) {
                _ = try parquetRows("\(folder)/file")
            }
        }
    }

    /// Damage where it hurts most: the footer, whose length is kept right.
    @Test("mutated metadata never trap", arguments: ["nested_checksums", "flat_words_v1_none", "old_array"])
    func metadata(_ name: String) throws {
        let whole = try readFile(fixture("parquet/\(name).parquet"), limit: 1 << 20)
        let tail = whole.suffix(8)
        let size = tail.prefix(4).enumerated().reduce(0) { $0 + Int($1.element) << (8 * $1.offset) }
        let body = Array(whole.dropLast(8 + size))
        let footer = Array(whole.dropLast(8).suffix(size))
        try withFolder { folder in
            let (part, path) = ("\(folder)/footer", "\(folder)/file")
            try mutate(footer, at: part, seed: 91, milliseconds: 500) {
                let changed = try readFile(part, limit: 1 << 20)
                let length = (0..<4).map { UInt8(changed.count >> (8 * $0) & 255) }
                let bytes: [UInt8] = body + changed + length + Array("PAR1".utf8)
                try Data(bytes).write(to: URL(fileURLWithPath: path))
                _ = try parquetRows(path)
            }
        }
    }

    @Test("a file that is cut off anywhere is refused")
    func truncations() throws {
        let whole = try readFile(fixture("parquet/required.parquet"), limit: 1 << 20)
        try withFolder { folder in
            for size in 0..<whole.count {
                try Data(whole.prefix(size)).write(to: URL(fileURLWithPath: "\(folder)/file"))
                #expect(
                    message { _ = try parquetRows("\(folder)/file") }.contains("cannot read the Parquet file")
                )
            }
        }
    }

    @Test("a flip of any one bit is read or refused, never a trap")
    func bitFlips() throws {
        for name in ["required", "old_pairs", "old_value", "refused_gzip"] {
            let whole = try readFile(fixture("parquet/\(name).parquet"), limit: 1 << 20)
            try withFolder { folder in
                let path = "\(folder)/file"
                for bit in 0..<(8 * whole.count) {
                    var bytes = whole
                    bytes[bit / 8] ^= 1 << UInt8(bit % 8)
                    try Data(bytes).write(to: URL(fileURLWithPath: path))
                    #expect(!message { _ = try parquetRows(path) }.contains("\n"))
                }
            }
        }
    }
}
