import ArgumentParser
import Backbones
import Checkpoints
import Runs
import Support
import Training

#if canImport(Glibc)
    import Glibc
#else
    import Darwin
#endif

struct ConvertCommand: ParsableCommand {
    static let configuration = CommandConfiguration(
        commandName: "convert",
        abstract: "Brings weights from one format to another, or merges a LoRA into them.",
        discussion: """
            Examples:

              vqa convert pytorch_model.bin weights.safetensors
              vqa convert model.Q4_K_M.gguf model-folder --dtype bfloat16 --shard-size 5
              vqa convert base-folder merged-folder --adapter lora-folder

            Reads safetensors, torch files (nothing in them is executed), sharded indices and GGUF; writes safetensors, one
            tensor at a time. A GGUF model becomes a folder with config.json, its tokenizer and Hugging Face's names; from folder
            to folder, configurations and tokenizer come along.
            """)

    @Argument(help: ArgumentHelp("The weights: a file or a folder.", valueName: "from"))
    var source: String

    @Argument(help: ArgumentHelp("A .safetensors file, or a folder without weights.", valueName: "to"))
    var destination: String

    @Option(help: ArgumentHelp("keep, float32, bfloat16 or float16.", valueName: "dtype"))
    var dtype = "keep"

    @Option(help: ArgumentHelp("Begin a new file after so many GB.", valueName: "gb"))
    var shardSize: Double?

    @Option(help: ArgumentHelp("A LoRA adapter of peft to add to the weights.", valueName: "folder"))
    var adapter: String?

    @Flag(help: "Print JSON.")
    var json = false

    func validate() throws {
        if let shardSize, !(shardSize > 0 && shardSize <= 1e6) {
            throw ValidationError("Give --shard-size a number of GB above 0.")
        }
    }

    func run() throws {
        guard let type = ConversionType(rawValue: dtype) else {
            let names = ConversionType.allCases.map(\.rawValue)
            throw VQAError(
                "cannot convert", at: "--dtype \(dtype)",
                because: "it is not one of \(names.joined(separator: ", "))",
                remedy: nearestMatch(to: dtype, in: names).map { "did you mean '\($0)'?" })
        }
        let bytes = shardSize.map { Int($0 * 1e9) }
        var summary = try asBadInput {
            if let adapter {
                return try mergeAdapter(adapter, into: source, to: destination, type: type, shardBytes: bytes)
            }
            return try convertCheckpoint(from: source, to: destination, type: type, shardBytes: bytes)
        }
        if !destination.hasSuffix(".safetensors"), !isFolder(source), try FileKind.sniff(source) == .gguf {
            summary = try summary.adding(writeTokenizer())
        }
        if json {
            return try Output.print([
                "files": .array(summary.files.map { .string($0) }), "tensors": .integer(summary.tensorCount),
                "bytes": .integer(summary.byteCount),
            ])
        }
        for file in summary.files { try Output.print(file) }
        try Output.print("\(summary.tensorCount) tensors, \(byteText(summary.byteCount))")
    }

    /// The tokenizer of the GGUF file; the weights are of use without one that cannot be written.
    private func writeTokenizer() throws -> [String] {
        do {
            return try convertTokenizer(ofGGUF: source, to: destination)
        } catch let error as VQAError {
            try Output.write(
                "warning: the folder has no tokenizer: \(error)\n", to: STDERR_FILENO, path: "standard error")
            return []
        }
    }
}
