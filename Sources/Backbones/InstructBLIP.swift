import Checkpoints
import Support
import Torch

/// The shape of an InstructBLIP model: image tower, Q-Former, language model.
public struct InstructBLIPConfiguration: Sendable, Equatable {
    /// The shape of the language model.
    public enum Text: Sendable, Equatable {
        case decoder(DecoderConfiguration), t5(T5Configuration)

        /// Reads a `text_config`.
        init(_ json: JSON, source: String) throws {
            // The reference's default, which is not computed.
            let family = json["model_type"]?.string ?? "opt"
            switch family {
            case "t5": self = .t5(try T5Configuration(json, source: source))
            case _ where DecoderConfiguration.families.contains(family):
                self = .decoder(try DecoderConfiguration(json, source: source))
            default:
                throw VQAError(
                    "cannot use the model", at: "\(source), text_config",
                    because: "its language model is \(family.prefix(40)), not t5 or one of "
                        + DecoderConfiguration.families.joined(separator: ", "))
            }
        }

        /// Width D of a token.
        public var hiddenSize: Int {
            switch self {
            case .decoder(let shape): shape.hiddenSize
            case .t5(let shape): shape.hiddenSize
            }
        }
    }

    /// The image tower, EVA-CLIP. LAVIS's releases want `lastNormEpsilon` 1e-5, which no file says.
    public var vision: EVAVisionConfiguration
    /// Reads image and instruction.
    public var qformer: QFormerConfiguration
    /// The language model.
    public var text: Text
    /// `image_token_index`: stands for a query in a text; older releases have none.
    public var imageID: Int?

    /// Reads an `InstructBlipConfig`; absent keys have the defaults of its classes. BLIP-2's is another model.
    public init(_ json: JSON, source: String) throws {
        try requireModelType("instructblip", json, source: source)
        vision = try EVAVisionConfiguration(json, source: source)
        qformer = try QFormerConfiguration(json, source: source)
        qformer.readsText = true  // whatever type the part gives itself, as in the reference
        text = try Text(json["text_config"] ?? .null, source: source)
        for key in ["image_token_index", "image_token_id"] where json[key]?.isNull == false {
            imageID = try json.tokenID(key, key, 0, source: source)
            break
        }
    }
}

/// The beginnings of the names of a checkpoint's parts.
private struct InstructBLIPLayout {
    /// Those of all parts but the language model.
    let others: [String]
    /// That of the language model.
    let language: String

    init(_ weights: [String: Tensor]) {
        func has(_ prefix: String) -> Bool { weights.keys.contains { $0.hasPrefix(prefix) } }
        if has("Qformer.") {
            // LAVIS
            let projection = has("t5_proj.") ? "t5_proj." : "llm_proj."
            others = [
                "visual_encoder.", "ln_vision.weight", "ln_vision.bias", "Qformer.bert.", "Qformer.cls.",
                "query_tokens", projection,
            ]
            language = has("t5_proj.") ? "t5_model." : "llm_model."
        } else {
            let outer = has("model.qformer.") ? "model." : ""
            others = ["vision_model.", "qformer.", "query_tokens", "language_projection."].map { outer + $0 }
            language = outer + "language_model."
        }
    }

    /// The language model's weights under its own names; releases that name everything `model.` have its head outside.
    func language(of weights: [String: Tensor]) -> [String: Tensor] {
        var part: [String: Tensor] = [:]
        for (name, tensor) in weights where name.hasPrefix(language) {
            part[String(name.dropFirst(language.count))] = tensor
        }
        if language.hasPrefix("model."), let head = weights["lm_head.weight"] {
            part["lm_head.weight"] = head
        }
        return part
    }

    func requireParts(_ weights: [String: Tensor], source: String) throws {
        let head = language.hasPrefix("model.") ? ["lm_head.weight"] : []
        try Backbones.requireParts(weights, others + [language] + head, source: source)
    }
}

/// InstructBLIP (Dai et al. 2023, arXiv 2305.06500): a Q-Former that reads the instruction turns an image into soft tokens,
/// which stand in front of the text of a Vicuna or a Flan-T5. Keys as in the reference's
/// `InstructBlipForConditionalGeneration`.
///
/// Legend: N images, Q soft tokens of an image, B batch, T tokens, D width of the language model, S side of an image.
public struct InstructBLIP: Module {
    /// The language model: one that continues the text, or one that reads it and writes an answer.
    public enum Language: Module {
        case decoder(Decoder), t5(T5)

        /// Lists the model's own names.
        public mutating func visit(_ visitor: ParameterVisitor) throws {
            // The model is taken out, not copied: what the visitor replaces is freed at once.
            switch consume self {
            case .decoder(var model):
                defer { self = .decoder(model) }
                try model.visit(visitor)
            case .t5(var model):
                defer { self = .t5(model) }
                try model.visit(visitor)
            }
        }

        /// Word vectors: int64 [B, T] → [B, T, D].
        public func embed(_ ids: Tensor) throws -> Tensor {
            switch self {
            case .decoder(let model): try model.embed(ids)
            case .t5(let model): try model.embed(ids)
            }
        }
    }

    /// The shape it was built with.
    public let configuration: InstructBLIPConfiguration
    /// vision_model
    public var vision: EVAVision
    /// query_tokens, qformer and language_projection
    public var joint: QFormerJoint
    /// language_model
    public var language: Language

    /// A model without weights, on the meta device.
    public init(_ configuration: InstructBLIPConfiguration) throws {
        self.configuration = configuration
        vision = try EVAVision(configuration.vision)
        joint = try QFormerJoint(configuration.qformer, outputSize: configuration.text.hiddenSize)
        language =
            switch configuration.text {
            case .decoder(let shape): .decoder(try Decoder(shape))
            case .t5(let shape): .t5(try T5(shape))
            }
    }

    /// Lists vision_model, query_tokens, qformer, language_projection and language_model.
    public mutating func visit(_ visitor: ParameterVisitor) throws {
        try visitor("vision_model", &vision)
        try joint.visit(visitor)
        try visitor("language_model", &language)
    }

    // MARK: Loading

    /// Loads the reference's checkpoint, with or without `model.` before its names, or LAVIS's. Strict.
    ///
    /// LAVIS's releases leave out what was frozen: the image tower, but for its last norm, and the language model.
    ///
    /// - Parameters:
    ///   - tower: weights of the image tower (`eva_vit_g.pth`), in place of those of the checkpoint.
    ///   - own: weights of the language model under its own names, in place of those of the checkpoint. The configured
    ///     vocabulary must be theirs: Vicuna's own has 32,000 rows, to which InstructBLIP adds one for padding.
    /// - Throws: `VQAError` when a tensor is missing, left over or of another shape.
    public mutating func load(
        _ weights: [String: Tensor], tower: [String: Tensor]? = nil, language own: [String: Tensor]? = nil,
        from source: String
    ) throws {
        let layout = InstructBLIPLayout(weights)
        try layout.requireParts(weights, source: source)
        var image = try EVAVision.renamed(tower ?? weights, configuration.vision)
        for kind in ["weight", "bias"] {
            if let last = weights["ln_vision.\(kind)"] { image["post_layernorm.\(kind)"] = last }
        }
        try Self.requirePart(
            image.contains { !$0.key.hasPrefix("post_layernorm.") }, "image tower", source: source)
        try vision.load(image, from: source)
        try joint.load(QFormerJoint.renamed(weights), from: source)
        let text = own ?? layout.language(of: weights)
        try Self.requirePart(!text.isEmpty, "language model", source: source)
        switch configuration.text {
        case .decoder(let shape):
            var model = try Decoder(shape)
            try model.load(Decoder.renamed(text, isTied: shape.isTied), from: source)
            language = .decoder(model)
        case .t5(let shape):
            // This one decides by the weights whether the head is one of its own.
            language = .t5(try T5(shape, weights: text, source: source))
        }
    }

    private static func requirePart(_ isThere: Bool, _ name: String, source: String) throws {
        guard !isThere else { return }
        throw VQAError(
            "cannot load the weights", at: source, because: "there is no \(name) in it",
            remedy: "give the weights of the \(name), which LAVIS keeps in a file of their own")
    }

    // MARK: Forward

    /// Soft tokens of images: pixels [N, 3, S, S] → [N, Q, D].
    ///
    /// - Parameters:
    ///   - instruction: ids [N, T] of the Q-Former's own vocabulary, one row for each image; nil for none.
    ///   - mask: [N, T], true where a token is no padding; nil when none is.
    ///   - dropout: of the Q-Former; 0.1 in training.
    ///   - visionTap: of the image tower's blocks.
    ///   - tap: of the Q-Former's.
    public func encode(
        _ pixels: Tensor, instruction: Tensor?, mask: Tensor? = nil, dropout: Double = 0,
        visionTap: Tap? = nil, tap: Tap? = nil
    ) throws -> Tensor {
        try joint.projection(
            queries(
                pixels, instruction: instruction, mask: mask, dropout: dropout, visionTap: visionTap, tap: tap
            ))
    }

    /// What the Q-Former makes of images, before its projection: pixels [N, 3, S, S] → [N, Q, width of the Q-Former];
    /// arguments as those of ``encode(_:instruction:mask:dropout:visionTap:tap:)``.
    public func queries(
        _ pixels: Tensor, instruction: Tensor?, mask: Tensor? = nil, dropout: Double = 0,
        visionTap: Tap? = nil, tap: Tap? = nil
    ) throws -> Tensor {
        if let instruction {
            try requireInstruction(instruction, mask: mask, images: pixels.shape.first ?? 0)
        }
        let tokens = try vision(pixels, tap: visionTap)  // [N, patches + 1, width of the tower]
        return try joint.queries(tokens, text: instruction, textMask: mask, dropout: dropout, tap: tap)
    }

    private func requireInstruction(_ ids: Tensor, mask: Tensor?, images: Int) throws {
        func refuse(_ why: String, _ remedy: String? = nil) -> VQAError {
            VQAError("cannot encode the images", at: "the instruction", because: why, remedy: remedy)
        }
        let shape = ids.shape
        guard shape.count == 2, shape[0] == images, mask.map({ $0.shape == shape }) ?? true else {
            throw refuse(
                "its ids are \(shape)\(mask.map { ", their mask \($0.shape)" } ?? "") for \(images) images")
        }
        let limit = configuration.qformer.positions
        guard shape[1] <= limit else {
            throw refuse("it has \(shape[1]) tokens, the Q-Former reads \(limit)", "shorten it")
        }
    }

    /// What the language model reads: ids [B, T], images [N, Q, D] → embeddings [B, T, D] or [B, Q + T, D], and their mask.
    ///
    /// Where the text has the id of an image, Q times for each, the soft tokens stand there. A text without any has them in
    /// front, those of image i before text i, as LAVIS and older releases of the reference have it.
    ///
    /// - Parameters:
    ///   - mask: [B, T], true for real tokens; nil when no row is padded.
    ///   - images: of ``encode(_:instruction:mask:dropout:visionTap:tap:)``; nil for text alone.
    /// - Throws: `VQAError` when images and text do not fit.
    public func embed(_ ids: Tensor, mask: Tensor? = nil, images: Tensor?) throws -> (
        embeddings: Tensor, mask: Tensor?
    ) {
        let marks = try configuration.imageID.map { try ids .== Double($0) }
        // The id of an image need not be one of the table: its row is replaced anyway.
        let words = try language.embed(marks.map { try ids.masked($0, 0) } ?? ids)
        let isMarked = try marks.map { try $0.any().integerItem() != 0 } ?? false
        guard let images else {
            guard !isMarked else {
                throw VQAError(
                    "cannot join images and text", at: "the prompt",
                    because: "it has image tokens, and there is no image")
            }
            return (words, mask)
        }
        if isMarked, let imageID = configuration.imageID {
            return (try placed(images, in: words, ids: ids, imageID: imageID), mask)
        }
        let (shape, text) = (images.shape, words.shape)
        guard shape.count == 3, text.count == 3, shape[0] == text[0], shape[2] == text[2] else {
            throw VQAError(
                "cannot join images and text", at: "the prompt",
                because: "soft tokens \(shape) do not stand in front of texts \(text)",
                remedy: "give one image for each text, or mark the images in the text")
        }
        let joined = try Tensor.concatenated([images.to(words.dtype), words], 1)
        let shown = try mask.map { mask in
            let mask = try mask.to(.bool)
            return try Tensor.concatenated([.ones([shape[0], shape[1]], .bool, on: mask.device), mask], 1)
        }
        return (joined, shown)
    }

    /// Generation after a prompt, which Vicuna continues and Flan-T5's encoder reads.
    ///
    /// - Parameters:
    ///   - embeddings: [B, T, D] of ``embed(_:mask:images:)``.
    ///   - mask: [B, T], true for real tokens; nil when no row is padded. Vicuna's texts are padded on the left.
    ///   - maxNewTokens: how many tokens may follow.
    ///   - tap: of the language model's blocks.
    public func session(_ embeddings: Tensor, mask: Tensor? = nil, maxNewTokens: Int, tap: Tap? = nil) throws
        -> any GenerationSession
    {
        switch language {
        case .decoder(let model):
            return try DecoderSession(
                model, embeddings: embeddings, mask: mask, maxNewTokens: maxNewTokens, tap: tap)
        case .t5(let model):
            let encoded = try withoutGradients {
                try model.encode(embeddings, mask: mask, pass: T5Pass(tap: tap))
            }
            return try T5Session(model, encoded: encoded, mask: mask, maxNewTokens: maxNewTokens, tap: tap)
        }
    }
}
