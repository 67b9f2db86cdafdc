import Dispatch
import Support
import Synchronization

#if canImport(Glibc)
    import Glibc
#else
    import Darwin
#endif

/// A text file written piece by piece and put in its place at the end.
final class SceneFile {
    private var file: AtomicFile?
    private var text: String
    private let tail: String
    private var isFirst = true

    /// - Parameters:
    ///   - head: what stands before the items.
    ///   - tail: what stands behind them.
    init(_ path: String, head: String, tail: String) throws {
        file = try AtomicFile(path)
        (text, self.tail) = (head, tail)
    }

    /// Adds an item of a JSON list, with a comma before it unless it is the first.
    func add(_ item: JSON) throws { try addItem(item.text()) }

    /// Adds a member of a JSON object.
    func add(_ key: String, _ item: JSON) throws { try addItem(JSON.quoted(key) + ":" + item.text()) }

    private func addItem(_ item: String) throws {
        try addText((isFirst ? "\n" : ",\n") + item)
        isFirst = false
    }

    /// Adds a text as it is.
    func addText(_ piece: String) throws {
        text += piece
        if text.utf8.count > 1 << 16 { try flush() }
    }

    private func flush() throws {
        try file?.write(text)
        text = ""
    }

    /// Writes the rest; nothing can be added any more.
    func finish() throws {
        text += tail
        try flush()
        guard let finished = file.take() else { return }
        try finished.commit()
    }
}

/// Draws `canvas` into a file that is whole or absent.
func writeSceneImage(_ canvas: SceneCanvas, to path: String) throws {
    var file = try AtomicFile(path)
    try ScenePNG.file(canvas).withUnsafeBytes { try file.write($0) }
    try file.commit(isDurable: false)
}

/// The results of `body` for 0..<count in that order, computed on all processors.
func concurrently<Value: Sendable>(_ count: Int, _ body: @Sendable (Int) throws -> Value) throws -> [Value] {
    let shelf = SceneShelf<Value>()
    DispatchQueue.concurrentPerform(iterations: count) { index in
        let result = Result { try body(index) }
        shelf.results.withLock { $0[index] = result }
    }
    let results = shelf.results.withLock { $0 }
    return try (0..<count).compactMap { try results[$0]?.get() }
}

private final class SceneShelf<Value: Sendable>: Sendable {
    let results = Mutex<[Int: Result<Value, any Error>]>([:])
}

/// Refuses a folder with files of somebody else, or of other options: they would be mixed with the new ones.
func prepareSceneFolder(_ folder: String, for manifest: SceneManifest) throws {
    try makeFolder(folder)
    let path = "\(folder)/scenes.json"
    if fileExists(path) {
        let known = try JSON(contentsOf: path)
        guard known["format"] == manifest.json["format"], known["options"] == manifest.json["options"],
            known["program"] == manifest.json["program"]
        else {
            throw VQAError(
                "cannot write scenes", at: folder, because: "it holds scenes of other options",
                remedy: "remove it or name another folder")
        }
    } else if try !isEmptyFolder(folder) {
        throw VQAError(
            "cannot write scenes", at: folder, because: "it is not empty and has no scenes.json",
            remedy: "name a new or empty folder")
    }
    // From now on the folder is ours, even if the program is killed.
    try writeFile(manifest.json.text(indented: true) + "\n", to: path)
}

private func isEmptyFolder(_ folder: String) throws -> Bool {
    guard let directory = opendir(folder) else {
        throw VQAError("cannot read the folder", at: folder, because: systemReason())
    }
    defer { closedir(directory) }
    var entries = 0
    while readdir(directory) != nil { entries += 1 }
    return entries <= 2  // `.` and `..`
}
