import ArgumentParser
import Backbones
import Support
import Training

struct AskCommand: ParsableCommand {
    static let configuration = CommandConfiguration(
        commandName: "ask",
        abstract: "Answers one question about an image.",
        discussion: """
            Example:

              vqa ask photo.jpg "what color is the shape?" --adapter runs/latest/adapter
              vqa ask photo.jpg "what color is the car?" --model llava-1.5-7b-hf --dtype int4

            With --model and without --adapter, a model that reads images and writes text answers by itself.
            """)

    @Argument(help: ArgumentHelp("The image: JPEG, PNG or WebP.", valueName: "image"))
    var image: String

    @Argument(help: ArgumentHelp("The question.", valueName: "question"))
    var question: String

    @Option(
        help: ArgumentHelp(
            "The adapter's folder; runs/latest/adapter unless --model is given alone.", valueName: "folder"))
    var adapter: String?

    @Option(
        help: ArgumentHelp(
            "A model that reads images; with --adapter, where its language model is now.", valueName: "model")
    )
    var model: String?

    @Option(
        help: ArgumentHelp("The image encoder, when it is not where the adapter says.", valueName: "model"))
    var visionModel: String?

    @Option(
        help: ArgumentHelp(
            "How weights are kept without an adapter: auto, float32, bfloat16, float16, int8 or int4.",
            valueName: "format"))
    var dtype = "auto"

    @Option(help: ArgumentHelp("The most tokens of an answer without an adapter.", valueName: "n"))
    var maxNewTokens = 32

    @Option(
        help: ArgumentHelp(
            "An option of a question of multiple choice, in order, for adapters that read them; can be repeated.",
            valueName: "text"))
    var choice: [String] = []

    @Option(help: ArgumentHelp("How many answers to show.", valueName: "n"))
    var top = 3

    @Flag(help: "Print the answers as JSON.")
    var json = false

    func run() throws {
        if adapter == nil, let model { return try ask(model) }
        let answers = try adapterAnswers(
            adapter ?? "runs/latest/adapter", image: image, question: question, choices: choice,
            count: max(1, top), languageModel: model, visionModel: visionModel)
        if json {
            return try Output.print(
                [
                    "image": .string(image), "question": .string(question),
                    "answer": .string(answers.first?.text ?? ""),
                    "answers": .array(
                        answers.map {
                            [
                                "answer": .string($0.text),
                                "probability": $0.probability.map { .number($0) } ?? .null,
                            ]
                        }),
                ], indented: true)
        }
        for (index, answer) in answers.enumerated() {
            let percent = answer.probability.map { "  (\(($0 * 1000).rounded() / 10) %)" } ?? ""
            try Output.print((index == 0 ? "" : "  or ") + oneLine(answer.text) + percent)
        }
    }

    /// A model answers without an adapter.
    private func ask(_ name: String) throws {
        Interrupt.listen()
        let model = try LanguageModel(name, format: WeightFormat(named: dtype), vision: visionModel)
        var options = GenerationOptions()
        (options.eosIDs, options.padID, options.bosID) = (
            model.generation.eosIDs, model.generation.padID, model.generation.bosID
        )
        options.maxNewTokens = maxNewTokens
        try options.validate(source: "the command")
        let answer = try model.answer(question, about: image, options: options)
        guard json else { return try Output.print(answer) }
        try Output.print(
            ["image": .string(image), "question": .string(question), "answer": .string(answer)],
            indented: true)
    }
}
