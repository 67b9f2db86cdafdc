import CTorch
import Support

#if canImport(Glibc)
    import Glibc
#else
    import Darwin
#endif

/// The connection to libtorch: a shared library of our own, opened at the first tensor operation.
public enum Engine {
    /// The name of the shim library in the `lib` folder of an installation.
    #if os(macOS)
        static let libraryName = "libvqatorch.dylib"
    #else
        static let libraryName = "libvqatorch.so"
    #endif

    /// Where the shim is, or nil. `VQA_ENGINE` names the file; otherwise every folder from the program's own
    /// upwards is looked through for `.deps/lib` and `lib/vqa`; never the working directory, which may be a
    /// stranger's.
    public static func libraryPath() -> String? {
        if let named = environment("VQA_ENGINE") { return named }
        return findUpwards(".deps/lib/\(libraryName)", isCode: true)
            ?? findUpwards("lib/vqa/\(libraryName)", isCode: true)
    }

    /// The version libtorch's headers had when the shim was built, for example `2.13.0`.
    public static func version() throws(TorchError) -> String {
        String(cString: try engine().pointee.version())
    }

    /// The instruction set libtorch chose, for example `AVX512`.
    public static func cpuCapability() throws(TorchError) -> String {
        String(cString: try engine().pointee.cpu_capability())
    }

    /// Number of threads inside one operation.
    public static func threads() throws(TorchError) -> Int { Int(try engine().pointee.threads()) }

    /// Sets the number of threads inside one operation; call it before the first operation.
    public static func setThreads(_ count: Int) throws(TorchError) {
        try engine().pointee.set_threads(Int32(clamping: max(1, count)))
    }

    /// True when a CUDA build of libtorch finds a device.
    public static func hasCUDA() throws(TorchError) -> Bool { try engine().pointee.cuda_available() }

    /// Tensors that Swift holds at this moment, in the whole process.
    public static func liveTensors() -> Int {
        guard case .success(let torch) = opened else { return 0 }
        return Int(torch.pointee.live_tensors())
    }

    /// True when the processor multiplies bf16 natively; elsewhere bf16 is many times slower than fp32.
    public static var hasNativeBFloat16: Bool { ct_cpu_has_bfloat16() }

    /// Opened once; the pointer is to constant memory of the library, which is never closed.
    nonisolated(unsafe) fileprivate static let opened = Result { () throws(TorchError) in
        try open(libraryPath())
    }

    /// Opens the shim at `path`.
    package static func open(_ path: String?) throws(TorchError) -> UnsafePointer<CTTable> {
        guard let path else {
            throw TorchError(
                .unavailable, operation: "open",
                message:
                    "cannot load libtorch: \(libraryName) was not found; run 'make setup', or set VQA_ENGINE")
        }
        var message = [CChar](repeating: 0, count: 1024)
        guard let table = ct_open(path, &message, Int32(message.count)) else {
            let reason = message.withUnsafeBufferPointer { text in
                text.baseAddress.map { String(cString: $0) } ?? ""
            }
            // The loader's own reasons begin with the file already.
            let told = reason.hasPrefix(path) ? reason : "\(path): \(reason)"
            throw TorchError(
                .unavailable, operation: "open",
                message: oneLine("cannot load libtorch: \(told); run 'make setup' again"))
        }
        table.pointee.tune_allocator()
        return table
    }
}

/// The table of libtorch's functions.
func engine() throws(TorchError) -> UnsafePointer<CTTable> { try Engine.opened.get() }

/// Throws what libtorch remembers when `status` is an error.
@inline(__always)
func check(_ status: Int32, _ torch: UnsafePointer<CTTable>) throws(TorchError) {
    if status != 0 { throw TorchError.last(torch) }
}
