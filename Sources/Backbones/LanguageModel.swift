import Checkpoints
import Images
import Support
import Tokenizers
import Torch

/// A model that reads text, and images where it has eyes, and writes text: opened from a folder or a GGUF file, with all that
/// stands between a user's words and its tensors.
public struct LanguageModel {
    /// What computes.
    public enum Network {
        /// LLaMA, Mistral, Qwen2 and their kin.
        case decoder(Decoder)
        /// T5, Flan-T5.
        case t5(T5)
        /// LLaVA-1.5.
        case llava(Llava)
        /// InstructBLIP.
        case instructBLIP(InstructBLIP)
        /// Idefics.
        case idefics(Idefics)
        /// Idefics2.
        case idefics2(Idefics2)
    }

    /// The short name or path it was opened by.
    public let name: String
    /// The folder or file that the name led to.
    public let path: String
    /// `model_type`.
    public let family: String
    /// The model itself.
    public let network: Network
    /// Text to ids and back.
    public let tokenizer: Tokenizer
    /// The Q-Former's own tokenizer, of InstructBLIP.
    public let questionTokenizer: Tokenizer?
    /// Images to pixel values; nil for models without eyes.
    public let processor: ImageProcessor?
    /// How a conversation becomes a prompt; nil when the model does not say.
    public let template: ChatTemplate?
    /// What the model's own files say of generation.
    public let generation: GenerationOptions
    /// How its weights are kept.
    public let format: WeightFormat
    /// The files that its answers depend on.
    private let files: [String]

    /// The model types that can be opened.
    public static let families =
        DecoderConfiguration.families + [
            "t5", "llava", "llava_llama", "llava_qwen2", "instructblip", "idefics", "idefics2",
        ]

    /// Opens a folder in the Hugging Face layout (or LLaVA's own), a GGUF file, or a short name.
    ///
    /// - Parameters:
    ///   - format: how the weights are kept.
    ///   - vision: the folder of LLaVA's image tower, where its checkpoint does not hold it.
    public init(_ name: String, format: WeightFormat = .automatic, vision: String? = nil) throws {
        self.name = name
        path = try ModelLibrary.locate(name)
        let opened =
            try isFolder(path)
            ? LanguageModelFolder(path, vision: vision).open(format) : LanguageModelFile(path).open(format)
        family = opened.family
        var network = opened.network
        // A prompt is read in bfloat16 where the processor has it, as llama.cpp reads it in 8 bits; steps are not rounded.
        if Engine.hasNativeBFloat16 { try network.allowRounding() }
        self.network = network
        tokenizer = opened.tokenizer
        questionTokenizer = opened.questionTokenizer
        processor = opened.processor
        template = opened.template
        generation = opened.generation
        self.format = format
        files = try Self.files(of: path) + (vision.map { try Self.files(of: ModelLibrary.locate($0)) } ?? [])
        try checkVocabulary()
    }

    /// Whether it reads images.
    public var readsImages: Bool { network.readsImages }

    /// The shape of its decoder; nil for T5.
    public var decoder: DecoderConfiguration? { network.decoder }

    /// The shape of its T5, alone or inside InstructBLIP; nil for other models.
    public var encoderDecoder: T5Configuration? { network.encoderDecoder }

    /// The bytes that the weights take in memory, mapped ones included.
    public func byteCount() throws -> Int {
        try network.parameters().reduce(0) { $0 + $1.tensor.count * $1.tensor.dtype.size }
    }

    /// Identifies what answers: the SHA-256 over the weights, configuration and tokenizer files, and how weights are kept.
    /// Reads all of them, which takes some seconds for a large model.
    public func contentHash() throws -> String {
        try SHA256.hexadecimal(of: [WeightsHash(files: files).value(), "\(format)"])
    }

    /// The file itself, or what a folder has of weights, configuration and tokenizer, by name.
    private static func files(of path: String) throws -> [String] {
        guard isFolder(path) else { return [path] }
        let kinds = [".safetensors", ".bin", ".pth", ".json", ".model", ".txt", ".jinja"]
        return try listFolder(path)
            .filter { name in kinds.contains { name.hasSuffix($0) } }.map { "\(path)/\($0)" }
    }

    private func checkVocabulary() throws {
        let size = network.vocabularySize
        guard tokenizer.vocabularySize <= size else {
            throw VQAError(
                "cannot use the model", at: path,
                because: "the tokenizer has \(tokenizer.vocabularySize) tokens, the embedding \(size)")
        }
    }
}

/// The parts of an opened model.
struct OpenedLanguageModel {
    var family: String
    var network: LanguageModel.Network
    var tokenizer: Tokenizer
    var questionTokenizer: Tokenizer?
    var processor: ImageProcessor?
    var template: ChatTemplate?
    var generation: GenerationOptions
}

/// A GGUF file with a decoder, its tokenizer and its template.
struct LanguageModelFile {
    private let path: String

    init(_ path: String) { self.path = path }

    /// The model alone, its weights as the file has them.
    func network() throws -> LanguageModel.Network {
        let model = try GGUFModel(opening: path)
        var decoder = try Decoder(DecoderConfiguration(model.configuration, source: path))
        try decoder.load(model)
        return .decoder(decoder)
    }

    func open(_ format: WeightFormat) throws -> OpenedLanguageModel {
        let model = try GGUFModel(opening: path)
        let configuration = try DecoderConfiguration(model.configuration, source: path)
        var decoder = try Decoder(configuration)
        try decoder.load(model)
        if format != .automatic {
            try decoder.unpackLayers()
            try format.apply(to: &decoder)
        }
        let metadata = model.file.metadata
        var generation = GenerationOptions()
        generation.eosIDs = configuration.endIDs
        if let id = try metadata.integer("tokenizer.ggml.eos_token_id"), generation.eosIDs.isEmpty {
            generation.eosIDs = [id]
        }
        generation.padID = try metadata.integer("tokenizer.ggml.padding_token_id")
        generation.bosID = try metadata.integer("tokenizer.ggml.bos_token_id")
        let template = try metadata.string("tokenizer.chat_template").map {
            try ChatTemplate($0, name: "the chat template of \(path)")
        }
        return OpenedLanguageModel(
            family: configuration.family, network: .decoder(decoder),
            tokenizer: try Tokenizer(gguf: vocabulary(metadata), source: path), template: template,
            generation: generation)
    }

    /// The tokenizer of a GGUF file alone; the weights are not read.
    static func tokenizer(_ path: String) throws -> Tokenizer {
        try Tokenizer(
            gguf: LanguageModelFile(path).vocabulary(GGUFFile(opening: path).metadata), source: path)
    }

    fileprivate func vocabulary(_ metadata: GGUFMetadata) throws -> GGUFVocabulary {
        let prefix = "tokenizer.ggml."
        guard let model = try metadata.string(prefix + "model"),
            let tokens = try metadata.strings(prefix + "tokens")
        else {
            throw VQAError("cannot read the tokenizer", at: path, because: "the file holds no vocabulary")
        }
        var vocabulary = GGUFVocabulary(model: model, tokens: tokens)
        vocabulary.pre = try metadata.string(prefix + "pre") ?? ""
        vocabulary.scores = try metadata.floats(prefix + "scores") ?? []
        vocabulary.types = try metadata.integers(prefix + "token_type") ?? []
        vocabulary.merges = try metadata.strings(prefix + "merges") ?? []
        vocabulary.beginningID = try metadata.integer(prefix + "bos_token_id")
        vocabulary.endID = try metadata.integer(prefix + "eos_token_id")
        vocabulary.paddingID = try metadata.integer(prefix + "padding_token_id")
        vocabulary.unknownID = try metadata.integer(prefix + "unknown_token_id")
        vocabulary.addsBeginning = try metadata.bool(prefix + "add_bos_token")
        vocabulary.addsEnd = try metadata.bool(prefix + "add_eos_token")
        vocabulary.prefixesSpace = try metadata.bool(prefix + "add_space_prefix")
        return vocabulary
    }
}

/// Writes the tokenizer of a GGUF file, with its chat template, as the files of a folder; those that are there stay.
///
/// - Returns: the paths of what was written.
/// - Throws: `VQAError` for a vocabulary that is damaged or of no decoder, and when a file cannot be written.
public func convertTokenizer(ofGGUF path: String, to folder: String) throws -> [String] {
    let metadata = try GGUFFile(opening: path).metadata
    let vocabulary = try LanguageModelFile(path).vocabulary(metadata)
    let template = try metadata.string("tokenizer.chat_template")
    let files = [
        ("tokenizer.json", try vocabulary.tokenizerFile(source: path)),
        ("tokenizer_config.json", vocabulary.tokenizerConfiguration(chatTemplate: template)),
    ]
    var written: [String] = []
    for (name, text) in files where !fileExists("\(folder)/\(name)") {
        try writeFile(text.text() + "\n", to: "\(folder)/\(name)")
        written.append("\(folder)/\(name)")
    }
    return written
}

extension Tokenizer {
    /// The tokenizer of a model: a folder, a tokenizer file, a GGUF file, or a short name.
    public init(ofModel name: String) throws {
        let path = try ModelLibrary.locate(name)
        self = try path.hasSuffix(".gguf") ? LanguageModelFile.tokenizer(path) : Tokenizer(contentsOf: path)
    }
}

extension LanguageModel.Network {
    /// Lets products of many rows with packed weights be rounded: see ``QuantisedWeight/rounds``.
    fileprivate mutating func allowRounding() throws {
        func allowed<Part: Module>(_ part: Part) throws -> Part {
            var part = part
            try part.forEachLayer { _, layer in
                guard var linear = layer as? Linear else { return }
                linear.allowRounding()
                layer = linear
            }
            return part
        }
        switch self {
        case .decoder(let model): self = .decoder(try allowed(model))
        case .t5(let model): self = .t5(try allowed(model))
        case .llava(let model): self = .llava(try allowed(model))
        case .instructBLIP(let model): self = .instructBLIP(try allowed(model))
        case .idefics(let model): self = .idefics(try allowed(model))
        case .idefics2(let model): self = .idefics2(try allowed(model))
        }
    }
}

extension Module {
    /// Replaces packed weights by float32 ones, before they are brought to another format.
    mutating func unpackLayers() throws {
        try forEachLayer { _, layer in
            guard let packed = layer.quantised else { return }
            let weight = try packed.dequantised()
            if var linear = layer as? Linear {
                try linear.unpack(weight)
                layer = linear
            } else if var table = layer as? Embedding {
                try table.unpack(weight)
                layer = table
            }
        }
    }
}
