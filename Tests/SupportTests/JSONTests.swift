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
}
