import Backbones
import Support
import Testing
import Torch

@Suite("Batches of prompts", .serialized) struct LanguageModelBatchTests {
    @Test(
        "fused steps of a batch give each row what it gets alone, bit by bit",
        arguments: ["llama", "llama-linear", "mistral", "qwen2"])
    func rows(_ name: String) throws {
        let decoder = try DecoderTests.Case(name).decoder
        let prompts = try [3, 7, 5].map { length in
            try decoder.embed(Tensor((0..<length).map { ($0 * 7 + length) % 40 }, [1, length]))
        }
        let together = try DecoderSession(decoder, prompts: prompts, maxNewTokens: 4)
        let alone = try prompts.map { try DecoderSession(decoder, prompts: [$0], maxNewTokens: 4) }
        var scores = try together.start()
        var single = try alone.map { try $0.start() }
        for step in 0..<4 {
            for row in prompts.indices {
                #expect(try scores.selected(0, row).floats() == single[row].selected(0, 0).floats())
            }
            guard step < 3 else { break }
            let tokens = try scores.argmax(1).integers()
            scores = try together.step(tokens)
            single = try zip(alone, tokens).map { try $0.step([$1]) }
        }
    }

    @Test("prompts of another form are refused") func refusals() throws {
        let decoder = try DecoderTests.Case("llama").decoder
        #expect(throws: TorchError.self) { try DecoderSession(decoder, prompts: [], maxNewTokens: 1) }
        let two = try Tensor.zeros([2, 3, 12])
        #expect(throws: TorchError.self) { try DecoderSession(decoder, prompts: [two], maxNewTokens: 1) }
    }
}
