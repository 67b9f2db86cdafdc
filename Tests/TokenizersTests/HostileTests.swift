import Support
import Testing
import Tokenizers

@Suite("Hostile tokenizer files") struct HostileTests {
    /// A file with an empty vocabulary and one more member.
    private static func file(_ member: String) -> String { #"{"model":{"vocab":{}},"# + member + "}" }

    /// A file whose model has these members.
    private static func model(_ members: String) -> String {
        #"{"model":{"type":"WordPiece","# + members + "}}"
    }

    private static func template(_ part: String) -> String {
        file(
            #""post_processor":{"type":"TemplateProcessing","single":["# + part
                + #"],"pair":[],"special_tokens":{}}"#)
    }

    private struct Broken: Sendable {
        let name: String
        let text: String
        /// What the error must say.
        let says: String

        init(_ name: String, _ text: String, _ says: String) {
            self.name = name
            self.text = text
            self.says = says
        }
    }

    private static let broken: [Broken] = [
        Broken("nothing", "", "object"),
        Broken("no model", "{}", "model"),
        Broken("no vocabulary", #"{"model":{"type":"WordPiece"}}"#, "vocab"),
        Broken("two models", #"{"model":{"vocab":{}},"model":{"vocab":{}}}"#, "twice"),
        Broken("negative id", model(#""vocab":{"a":-1}"#), "out of range"),
        Broken("id beyond 32 bits", model(#""vocab":{"a":4294967296}"#), "out of range"),
        Broken("id far beyond the vocabulary", model(#""vocab":{"a":2000000000}"#), "too large"),
        Broken("two tokens of one id", model(#""vocab":{"a":0,"b":0}"#), "belongs to"),
        Broken("one token twice", model(#""vocab":{"a":0,"a":1}"#), "twice"),
        Broken("fractional id", model(#""vocab":{"a":1.5}"#), "integer"),
        Broken("word limit", model(#""max_input_chars_per_word":1000000000,"vocab":{}"#), "max_input"),
        Broken(
            "another model", #"{"model":{"type":"WordLevel","vocab":{}}}"#, #"needs the model "WordLevel""#),
        Broken(
            "a regular expression", file(#""pre_tokenizer":{"type":"Split","pattern":{"Regex":"(a*)*"}}"#),
            "match nothing"),
        Broken(
            "replacing by a regular expression",
            file(#""normalizer":{"type":"Replace","pattern":{"Regex":"(a*)*"},"content":""}"#),
            "match nothing"),
        Broken("another decoder", file(#""decoder":{"type":"CTC"}"#), #"needs the decoder "CTC""#),
        Broken("an unknown token in a template", template(#"{"SpecialToken":{"id":"X"}}"#), "names \"X\""),
        Broken("a template with a missing pair", template(#"{"Sequence":{"id":"B"}}"#), "second"),
        Broken("an empty added token", file(#""added_tokens":[{"content":""}]"#), "empty"),
    ]

    @Test("is refused with an error that says why", arguments: broken.indices)
    func refused(index: Int) throws {
        let broken = Self.broken[index]
        do {
            _ = try Tokenizer(parsing: Array(broken.text.utf8), source: "tokenizer.json")
            Issue.record("\(broken.name) was read")
        } catch let error as VQAError {
            #expect(error.description.contains(broken.says), "\(broken.name): \(error)")
            #expect(!error.description.contains("\n"))
        }
    }

    @Test("a token of a megabyte is refused, one of 4,096 bytes is found")
    func longTokens() throws {
        let long = String(repeating: "a", count: 4096)
        let tokenizer = try tokenizer(
            wordPiece(["[UNK]", long]).setting("normalizer", ["type": "Lowercase"]))
        #expect(throws: VQAError.self) {
            try Tokenizer(parsing: Array(wordPiece([long + "a"]).text().utf8), source: "t")
        }
        #expect(try tokenizer.encode(long).ids == [0])
        var wide = tokenizer
        #expect(try wide.add([AddedToken(long)]) == [1])
        #expect(try wide.encode(long + "b" + long).ids == [1, 0, 1])
        #expect(throws: VQAError.self) { try wide.add([AddedToken(long + "a")]) }
        #expect(throws: VQAError.self) { try wide.add([AddedToken("")]) }
    }

    @Test("without an unknown token only text that needs it is an error")
    func missingUnknown() throws {
        let tokenizer = try tokenizer(wordPiece(["a"]).setting("pre_tokenizer", ["type": "WhitespaceSplit"]))
        #expect(try tokenizer.encode("a a").ids == [0, 0])
        #expect(throws: VQAError.self) { try tokenizer.encode("a b") }
    }

    @Test("holes in the vocabulary are no tokens")
    func holes() throws {
        let tokenizer = try Tokenizer(
            parsing: Array(#"{"model":{"vocab":{"[UNK]":7,"a":3}}}"#.utf8), source: "test")
        #expect(try tokenizer.encode("a").ids == [3])
        #expect(tokenizer.token(for: 0) == nil)
        #expect(tokenizer.vocabularySize == 2)
        #expect(try tokenizer.decode([0, 3, 9]) == "a")
    }

    @Test("a chain of replacements cannot grow text without end")
    func growth() throws {
        let double: JSON = ["type": "Replace", "pattern": ["String": "a"], "content": "aaaaaaaaaaaaaaaa"]
        let chain = JSON.array(Array(repeating: double, count: 40))
        let tokenizer = try tokenizer(
            wordPiece(["[UNK]", "a"]).setting("normalizer", ["type": "Sequence", "normalizers": chain]))
        #expect(throws: VQAError.self) { try tokenizer.encode("a") }
    }

    @Test("damaged files are read or refused, and what is read can be used")
    func mutations() throws {
        let whole = try readFile("\(fixtures)/tokenizer.json", limit: 1 << 20)
        var random = CounterRandom(seed: 11, purpose: "tokenizer mutations")
        let pieces = [
            "\"", "{", "}", "[", "]", ",", ":", "null", "true", "-1", "1e9", "4294967295", "\\ud800",
            "Sequence", "BPE",
        ]
        let clock = ContinuousClock()
        let start = clock.now
        var read = 0
        for _ in 0..<3000 where clock.now - start < .seconds(8) {
            var bytes = whole
            for _ in 0..<Int.random(in: 1...4, using: &random) {
                let place = Int.random(in: 0..<bytes.count, using: &random)
                switch Int.random(in: 0..<4, using: &random) {
                case 0: bytes[place] = UInt8.random(in: 0...255, using: &random)
                case 1:
                    bytes.removeSubrange(
                        place..<min(bytes.count, place + Int.random(in: 1...40, using: &random)))
                case 2:
                    bytes.insert(
                        contentsOf: Array((pieces.randomElement(using: &random) ?? "").utf8), at: place)
                default: bytes.removeLast(min(bytes.count - 1, Int.random(in: 0...3, using: &random)))
                }
            }
            guard let tokenizer = try? Tokenizer(parsing: bytes, source: "damaged") else { continue }
            read += 1
            let encoding = try? tokenizer.encode(
                "What's é 你 <ent> [SEP]", pair: "red <r> x", truncation: tokenizer.truncation)
            if let encoding { _ = try tokenizer.decode(encoding.ids) }
        }
        #expect(read > 10)
    }
}
