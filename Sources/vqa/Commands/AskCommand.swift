import ArgumentParser
import Support
import Training

struct AskCommand: ParsableCommand {
    static let configuration = CommandConfiguration(
        commandName: "ask",
        abstract: "Answers one question about an image.",
        discussion: """
            Example:

              vqa ask photo.jpg "what color is the shape?" --adapter runs/latest/adapter
            """)

    @Argument(help: ArgumentHelp("The image: JPEG, PNG or WebP.", valueName: "image"))
    var image: String

    @Argument(help: ArgumentHelp("The question.", valueName: "question"))
    var question: String

    @Option(help: ArgumentHelp("The adapter's folder.", valueName: "folder"))
    var adapter = "runs/latest/adapter"

    @Option(
        help: ArgumentHelp("The language model, when it is not where the adapter says.", valueName: "model"))
    var model: String?

    @Option(
        help: ArgumentHelp("The image encoder, when it is not where the adapter says.", valueName: "model"))
    var visionModel: String?

    @Option(help: ArgumentHelp("How many answers to show.", valueName: "n"))
    var top = 3

    @Flag(help: "Print the answers as JSON.")
    var json = false

    func run() throws {
        let model = try AdaptedModel(adapter: adapter, languageModel: model, visionModel: visionModel)
        let answers = try model.answers(image: image, question: question, count: max(1, top))
        if json {
            return try Output.print(
                [
                    "image": .string(image), "question": .string(question),
                    "answer": .string(answers.first?.text ?? ""),
                    "answers": .array(
                        answers.map { ["answer": .string($0.text), "probability": .number($0.probability)] }),
                ], indented: true)
        }
        for (index, answer) in answers.enumerated() {
            let percent = String((answer.probability * 1000).rounded() / 10)
            try Output.print(
                index == 0
                    ? "\(oneLine(answer.text))  (\(percent) %)"
                    : "  or \(oneLine(answer.text))  (\(percent) %)")
        }
    }
}
