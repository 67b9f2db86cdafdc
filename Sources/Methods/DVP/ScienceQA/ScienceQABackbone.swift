import Backbones
import Checkpoints
import Support
import Tokenizers
import Torch

/// The frozen models of DVP's ScienceQA program as they lie on disk: a LLaMA in its authors' layout, as in the release, or any
/// decoder in a folder or GGUF file; and a CLIP tower.
public struct ScienceQABackbone {
    /// The short names or paths they were opened by.
    public let language: (name: String, hash: String)
    /// The image tower's.
    public let vision: (name: String, hash: String)
    /// How the language model's weights are kept.
    public let format: WeightFormat
    /// The tokenizer, as the program uses it.
    public let words: ScienceQAWords
    /// The language model with its weights.
    public let decoder: Decoder
    /// The tower with its weights.
    public let tower: CLIPVision

    /// Opens both.
    ///
    /// - Parameter format: how the language model's weights are kept; `auto` is float32. Files in LLaMA's own layout are taken
    ///   as they are.
    public init(language name: String, format: WeightFormat, vision: String) throws {
        let path = try ModelLibrary.locate(name)
        self.format = format
        if fileExists(path + "/params.json") {
            guard format == .automatic else {
                throw VQAError(
                    "cannot use the language model", at: "frozen_format",
                    because: "LLaMA's own layout is read as it is",
                    remedy: "use a Hugging Face folder or GGUF")
            }
            let model = try MetaLlama(contentsOf: path)
            (decoder, words) = (model.decoder, try ScienceQAWords(model.tokenizer))
            language = (name, try Self.metaHash(path))
        } else {
            let model = try LanguageModel(name, format: format == .automatic ? .float32 : format)
            guard case .decoder(let network) = model.network else {
                throw VQAError(
                    "cannot use the language model", at: path,
                    because: "\(model.family) is not a decoder that reads text alone",
                    remedy: "use a LLaMA, SmolLM2, Qwen2 or Mistral")
            }
            (decoder, words) = (network, try ScienceQAWords(model.tokenizer))
            language = (name, try model.contentHash())
        }
        let tower = try VisionTower(vision)
        guard let network = tower.clip else {
            throw VQAError(
                "cannot use the image encoder", at: tower.name,
                because: "the ScienceQA program has adapters inside a CLIP, and this is another",
                remedy: "use a CLIP tower, such as ViT-L-14.pt")
        }
        self.tower = network
        self.vision = (tower.name, try tower.weightsHash)
    }

    private static func metaHash(_ folder: String) throws -> String {
        let parts = try listFolder(folder).filter { $0.hasPrefix("consolidated.") || $0 == "params.json" }
        return SHA256.hexadecimal(
            of: try parts.sorted().map { try SHA256.hexadecimal(ofFile: "\(folder)/\($0)") })
    }

    /// The program on these models; what is added has no values yet.
    public func model(_ settings: ScienceQASettings) throws -> ScienceQADVP {
        try ScienceQADVP(decoder, tower, prefix: words.prefix(), settings)
    }
}
