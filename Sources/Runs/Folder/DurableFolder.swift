import Support

#if canImport(Glibc)
    import Glibc
#else
    import Darwin
#endif

/// Writes a folder whose files must agree, so that a process killed at any moment leaves the old folder or the new
/// one, never a mixture: everything goes to a temporary sibling with a manifest of hashes, is flushed, and is then
/// renamed into place.
///
/// Between taking the old folder away and putting the new one there (no portable system call swaps two folders) the
/// old one is named `NAME.replaced`; ``current(_:)`` finds it there.
package struct DurableFolder {
    /// The path the folder will have.
    let destination: String
    /// Called before each step with its name; tests interrupt the work here.
    let beforeStep: (String) throws -> Void

    static let manifestName = "manifest.json"
    static let replacedSuffix = ".replaced"

    package init(_ destination: String, beforeStep: @escaping (String) throws -> Void = { _ in }) {
        self.destination = destination
        self.beforeStep = beforeStep
    }

    // MARK: Writing

    /// Lets `body` fill the temporary folder and makes it the folder at the destination.
    package func write(facts: [JSON.Member] = [], _ body: (_ folder: String) throws -> Void) throws {
        let temporary = Self.temporaryName(for: destination)
        try beforeStep("make the temporary folder")
        try makeFolder(temporary)
        do {
            try beforeStep("write the files")
            try body(temporary)
            try seal(temporary, facts: facts)
            try replace(with: temporary)
        } catch {
            try? removeTree(temporary)
            throw error
        }
    }

    /// Flushes every file, writes the manifest and flushes the folders.
    private func seal(_ folder: String, facts: [JSON.Member]) throws {
        var members: [JSON.Member] = []
        var folders: Set<String> = [folder]
        for name in try listTree(folder) {
            let path = "\(folder)/\(name)"
            try beforeStep("flush \(name)")
            try flush(path)
            if let slash = path.lastIndex(of: "/") { folders.insert(String(path[..<slash])) }
            members.append(
                .init(
                    name,
                    .object([
                        .init("bytes", .integer(try fileSize(path))),
                        .init("sha256", .string(try SHA256.hexadecimal(ofFile: path))),
                    ])))
        }
        try beforeStep("write the manifest")
        let manifest = JSON.object(
            [.init("version", .integer(1))] + facts + [.init("files", .object(members))])
        try writeFile(manifest.text(indented: true) + "\n", to: "\(folder)/\(Self.manifestName)")
        for inner in folders.sorted(by: >) {
            try beforeStep("flush the folder")
            syncFolder(of: "\(inner)/.")
        }
    }

    private func replace(with temporary: String) throws {
        let replaced = destination + Self.replacedSuffix
        let exists = fileExists(destination)
        if exists {
            try beforeStep("clear the place of the old folder")
            try removeTree(replaced)
            try beforeStep("set the old folder aside")
            try move(destination, to: replaced)
        }
        try beforeStep("put the new folder in place")
        do {
            try move(temporary, to: destination)
        } catch {
            if exists { try? move(replaced, to: destination) }
            throw error
        }
        try beforeStep("flush the parent folder")
        syncFolder(of: destination)
        if exists || fileExists(replaced) {
            try beforeStep("remove the old folder")
            try removeTree(replaced)
        }
    }

    // MARK: Reading

    /// The folder at `destination`, or the one set aside when a process was killed while replacing it; nil when
    /// there is neither.
    package static func current(_ destination: String) -> String? {
        [destination, destination + replacedSuffix].first { isFolder($0) }
    }

    /// Checks that every file of the manifest is there with its size and hash, and returns the manifest.
    @discardableResult
    package static func verify(_ folder: String) throws -> JSON {
        let manifest = try JSON(contentsOf: "\(folder)/\(manifestName)", limit: 16 << 20)
        guard manifest["version"]?.integer == 1, let files = manifest["files"]?.members else {
            throw VQAError(
                "cannot use the folder", at: folder, because: "its \(manifestName) is not one of ours")
        }
        for file in files {
            let path = try path(file.key, inside: folder)
            let expected = file.value["bytes"]?.integer ?? -1
            let found = try fileSize(path)
            guard found == expected else {
                throw VQAError(
                    "cannot use the folder", at: path, because: "expected \(expected) bytes, found \(found)")
            }
            guard try SHA256.hexadecimal(ofFile: path) == file.value["sha256"]?.string else {
                throw VQAError(
                    "cannot use the folder", at: path, because: "its SHA-256 differs from the manifest's")
            }
        }
        return manifest
    }

    // MARK: Temporaries

    private static func temporaryName(for destination: String) -> String {
        let (parent, name) = splitPath(destination)
        return "\(parent)/.\(name).\(getpid()).\(UInt32.random(in: 0 ... .max)).tmp"
    }

    /// True for names that end in `.PROCESS.NUMBER.tmp`: ours and those of ``AtomicFile``.
    static func isTemporary(_ name: String) -> Bool {
        let parts = name.split(separator: ".")
        return parts.count >= 4 && parts.last == "tmp"
            && parts.dropLast().suffix(2).allSatisfy { UInt32($0) != nil }
    }

    /// Removes what killed processes left in `parent`. Only for the holder of the lock.
    package static func removeTemporaries(in parent: String) throws {
        for name in try listFolder(parent) where isTemporary(name) {
            try removeTree("\(parent)/\(name)")
        }
    }

    /// Removes a folder so that no half of it can be taken for a whole one.
    package static func remove(_ folder: String) throws {
        guard fileExists(folder) else { return }
        let temporary = temporaryName(for: folder)
        try move(folder, to: temporary)
        try removeTree(temporary)
    }
}

// MARK: - Small file operations

/// The parent (`.` when there is none) and the last part of a path.
func splitPath(_ path: String) -> (parent: String, name: String) {
    guard let slash = path.lastIndex(of: "/") else { return (".", path) }
    let parent = String(path[..<slash])
    return (parent.isEmpty ? "/" : parent, String(path[path.index(after: slash)...]))
}

/// All files under a folder, as names relative to it. Links and special files are refused: a hash could not vouch
/// for them.
func listTree(_ folder: String, below prefix: String = "") throws -> [String] {
    var files: [String] = []
    for name in try listFolder(prefix.isEmpty ? folder : "\(folder)/\(prefix)") {
        let relative = prefix.isEmpty ? name : "\(prefix)/\(name)"
        var status = stat()
        guard lstat("\(folder)/\(relative)", &status) == 0 else {
            throw VQAError("cannot read the file", at: "\(folder)/\(relative)", because: systemReason())
        }
        switch status.st_mode & S_IFMT {
        case S_IFREG: files.append(relative)
        case S_IFDIR: files += try listTree(folder, below: relative)
        default:
            throw VQAError(
                "cannot save the file", at: "\(folder)/\(relative)",
                because: "it is neither a file nor a folder")
        }
    }
    return files
}

/// Removes a file, or a folder with all in it; what is not there needs no removing. Links are removed, not followed.
func removeTree(_ path: String) throws {
    var status = stat()
    guard lstat(path, &status) == 0 else { return }
    if status.st_mode & S_IFMT == S_IFDIR {
        for name in try listFolder(path) { try removeTree("\(path)/\(name)") }
        guard rmdir(path) == 0 || errno == ENOENT else {
            throw VQAError("cannot remove the folder", at: path, because: systemReason())
        }
    } else {
        guard unlink(path) == 0 || errno == ENOENT else {
            throw VQAError("cannot remove the file", at: path, because: systemReason())
        }
    }
}

/// Renames a file or folder.
func move(_ path: String, to other: String) throws {
    guard rename(path, other) == 0 else {
        throw VQAError("cannot rename to", at: other, because: systemReason())
    }
}

/// The size of a regular file in bytes.
func fileSize(_ path: String) throws -> Int {
    var status = stat()
    guard lstat(path, &status) == 0 else {
        throw VQAError("cannot open the file", at: path, because: systemReason())
    }
    guard status.st_mode & S_IFMT == S_IFREG else {
        throw VQAError("cannot open the file", at: path, because: "it is not a regular file")
    }
    return Int(status.st_size)
}

/// Waits until a file's bytes are on the disk.
func flush(_ path: String) throws {
    let descriptor = open(path, O_RDONLY | O_CLOEXEC)
    guard descriptor >= 0 else { throw VQAError("cannot open the file", at: path, because: systemReason()) }
    defer { close(descriptor) }
    guard fsync(descriptor) == 0 else {
        throw VQAError("cannot write the file", at: path, because: systemReason())
    }
}

/// The bytes a user may still write to the file system of `path`; nil when it does not say.
func freeBytes(_ path: String) -> Int? {
    var status = statvfs()
    guard statvfs(path, &status) == 0 else { return nil }
    let (bytes, overflow) = UInt64(status.f_bavail).multipliedReportingOverflow(by: UInt64(status.f_frsize))
    return overflow ? .max : Int(clamping: bytes)
}

/// Runs `body`, turning a failed system call into the user's problem (exit code 2): a full disk or a read-only run
/// folder is something only the user can repair.
package func asBadInput<T: ~Copyable>(_ body: () throws -> T) throws -> T {
    do {
        return try body()
    } catch let error as VQAError where error.kind == .failure {
        throw VQAError(error.what, at: error.place, because: error.why, remedy: error.remedy)
    }
}
