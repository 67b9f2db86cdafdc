import Support
import Testing
import Tokenizers

@Suite("Vocabularies of GGUF files") struct GGUFVocabularyTests {
    /// The tokens of a tokenizer by id, as a GGUF file lists them.
    private func tokens(_ model: JSON) throws -> [String] {
        if let pieces = model["vocab"]?.array { return pieces.map { $0.array?.first?.string ?? "" } }
        let members = try #require(model["vocab"]?.members)
        return members.sorted { ($0.value.integer ?? 0) < ($1.value.integer ?? 0) }.map(\.key)
    }

    /// The tokenizer that the vocabulary makes once it is written as tokenizer.json.
    private func written(_ vocabulary: GGUFVocabulary) throws -> Tokenizer {
        let text = try vocabulary.tokenizerFile().text()
        return try Tokenizer(parsing: Array(text.utf8), source: "written")
    }

    private func compare(_ vocabulary: GGUFVocabulary, _ kind: String) throws {
        let tokenizer = try Tokenizer(gguf: vocabulary)
        let written = try written(vocabulary)
        let reference = try Tokenizer(contentsOf: "\(subwords)/\(kind)")
        let rows = try #require(try JSON(contentsOf: "\(subwords)/cases.json")[kind]?["rows"]?.array)
        for row in rows {
            let text = try #require(row["text"]?.string)
            let ids = try tokenizer.encode(text, pair: row["pair"]?.string).ids
            #expect(ids == row["ids"]?.integers, "\(kind) \(JSON.quoted(text))")
            #expect(try tokenizer.decode(ids) == reference.decode(ids))
            #expect(try written.encode(text, pair: row["pair"]?.string).ids == ids)
            #expect(try written.decode(ids) == reference.decode(ids))
        }
    }

    @Test(
        "byte-level vocabularies split as their family does",
        arguments: ["gpt2", "qwen2", "smollm2", "llama3"])
    func byteLevel(kind: String) throws {
        let json = try JSON(contentsOf: "\(subwords)/\(kind)/tokenizer.json")
        let model = try #require(json["model"])
        var vocabulary = GGUFVocabulary(model: "gpt2", tokens: try tokens(model))
        vocabulary.pre = ["smollm2": "smollm", "llama3": "llama-bpe", "gpt2": "gpt-2"][kind] ?? kind
        vocabulary.merges = (model["merges"]?.array ?? []).map { $0.strings.joined(separator: " ") }
        vocabulary.types = Array(repeating: 1, count: vocabulary.tokens.count)
        for token in json["added_tokens"]?.array ?? [] {
            let id = token["id"]?.integer ?? 0
            if id == vocabulary.tokens.count {
                vocabulary.tokens.append(token["content"]?.string ?? "")
                vocabulary.types.append(1)
            }
            vocabulary.types[id] = token["special"]?.bool == true ? 3 : 4
        }
        if kind == "llama3" {
            vocabulary.beginningID = 0
            vocabulary.addsBeginning = true
        }
        try compare(vocabulary, kind)
    }

    @Test("a SentencePiece vocabulary merges by its scores")
    func llama() throws {
        let model = try #require(try JSON(contentsOf: "\(subwords)/llama-first/tokenizer.json")["model"])
        var vocabulary = GGUFVocabulary(model: "llama", tokens: try tokens(model))
        vocabulary.scores = vocabulary.tokens.indices.map { -Float($0) }
        vocabulary.types = vocabulary.tokens.indices.map { $0 == 0 ? 2 : $0 < 3 ? 3 : 1 }
        (vocabulary.unknownID, vocabulary.beginningID, vocabulary.endID) = (0, 1, 2)
        let tokenizer = try Tokenizer(gguf: vocabulary)
        let reference = try Tokenizer(contentsOf: "\(subwords)/llama-first")
        let written = try written(vocabulary)
        for text in ["What colour is the shape?", " two  spaces", "naïve 你好</s>x\n", "привет 👍"] {
            let ids = try reference.encode(text).ids
            #expect(try tokenizer.encode(text).ids == ids)
            #expect(try written.encode(text).ids == ids)
            #expect(try written.decode(ids) == tokenizer.decode(ids))
        }
        #expect(tokenizer.specialTokens.end?.id == 2)
    }

    @Test("a unigram vocabulary ends texts as T5 does")
    func unigram() throws {
        let json = try JSON(contentsOf: "\(subwords)/t5/tokenizer.json")
        let model = try #require(json["model"])
        var vocabulary = GGUFVocabulary(model: "t5", tokens: try tokens(model))
        vocabulary.scores = (model["vocab"]?.array ?? []).map { Float($0.array?[1].double ?? 0) }
        vocabulary.types = vocabulary.tokens.indices.map { $0 == 2 ? 2 : $0 < 3 ? 3 : 1 }
        (vocabulary.unknownID, vocabulary.endID, vocabulary.paddingID) = (2, 1, 0)
        let tokenizer = try Tokenizer(gguf: vocabulary)
        let reference = try Tokenizer(contentsOf: "\(subwords)/t5")
        for text in ["what is the shape", "  two  spaces", "Größe 2024"] {
            #expect(try tokenizer.encode(text).ids == reference.encode(text).ids)
        }
    }

    @Test("BERT's tokens get their marks back")
    func wordPiece() throws {
        let vocabulary = GGUFVocabulary(
            model: "bert", tokens: ["[UNK]", "[CLS]", "[SEP]", "\u{2581}red", "s", "\u{2581}cat"])
        #expect(try Tokenizer(gguf: vocabulary).encode("Cats red").ids == [1, 5, 4, 3, 2])
    }

    @Test("what is written names the special tokens and the template; other kinds are refused")
    func writtenConfiguration() throws {
        var vocabulary = GGUFVocabulary(model: "bert", tokens: ["[CLS]", "[SEP]", "[UNK]"])
        (vocabulary.beginningID, vocabulary.endID) = (0, 1)
        let json = vocabulary.tokenizerConfiguration(chatTemplate: "{{ x }}")
        #expect(json["bos_token"]?.string == "[CLS]" && json["eos_token"]?.string == "[SEP]")
        #expect(json["chat_template"]?.string == "{{ x }}" && json["pad_token"] == nil)
        #expect(throws: VQAError.self) { try vocabulary.tokenizerFile() }
        vocabulary.model = "llama"
        #expect(throws: VQAError.self) { try vocabulary.tokenizerFile() }
    }
}
