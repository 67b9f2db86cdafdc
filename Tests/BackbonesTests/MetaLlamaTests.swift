import Backbones
import Checkpoints
import Foundation
import Support
import Testing
import Tokenizers
import Torch

/// A tiny LLaMA in the layout of its authors; made by Tools/goldens/meta_llama.py.
@Suite(.serialized) struct MetaLlamaTests {
    static let folder = ReferenceTests.fixture("meta-llama")
    static let tokenizer = ReferenceTests.fixture("../Tokenizers/subwords/spm-llama/tokenizer.model")

    /// A copy of the folder, with the tokenizer, that `change` may damage.
    private func with(_ change: (String) throws -> Void, _ body: (String) throws -> Void) throws {
        let copy = FileManager.default.temporaryDirectory.appendingPathComponent("meta-\(UUID().uuidString)")
            .path
        try FileManager.default.copyItem(atPath: Self.folder, toPath: copy)
        defer { try? FileManager.default.removeItem(atPath: copy) }
        try FileManager.default.copyItem(atPath: Self.tokenizer, toPath: copy + "/tokenizer.model")
        try change(copy)
        try body(copy)
    }

    @Test("two parts are joined and give the reference's logits") func logits() throws {
        let expected = try ReferenceTests.tensors("meta-llama/expected.safetensors")
        let ids = try #require(expected["ids"])
        var decoder = try Decoder(metaFolder: Self.folder)
        #expect(decoder.configuration.vocabularySize == 706 && decoder.configuration.intermediateSize == 70)
        #expect(decoder.configuration.keyValueHeads == 2)
        try decoder.convertFrozen(to: .float32)
        let hidden = try decoder.hidden(decoder.embed(ids.unsqueezed(0)))
        #expect(try ReferenceTests.close(decoder.logits(hidden).selected(0, 0), expected["logits"]))
    }

    @Test("the tokenizer is found in the folder") func words() throws {
        try with { _ in
        } _: { folder in
            let model = try MetaLlama(contentsOf: folder)
            #expect(try model.tokenizer.encode("Image: ").ids == [1, 291, 564, 303, 584, 531])
        }
        let error = #expect(throws: VQAError.self) { _ = try MetaLlama(contentsOf: Self.folder) }
        #expect(error?.description.contains("tokenizer.model") == true)
    }

    @Test(
        "damaged folders are refused in one line",
        arguments: [
            ("part", "consolidated.01.pth"), ("gap", "consolidated.02.pth"), ("all", "consolidated.00.pth"),
            ("heads", "heads"), ("layers", "missing"), ("scaled", "use_scaled_rope"), ("text", "params.json"),
            ("cut", "consolidated.01.pth"), ("wide", "misshapen"), ("factor", "ffn_dim_multiplier"),
        ])
    func damaged(_ kind: String, _ word: String) throws {
        func change(_ folder: String) throws {
            let files = FileManager.default
            let params = folder + "/params.json"
            func replace(_ old: String, _ new: String) throws {
                try writeFile(
                    String(decoding: readFile(params, limit: 1 << 20), as: UTF8.self)
                        .replacing(old, with: new), to: params)
            }
            switch kind {
            case "part": try files.removeItem(atPath: folder + "/consolidated.00.pth")
            case "gap":
                try files.moveItem(
                    atPath: folder + "/consolidated.01.pth", toPath: folder + "/consolidated.02.pth")
            case "all":
                for part in 0...1 { try files.removeItem(atPath: folder + "/consolidated.0\(part).pth") }
            case "heads": try replace("\"n_heads\": 4", "\"n_heads\": 7")
            case "layers": try replace("\"n_layers\": 2", "\"n_layers\": 3")
            case "scaled": try replace("{", "{\"use_scaled_rope\": true, ")
            case "text": try replace("{", "[")
            case "cut":
                let bytes = try readFile(folder + "/consolidated.01.pth", limit: 1 << 24)
                try Data(bytes.prefix(bytes.count / 2)).write(
                    to: URL(fileURLWithPath: folder + "/consolidated.01.pth"))
            case "wide": try replace("\"dim\": 24", "\"dim\": 48")
            default: try replace("{", "{\"ffn_dim_multiplier\": 1e30, ")
            }
        }
        try with(change) { folder in
            let error = #expect(throws: VQAError.self) { _ = try Decoder(metaFolder: folder) }
            #expect(error?.description.contains(word) == true, "\(String(describing: error))")
        }
    }
}
