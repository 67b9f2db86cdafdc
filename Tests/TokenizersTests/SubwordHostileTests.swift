import Support
import Testing
import Tokenizers

@Suite("Hostile subword vocabularies") struct SubwordHostileTests {
    private func expectFailure(_ says: String, _ body: () throws -> Void) {
        do {
            try body()
            Issue.record("an error that says \(says) was expected")
        } catch let error as VQAError {
            #expect(error.description.contains(says), "\(error)")
            #expect(!error.description.contains("\n"))
        } catch {
            Issue.record("\(error)")
        }
    }

    private func bytePairs(_ members: String) -> [UInt8] {
        Array(#"{"model":{"type":"BPE",\#(members)}}"#.utf8)
    }

    @Test("merges that are no merges of the vocabulary are refused")
    func merges() throws {
        for (members, says) in [
            (#""vocab":{"a":0,"b":1},"merges":["a b"]"#, "not in the vocabulary"),
            (#""vocab":{"ab":0,"b":1},"merges":["a b"]"#, "not in the vocabulary"),
            (#""vocab":{"a":0,"ab":1},"merges":[["a","b"]]"#, "not in the vocabulary"),
            (#""vocab":{"a":0},"merges":["a"]"#, "not two tokens"),
            (#""vocab":{"a":0},"merges":["a a a"]"#, "not two tokens"),
            (#""vocab":{"a":0},"merges":[["a"]]"#, "only one"),
            (#""vocab":{"a":0,"aa":1},"merges":[["a","a","a"]]"#, "more than two"),
            (#""vocab":{"a":0},"merges":{}"#, "array"),
            (#""vocab":{"a":-1},"merges":[]"#, "out of range"),
            (#""vocab":{"a":0},"dropout":0.1,"merges":[]"#, "chance"),
        ] {
            expectFailure(says) { _ = try Tokenizer(parsing: bytePairs(members), source: "test") }
        }
    }

    @Test("a token twice in a long vocabulary is reported where it stands")
    func duplicate() throws {
        for (first, second) in [(0, 1), (0, 999), (400, 401), (255, 256), (998, 999)] {
            var members = (0..<1000).map { "\"token\($0)\": \($0)" }
            members[second] = "\"token\(first)\": \(second)"
            let before =
                "{\"model\":{\"type\":\"BPE\",\"vocab\":{" + members[..<second].joined(separator: ",")
            let byte = before.utf8.count + ",\"token\(first)\":".utf8.count
            let text = before + "," + members[second...].joined(separator: ",") + "},\"merges\":[]}}"
            expectFailure("byte \(byte): a token appears twice") {
                _ = try Tokenizer(parsing: Array(text.utf8), source: "test")
            }
        }
    }

    @Test(
        "merges may stand before the vocabulary and before the prefix, and those of other models are not read"
    )
    func order() throws {
        let prefix = #""continuing_subword_prefix":"@""#
        let vocabulary = #""vocab":{"a":0,"@b":1,"ab":2,"@c":3,"abc":4}"#
        let merges = #""merges":["a @b",["ab","@c"]]"#
        for members in [
            [prefix, vocabulary, merges], [merges, vocabulary, prefix], [merges, prefix, vocabulary],
        ] {
            let tokenizer = try Tokenizer(parsing: bytePairs(members.joined(separator: ",")), source: "test")
            #expect(try tokenizer.encode("abc").ids == [4])
        }
        for merges in ["null", "{}", "[1]", #"["a"]"#] {
            let text = #"{"model":{"type":"WordPiece","vocab":{"[UNK]":0,"a":1},"merges":\#(merges)}}"#
            let tokenizer = try Tokenizer(parsing: Array(text.utf8), source: "test")
            #expect(try tokenizer.encode("a").ids == [1])
        }
    }

    @Test("of merges of one pair the last counts")
    func repeatedMerges() throws {
        // Many times the same pair, then one that it must lose against.
        let repeated = Array(repeating: #""a b""#, count: 5000).joined(separator: ",")
        let vocabulary = #""vocab":{"a":0,"b":1,"c":2,"ab":3,"bc":4}"#
        let last = try Tokenizer(
            parsing: bytePairs(#"\#(vocabulary),"merges":["b c",\#(repeated)]"#), source: "test")
        #expect(try last.encode("abc").ids == [0, 4])
        let between = try Tokenizer(
            parsing: bytePairs(#"\#(vocabulary),"merges":["a b","b c",\#(repeated)]"#), source: "test")
        #expect(try between.encode("abc").ids == [0, 4])
        let first = try Tokenizer(
            parsing: bytePairs(#"\#(vocabulary),"merges":[\#(repeated),"b c"]"#), source: "test")
        #expect(try first.encode("abc").ids == [3, 2])
    }

    @Test("unigram vocabularies without what they need are refused")
    func unigrams() throws {
        for (members, says) in [
            (#""vocab":[["a"]]"#, "score"), (#""vocab":[["a",0.0,1]]"#, "more"),
            (#""vocab":[["a",0.0]],"unk_id":7"#, "not in the vocabulary"),
            (#""vocab":[[1,0.0]]"#, "a string"),
            (#""vocab":{"a":0}"#, "scores"),
        ] {
            let text = #"{"model":{"type":"Unigram",\#(members)}}"#
            expectFailure(says) { _ = try Tokenizer(parsing: Array(text.utf8), source: "test") }
        }
        let without = try Tokenizer(
            parsing: Array(#"{"model":{"type":"Unigram","vocab":[["a",-1.5]]}}"#.utf8), source: "test")
        #expect(try without.encode("aa").ids == [0, 0])
        expectFailure("no token") { _ = try without.encode("ab") }
    }

    @Test("regular expressions that are not supported, or cost too much, are refused or end")
    func patterns() throws {
        func tokenizer(_ pattern: String) throws -> Tokenizer {
            try Tokenizer(
                parsing: Array(
                    wordPiece(["[UNK]"]).setting(
                        "pre_tokenizer",
                        ["type": "Split", "behavior": "Isolated", "pattern": ["Regex": .string(pattern)]]
                    ).text().utf8), source: "test")
        }
        let deep = String(repeating: "(", count: 100) + "a" + String(repeating: ")", count: 100)
        for (pattern, says) in [
            ("a*", "match nothing"), ("(?<=a)b", "kind of group"), ("a++", "possessive"),
            (#"(a)\1"#, "escape"),
            ("^a", "anchors"), ("[a", "ends too early"), ("(a", "no \")\""), ("a)", "no \"(\""),
            ("*a", "nothing before"),
            ("a{1000000}", "count"), ("[b-a]", "out of order"), (#"\p{Klingon}"#, "Klingon"),
            (deep, "nested"),
            ("(?!ab)c", "more than one"), ("[a&&b]", "intersection"), ("(?i:é)", "ASCII"),
            ("((((a{99}){99}){99}){99})", "steps"), (String(repeating: "a", count: 5000), "more than"),
            ("(.?){90}[ab](.?){90}c[de]", "table"), ("|a", "match nothing"), (#"\x{110000}"#, "hexadecimal"),
        ] {
            expectFailure(says) { _ = try tokenizer(pattern) }
        }
        expectFailure("too long") {
            _ = try tokenizer("a+b").pieces(of: String(repeating: "a", count: 100_000))
        }
    }

    @Test("a million equal characters are encoded in seconds, whatever the model")
    func longRuns() throws {
        let clock = ContinuousClock()
        for kind in ["gpt2", "llama", "t5", "spm-llama", "clip"] {
            let tokenizer = try Tokenizer(contentsOf: "\(subwords)/\(kind)")
            for unit in ["a", " ", "é", "=", "\u{301}"] {
                let start = clock.now
                _ = try tokenizer.encode(String(repeating: unit, count: 200_000))
                #expect(clock.now - start < .seconds(20), "\(kind) \(unit)")
            }
        }
    }

    @Test("a damaged SentencePiece model is refused or can be used")
    func damagedModels() throws {
        let folder = try TemporaryFolder()
        let path = folder.path + "/tokenizer.model"
        func write(_ bytes: [UInt8]) throws {
            var file = try AtomicFile(path)
            try bytes.withUnsafeBytes { try file.write($0) }
            try file.commit()
        }
        for (bytes, says) in [
            ([], "no tokens"), ([0x0A, 0xFF, 0xFF, 0xFF, 0xFF, 0x0F], "cut off"), ([0x0A, 0xFF], "cut off"),
            ([UInt8](repeating: 0xFF, count: 20), "too long"), ([0x0B], "not the beginning"),
            ([0x0A, 0x04, 0x0A, 0x02, 0xC3, 0x28], "UTF-8"), ([0x0A, 0x02, 0x18, 0x63], "type"),
            (Array("version https://git-lfs.github.com/spec/v1".utf8), "SentencePiece"),
        ] as [([UInt8], String)] {
            try write(bytes)
            expectFailure(says) { _ = try Tokenizer(contentsOf: path) }
        }
        let whole = try readFile("\(subwords)/spm-llama/tokenizer.model", limit: 1 << 20)
        var random = CounterRandom(seed: 12, purpose: "damaged models")
        for _ in 0..<60 {
            var bytes = whole
            for _ in 0..<3 {
                bytes[Int.random(in: 0..<bytes.count, using: &random)] = UInt8.random(
                    in: 0...255, using: &random)
            }
            if Bool.random(using: &random) {
                bytes.removeLast(Int.random(in: 0..<bytes.count, using: &random))
            }
            try write(bytes)
            guard let tokenizer = try? Tokenizer(contentsOf: path) else { continue }
            if let encoding = try? tokenizer.encode("What's é 你 </s>") {
                _ = try tokenizer.decode(encoding.ids)
            }
        }
    }

    @Test("vocabularies of GGUF files that do not fit together are refused")
    func gguf() throws {
        let good = GGUFVocabulary(model: "gpt2", tokens: ["a", "b", "ab"])
        func refused(_ says: String, _ change: (inout GGUFVocabulary) -> Void) {
            var vocabulary = good
            change(&vocabulary)
            expectFailure(says) { _ = try Tokenizer(gguf: vocabulary) }
        }
        refused("not read yet") { $0.model = "rwkv" }
        refused("not read yet") { $0.pre = "klingon" }
        refused("0 tokens") { $0.tokens = [] }
        refused("token types") { $0.types = [1] }
        refused("scores") { $0.scores = [1] }
        refused("not a number") { $0.scores = [.nan, 0, 0] }
        refused("special token 3") { $0.endID = 3 }
        refused("special token -1") { $0.beginningID = -1 }
        refused("not in the vocabulary") { $0.merges = ["a c"] }
        refused("neither scores") { $0.model = "llama" }
        refused("no scores") { $0.model = "t5" }
        refused("lacks") { $0.model = "bert" }
    }

    @Test("byte tokens that are no bytes are ordinary tokens")
    func byteTokens() throws {
        let tokenizer = try Tokenizer(
            parsing: Array(
                #"{"decoder":{"type":"ByteFallback"},"model":{"type":"BPE","byte_fallback":true,"unk_token":"u","vocab":{"u":0,"<0x-1>":1,"<0xGG>":2,"<0x+A>":3,"<0x41>":4},"merges":[]}}"#
                    .utf8), source: "test")
        #expect(try tokenizer.decode([1, 2, 4]) == "<0x-1><0xGG>A")
        #expect(try tokenizer.encode("Aé").ids == [4, 0])
    }
}
