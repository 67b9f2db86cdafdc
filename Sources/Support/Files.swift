#if canImport(Glibc)
    import Glibc
#else
    import Darwin
#endif

/// The reason of the last failed system call, in words.
public func systemReason() -> String { String(cString: strerror(errno)) }

/// The bytes of a file of at most `limit` bytes.
public func readFile(_ path: String, limit: Int) throws -> [UInt8] {
    let mapped = try MappedFile(path)
    guard mapped.count <= limit else {
        throw VQAError(
            "cannot read the file", at: path,
            because: "it has \(mapped.count) bytes, more than the limit of \(limit)")
    }
    return Array(mapped.bytes)
}

/// A file mapped into memory for reading. The mapping ends with the object: hold it as long as its bytes are used.
///
/// Files are replaced by renaming, never rewritten in place, so a mapped file does not shrink under its reader.
public final class MappedFile: @unchecked Sendable {
    /// The whole file. Valid while this object lives.
    public let bytes: UnsafeRawBufferPointer
    /// The name it was opened by, for errors.
    public let path: String
    /// Its size in bytes.
    public var count: Int { bytes.count }

    /// Maps a regular file, read-only; an empty one has no bytes. Throws when it cannot be opened or is no file.
    public init(_ path: String) throws {
        self.path = path
        // Not blocking: opening a pipe would wait for a writer.
        let descriptor = open(path, O_RDONLY | O_CLOEXEC | O_NONBLOCK)
        guard descriptor >= 0 else {
            throw VQAError("cannot open the file", at: path, because: systemReason())
        }
        defer { close(descriptor) }
        var status = stat()
        guard fstat(descriptor, &status) == 0 else {
            throw VQAError("cannot open the file", at: path, because: systemReason())
        }
        guard status.st_mode & S_IFMT == S_IFREG else {
            throw VQAError("cannot open the file", at: path, because: "it is not a regular file")
        }
        let size = Int(status.st_size)
        guard size > 0 else {
            bytes = UnsafeRawBufferPointer(start: nil, count: 0)
            return
        }
        guard let base = mmap(nil, size, PROT_READ, MAP_PRIVATE, descriptor, 0), base != MAP_FAILED else {
            throw VQAError("cannot map the file", at: path, because: systemReason(), kind: .failure)
        }
        bytes = UnsafeRawBufferPointer(start: base, count: size)
    }

    deinit {
        if let base = bytes.baseAddress { munmap(UnsafeMutableRawPointer(mutating: base), bytes.count) }
    }

    /// Lets go of the memory of a part that is not needed for now: its pages leave this process, and come back from the
    /// file when they are read again. Without this a file that was read once counts as memory until it is unmapped.
    public func release(_ part: Range<Int>) {
        let page = Int(sysconf(Int32(_SC_PAGESIZE)))
        guard let base = bytes.baseAddress, page > 0, part.lowerBound >= 0, part.upperBound <= count else {
            return
        }
        // Whole pages only: others have numbers of the neighbours.
        let first = (part.lowerBound + page - 1) / page * page
        let last = part.upperBound == count ? count : part.upperBound / page * page
        guard first < last else { return }
        madvise(UnsafeMutableRawPointer(mutating: base + first), last - first, MADV_DONTNEED)
    }
}

/// A file written beside its destination and moved over it at the end, so that a reader or a killed process never
/// leaves half a file. Without ``commit()`` nothing remains.
public struct AtomicFile: ~Copyable {
    private let destination: String
    private let temporary: String
    private let descriptor: Int32

    /// Starts a temporary file in the folder of `destination`; throws when that folder cannot be written.
    public init(_ destination: String) throws {
        self.destination = destination
        temporary = "\(destination).\(getpid()).\(UInt32.random(in: 0 ... .max)).tmp"
        descriptor = open(temporary, O_WRONLY | O_CREAT | O_EXCL | O_CLOEXEC, 0o644)
        guard descriptor >= 0 else {
            throw VQAError("cannot write the file", at: destination, because: systemReason(), kind: .failure)
        }
    }

    /// Appends `bytes`.
    public mutating func write(_ bytes: UnsafeRawBufferPointer) throws {
        try writeAll(bytes, to: descriptor, path: destination)
    }

    /// Appends the UTF-8 of `text`.
    public mutating func write(_ text: String) throws {
        try Array(text.utf8).withUnsafeBytes { try write($0) }
    }

    /// Flushes to the disk and puts the file in its place.
    ///
    /// - Parameter isDurable: false leaves the flush to the system: for thousands of small files that can be made again.
    public consuming func commit(isDurable: Bool = true) throws {
        guard !isDurable || fsync(descriptor) == 0, rename(temporary, destination) == 0 else {
            throw VQAError("cannot write the file", at: destination, because: systemReason(), kind: .failure)
        }
        if isDurable { syncFolder(of: destination) }
    }

    deinit {
        close(descriptor)
        // After a commit the name is gone and this does nothing.
        unlink(temporary)
    }
}

/// Writes a whole text atomically.
public func writeFile(_ text: String, to path: String) throws {
    var file = try AtomicFile(path)
    try file.write(text)
    try file.commit()
}

/// Writes all of `bytes` to an open descriptor, going on after interrupted and short writes.
public func writeAll(_ bytes: UnsafeRawBufferPointer, to descriptor: Int32, path: String) throws {
    var rest = bytes
    while let base = rest.baseAddress, rest.count > 0 {
        let written = write(descriptor, base, min(rest.count, 1 << 30))
        if written < 0 {
            if errno == EINTR { continue }
            let remedy = errno == ENOSPC ? "free some space and run again" : nil
            throw VQAError(
                "cannot write the file", at: path, because: systemReason(), remedy: remedy, kind: .failure)
        }
        rest = UnsafeRawBufferPointer(rebasing: rest[written...])
    }
}

/// Makes a rename in the folder of `path` durable. A failure only weakens durability, so it is not an error.
public func syncFolder(of path: String) {
    let folder = path.lastIndex(of: "/").map { String(path[..<$0]) } ?? "."
    let descriptor = open(folder.isEmpty ? "/" : folder, O_RDONLY | O_CLOEXEC)
    guard descriptor >= 0 else { return }
    _ = fsync(descriptor)
    close(descriptor)
}

/// Makes a folder and its parents.
public func makeFolder(_ path: String) throws {
    var made = path.hasPrefix("/") ? "/" : ""
    for part in path.split(separator: "/") {
        made += part + "/"
        if mkdir(made, 0o755) != 0, errno != EEXIST {
            throw VQAError("cannot make the folder", at: path, because: systemReason(), kind: .failure)
        }
    }
}

/// Removes a file; nothing happens when there is none, or it may not be removed.
public func removeFile(_ path: String) { unlink(path) }

/// True when `path` names something.
public func fileExists(_ path: String) -> Bool { access(path, F_OK) == 0 }

/// True when `path` names a folder.
public func isFolder(_ path: String) -> Bool {
    var status = stat()
    return stat(path, &status) == 0 && status.st_mode & S_IFMT == S_IFDIR
}

/// The names in a folder, sorted, without `.` and `..`.
public func listFolder(_ path: String) throws -> [String] {
    guard let directory = opendir(path) else {
        throw VQAError("cannot read the folder", at: path, because: systemReason())
    }
    defer { closedir(directory) }
    var names: [String] = []
    while let entry = readdir(directory) {
        let name = withUnsafePointer(to: &entry.pointee.d_name) { pointer in
            pointer.withMemoryRebound(to: CChar.self, capacity: MemoryLayout.size(ofValue: pointer.pointee)) {
                String(cString: $0)
            }
        }
        if name != ".", name != ".." { names.append(name) }
    }
    return names.sorted()
}

/// Joins a name from an untrusted file to the folder it must stay in: absolute names and `..` are refused.
public func path(_ name: String, inside folder: String) throws -> String {
    let parts = name.split(separator: "/", omittingEmptySubsequences: false)
    guard !name.isEmpty, !name.hasPrefix("/"), !parts.contains(".."), !name.utf8.contains(0) else {
        throw VQAError(
            "refused a file name", at: name, because: "it leads out of the folder \(folder)",
            remedy: "use a name relative to that folder, without '..'")
    }
    return folder.isEmpty ? name : "\(folder)/\(name)"
}

/// The value of an environment variable, nil when unset or empty.
public func environment(_ name: String) -> String? {
    guard let value = getenv(name), value.pointee != 0 else { return nil }
    return String(cString: value)
}

/// The first existing `name` in the program's folder or one above it, then in the working directory or one above it.
///
/// - Parameter isCode: look from the program only, never in a folder that a stranger may have filled.
public func findUpwards(_ name: String, isCode: Bool = false) -> String? {
    for start in [programPath(), isCode ? nil : workingDirectory()] {
        guard var folder = start else { continue }
        while true {
            let candidate = folder == "/" ? "/\(name)" : "\(folder)/\(name)"
            if fileExists(candidate) { return candidate }
            guard let slash = folder.lastIndex(of: "/"), folder != "/" else { break }
            folder = slash == folder.startIndex ? "/" : String(folder[..<slash])
        }
    }
    return nil
}

/// The working directory.
public func workingDirectory() -> String? {
    guard let text = getcwd(nil, 0) else { return nil }
    defer { free(text) }
    return String(cString: text)
}

/// The file this process runs, with symbolic links resolved.
public func programPath() -> String? {
    guard let text = realpath("/proc/self/exe", nil) ?? realpath(CommandLine.arguments.first ?? "", nil)
    else {
        return nil
    }
    defer { free(text) }
    return String(cString: text)
}

/// A file that grows at its end. What lies behind `keeping` bytes when it is opened is cut off: the rest of a killed
/// run.
public final class AppendingFile {
    private let descriptor: Int32
    private let path: String

    /// Opens or makes the file and cuts it to `keeping` bytes.
    public init(_ path: String, keeping: Int) throws {
        self.path = path
        descriptor = open(path, O_WRONLY | O_CREAT | O_CLOEXEC, 0o644)
        guard descriptor >= 0 else {
            throw VQAError("cannot write the file", at: path, because: systemReason(), kind: .failure)
        }
        guard ftruncate(descriptor, off_t(keeping)) == 0, lseek(descriptor, 0, SEEK_END) >= 0 else {
            let reason = systemReason()
            close(descriptor)
            throw VQAError("cannot write the file", at: path, because: reason, kind: .failure)
        }
    }

    deinit { close(descriptor) }

    /// Writes `bytes` at the end; on the disk only after ``flush()``.
    public func append(_ bytes: UnsafeRawBufferPointer) throws {
        try writeAll(bytes, to: descriptor, path: path)
    }

    /// Puts what was appended on the disk.
    public func flush() throws {
        guard fsync(descriptor) == 0 else {
            throw VQAError("cannot write the file", at: path, because: systemReason(), kind: .failure)
        }
    }
}
