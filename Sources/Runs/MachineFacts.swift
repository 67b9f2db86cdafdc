import Support

#if canImport(Glibc)
    import Glibc
#else
    import Darwin
#endif

/// What the machine is, for `run.json`, reports and `vqa doctor`.
public struct MachineFacts: Sendable, Equatable {
    /// Name and version of the operating system, such as `Debian GNU/Linux 12 (bookworm)` or `macOS 15.1`.
    public let system: String
    /// Name and release of the kernel.
    public let kernel: String
    /// `x86_64`, `arm64`, ….
    public let architecture: String
    /// The machine's own name.
    public let host: String
    /// The processor's model name.
    public let processor: String
    /// Processors that can run at once, hyperthreads counted.
    public let logicalCores: Int
    /// Installed memory in bytes.
    public let memoryBytes: Int

    /// The facts of the machine this runs on. What the system does not tell is an empty text or 0.
    public static func current() -> MachineFacts {
        var names = utsname()
        uname(&names)
        return MachineFacts(
            system: systemName(), kernel: "\(text(of: names.sysname)) \(text(of: names.release))",
            architecture: text(of: names.machine), host: hostName(), processor: processorName(),
            logicalCores: max(1, Int(sysconf(Int32(_SC_NPROCESSORS_ONLN)))), memoryBytes: installedMemory())
    }

    /// The facts as an object for `run.json`.
    public var json: JSON {
        .object([
            .init("system", .string(system)), .init("kernel", .string(kernel)),
            .init("architecture", .string(architecture)), .init("host", .string(host)),
            .init("processor", .string(processor)), .init("logical_cores", .integer(logicalCores)),
            .init("memory_bytes", .integer(memoryBytes)),
        ])
    }

    /// One line for people.
    public var summary: String {
        let gigabytes = decimal(Double(memoryBytes) / Double(1 << 30), 1)
        let model = processor.isEmpty ? architecture : processor
        return "\(model), \(logicalCores) cores, \(gigabytes) GiB, \(system)"
    }
}

/// The most memory that this process ever held, in bytes.
public func peakResidentBytes() -> Int {
    var usage = rusage()
    #if canImport(Glibc)
        getrusage(__rusage_who_t(RUSAGE_SELF.rawValue), &usage)
        // Linux counts in kibibytes.
        return Int(usage.ru_maxrss) * 1024
    #else
        getrusage(RUSAGE_SELF, &usage)
        return Int(usage.ru_maxrss)
    #endif
}

/// The machine's own name, or an empty text.
func hostName() -> String {
    var names = utsname()
    uname(&names)
    return text(of: names.nodename)
}

/// The text of a fixed array of C characters.
private func text<Characters>(of characters: Characters) -> String {
    withUnsafeBytes(of: characters) { bytes in
        String(decoding: bytes.prefix { $0 != 0 }, as: UTF8.self)
    }
}

#if canImport(Glibc)
    private func systemName() -> String {
        for line in systemFileLines("/etc/os-release") where line.hasPrefix("PRETTY_NAME=") {
            return line.dropFirst("PRETTY_NAME=".count).filter { $0 != "\"" }
        }
        return "Linux"
    }

    private func processorName() -> String {
        for line in systemFileLines("/proc/cpuinfo") where line.hasPrefix("model name") {
            guard let colon = line.firstIndex(of: ":") else { continue }
            return String(line[line.index(after: colon)...].drop { $0 == " " })
        }
        return ""
    }

    private func installedMemory() -> Int {
        let (bytes, overflow) = Int(sysconf(Int32(_SC_PHYS_PAGES)))
            .multipliedReportingOverflow(by: Int(sysconf(Int32(_SC_PAGESIZE))))
        return overflow ? 0 : max(0, bytes)
    }

    /// The first lines of a file of the system. Files under `/proc` have no size and cannot be mapped.
    private func systemFileLines(_ path: String) -> [Substring] {
        let descriptor = open(path, O_RDONLY | O_CLOEXEC)
        guard descriptor >= 0 else { return [] }
        defer { close(descriptor) }
        var buffer = [UInt8](repeating: 0, count: 16384)
        let count = buffer.withUnsafeMutableBytes { read(descriptor, $0.baseAddress, $0.count) }
        guard count > 0 else { return [] }
        return String(decoding: buffer[..<count], as: UTF8.self).split(separator: "\n")
    }
#else
    private func systemName() -> String { "macOS \(systemText("kern.osproductversion"))" }

    private func processorName() -> String { systemText("machdep.cpu.brand_string") }

    private func installedMemory() -> Int {
        var bytes: UInt64 = 0
        var size = MemoryLayout<UInt64>.size
        return sysctlbyname("hw.memsize", &bytes, &size, nil, 0) == 0 ? Int(clamping: bytes) : 0
    }

    private func systemText(_ name: String) -> String {
        var buffer = [UInt8](repeating: 0, count: 256)
        var size = buffer.count
        guard sysctlbyname(name, &buffer, &size, nil, 0) == 0 else { return "" }
        return String(decoding: buffer.prefix { $0 != 0 }, as: UTF8.self)
    }
#endif
