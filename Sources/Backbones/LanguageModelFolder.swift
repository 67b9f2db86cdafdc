import Checkpoints
import Images
import Support
import Tokenizers
import Torch

/// A model folder in the Hugging Face layout, or in LLaVA's own.
struct LanguageModelFolder {
    private let path: String
    private let source: String
    private let vision: String?
    private let json: JSON
    private let checkpoint: Checkpoint

    /// - Parameter vision: the folder of LLaVA's image tower, where the checkpoint does not hold it.
    init(_ path: String, vision: String?) throws {
        self.path = path
        self.vision = vision
        source = path + "/config.json"
        json = try JSON(contentsOf: source)
        checkpoint = try Checkpoint(opening: path)
    }

    func open(_ format: WeightFormat) throws -> OpenedLanguageModel {
        let family = try family()
        // The small files first: what is wrong with them is said before gigabytes are read.
        let tokenizer = try Tokenizer(contentsOf: path)
        let questions = path + "/qformer_tokenizer"
        let questionTokenizer =
            family == "instructblip" || isFolder(questions) ? try Tokenizer(contentsOf: questions) : nil
        let template = try ChatTemplate(folder: path)
        var (network, processor) = try network(family, format)
        if processor == nil, network.readsImages { processor = try ImageProcessor(folder: path) }
        var generation = try GenerationOptions(folder: path)
        if generation.eosIDs.isEmpty { generation.eosIDs = network.endIDs }
        return OpenedLanguageModel(
            family: family, network: network, tokenizer: tokenizer, questionTokenizer: questionTokenizer,
            processor: processor, template: template, generation: generation)
    }

    /// The model alone, its weights as the files have them.
    func network() throws -> LanguageModel.Network { try network(family(), nil).0 }

    private func family() throws -> String {
        guard let family = json["model_type"]?.string else {
            throw VQAError("cannot use the model", at: source, because: "it has no model_type")
        }
        guard LanguageModel.families.contains(family) else { throw unknown(family) }
        return family
    }

    private func unknown(_ family: String) -> VQAError {
        VQAError(
            "cannot use the model", at: "\(source), model_type",
            because: "\(family.prefix(60)) is not one of \(LanguageModel.families.joined(separator: ", "))",
            remedy: nearestMatch(to: family, in: LanguageModel.families).map { "did you mean '\($0)'?" })
    }

    /// The weights are brought to the format before the model is put anywhere else: a second reference to them would keep
    /// all of the old ones in memory until the last is converted.
    private func network(_ family: String, _ format: WeightFormat?) throws -> (
        LanguageModel.Network, ImageProcessor?
    ) {
        switch family {
        case "llama", "mistral", "qwen2":
            let configuration = try DecoderConfiguration(json, source: source)
            var model = try Decoder(configuration)
            try model.load(
                Decoder.renamed(checkpoint.tensors(), isTied: configuration.isTied), from: checkpoint.path)
            try format?.apply(to: &model)
            return (.decoder(model), nil)
        case "t5":
            var model = try T5(
                T5Configuration(json, source: source), weights: checkpoint.tensors(), source: checkpoint.path)
            try format?.apply(to: &model)
            return (.t5(model), nil)
        case "llava" where json["text_config"] != nil:
            var model = try Llava(LlavaConfiguration(json, source: source))
            try model.load(checkpoint.tensors(), from: checkpoint.path)
            try format?.apply(to: &model)
            return (.llava(model), nil)
        case "llava", "llava_llama", "llava_qwen2":
            var processor: ImageProcessor?
            var model = try ownLlava(&processor)
            try format?.apply(to: &model)
            return (.llava(model), processor)
        case "instructblip":
            var model = try InstructBLIP(InstructBLIPConfiguration(json, source: source))
            try model.load(checkpoint.tensors(), from: checkpoint.path)
            try format?.apply(to: &model)
            return (.instructBLIP(model), nil)
        case "idefics":
            var model = try Idefics(IdeficsConfiguration(json, source: source))
            try model.load(checkpoint.tensors(), from: checkpoint.path)
            try format?.apply(to: &model)
            return (.idefics(model), nil)
        case "idefics2":
            var model = try Idefics2(Idefics2Configuration(json, source: source))
            try model.load(checkpoint.tensors(), from: checkpoint.path)
            try format?.apply(to: &model)
            return (.idefics2(model), nil)
        default:
            throw unknown(family)
        }
    }

    /// LLaVA's own files describe the decoder; the image tower is in the checkpoint, or a model of its own.
    private func ownLlava(_ processor: inout ImageProcessor?) throws -> Llava {
        let weights = try checkpoint.tensors()
        let named = json["mm_vision_tower"]?.string ?? ""
        let holdsTower = weights.keys.contains { $0.hasPrefix("model.vision_tower.") }
        // A configuration names no folder outside its own.
        let inside = named.isEmpty ? nil : try? Support.path(named, inside: path)
        var tower: [String: Tensor]?
        var shape: CLIPVisionConfiguration
        if let folder = vision ?? inside.flatMap({ isFolder($0) ? $0 : nil }) {
            let config = folder + "/config.json"
            shape = try CLIPVisionConfiguration(JSON(contentsOf: config), source: config)
            // The checkpoint's own tower counts more: it may have been trained with the rest.
            if !holdsTower { tower = try Checkpoint(opening: folder).tensors() }
        } else if holdsTower {
            shape = try CLIPVisionConfiguration(reference: weights, source: checkpoint.path)
        } else {
            throw VQAError(
                "cannot use the model", at: path,
                because: "its image tower \(named.prefix(80)) is neither in the checkpoint nor a folder here",
                remedy: "give --vision-model")
        }
        let configuration = try LlavaConfiguration(own: json, vision: shape, source: source)
        var model = try Llava(configuration)
        try model.load(weights, tower: tower, from: checkpoint.path)
        let plain = ImageProcessor.llava(size: shape.imageSize)
        processor = configuration.padsToSquare ? plain.paddingToSquare() : plain
        return model
    }
}

extension LanguageModel.Network {
    /// The ids that end a text, as its configuration says.
    fileprivate var endIDs: [Int] {
        switch self {
        case .decoder(let model): model.configuration.endIDs
        case .t5(let model): model.configuration.endIDs
        case .llava(let model): model.configuration.text.endIDs
        case .idefics(let model): model.configuration.text.endIDs
        case .idefics2(let model): model.configuration.text.endIDs
        case .instructBLIP(let model):
            switch model.language {
            case .decoder(let decoder): decoder.configuration.endIDs
            case .t5(let t5): t5.configuration.endIDs
            }
        }
    }
}
