import Support

#if canImport(Glibc)
    import Glibc
#else
    import Darwin
#endif

/// A file that only grows, each addition by one system call and nothing held back, so that a killed process loses at
/// most what it was writing.
struct AppendFile: ~Copyable {
    let path: String
    private let descriptor: Int32

    /// Opens the file, making it when it is not there.
    ///
    /// - Parameter isNew: an existing file is an error.
    init(_ path: String, isNew: Bool = false) throws {
        self.path = path
        descriptor = open(path, O_WRONLY | O_CREAT | O_APPEND | O_CLOEXEC | (isNew ? O_EXCL : 0), 0o644)
        guard descriptor >= 0 else {
            throw VQAError("cannot write the file", at: path, because: systemReason())
        }
    }

    deinit { close(descriptor) }

    /// Adds `bytes`. A full disk is the user's problem (exit code 2).
    func append(_ bytes: [UInt8]) throws {
        try asBadInput { try bytes.withUnsafeBytes { try writeAll($0, to: descriptor, path: path) } }
    }

    /// Cuts the file to its first `length` bytes.
    func truncate(to length: Int) throws {
        guard ftruncate(descriptor, off_t(length)) == 0 else {
            throw VQAError("cannot shorten the file", at: path, because: systemReason())
        }
    }
}
