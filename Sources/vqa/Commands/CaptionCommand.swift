import ArgumentParser
import Backbones
import Support
import Training

struct CaptionCommand: ParsableCommand {
    static let configuration = CommandConfiguration(
        commandName: "caption",
        abstract: "Describes an image in a sentence.",
        discussion: """
            Example:

              vqa caption photo.jpg --model llava-1.5-7b-hf --dtype int4
            """)

    @Argument(help: ArgumentHelp("The image: JPEG, PNG or WebP.", valueName: "image"))
    var image: String

    @OptionGroup var model: ModelOptions
    @OptionGroup var options: GenerationArguments

    @Option(help: ArgumentHelp("What the model is asked to do.", valueName: "text"))
    var instruction = "Describe the image in one short sentence."

    @Flag(help: "Print JSON.")
    var json = false

    func run() throws {
        let model = try model.open()
        let text = try model.answer(instruction, about: image, options: options.resolved(model.generation))
        try json
            ? Output.print(["image": .string(image), "caption": .string(text)]) : Output.print(text)
    }
}

extension LanguageModel {
    /// The reply to one turn of a conversation about an image, in one piece and on one line.
    func answer(_ words: String, about image: String, options: GenerationOptions) throws -> String {
        guard readsImages else {
            throw VQAError(
                "cannot look at the image", at: name, because: "the model reads text only",
                remedy: "take a model that reads images, or give --adapter")
        }
        let (text, addSpecialTokens) = try chatPrompt(words, images: 1)
        let prepared = try prepare(text, images: [image], addSpecialTokens: addSpecialTokens)
        let results = try generate(prepared, options: options, shouldStop: { Interrupt.isRequested })
        return oneLine(results.first?.text ?? "").trimmingSpaces
    }
}

extension String {
    /// Without spaces at both ends.
    var trimmingSpaces: String {
        var text = self[...]
        while text.first == " " { text.removeFirst() }
        while text.last == " " { text.removeLast() }
        return String(text)
    }
}
