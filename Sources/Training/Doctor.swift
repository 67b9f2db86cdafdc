import Backbones
import Runs
import Support
import Torch

/// What `vqa doctor` found: the program, the machine, the tensor engine and what `make setup` fetched.
public struct DoctorReport: Sendable {
    /// Everything that was looked at, in the order of the report.
    public let findings: [Finding]

    /// True when no tensor work is possible, or nothing can be saved.
    public var isBroken: Bool { findings.contains { $0.grade == .bad } }

    /// For people: a line a finding, then the verdict.
    public var lines: [String] {
        let warnings = findings.count { $0.grade == .warning }
        let verdict =
            isBroken
            ? "Something essential is broken: see the lines with an arrow."
            : warnings == 0
                ? "All is well."
                : "It works; \(warnings) \(warnings == 1 ? "thing" : "things") could be better."
        return Finding.lines(findings) + ["", verdict]
    }

    /// `{"ok", "checks": [{"name", "grade", "text", "remedy", "value"}]}`
    public var json: JSON {
        ["ok": .bool(!isBroken), "checks": .array(findings.map(\.json))]
    }

    /// Looks at everything, which takes about a second. Never throws: what fails is a finding.
    public init() {
        var findings = [Self.program(), Self.machine(), Self.processor()]
        findings += Self.engine()
        findings += [Self.graphics(), Self.disk()]
        findings += Self.models()
        self.findings = findings
    }

    // MARK: Program and machine

    private static func program() -> Finding {
        // The library does not tell its patch level.
        let swift = "\(_SwiftStdlibVersion.current)".split(separator: ".").prefix(2).joined(separator: ".")
        return Finding(
            "program", .good,
            "vqa \(programVersion), Swift \(swift)" + (programPath().map { ", \($0)" } ?? ""),
            value: [
                "version": .string(programVersion), "swift": .string(swift),
                "path": programPath().map { .string($0) } ?? .null,
            ])
    }

    private static func machine() -> Finding {
        let facts = MachineFacts.current()
        return Finding("machine", .good, facts.summary, value: facts.json)
    }

    private static func processor() -> Finding {
        let features = DoctorMachine.processorFeatures()
        return Finding(
            "processor", .good,
            features.isEmpty ? "no feature known to matter" : features.joined(separator: ", "),
            value: [
                "features": .array(features.map { .string($0) }),
                "native_bfloat16": .bool(Engine.hasNativeBFloat16),
            ])
    }

    // MARK: Tensor engine

    /// Opens libtorch and works with it. The first failure ends this part: nothing after it could succeed.
    private static func engine() -> [Finding] {
        var findings: [Finding] = []
        do {
            let version = try Engine.version()
            findings += libraries(version)
            findings.append(try products())
            findings.append(try threads())
            findings.append(openMP())
        } catch {
            let (text, remedy) = split("\(error)")
            findings.append(
                Finding(
                    findings.isEmpty ? "libtorch" : "tensors", .bad, text, remedy: remedy,
                    value: ["shim": Engine.libraryPath().map { .string($0) } ?? .null]))
        }
        return findings
    }

    /// A message of the engine, cut into what happened and what to do.
    private static func split(_ message: String) -> (text: String, remedy: String?) {
        guard let cut = message.lastIndex(of: ";") else { return (message, nil) }
        let remedy = message[message.index(after: cut)...].drop { $0 == " " }
        return (String(message[..<cut]), String(remedy))
    }

    private static func libraries(_ version: String) -> [Finding] {
        let torch = DoctorMachine.loadedLibraries().first { $0.contains("libtorch_cpu.") }
        let shim = Engine.libraryPath()
        return [
            Finding(
                "libtorch", .good, ([version] + [torch].compactMap(\.self)).joined(separator: ", "),
                value: ["version": .string(version), "path": torch.map { .string($0) } ?? .null]),
            Finding("shim", .good, shim ?? "", value: ["path": shim.map { .string($0) } ?? .null]),
        ]
    }

    private static func products() throws -> Finding {
        let timings = try timePrecisions()
        let rates = timings.map { "\($0.dtype) \(decimal($0.gigaFlops, 0))" }.joined(separator: ", ")
        let chosen = try chosenPrecision(.auto)
        let capability = try Engine.cpuCapability()
        return Finding(
            "products", .good,
            "\(rates) × 10⁹ multiply-adds/s (\(capability)); frozen weights take \(chosen)",
            value: [
                "giga_multiply_adds": .object(
                    timings.map { JSON.Member("\($0.dtype)", .number(($0.gigaFlops * 10).rounded() / 10)) }),
                "chosen": .string("\(chosen)"), "capability": .string(capability),
            ])
    }

    private static func threads() throws -> Finding {
        let count = try Engine.threads()
        let cores = MachineFacts.current().logicalCores
        let value: JSON = ["threads": .integer(count), "logical_cores": .integer(cores)]
        let text = "\(count) for each operation, \(cores) logical cores"
        guard count > cores else { return Finding("threads", .good, text, value: value) }
        return Finding(
            "threads", .warning, text, remedy: "set OMP_NUM_THREADS to at most \(cores), or unset it",
            value: value)
    }

    private static func openMP() -> Finding {
        let runtimes = DoctorMachine.openMPRuntimes(in: DoctorMachine.loadedLibraries())
        let value = JSON.array(runtimes.map { .string($0) })
        switch runtimes.count {
        case 1: return Finding("OpenMP", .good, "one runtime: \(runtimes[0])", value: value)
        case 0:
            return Finding(
                "OpenMP", .good, "no runtime in sight; libtorch brings its own threads", value: value)
        default:
            return Finding(
                "OpenMP", .warning,
                "\(runtimes.count) runtimes fight for the cores: \(runtimes.joined(separator: ", "))",
                remedy: "unset LD_PRELOAD, or use a torch wheel that brings one runtime", value: value)
        }
    }

    private static func graphics() -> Finding {
        let works = (try? Engine.hasCUDA()) ?? false
        let value: JSON = ["cuda": .bool(works), "nvidia_device": .bool(DoctorMachine.hasNvidiaDevice)]
        if works { return Finding("GPU", .good, "libtorch can use CUDA", value: value) }
        guard DoctorMachine.hasNvidiaDevice else {
            return Finding("GPU", .good, "none; tensor work runs on the processor", value: value)
        }
        return Finding(
            "GPU", .warning, "there is an NVIDIA device that this libtorch cannot use",
            remedy: "set up a CUDA build of torch", value: value)
    }

    // MARK: Disk and models

    private static func disk() -> Finding {
        let folder = workingDirectory() ?? "."
        guard let disk = DoctorMachine.disk(folder) else {
            return Finding(
                "disk", .bad, "cannot read the working directory: \(systemReason())",
                remedy: "go to another folder")
        }
        let value: JSON = [
            "folder": .string(folder), "free_bytes": .integer(disk.free), "writable": .bool(disk.isWritable),
        ]
        let text = "\(byteText(disk.free)) free in \(folder)"
        if !disk.isWritable {
            return Finding(
                "disk", .warning, "\(text), which you may not write to",
                remedy: "runs need another folder: go there, or give --output", value: value)
        }
        guard disk.free < 1_000_000_000 else { return Finding("disk", .good, text, value: value) }
        return Finding(
            "disk", .warning, text, remedy: "free some space: a run needs room for its checkpoints",
            value: value)
    }

    private static func models() -> [Finding] {
        (ModelLibrary.embedded + [ModelLibrary.easyVQA]).map { entry in
            if let path = ModelLibrary.path(of: entry) {
                return Finding(entry.name, .good, path, value: ["path": .string(path)])
            }
            let remedy = environment("VQA_MODELS").map {
                "VQA_MODELS is \($0): unset it, and run 'make setup'"
            }
            return Finding(
                entry.name, .warning, "not found: \(entry.summary)", remedy: remedy ?? "run 'make setup'",
                value: ["path": .null])
        }
    }
}
