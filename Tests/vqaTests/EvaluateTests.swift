import Foundation
import Support
import Testing

@Suite(.enabled(if: Program.hasEngine, "needs `make setup`")) struct EvaluateTests {
    /// A table with questions about the images of the fixtures; `images` are names in that folder.
    private func table(_ folder: TemporaryFolder, _ images: [String], answer: String = "red") throws -> String
    {
        let source = Program.fixture("Folders/images")
        for name in Set(images) {
            try FileManager.default.copyItem(atPath: "\(source)/\(name)", toPath: "\(folder.path)/\(name)")
        }
        let rows = images.enumerated().map { index, name in
            "\(index),\(name),\(["what is it?", "which colour has the largest shape?"][index % 2]),\(answer)"
        }
        let path = "\(folder.path)/test.csv"
        try writeFile((["question_id,image,question,answer"] + rows).joined(separator: "\n") + "\n", to: path)
        return path
    }

    private func command(_ model: String, _ data: String, _ output: String, _ more: String...) -> [String] {
        ["evaluate", "--model", Program.fixture("Folders/\(model)"), "--dtype", "float32", "--task", "table"]
            + ["--data", data, "--split", "test", "--max-new-tokens", "5", "--output", output] + more
    }

    @Test(
        "a model answers by itself, and the batch size does not change an answer",
        arguments: ["llava", "qwen2", "t5"])
    func batches(_ model: String) throws {
        let folder = try TemporaryFolder()
        let data = try table(folder, ["small.png", "wide.png", "small.png", "wide.png", "small.png"])
        var files: [[UInt8]] = []
        for batch in ["1", "2", "8"] {
            let output = "\(folder.path)/batch-\(batch)"
            let outcome = try Program.run(command(model, data, output, "--batch-size", batch, "--json"))
            try #require(outcome.code == 0, "\(outcome.errors)")
            #expect(try outcome.json()["n"] == 5)
            files.append(try readFile("\(output)/predictions.jsonl", limit: 1 << 20))
            #expect(fileExists("\(output)/submission.json"))
        }
        #expect(files[0].split(separator: UInt8(ascii: "\n")).count == 5)
        #expect(files[1] == files[0])
        #expect(files[2] == files[0])
    }

    @Test("an evaluation that was cut off goes on, and other weights are refused") func resume() throws {
        let folder = try TemporaryFolder()
        let data = try table(folder, ["small.png", "wide.png", "small.png"])
        let output = "\(folder.path)/run"
        #expect(try Program.run(command("llava", data, output, "--limit", "1")).code == 0)
        let whole = try Program.run(command("llava", data, output))
        #expect(whole.output.contains("going on: 1 questions are answered, 2 are left"))
        let lines = try readFile("\(output)/predictions.jsonl", limit: 1 << 20)
        let alone = "\(folder.path)/alone"
        #expect(try Program.run(command("llava", data, alone)).code == 0)
        #expect(try readFile("\(alone)/predictions.jsonl", limit: 1 << 20) == lines)
        #expect(try Program.fails(command("qwen2", data, output)).contains("other weights"))
    }

    @Test("a broken image is an error, or counts as wrong up to a share") func brokenImages() throws {
        let folder = try TemporaryFolder()
        let data = try table(folder, ["small.png", "wide.png", "small.png"])
        try writeFile("no image", to: "\(folder.path)/wide.png")
        let output = "\(folder.path)/run"
        let line = try Program.fails(command("llava", data, output))
        #expect(line.contains("wide.png") && line.contains("--broken-image-share"))
        let outcome = try Program.run(command("llava", data, output, "--broken-image-share", "0.5", "--json"))
        try #require(outcome.code == 0, "\(outcome.errors)")
        #expect(try outcome.json()["missing"] == 1)
        #expect(outcome.errors.contains("1 image cannot be read"))
    }

    @Test("a split without answers gets a file for the server and no score") func noAnswers() throws {
        let folder = try TemporaryFolder()
        let data = try table(folder, ["small.png"], answer: "")
        let outcome = try Program.run(command("llava", data, "\(folder.path)/run"))
        #expect(outcome.code == 0)
        #expect(outcome.output.contains("answers of this split are not published"))
        #expect(fileExists("\(folder.path)/run/submission.json"))
        #expect(!fileExists("\(folder.path)/run/scores.json"))
    }

    @Test("what cannot be evaluated is one line") func refusals() throws {
        #expect(try Program.fails(["evaluate", "--task", "table"]).contains("neither --adapter nor --model"))
        let data = ["--task", "easy-vqa", "--model", "smollm2"]
        #expect(try Program.fails(["evaluate", "--batch-size", "0"] + data).contains("at least 1"))
        #expect(try Program.fails(["evaluate", "--broken-image-share", "2"] + data).contains("0 to 1"))
        #expect(try Program.fails(["evaluate", "--dtype", "int3"] + data).contains("int3"))
    }
}
