import Foundation
import Support
import Testing

@Suite struct HelpTests {
    static let commands = [
        [], ["tokenize"], ["score"], ["inspect"], ["doctor"], ["validate"], ["validate", "data"],
        ["validate", "model"],
    ]

    @Test("every command explains itself, with an example and named values", arguments: commands)
    func help(_ command: [String]) throws {
        let outcome = try Program.run(command + ["--help"])
        #expect(outcome.code == 0)
        #expect(outcome.errors.isEmpty)
        #expect(outcome.output.contains("OVERVIEW: "))
        let examples = outcome.output.components(separatedBy: "\n").filter {
            $0.trimmingCharacters(in: .whitespaces).hasPrefix(
                (["vqa"] + command).joined(separator: " ") + " ")
        }
        #expect(!examples.isEmpty)
        #expect(outcome.output.split(separator: "\n").allSatisfy { $0.count <= 110 })
    }

    @Test("the program without a command shows what it can do") func bare() throws {
        let outcome = try Program.run([])
        #expect(outcome.code == 0)
        for command in ["tokenize", "score", "inspect", "doctor", "validate"] {
            #expect(outcome.output.contains("  \(command) "))
        }
    }

    @Test("the version is one line") func version() throws {
        let outcome = try Program.run(["--version"])
        #expect(outcome.code == 0)
        #expect(outcome.output.wholeMatch(of: /vqa \d+\.\d+\.\d+\n/) != nil)
    }

    #if os(Linux)
        @Test(
            "light verbs load no libtorch",
            arguments: [["--help"], ["--version"], ["validate", "data", "--help"]])
        func light(_ arguments: [String]) throws {
            // The dynamic linker tells every file that it opens, in time and by dlopen.
            let outcome = try Program.run(arguments, environment: ["LD_DEBUG": "files"])
            #expect(outcome.code == 0)
            #expect(outcome.errors.contains("libc.so"))
            #expect(!outcome.errors.contains("libtorch"))
            #expect(!outcome.errors.contains("vqatorch"))
        }
    #endif
}
