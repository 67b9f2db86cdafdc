import Support

#if canImport(Glibc)
    import Glibc
#else
    import Darwin
    import MachO
#endif

/// Facts about this machine and process that only `vqa doctor` asks for.
enum DoctorMachine {
    /// The features of the processor that matter for matrix products, best last.
    static func processorFeatures() -> [String] {
        #if canImport(Glibc)
            // x86 lists "flags", arm64 "Features".
            let known = [
                ("avx2", "AVX2"), ("fma", "FMA"), ("avx512f", "AVX-512"), ("avx512_vnni", "AVX512-VNNI"),
                ("avx512_bf16", "AVX512-BF16"), ("amx_bf16", "AMX-BF16"), ("asimd", "NEON"), ("bf16", "BF16"),
                ("sve", "SVE"), ("i8mm", "I8MM"),
            ]
            let text = readSystemFile("/proc/cpuinfo", limit: 1 << 16)
            let line = text.split(separator: "\n").first { $0.hasPrefix("flags") || $0.hasPrefix("Features") }
            let flags = Set((line ?? "").split { $0 == " " || $0 == "\t" })
            return known.filter { flags.contains(Substring($0.0)) }.map(\.1)
        #else
            return ["NEON"]
        #endif
    }

    /// The files of the shared libraries in this process.
    static func loadedLibraries() -> [String] {
        #if canImport(Glibc)
            var seen: Set<Substring> = []
            for line in readSystemFile("/proc/self/maps", limit: 1 << 24).split(separator: "\n") {
                guard let slash = line.firstIndex(of: "/") else { continue }
                seen.insert(line[slash...])
            }
            return seen.map(String.init).sorted()
        #else
            return (0..<_dyld_image_count()).compactMap {
                _dyld_get_image_name($0).map { String(cString: $0) }
            }
        #endif
    }

    /// The OpenMP runtimes among `libraries`. Two of them in one process fight for the processors.
    static func openMPRuntimes(in libraries: [String]) -> [String] {
        libraries.filter { path in
            let name = path.split(separator: "/").last ?? ""
            return ["libgomp", "libiomp5", "libomp"].contains { name.hasPrefix($0) }
        }
    }

    /// Bytes that an ordinary user may still write below `folder`, and whether the folder takes new files.
    static func disk(_ folder: String) -> (free: Int, isWritable: Bool)? {
        var facts = statvfs()
        guard statvfs(folder, &facts) == 0 else { return nil }
        let (bytes, overflow) = Int(clamping: facts.f_bavail).multipliedReportingOverflow(
            by: Int(clamping: facts.f_frsize))
        return (overflow ? .max : bytes, access(folder, W_OK) == 0)
    }

    /// True when the system shows an NVIDIA device, whether or not libtorch can use it.
    static var hasNvidiaDevice: Bool {
        fileExists("/dev/nvidia0") || fileExists("/proc/driver/nvidia/version")
    }

    #if canImport(Glibc)
        /// The text of a file of the system, which has no size and cannot be mapped; empty when unreadable.
        private static func readSystemFile(_ path: String, limit: Int) -> String {
            let descriptor = open(path, O_RDONLY | O_CLOEXEC)
            guard descriptor >= 0 else { return "" }
            defer { close(descriptor) }
            var bytes: [UInt8] = []
            var part = [UInt8](repeating: 0, count: 1 << 14)
            while bytes.count < limit {
                let count = part.withUnsafeMutableBytes { read(descriptor, $0.baseAddress, $0.count) }
                guard count > 0 else { break }
                bytes += part[..<count]
            }
            return String(decoding: bytes, as: UTF8.self)
        }
    #endif
}
