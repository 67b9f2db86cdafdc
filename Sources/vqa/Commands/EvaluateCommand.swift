import ArgumentParser
import Backbones
import Support
import Training

struct EvaluateCommand: ParsableCommand {
    static let configuration = CommandConfiguration(
        commandName: "evaluate",
        abstract: "Answers the questions of a data set and scores the answers; continues where it stopped.",
        discussion: """
            Examples:

              vqa evaluate --adapter runs/latest/adapter --task easy-vqa --split test
              vqa evaluate --model llava-1.5-7b-hf --dtype int4 --task vqav2 --data vqav2 --split val

            With --model and without --adapter, the model answers by itself; one that reads text only answers without the
            images. The folder gets predictions.jsonl, scores.json and the file for the data set's server.
            """)

    @Option(
        help: ArgumentHelp(
            "The model that answers; with --adapter, where its language model is now.", valueName: "model"))
    var model: String?

    @Option(
        help: ArgumentHelp(
            "The image encoder, when it is not where the adapter or the model says.", valueName: "model"))
    var visionModel: String?

    @Option(help: ArgumentHelp("The adapter's folder.", valueName: "folder"))
    var adapter: String?

    @Option(help: ArgumentHelp("The task, such as easy-vqa or vqav2.", valueName: "task"))
    var task: String

    @Option(
        help: ArgumentHelp("The data set's folder; by default the embedded easy-VQA.", valueName: "folder"))
    var data: String?

    @Option(help: ArgumentHelp("The split.", valueName: "split"))
    var split = "test"

    @Option(help: ArgumentHelp("Only the first so many questions.", valueName: "n"))
    var limit: Int?

    @Option(
        help: ArgumentHelp(
            "Questions computed together. 64 with an adapter, otherwise 8; of a model whose steps are not fused (YaRN, a "
                + "sliding window) 1 is the plain way.",
            valueName: "n"))
    var batchSize: Int?

    @Option(
        help: ArgumentHelp(
            "How weights are kept without an adapter: auto, float32, bfloat16, float16, int8 or int4.",
            valueName: "format"))
    var dtype = "auto"

    @Option(help: ArgumentHelp("The most tokens of an answer without an adapter.", valueName: "n"))
    var maxNewTokens = 16

    @Option(
        help: ArgumentHelp(
            "The share of images, 0 to 1, that may be unreadable; their questions count as wrong.",
            valueName: "share"))
    var brokenImageShare = 0.0

    @Option(help: ArgumentHelp("Where predictions and scores go.", valueName: "folder"))
    var output: String?

    @Flag(help: "Print the scores as JSON.")
    var json = false

    func run() throws {
        Interrupt.listen()
        var request = EvaluationRequest(task: task, split: split)
        (request.adapter, request.model, request.visionModel) = (adapter, model, visionModel)
        request.format = try WeightFormat(named: dtype)
        request.maxNewTokens = maxNewTokens
        (request.dataRoot, request.limit, request.output) = (data, limit, output)
        request.batchSize = batchSize ?? (adapter == nil ? 8 : 64)
        request.brokenImageShare = brokenImageShare
        let result = try Evaluation(request).run(
            say: { try? Output.write($0 + "\n", to: json ? 2 : 1, path: "output") },
            shouldStop: { Interrupt.isRequested })
        try json ? Output.print(result.json, indented: true) : Output.print(result.lines)
    }
}
