import ArgumentParser
import Backbones
import Support
import Training

struct GenerateCommand: ParsableCommand {
    static let configuration = CommandConfiguration(
        commandName: "generate",
        abstract: "Continues a prompt, with images where <image> stands in it.",
        discussion: """
            Examples:

              vqa generate --model smollm2 --prompt "The capital of France is" --max-new-tokens 8
              vqa generate --model smollm2 --chat --stream --prompt "Why is the sky blue?"
              vqa generate --model llava-1.5-7b-hf --dtype int4 --image photo.jpg \\
                --prompt "USER: <image>\\nWhat is this? ASSISTANT:"

            Prints {"ids":[…],"text":"…"}, new tokens only: the most probable ones, unless asked otherwise. Options have the
            names and the meaning of transformers' generate; what the model's own generation_config.json says of ends of
            text counts, what it says of sampling does not.
            """)

    @OptionGroup var model: ModelOptions
    @OptionGroup var options: GenerationArguments

    @Option(help: ArgumentHelp("The prompt.", valueName: "text"))
    var prompt: String

    @Option(help: ArgumentHelp("An image; give it again for more.", valueName: "file"))
    var image: [String] = []

    @Flag(
        help: "Make a conversation of the prompt by the model's chat template; images stand before the words."
    )
    var chat = false

    @Flag(help: "Print the text while it is made, instead of JSON at the end.")
    var stream = false

    @Flag(help: "Print JSON, which is what happens anyway unless the text streams.")
    var json = false

    @Flag(help: "Say on standard error how long it took, and how much memory.")
    var timings = false

    func run() throws {
        let timer = GenerationTimer()
        let model = try model.open()
        let opened = try timer.opened(model)
        var text = prompt
        var addSpecialTokens = true
        if chat { (text, addSpecialTokens) = try model.chatPrompt(prompt, images: image.count) }
        let prepared = try model.prepare(text, images: image, addSpecialTokens: addSpecialTokens)
        let streams = stream && !json
        let results = try model.generate(
            prepared, options: options.resolved(model.generation),
            onText: streams ? { try Output.part($0) } : nil, shouldStop: { Interrupt.isRequested })
        if streams { try Output.print("") }
        for result in streams ? [] : results {
            let ids = result.ids.map { JSON.integer($0) }
            try Output.print(["ids": .array(ids), "text": .string(result.text)] as JSON)
        }
        if timings, let result = results.first {
            try Output.write(opened.text(result) + "\n", to: 2, path: "standard error")
        }
    }
}

/// Which model, and how its weights are kept.
struct ModelOptions: ParsableArguments {
    @Option(
        help: ArgumentHelp(
            "A folder in the Hugging Face layout, a .gguf file, or the short name of a model.",
            valueName: "model"))
    var model: String

    @Option(
        help: ArgumentHelp(
            "How weights are kept: auto, float32, bfloat16, float16, int8 or int4.", valueName: "format"))
    var dtype = "auto"

    @Option(
        help: ArgumentHelp("LLaVA's image tower, when its checkpoint does not hold it.", valueName: "folder"))
    var visionModel: String?

    func open() throws -> LanguageModel {
        Interrupt.listen()
        return try LanguageModel(model, format: WeightFormat(named: dtype), vision: visionModel)
    }
}

/// The options of generation, under transformers' names.
struct GenerationArguments: ParsableArguments {
    @Option(help: ArgumentHelp("The most tokens to make.", valueName: "n"))
    var maxNewTokens = 64

    @Option(help: ArgumentHelp("The fewest tokens to make.", valueName: "n"))
    var minNewTokens: Int?

    @Option(help: ArgumentHelp("Beams of a beam search; 1 is none.", valueName: "n"))
    var beams = 1

    @Option(
        parsing: .unconditional,
        help: ArgumentHelp("Above 0 favours long answers of a beam search.", valueName: "p"))
    var lengthPenalty = 1.0

    @Flag(help: "Draw tokens by their probability, instead of taking the most probable.")
    var sample = false

    @Option(help: ArgumentHelp("Above 1 draws more evenly, below 1 less.", valueName: "t"))
    var temperature = 1.0

    @Option(help: ArgumentHelp("Draw among the k most probable tokens; 0 for all.", valueName: "k"))
    var topK = 50

    @Option(
        help: ArgumentHelp(
            "Draw among the most probable tokens that together have this probability.", valueName: "p"))
    var topP = 1.0

    @Option(help: ArgumentHelp("Above 1 makes tokens that have been seen less probable.", valueName: "p"))
    var repetitionPenalty = 1.0

    @Option(help: ArgumentHelp("No run of n tokens appears twice; 0 allows all.", valueName: "n"))
    var noRepeatNgramSize = 0

    @Option(help: ArgumentHelp("Results for each prompt.", valueName: "n"))
    var returnSequences = 1

    @Option(help: ArgumentHelp("End where this text was written; give it again for more.", valueName: "text"))
    var stop: [String] = []

    @Option(help: ArgumentHelp("Of the draws: the same seed gives the same text.", valueName: "n"))
    var seed = 0

    /// On top of what the model says of the ends of a text.
    func resolved(_ model: GenerationOptions) throws -> GenerationOptions {
        var options = GenerationOptions()
        (options.eosIDs, options.padID, options.bosID) = (model.eosIDs, model.padID, model.bosID)
        options.decoderStartID = model.decoderStartID
        options.maxNewTokens = maxNewTokens
        options.minNewTokens = minNewTokens
        options.beams = beams
        options.lengthPenalty = lengthPenalty
        options.doSample = sample
        options.temperature = temperature
        options.topK = topK
        options.topP = topP
        options.repetitionPenalty = repetitionPenalty
        options.noRepeatNgram = noRepeatNgramSize
        options.returnSequences = returnSequences
        options.stopStrings = stop
        options.seed = seed
        try options.validate(source: "the command")
        return options
    }
}
