import ArgumentParser
import Support
import Torch
import Training

struct ForwardCommand: ParsableCommand {
    static let configuration = CommandConfiguration(
        commandName: "forward",
        abstract: "Runs a model once and writes its tensors, to compare with another implementation.",
        discussion: """
            Examples:

              vqa forward --model minilm --prompt "what color is it?" --output out.safetensors
              vqa forward --model efficientnet-lite0 --image photo.jpg --output out.safetensors

              vqa forward --model smollm2 --prompt "The sky is" --output out.safetensors

            A decoder writes input_ids and logits, a model that reads images pixel_values too (InstructBLIP qformer), T5
            logits and encoder_hidden, BERT hidden and pooled, an image encoder pixel_values and its features.
            """)

    @Option(help: ArgumentHelp("The model: folder, file or short name.", valueName: "model"))
    var model: String

    @Option(help: ArgumentHelp("The text.", valueName: "text"))
    var prompt: String?

    @Option(help: ArgumentHelp("An image; give it again for more.", valueName: "file"))
    var image: [String] = []

    @Option(help: ArgumentHelp("The file to write, safetensors.", valueName: "file"))
    var output: String

    @Option(help: ArgumentHelp("float32 or bfloat16.", valueName: "dtype"))
    var dtype = "float32"

    @Option(help: ArgumentHelp("What the decoder of a T5 reads, with commas between.", valueName: "ids"))
    var decoderIds: String?

    @Option(
        help: ArgumentHelp("LLaVA's image tower, when its checkpoint does not hold it.", valueName: "folder"))
    var visionModel: String?

    func run() throws {
        let ids = try decoderIds.map(wholeNumbers)
        let tensors = try Forward(
            model: model, prompt: prompt, images: image, dtype: dtype, decoderIDs: ids,
            visionModel: visionModel
        ).run()
        try Forward.write(tensors, to: output)
        for tensor in tensors { try Output.print("\(tensor.key)  \(tensor.tensor.shape)") }
    }
}
