import ArgumentParser
import Support
import Training

struct InspectCommand: ParsableCommand {
    static let configuration = CommandConfiguration(
        commandName: "inspect",
        abstract: "Tells what a checkpoint, model, adapter, run, data set, image or tokenizer holds.",
        discussion: """
            Tensors that differ only in the number of their layer share a line.

            Examples:

              vqa inspect minilm
              vqa inspect runs/latest --json
            """)

    @Argument(help: ArgumentHelp("A file, a folder, or the short name of a model.", valueName: "path"))
    var path: String

    @Flag(help: "List every tensor on a line of its own.")
    var all = false

    @Flag(help: "Print JSON.")
    var json = false

    func run() throws {
        let report = try inspect(path, allTensors: all)
        try json ? Output.print(report.json, indented: true) : Output.print(report.lines)
    }
}
