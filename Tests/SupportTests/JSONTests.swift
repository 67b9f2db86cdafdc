import Support
import Testing

@Suite struct JSONTests {
    static func parse(_ text: String) throws -> JSON { try JSON(parsing: Array(text.utf8), source: "text") }

    @Test("values of every kind") func values() throws {
        let json = try Self.parse(
            #" {"a": [1, -2.5, 1e3, true, false, null], "b": {"c": "x\n\u00e9\ud83d\ude00\/"}} "#)
        #expect(json["a"]?.array?[0] == .integer(1))
        #expect(json["a"]?.array?[1] == .number(-2.5))
        #expect(json["a"]?.array?[2] == .number(1000))
        #expect(json["a"]?.array?[5].isNull == true)
        #expect(json["b"]?["c"]?.string == "x\né😀/")
    }

    @Test("what is written is read back") func roundTrip() throws {
        let json: JSON = [
            "text": "quote \" backslash \\ control \u{01} emoji 😀", "list": [1, 2.5, true, .null],
            "empty": [:],
        ]
        #expect(try Self.parse(json.text()) == json)
        #expect(try Self.parse(json.text(indented: true)) == json)
    }

    @Test(
        "errors name the byte",
        arguments: [
            ("", 0), ("[1,2", 4), ("[1,]", 3), ("{\"a\" 1}", 5), ("nul", 0), ("[01]", 1), ("\"\u{01}\"", 1),
            ("[1] x", 4),
            ("{\"a\":1,\"a\":2}", 11), ("1e999", 0), ("\"\\q\"", 2), ("\"\\u12\"", 3), ("[1 2]", 3), ("-", 0),
            ("1.", 0),
        ])
    func errors(_ text: String, _ byte: Int) {
        let error = #expect(throws: VQAError.self) { _ = try Self.parse(text) }
        #expect(error?.description.contains("byte \(byte)") == true, "\(error?.description ?? "")")
    }

    @Test("deep nesting, bad UTF-8 and lone surrogates do no harm") func hostile() throws {
        let deep = String(repeating: "[", count: 100_000)
        #expect(throws: VQAError.self) { _ = try Self.parse(deep) }
        #expect(throws: VQAError.self) { _ = try JSON(parsing: [0x22, 0xFF, 0x22], source: "text") }
        #expect(try Self.parse(#""\ud83d x""#).string == "\u{FFFD} x")
    }

    @Test("texts that are appended are those of strings, whatever their length and wherever they end")
    func appending() throws {
        for length in 0..<20 {
            for place in 0...length {
                for odd in ["", "é", "中", "😀", "\\n", "\\\"", "\\u0041", "\u{7F}"] {
                    let letters = String(repeating: "a", count: length)
                    let written = letters.prefix(place) + odd + letters.dropFirst(place)
                    let source = Array("[\"\(written)\",{\"\(written)\":1}]".utf8)
                    try source.withUnsafeBufferPointer { source in
                        var strings = JSONCursor(source, source: "text")
                        var texts = JSONCursor(source, source: "text")
                        var text = Array("before".utf8)
                        try strings.beginArray()
                        try texts.beginArray()
                        #expect(try strings.nextElement() && texts.nextElement())
                        try texts.appendStringUnchecked(to: &text)
                        let string = try strings.string()
                        #expect(text == Array(("before" + string).utf8))
                        #expect(texts.offset == strings.offset)
                        #expect(try texts.nextElement())
                        try texts.beginObject()
                        #expect(try texts.appendNextKeyUnchecked(to: &text))
                        #expect(text == Array(("before" + string + string).utf8))
                        #expect(try texts.integer() == 1)
                        #expect(try !texts.appendNextKeyUnchecked(to: &text))
                    }
                }
            }
        }
    }

    @Test("a fault inside a string is found at every place of it")
    func faults() throws {
        for length in 0..<20 {
            for place in 0..<max(1, length) {
                for fault: UInt8 in [0x00, 0x1F, 0x80, 0xC3, 0xFF] {
                    var source = Array(("\"" + String(repeating: "a", count: length) + "\"").utf8)
                    source.insert(fault, at: 1 + place)
                    for cut in [source, Array(source.dropLast())] {
                        cut.withUnsafeBufferPointer { cut in
                            var cursor = JSONCursor(cut, source: "text")
                            #expect(throws: VQAError.self) { try cursor.withStringBytes { _ in } }
                        }
                    }
                }
            }
        }
    }

    @Test("bytes are UTF-8 as the standard library has it, whatever stands around them")
    func characters() {
        let parts: [[UInt8]] = [
            Array("é".utf8), Array("中".utf8), Array("😀".utf8), [0x80], [0xC0, 0x80], [0xC1, 0xBF], [0xC3],
            [0xC3, 0x28],
            [0xE0, 0x9F, 0xBF], [0xED, 0xA0, 0x80], [0xE4, 0xB8], [0xF0, 0x8F, 0xBF, 0xBF],
            [0xF4, 0x90, 0x80, 0x80],
            [0xF5, 0x80, 0x80, 0x80], [0xFF], [],
        ]
        for length in 0..<18 {
            for place in 0...length {
                for part in parts {
                    var bytes = [UInt8](repeating: 0x61, count: length)
                    bytes.insert(contentsOf: part, at: place)
                    let expected = String(validating: bytes, as: UTF8.self) != nil
                    #expect(bytes.withUnsafeBufferPointer { isUTF8($0) } == expected, "\(bytes)")
                }
            }
        }
    }

    @Test("integers are read up to 64 bits, and nothing that looks like one")
    func integers() throws {
        func integer(_ text: String) throws -> Int {
            try Array(text.utf8).withUnsafeBufferPointer {
                var cursor = JSONCursor($0, source: "text")
                let value = try cursor.integer()
                try cursor.end()
                return value
            }
        }
        for value in [0, 7, 10, -3, 999_999_999_999_999_999, 1_000_000_000_000_000_000, Int.max, Int.min] {
            #expect(try integer(" \(value) ") == value)
        }
        for text in ["", "-", "00", "01", "1.0", "1e3", "1E3", "1.", "9223372036854775808", "x", "1x"] {
            #expect(throws: VQAError.self, "\(text)") { _ = try integer(text) }
        }
    }

    @Test("no truncation and no changed byte crashes the reader") func mutations() throws {
        let text = Array(#"{"k":[1,-2.5e3,"a\u0041\n",{"x":null,"y":[true,false]}],"z":"é"}"#.utf8)
        var random = CounterRandom(seed: 1, purpose: "mutations")
        var refused = 0
        for length in 0..<text.count where (try? JSON(parsing: Array(text[..<length]), source: "t")) == nil {
            refused += 1
        }
        #expect(refused == text.count)
        for _ in 0..<20_000 {
            var changed = text
            for _ in 0..<Int.random(in: 1...4, using: &random) {
                changed[Int.random(in: 0..<changed.count, using: &random)] = UInt8.random(
                    in: 0...255, using: &random)
            }
            _ = try? JSON(parsing: changed, source: "t")
        }
    }

    @Test("strings of every length are read whole, with every sort of byte at every place") func everyPlace()
        throws
    {
        for length in 0...18 {
            for place in 0..<max(1, length) {
                for odd in ["a", "\"", "\\", "\u{1F}", "\u{7F}", "\u{E9}", "\u{1F600}", "!", "#", "[", "]"] {
                    var letters = (0..<length).map { String(UnicodeScalar(UInt8(97 + $0 % 26))) }
                    if length > 0 { letters[place] = odd }
                    let text = letters.joined()
                    let written = JSON.array([.string(text), .string(text)]).text()
                    #expect(
                        try JSON(parsing: Array(written.utf8), source: "text").array == [
                            .string(text), .string(text),
                        ])
                    guard odd == "\u{1F}", length > 0 else { continue }
                    // Not escaped, and the string not closed.
                    let raw = "[\"\(text)\"]"
                    #expect(throws: VQAError.self) { try JSON(parsing: Array(raw.utf8), source: "text") }
                    let open = "\"" + letters.dropLast().joined()
                    #expect(throws: VQAError.self) { try JSON(parsing: Array(open.utf8), source: "text") }
                }
            }
        }
    }

    @Test("known keys are told apart from longer, shorter and other ones") func keys() throws {
        let text = #"{"ab": 1, "a": 2, "abc": 3, "": 4, "b\u0061": 5, "ba": 6, "é": 7}"#
        try Array(text.utf8).withUnsafeBufferPointer { bytes in
            var cursor = JSONCursor(bytes, source: "text")
            try cursor.beginObject()
            var found: [Int] = []
            while let key = try cursor.nextKey(among: ["ab", "ba", "", "é"]) {
                found.append(key)
                try cursor.skipValue()
            }
            #expect(found == [0, -1, -1, 2, 1, 1, 3])
        }
    }

    @Test("a flat object is stepped over to where reading it ends, cut at any byte it is not")
    func flat() throws {
        for object in [
            "{}", " { } ", #"{"a": 1, "b" : -2.5e3 , "c":null}"#,
            #"{"}": 1, "\"}": 2, "\\": "{[", "é\u007d": true}"#,
        ] {
            let text = Array((object + ", 7").utf8)
            try text.withUnsafeBufferPointer { bytes in
                var (read, skipped) = (
                    JSONCursor(bytes, source: "text"), JSONCursor(bytes, source: "text")
                )
                try read.skipValue()
                let isWhole = skipped.skipFlatObjectUnchecked()
                #expect(isWhole)
                #expect(skipped.offset == read.offset)
                for count in 0..<(read.offset) {
                    var cut = JSONCursor(
                        UnsafeBufferPointer(rebasing: bytes[..<count]), source: "text")
                    let isWhole = cut.skipFlatObjectUnchecked()
                    #expect(!isWhole && cut.offset == 0, "\(object), \(count)")
                }
            }
        }
        for other in ["", "1", "[1]", #"{"a": {}}"#, #"{"a": [1]}"#, #"{"a"#, #"{"a\"#] {
            Array(other.utf8).withUnsafeBufferPointer { bytes in
                var cursor = JSONCursor(bytes, source: "text")
                let isFlat = cursor.skipFlatObjectUnchecked()
                #expect(!isFlat, "\(other)")
            }
        }
    }
}
