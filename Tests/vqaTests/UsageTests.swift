import Foundation
import Support
import Testing

@Suite struct UsageTests {
    @Test(
        "a wrong command line is one line with exit code 2",
        arguments: [
            ["tokenise", "--model", "minilm"], ["--verbose"], ["tokenize"],
            ["tokenize", "--model", "minilm"],
            ["tokenize", "--model", "m", "--text", "a", "--decode", "1"], ["score", "--task", "vqav2"],
            ["score", "--taks", "vqav2"], ["inspect"], ["inspect", "a", "b"], ["doctor", "now"],
            ["validate", "everything"],
            ["validate", "data", "--task", "vqav2", "--data", "r", "--questions", "q"],
            ["validate", "data", "--task", "vqav2", "--images", "i"],
        ])
    func usage(_ arguments: [String]) throws { _ = try Program.fails(arguments) }

    @Test("misspelt commands and options get the nearest one as a hint") func hints() throws {
        #expect(try Program.fails(["tokenise"]).contains("'tokenize'"))
        #expect(try Program.fails(["validate", "date"]).contains("'data'"))
        let option = try Program.fails(["score", "--taks", "vqav2"])
        #expect(option.contains("--task"))
        #expect(option.contains("vqa score --help"))
    }

    @Test("a short name that is misspelt gets the nearest one as a hint") func model() throws {
        #expect(try Program.fails(["inspect", "minilmm"]).contains("did you mean 'minilm'?"))
        #expect(
            try Program.fails(["tokenize", "--model", "minlm", "--text", "a"]).contains(
                "did you mean 'minilm'?"))
    }

    @Test("a model that was not fetched is explained") func absent() throws {
        let folder = try TemporaryFolder()
        let error = try Program.fails(
            ["tokenize", "--model", "minilm", "--text", "a"], environment: ["VQA_MODELS": folder.path])
        #expect(error.contains("make setup"))
        #expect(error.contains(folder.path))
    }

    #if os(Linux)
        @Test("a full disk below the output is an error") func full() throws {
            let outcome = try shell("'\(Program.path())' --version >/dev/full; echo $?")
            #expect(outcome.hasSuffix("1\n"))
            #expect(outcome.contains("No space left"))
        }
    #endif

    @Test("a reader that goes away is no error") func pipe() throws {
        let outcome = try shell(
            "'\(Program.path())' inspect '\(Program.fixture("Tasks/questions.json"))' | head -c 1 >/dev/null"
        )
        #expect(outcome.isEmpty)
    }

    /// What a command line prints on both outputs.
    private func shell(_ line: String) throws -> String {
        let process = Process()
        process.executableURL = URL(filePath: "/bin/sh")
        process.arguments = ["-c", line]
        let output = Pipe()
        process.standardOutput = output
        process.standardError = output
        try process.run()
        let text = output.fileHandleForReading.readDataToEndOfFile()
        process.waitUntilExit()
        return String(decoding: text, as: UTF8.self)
    }
}
