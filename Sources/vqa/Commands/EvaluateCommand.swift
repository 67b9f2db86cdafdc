import ArgumentParser
import Support
import Training

struct EvaluateCommand: ParsableCommand {
    static let configuration = CommandConfiguration(
        commandName: "evaluate",
        abstract: "Answers the questions of a data set and scores the answers; continues where it stopped.",
        discussion: """
            Example:

              vqa evaluate --adapter runs/latest/adapter --task easy-vqa --split test
            """)

    @Option(
        help: ArgumentHelp("The language model, when it is not where the adapter says.", valueName: "model"))
    var model: String?

    @Option(
        help: ArgumentHelp("The image encoder, when it is not where the adapter says.", valueName: "model"))
    var visionModel: String?

    @Option(help: ArgumentHelp("The adapter's folder.", valueName: "folder"))
    var adapter: String

    @Option(help: ArgumentHelp("The task, such as easy-vqa or vqav2.", valueName: "task"))
    var task: String

    @Option(
        help: ArgumentHelp("The data set's folder; by default the embedded easy-VQA.", valueName: "folder"))
    var data: String?

    @Option(help: ArgumentHelp("The split.", valueName: "split"))
    var split = "test"

    @Option(help: ArgumentHelp("Only the first so many questions.", valueName: "n"))
    var limit: Int?

    @Option(help: ArgumentHelp("Questions computed together; does not change the answers.", valueName: "n"))
    var batchSize = 64

    @Option(help: ArgumentHelp("Where predictions and scores go.", valueName: "folder"))
    var output: String?

    @Flag(help: "Print the scores as JSON.")
    var json = false

    func run() throws {
        Interrupt.listen()
        let evaluation = Evaluation(
            adapter: adapter, languageModel: model, visionModel: visionModel, task: task, dataRoot: data,
            split: split, limit: limit, batchSize: batchSize, output: output)
        let result = try evaluation.run(
            say: { try? Output.write($0 + "\n", to: json ? 2 : 1, path: "output") },
            shouldStop: { Interrupt.isRequested })
        try json ? Output.print(result.json, indented: true) : Output.print(result.text)
    }
}
