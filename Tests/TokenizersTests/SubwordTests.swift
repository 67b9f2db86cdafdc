import Support
import Testing
import Tokenizers

/// One small tokenizer of each published layout.
let subwords = fixtures + "/subwords"

@Suite("Subword tokenizers against the reference") struct SubwordTests {
    private static let kinds = [
        "gpt2", "qwen2", "smollm2", "llama3", "gpt4o", "clip", "llama", "llama-first", "mistral", "t5",
        "deberta",
        "spm-llama", "spm-llama-first", "spm-t5", "spm-deberta",
    ]

    @Test(
        "texts have the tokens, offsets and words of the reference, and come back as there", arguments: kinds)
    func texts(kind: String) throws {
        let tokenizer = try Tokenizer(contentsOf: "\(subwords)/\(kind)")
        let golden = try #require(try JSON(contentsOf: "\(subwords)/cases.json")[kind])
        let rows = try #require(golden["rows"]?.array)
        #expect(rows.count == 60)
        for row in rows {
            let text = try #require(row["text"]?.string)
            let encoding = try tokenizer.encode(text, pair: row["pair"]?.string)
            expectEqual(encoding, row, "\(kind) \(JSON.quoted(text))")
            expectEqual(try tokenizer.decode(encoding.ids), row["decoded"], text)
            expectEqual(
                try tokenizer.decode(encoding.ids, skipSpecialTokens: false), row["decoded_all"], text)
        }
        for row in try #require(golden["decode"]?.array) {
            let ids = row["ids"]?.integers ?? []
            expectEqual(try tokenizer.decode(ids), row["text"], "\(kind) \(ids)")
            expectEqual(try tokenizer.decode(ids, skipSpecialTokens: false), row["all"], "\(kind) \(ids)")
        }
    }

    @Test("ids one by one give the text of all, in whole characters", arguments: kinds)
    func streaming(kind: String) throws {
        let tokenizer = try Tokenizer(contentsOf: "\(subwords)/\(kind)")
        let rows = try #require(try JSON(contentsOf: "\(subwords)/cases.json")[kind]?["rows"]?.array)
        for row in rows {
            let ids = row["ids"]?.integers ?? []
            for skips in [true, false] {
                var stream = StreamingDecoder(tokenizer, skipSpecialTokens: skips)
                var text = ""
                for id in ids {
                    let new = try stream.append(id)
                    #expect(!new.hasSuffix("\u{FFFD}"))
                    text += new
                }
                text += try stream.finish()
                expectEqual(text, row[skips ? "decoded" : "decoded_all"], "\(kind) \(ids)")
            }
        }
    }

    @Test("the slow way of LLaVA's tokenizer puts spaces where transformers 4.31 did")
    func slowPrefixes() throws {
        let path = "\(subwords)/spm-llama-first"
        let slow = try Tokenizer(contentsOf: path, prefixing: .slow)
        let plain = try Tokenizer(contentsOf: path)
        // "▁what" loses its mark, which is not the same as "what" read without one.
        let word = try slow.encode("what", addSpecialTokens: false)
        let after = try slow.encode("</s>what", addSpecialTokens: false)
        #expect(after.tokens.first == "</s>")
        #expect(after.tokens.dropFirst().joined() == word.tokens.joined().dropFirst())
        // A space of its own stays beside the one that is put there.
        let spaced = try slow.encode("</s> what", addSpecialTokens: false)
        #expect(spaced.tokens.joined() == "</s>\u{2581}\u{2581}what")
        #expect(try plain.encode("</s> what", addSpecialTokens: false).tokens.joined() == "</s>\u{2581}what")
        #expect(try slow.encode("what</s>").ids == plain.encode("what</s>").ids)
        #expect(try slow.encode("</s></s>").ids.count == 3)
        #expect(throws: VQAError.self) {
            try Tokenizer(contentsOf: "\(subwords)/spm-t5/spiece.model", prefixing: .slow)
        }
    }

    @Test("regular expressions split text as the reference's engine does")
    func patterns() throws {
        let tests = try #require(try JSON(contentsOf: "\(subwords)/patterns.json").array)
        #expect(tests.count > 50)
        for test in tests {
            let behavior = try #require(test["behavior"]?.string)
            let names = [
                "isolated": "Isolated", "removed": "Removed", "merged_with_previous": "MergedWithPrevious",
            ]
            let tokenizer = try tokenizer(
                wordPiece(["[UNK]"]).setting(
                    "pre_tokenizer",
                    [
                        "type": "Split", "pattern": ["Regex": test["pattern"] ?? .null],
                        "behavior": .string(names[behavior] ?? ""), "invert": test["invert"] ?? .null,
                    ]))
            for row in test["cases"]?.array ?? [] {
                let pieces = try tokenizer.pieces(of: row["text"]?.string ?? "")
                #expect(
                    pieces.map { Array($0.utf8) } == row["pieces"]?.strings.map { Array($0.utf8) },
                    "\(test["pattern"]?.text() ?? "") \(row.text())")
            }
        }
    }
}
