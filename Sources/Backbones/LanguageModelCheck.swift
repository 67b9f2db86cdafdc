import Checkpoints
import Support
import Torch

extension LanguageModel {
    /// The model types that read images.
    public static let imageFamilies = families.filter {
        $0 != "t5" && !DecoderConfiguration.families.contains($0)
    }

    /// What a check of a model's weights found.
    public struct Check: Sendable {
        /// Tensors that the model has.
        public let parameters: Int
        /// How many ids a tokenizer may have.
        public let vocabularySize: Int
    }

    /// Holds the weights of a folder or GGUF file against the architecture, strictly by name and shape. Weights are mapped,
    /// not converted, and nothing is run.
    ///
    /// - Parameter vision: the folder of LLaVA's image tower, where its checkpoint does not hold it.
    /// - Throws: `VQAError` for a configuration that cannot be used, and for weights that are not its.
    public static func check(_ path: String, vision: String? = nil) throws -> Check {
        let network =
            try isFolder(path)
            ? LanguageModelFolder(path, vision: vision).network() : LanguageModelFile(path).network()
        return Check(parameters: try network.parameters().count, vocabularySize: network.vocabularySize)
    }
}

extension LanguageModel.Network {
    /// The shape of its decoder; nil for T5.
    var decoder: DecoderConfiguration? {
        switch self {
        case .decoder(let model): model.configuration
        case .llava(let model): model.configuration.text
        case .idefics(let model): model.configuration.text
        case .idefics2(let model): model.configuration.text
        case .instructBLIP(let model):
            if case .decoder(let shape) = model.configuration.text { shape } else { nil }
        case .t5: nil
        }
    }

    /// The shape of its T5, alone or inside InstructBLIP; nil for other models.
    var encoderDecoder: T5Configuration? {
        switch self {
        case .t5(let model): model.configuration
        case .instructBLIP(let model):
            if case .t5(let shape) = model.configuration.text { shape } else { nil }
        default: nil
        }
    }

    /// Its T5, alone or inside InstructBLIP; nil for other models.
    var t5: T5? {
        switch self {
        case .t5(let model): return model
        case .instructBLIP(let model):
            if case .t5(let t5) = model.language { return t5 }
            return nil
        default: return nil
        }
    }

    /// How many ids a tokenizer may have: those with a row in a table.
    var vocabularySize: Int {
        let size = decoder?.vocabularySize ?? encoderDecoder?.vocabularySize ?? .max
        switch self {
        case .idefics(let model): return size + model.configuration.additionalSize
        // The mark of an image needs no row: it is never looked up.
        case .instructBLIP(let model): return model.configuration.imageID == size ? size + 1 : size
        default: return size
        }
    }

    /// Whether it reads images.
    var readsImages: Bool {
        switch self {
        case .decoder, .t5: false
        case .llava, .instructBLIP, .idefics, .idefics2: true
        }
    }

    /// Every parameter with its name.
    func parameters() throws -> [NamedTensor] {
        switch self {
        case .decoder(let model): try model.parameters()
        case .t5(let model): try model.parameters()
        case .llava(let model): try model.parameters()
        case .instructBLIP(let model): try model.parameters()
        case .idefics(let model): try model.parameters()
        case .idefics2(let model): try model.parameters()
        }
    }
}
