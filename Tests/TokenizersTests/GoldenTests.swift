import Support
import Testing
import Tokenizers

@Suite("Against the reference") struct GoldenTests {
    @Test("texts of many scripts have the tokens, offsets, words and masks of the reference")
    func texts() throws {
        let tokenizer = try Tokenizer(contentsOf: "\(fixtures)/tokenizer.json")
        let lines = try readFile("\(fixtures)/texts.jsonl", limit: 1 << 20).split(
            separator: UInt8(ascii: "\n"))
        #expect(lines.count > 150)
        for line in lines {
            let golden = try JSON(parsing: Array(line), source: "texts.jsonl")
            let text = try #require(golden["text"]?.string)
            let encoding = try tokenizer.encode(text, pair: golden["pair"]?.string)
            expectEqual(encoding, golden, text)
            expectEqual(try tokenizer.decode(encoding.ids), golden["decoded"], text)
            expectEqual(
                try tokenizer.decode(encoding.ids, skipSpecialTokens: false), golden["decoded_all"], text)
        }
    }

    @Test("each normalizer and pre-tokenizer changes and splits text as the reference, with its offsets")
    func components() throws {
        let file = try fixture("components.json")
        let vocabulary = try #require(file["vocab"])
        for test in try #require(file["tests"]?.array) {
            let tokenizer = try tokenizer([
                "normalizer": test["normalizer"] ?? .null, "pre_tokenizer": test["pre_tokenizer"] ?? .null,
                "model": ["type": "WordPiece", "unk_token": "[UNK]", "vocab": vocabulary],
            ])
            let name = (test["normalizer"]?.text() ?? "") + (test["pre_tokenizer"]?.text() ?? "")
            for golden in test["cases"]?.array ?? [] {
                let text = try #require(golden["text"]?.string)
                expectEqual(try tokenizer.encode(text), golden, "\(name) \(JSON.quoted(text))")
            }
        }
    }

    @Test("every Unicode scalar is normalised and split as the reference does", arguments: 0..<5)
    func scalars(index: Int) throws {
        let tests = try #require(try fixture("scalars.json").array)
        let golden = tests[index]
        let tokenizer = try tokenizer(
            wordPiece(["[UNK]"]).setting("normalizer", golden["normalizer"] ?? .null)
                .setting("pre_tokenizer", golden["pre_tokenizer"] ?? .null))
        var hash = SHA256()
        for scalar in (0...0x10FFFF).compactMap(Unicode.Scalar.init(_:)) {
            let pieces = try tokenizer.pieces(of: "a\(scalar)b")
            Array((pieces.joined(separator: "\u{1}") + "\n").utf8).withUnsafeBytes { hash.add($0) }
        }
        #expect(hash.hexadecimal() == golden["sha256"]?.string)
    }

    @Test("truncation keeps what the reference keeps, and refuses what it refuses")
    func truncation() throws {
        let tokenizer = try Tokenizer(contentsOf: "\(fixtures)/tokenizer.json")
        let cases = try #require(try fixture("options.json")["truncation"]?.array)
        #expect(cases.count > 100)
        for golden in cases {
            let strategy: Truncation.Strategy =
                switch golden["strategy"]?.string {
                case "longest_first": .longestFirst
                case "only_first": .onlyFirst
                default: .onlySecond
                }
            let truncation = Truncation(
                to: try #require(golden["length"]?.integer), strategy: strategy,
                side: golden["side"]?.string == "left" ? .left : .right)
            let ids = try? tokenizer.encode(
                try #require(golden["text"]?.string), pair: golden["pair"]?.string, truncation: truncation
            ).ids
            #expect(ids == golden["ids"]?.array.map { $0.compactMap(\.integer) }, "\(golden.text())")
        }
    }

    @Test("batches are padded as the reference pads them")
    func padding() throws {
        let tokenizer = try Tokenizer(contentsOf: "\(fixtures)/tokenizer.json")
        for golden in try #require(try fixture("options.json")["padding"]?.array) {
            let length = golden["length"]?.integer
            let padding = Padding(
                length.map { .length($0) } ?? .longest,
                side: golden["side"]?.string == "left" ? .left : .right,
                multipleOf: golden["multiple"]?.integer)
            let rows = try tokenizer.encodeBatch(golden["texts"]?.strings ?? [], padding: padding)
            let wanted = try #require(golden["rows"]?.array)
            #expect(rows.count == wanted.count)
            for (row, golden) in zip(rows, wanted) { expectEqual(row, golden, "row") }
        }
    }

    @Test("post-processors put around the text what the reference puts, with and without special tokens")
    func postProcessors() throws {
        let file = try fixture("options.json")
        let plain = try JSON(contentsOf: "\(fixtures)/tokenizer.json")
        for golden in (file["processed"]?.array ?? []) + (file["plain"]?.array ?? []) {
            let processor = golden["post_processor"]
            let tokenizer = try tokenizer(processor.map { plain.setting("post_processor", $0) } ?? plain)
            let encoding = try tokenizer.encode(
                try #require(golden["text"]?.string), pair: golden["pair"]?.string,
                addSpecialTokens: golden["special_tokens"]?.bool ?? false)
            expectEqual(encoding, golden, golden.text())
        }
    }

    @Test("any ids are decoded as the reference decodes them")
    func decoding() throws {
        let tokenizer = try Tokenizer(contentsOf: "\(fixtures)/tokenizer.json")
        for golden in try #require(try fixture("options.json")["decode"]?.array) {
            let ids = golden["ids"]?.integers ?? []
            expectEqual(try tokenizer.decode(ids), golden["text"], "\(ids)")
            expectEqual(try tokenizer.decode(ids, skipSpecialTokens: false), golden["all"], "\(ids)")
        }
    }
}
