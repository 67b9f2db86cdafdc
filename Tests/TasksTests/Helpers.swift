import Foundation
import Support
import Tasks

/// The project's root: the tests may be built through a link to this folder.
let projectRoot = URL(fileURLWithPath: #filePath).resolvingSymlinksInPath()
    .deletingLastPathComponent().deletingLastPathComponent().deletingLastPathComponent().path

func fixture(_ name: String) -> String { "\(projectRoot)/Tests/Fixtures/Tasks/\(name)" }

/// Data that lie beside the project and are not part of it.
let sharedData = "\(projectRoot)/../shared/data"
let officialFolder = "\(sharedData)/vqav2-60k"
let hasOfficialFigures = fileExists("\(officialFolder)/expected_official_scores_test.json")
let allennlpFolder = "\(sharedData)/allennlp-vision"
let hasAllennlp = fileExists("\(allennlpFolder)/vqav2/questions.json")

/// The easy-vqa package, as `make setup` unpacks it.
let easyVQAFolder = "\(projectRoot)/.deps/packages/easy_vqa"
let hasEasyVQA = fileExists("\(easyVQAFolder)/data/train/questions.json")

/// Runs `body` with a new empty folder that is removed afterwards.
func withFolder<Result>(_ body: (String) throws -> Result) throws -> Result {
    let folder = FileManager.default.temporaryDirectory.appendingPathComponent("tasks-\(UUID().uuidString)")
        .path
    try makeFolder(folder)
    defer { try? FileManager.default.removeItem(atPath: folder) }
    return try body(folder)
}

/// Runs `body` with a folder that holds these files, in folders one level deep.
func withFolder<Result>(of files: [String: String], _ body: (String) throws -> Result) throws -> Result {
    try withFolder { root in
        for (name, text) in files {
            try makeFolder("\(root)/\(name.split(separator: "/")[0])")
            try writeFile(text, to: "\(root)/\(name)")
        }
        return try body(root)
    }
}

/// Runs `body` with the path of a file that holds `text`.
func withFile<Result>(_ text: String, named name: String = "file", _ body: (String) throws -> Result) throws
    -> Result
{
    try withFile(Array(text.utf8), named: name, body)
}

func withFile<Result>(_ bytes: [UInt8], named name: String = "file", _ body: (String) throws -> Result) throws
    -> Result
{
    try withFolder { folder in
        let path = "\(folder)/\(name)"
        try Data(bytes).write(to: URL(fileURLWithPath: path))
        return try body(path)
    }
}

/// Unpacks a gzip file with the system's program.
func unpack(_ source: String, to destination: String) throws {
    try Data().write(to: URL(fileURLWithPath: destination))
    let process = Process()
    process.executableURL = URL(fileURLWithPath: "/usr/bin/env")
    process.arguments = ["gzip", "-dc"]
    process.standardInput = try FileHandle(forReadingFrom: URL(fileURLWithPath: source))
    process.standardOutput = try FileHandle(forWritingTo: URL(fileURLWithPath: destination))
    try process.run()
    process.waitUntilExit()
}

/// The one-line text of the error that `body` throws; `no error` when it throws none.
func message(_ body: () throws -> Void) -> String {
    do {
        try body()
        return "no error"
    } catch {
        return "\(error)"
    }
}

/// A question with ten answers, or one.
func sample(_ id: Int, image: Int = 0, _ answers: [String], question: String = "what?") -> Sample {
    Sample(id: QuestionID(id), imageID: String(image), question: question, answers: answers)
}
