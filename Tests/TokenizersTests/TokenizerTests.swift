import Support
import Testing
import Tokenizers

@Suite("Tokenizer") struct TokenizerTests {
    @Test("the real MiniLM tokenizer gives the ids known from its users", .enabled(if: fileExists(miniLM)))
    func realTokenizer() throws {
        let tokenizer = try Tokenizer(contentsOf: miniLM)
        #expect(tokenizer.vocabularySize == 30_522)
        #expect(tokenizer.maximumLength == 512)
        #expect(tokenizer.truncation == Truncation(to: 128))
        #expect(tokenizer.specialTokens.padding?.id == 0 && tokenizer.specialTokens.mask?.id == 103)
        let encoding = try tokenizer.encode("Hello world!")
        #expect(encoding.ids == [101, 7592, 2088, 999, 102])
        #expect(encoding.offsets == [0..<0, 0..<5, 6..<11, 11..<12, 0..<0])
        #expect(try tokenizer.decode(encoding.ids) == "hello world!")
    }

    @Test("a vocab.txt with its configuration is BERT's tokenizer")
    func vocabularyText() throws {
        let folder = try TemporaryFolder()
        try folder.write("[PAD]\n[UNK]\n[CLS]\n[SEP]\n[MASK]\r\nÉt\n##é\nDup\nab\n", to: "vocab.txt")
        try folder.write(
            """
            {"do_lower_case": false, "model_max_length": 1000000000000000019884624838656,
             "bos_token": "[DEC]", "unk_token": {"content": "[UNK]"},
             "added_tokens_decoder": {"9": {"content": "[DEC]", "special": true}}}
            """, to: "tokenizer_config.json")
        let tokenizer = try Tokenizer(contentsOf: folder.path)
        let encoding = try tokenizer.encode("Été dup Dup[DEC]", pair: "[MASK]")
        #expect(
            encoding.tokens == ["[CLS]", "Ét", "##é", "[UNK]", "Dup", "[DEC]", "[SEP]", "[MASK]", "[SEP]"])
        #expect(encoding.ids == [2, 5, 6, 1, 7, 9, 3, 4, 3])
        #expect(encoding.typeIDs == [0, 0, 0, 0, 0, 0, 0, 1, 1])
        #expect(tokenizer.specialTokens.beginning?.id == 9)
        #expect(tokenizer.maximumLength == nil)
    }

    @Test("of equal lines of a vocab.txt the last counts, as in the reference")
    func equalLines() throws {
        let folder = try TemporaryFolder()
        try folder.write("[UNK]\n[CLS]\n[SEP]\na\nb\na\n", to: "vocab.txt")
        let tokenizer = try Tokenizer(contentsOf: folder.path)
        #expect(try tokenizer.encode("a b").ids == [1, 5, 4, 2])
        #expect(tokenizer.token(for: 3) == nil)
    }

    @Test("ids and tokens are found both ways, added ones included")
    func lookups() throws {
        var tokenizer = try tokenizer(wordPiece(["[UNK]", "a", "##b"]))
        #expect(tokenizer.vocabularySize == 3)
        #expect(
            try tokenizer.add([AddedToken("<x>"), AddedToken("a"), AddedToken("[DEC]", isSpecial: true)]) == [
                3, 1, 4,
            ])
        #expect(tokenizer.vocabularySize == 5)
        #expect(
            tokenizer.token(for: 4) == "[DEC]" && tokenizer.id(for: "<x>") == 3
                && tokenizer.id(for: "##b") == 2)
        for id in [-1, 5, Int.max, Int.min] { #expect(tokenizer.token(for: id) == nil) }
        #expect(tokenizer.id(for: "") == nil && tokenizer.id(for: "b") == nil)
        #expect(try tokenizer.encode("a<x>ab[DEC]").ids == [1, 3, 1, 0, 4])
        #expect(try tokenizer.decode([1, 4, 2], skipSpecialTokens: true) == "a ##b")
    }

    @Test("tokens that look alike but have other bytes are different")
    func equivalentTokens() throws {
        var tokenizer = try tokenizer(wordPiece(["[UNK]", "\u{e9}", "e\u{301}", "\u{3a9}", "\u{2126}"]))
        #expect(tokenizer.id(for: "e\u{301}") == 2 && tokenizer.id(for: "\u{e9}") == 1)
        #expect(try tokenizer.encode("\u{2126}").ids == [4])
        #expect(try tokenizer.add([AddedToken("\u{f1}"), AddedToken("n\u{303}")]) == [5, 6])
        #expect(tokenizer.id(for: "n\u{303}") == 6)
    }

    @Test("an added token is spelled as it stands in the normalised text, and decoded so")
    func addedSpelling() throws {
        var tokenizer = try tokenizer(
            wordPiece(["[UNK]", "ing"]).setting("normalizer", ["type": "Prepend", "prepend": "x"]))
        try tokenizer.add([AddedToken("ing"), AddedToken("Y", stripsLeft: true, isNormalized: false)])
        #expect(try tokenizer.encode("ing Y").tokens == ["xing", " Y"])
        #expect(try tokenizer.decode([1, 2]) == "xing Y")
        #expect(tokenizer.id(for: "ing") == 1 && tokenizer.token(for: 1) == "xing")
    }

    @Test("ordinary text comes back from its ids")
    func roundTrip() throws {
        let tokenizer = try Tokenizer(contentsOf: "\(fixtures)/tokenizer.json")
        for text in [
            "what is the colour of the shape?", "no, there is a red circle!", "привет, мир",
        ] {
            #expect(try tokenizer.decode(tokenizer.encode(text).ids) == text)
        }
    }

    @Test("a longer text than the limit, a missing pad token and an unequal batch are errors of one line")
    func misuse() throws {
        let tokenizer = try tokenizer(wordPiece(["[UNK]", "a"]))
        #expect(throws: VQAError.self) { try tokenizer.encode("a", padding: Padding(.length(4))) }
        #expect(throws: VQAError.self) { try tokenizer.encode("a", padding: Padding(.length(-1), id: 1)) }
        #expect(throws: VQAError.self) {
            try tokenizer.encode("a", padding: Padding(.length(1 << 40), id: 1))
        }
        #expect(throws: VQAError.self) {
            try tokenizer.encode("a", padding: Padding(multipleOf: 1 << 40, id: 1))
        }
        #expect(throws: VQAError.self) { try tokenizer.encode("a", truncation: Truncation(to: -1)) }
        #expect(throws: VQAError.self) { try tokenizer.encodeBatch(["a"], pairs: []) }
        #expect(throws: VQAError.self) { try tokenizer.decode([1, -100]) }
        #expect(try tokenizer.encode("a", padding: Padding(.length(3), id: 1)).ids == [1, 1, 1])
        #expect(try tokenizer.encodeBatch([], padding: Padding(id: 1)).isEmpty)
    }

    @Test("rows do not depend on the batch they are in, and threads may share a tokenizer")
    func batches() async throws {
        let tokenizer = try Tokenizer(contentsOf: "\(fixtures)/tokenizer.json")
        let texts = (0..<50).map { "what is the colour of shape \($0) ?" }
        let rows = try tokenizer.encodeBatch(texts)
        for (row, text) in zip(rows, texts) { #expect(try row == tokenizer.encode(text)) }
        try await withThrowingTaskGroup(of: [Encoding].self) { group in
            for _ in 0..<4 { group.addTask { try tokenizer.encodeBatch(texts) } }
            for try await other in group { #expect(other == rows) }
        }
    }

    @Test("very long texts and words cost time in proportion")
    func longTexts() throws {
        let tokenizer = try Tokenizer(contentsOf: "\(fixtures)/tokenizer.json")
        let marks = "a" + String(repeating: "\u{301}\u{323}", count: 50_000)
        for text in [String(repeating: "[", count: 300_000), String(repeating: "ab", count: 200_000), marks] {
            #expect(try tokenizer.encode(text).count > 2)
        }
    }
}
