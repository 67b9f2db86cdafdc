import Backbones
import Support
import Testing
import Torch

@Suite("Batches of prompts", .serialized) struct LanguageModelBatchTests {
    /// The models whose steps are fused; matrix products of the others round differently beside other rows.
    private static let fused = ["llama", "llama-linear", "mistral", "qwen2"]

    @Test(
        "steps of a batch give each row what it gets alone, fused ones bit by bit",
        arguments: DecoderTests.names)
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
                let found = try scores.selected(0, row).floats()
                let wanted = try single[row].selected(0, 0).floats()
                if Self.fused.contains(name) { #expect(found == wanted) }
                let deviation = zip(found, wanted).reduce(0) { max($0, abs($1.0 - $1.1) / max(1, abs($1.1))) }
                #expect(deviation <= 1e-4, "step \(step), row \(row)")
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
