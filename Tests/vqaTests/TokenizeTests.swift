import Support
import Testing

@Suite struct TokenizeTests {
    /// A model's folder with a vocabulary of eleven words.
    private func model() throws -> TemporaryFolder {
        let folder = try TemporaryFolder()
        let words = ["[PAD]", "[UNK]", "[CLS]", "[SEP]", "[MASK]", "what", "colour", "is", "the", "car", "?"]
        _ = try folder.write("vocab.txt", words.joined(separator: "\n") + "\n")
        return folder
    }

    @Test("a text becomes ids and tokens") func encode() throws {
        let folder = try model()
        let outcome = try Program.run([
            "tokenize", "--model", folder.path, "--text", "What colour is THE car?",
        ])
        #expect(outcome.code == 0)
        #expect(outcome.errors.isEmpty)
        #expect(
            outcome.output == """
                {"ids":[2,5,6,7,8,9,10,3],"tokens":["[CLS]","what","colour","is","the","car","?","[SEP]"]}

                """)
    }

    @Test("ids become text, as plain text or JSON") func decode() throws {
        let folder = try model()
        let base = ["tokenize", "--model", folder.path, "--decode"]
        #expect(try Program.run(base + ["2,5,6,7,8,9,3"]).output == "what colour is the car\n")
        #expect(try Program.run(base + ["5, 6", "--json"]).output == "{\"text\":\"what colour\"}\n")
    }

    @Test(
        "texts may be empty, begin with a dash, or hold anything",
        arguments: ["", "-x", "--model", "a\nb", "日本 🎈"])
    func odd(_ text: String) throws {
        let folder = try model()
        let json = try Program.run(["tokenize", "--model", folder.path, "--text", text]).json()
        #expect(json["ids"]?.array?.first?.integer == 2)
        #expect(json["ids"]?.array?.count == json["tokens"]?.array?.count)
    }

    @Test("the special tokens can be left out") func plain() throws {
        let folder = try model()
        let outcome = try Program.run([
            "tokenize", "--model", folder.path, "--text", "the car", "--no-special-tokens",
        ])
        #expect(outcome.output == "{\"ids\":[8,9],\"tokens\":[\"the\",\"car\"]}\n")
    }

    @Test("bad ids are one line", arguments: ["", "a", "1,,2", "1;2", "-1", "99999999999999999999", "1.5"])
    func badIDs(_ ids: String) throws {
        let folder = try model()
        _ = try Program.fails(["tokenize", "--model", folder.path, "--decode", ids])
    }

    @Test("bad models are one line") func badModels() throws {
        let folder = try TemporaryFolder()
        let cut = try folder.write(
            "cut.json", "{\"version\":\"1.0\",\"model\":{\"type\":\"WordPiece\",\"vocab\":{\"a\":0")
        let empty = try folder.write("empty.json", "")
        for path in [folder.path, cut, empty, folder.path + "/none", Program.fixture("Images/MANIFEST.json")]
        {
            _ = try Program.fails(["tokenize", "--model", path, "--text", "a"])
        }
    }

    @Test("the embedded model", .enabled(if: Program.hasModels, "needs make setup")) func minilm() throws {
        let outcome = try Program.run(["tokenize", "--model", "minilm", "--text", "What colour is the car?"])
        let ids = try outcome.json()["ids"]?.array?.compactMap(\.integer)
        #expect(ids == [101, 2054, 6120, 2003, 1996, 2482, 1029, 102])
    }
}
