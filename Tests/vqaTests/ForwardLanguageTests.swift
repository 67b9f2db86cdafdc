import Checkpoints
import Support
import Testing

@Suite(.enabled(if: Program.hasEngine, "needs `make setup`")) struct ForwardLanguageTests {
    @Test("ids and logits of language and joined models equal the reference", arguments: GoldenFolder.names)
    func tensors(_ name: String) throws {
        let golden = try GoldenFolder(name)
        let folder = try TemporaryFolder()
        let output = folder.path + "/out.safetensors"
        var worst: Float = 0
        for (index, prompt) in golden.cases.enumerated() where !prompt.isChat {
            var command = ["forward", "--model", golden.path, "--output", output] + prompt.arguments
            if !prompt.decoderIDs.isEmpty {
                command += ["--decoder-ids", prompt.decoderIDs.map(String.init).joined(separator: ",")]
            }
            let outcome = try Program.run(command)
            try #require(outcome.code == 0, "\(outcome.errors)")
            let file = try Checkpoint(opening: output)
            #expect(try integers(file, "input_ids") == prompt.ids)
            #expect((file.info(named: "pixel_values") != nil) == !prompt.images.isEmpty)
            #expect((file.info(named: "encoder_hidden") != nil) == (name == "t5"))
            let wanted = try golden.lastLogits(index)
            let found = try floats(file, "logits")
            #expect(
                found.count == wanted.count
                    * max(prompt.decoderIDs.count, name == "t5" ? 1 : prompt.ids.count))
            for (a, b) in zip(found.suffix(wanted.count), wanted) {
                worst = max(worst, abs(a - b) / max(1, abs(b)))
            }
        }
        #expect(worst <= 1e-4, "\(name): \(worst)")
    }

    @Test("what a model cannot compute is one line") func refusals() throws {
        let (qwen, t5) = (Program.fixture("Folders/qwen2"), Program.fixture("Folders/t5"))
        let output = ["--output", "/nonexistent/out.safetensors"]
        func fails(_ arguments: [String]) throws -> String {
            try Program.fails(["forward"] + arguments + output)
        }
        #expect(
            try fails(["--model", t5, "--prompt", "a", "--decoder-ids", "5,99999"]).contains("from 0 to"))
        #expect(
            try fails(["--model", qwen, "--prompt", "a", "--decoder-ids", "5"]).contains("--decoder-ids"))
        #expect(try fails(["--model", qwen, "--prompt", "a", "--dtype", "foo"]).contains("--dtype foo"))
        let image = Program.fixture("Folders/images/small.png")
        #expect(try fails(["--model", t5, "--prompt", "a", "--image", image]).contains("reads text only"))
        let long = String(repeating: "what ", count: 600)
        #expect(try fails(["--model", qwen, "--prompt", long]).contains("context has 512"))
        #expect(try fails(["--model", qwen, "--prompt", "a"]).contains("/nonexistent"))
    }
}
