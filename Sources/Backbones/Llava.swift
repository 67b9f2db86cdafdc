import Checkpoints
import Support
import Torch

/// The shape of a LLaVA model: image tower, projector, decoder.
public struct LlavaConfiguration: Sendable, Equatable {
    /// The image tower, CLIP.
    public var vision = CLIPVisionConfiguration()
    /// From image tokens to the decoder's width.
    public var projector = ProjectorConfiguration()
    /// The language model.
    public var text = DecoderConfiguration()
    /// The id that stands for an image in a text; none of the vocabulary in LLaVA's own files.
    public var imageID = LlavaConfiguration.ownImageID
    /// The hidden states of the tower that are read: see ``CLIPVision/features(_:layers:classToken:tap:)``.
    public var featureLayers = [-2]
    /// Whether the class token is one of the image tokens.
    public var keepsClassToken = false
    /// Images are padded to squares of the processor's mean colour (`image_aspect_ratio: pad`).
    public var padsToSquare = false

    /// LLaVA's own mark for an image among ids.
    public static let ownImageID = -200

    /// Reads a `LlavaConfig` of the reference.
    public init(_ json: JSON, source: String) throws {
        text = try DecoderConfiguration(json["text_config"] ?? .object([]), source: source)
        vision = try CLIPVisionConfiguration(json["vision_config"] ?? .object([]), source: source)
        vision.projectionSize = 0
        imageID = try json.tokenID("image_token_index", "image_token_id", 32000, source: source)
        featureLayers =
            json["vision_feature_layer"]?.array?.compactMap(\.integer)
            ?? [json["vision_feature_layer"]?.integer ?? -2]
        try readStrategy(json["vision_feature_select_strategy"]?.string ?? "default", source)
        projector = try ProjectorConfiguration(
            json, imageSize: vision.hiddenSize, outputSize: text.hiddenSize, source: source)
    }

    /// Reads LLaVA's own configuration, which describes the decoder and names its image tower.
    ///
    /// - Parameter vision: of the tower, which is another model there.
    public init(own json: JSON, vision: CLIPVisionConfiguration, source: String) throws {
        var members = json.members ?? []
        let isQwen = (json["model_type"]?.string ?? "").contains("qwen")
        members.removeAll { $0.key == "model_type" }
        members.append(.init("model_type", isQwen ? "qwen2" : "llama"))
        text = try DecoderConfiguration(.object(members), source: source)
        self.vision = vision
        self.vision.projectionSize = 0
        featureLayers = [json["mm_vision_select_layer"]?.integer ?? -2]
        try readStrategy(json["mm_vision_select_feature"]?.string ?? "patch", source)
        padsToSquare = json["image_aspect_ratio"]?.string == "pad"
        projector = try ProjectorConfiguration(
            json, imageSize: vision.hiddenSize, outputSize: text.hiddenSize, source: source)
    }

    private mutating func readStrategy(_ name: String, _ source: String) throws {
        guard let keeps = ["default": false, "patch": false, "full": true, "cls_patch": true][name] else {
            throw VQAError(
                "cannot use the model", at: source,
                because:
                    "the selection of image tokens \(name.prefix(40)) is not one of default, full, patch, cls_patch"
            )
        }
        keepsClassToken = keeps
    }

    /// Soft tokens of one image, P.
    public var imageTokens: Int {
        let side = vision.imageSize / vision.patchSize
        return side * side + (keepsClassToken ? 1 : 0)
    }
}

/// The beginnings of the names of a checkpoint, as they came over the years.
private enum LlavaLayout {
    static func of(_ weights: [String: Tensor]) -> [String] {
        let parts = ["language_model.", "vision_tower.", "multi_modal_projector."]
        if weights.keys.contains(where: { $0.hasPrefix(parts[0]) }) { return parts }
        if weights.keys.contains(where: { $0.hasPrefix("model." + parts[0]) }) {
            return parts.map { "model." + $0 } + ["lm_head."]
        }
        return ["model.", "lm_head."]
    }
}

/// LLaVA-1.5 (Liu et al. 2023, arXiv 2310.03744): the image tokens of a CLIP tower, projected, stand in the text.
///
/// Legend: N images, P soft tokens of an image, B batch, T tokens, D width of the decoder.
public struct Llava: Module {
    /// The shape it was built with.
    public let configuration: LlavaConfiguration
    /// vision_tower
    public var vision: CLIPVision
    /// multi_modal_projector
    public var projector: Projector
    /// language_model
    public var decoder: Decoder

    /// A model without weights, on the meta device.
    public init(_ configuration: LlavaConfiguration) throws {
        self.configuration = configuration
        vision = try CLIPVision(configuration.vision)
        projector = try Projector(configuration.projector)
        decoder = try Decoder(configuration.text)
    }

    /// Lists vision_tower, multi_modal_projector and language_model.
    public mutating func visit(_ visitor: ParameterVisitor) throws {
        try visitor("vision_tower", &vision)
        try visitor("multi_modal_projector", &projector)
        try visitor("language_model", &decoder)
    }

    /// Loads the reference's checkpoint (old or new names) or LLaVA's own. Strict.
    ///
    /// - Parameter tower: weights of the image tower, where the checkpoint does not hold it.
    public mutating func load(
        _ weights: [String: Tensor], tower: [String: Tensor]? = nil, from source: String
    )
        throws
    {
        try requireParts(weights, LlavaLayout.of(weights), source: source)
        var image = try CLIPVision.renamed(tower ?? weights)
        image["visual_projection.weight"] = nil
        try vision.load(image, from: source)
        try projector.load(Projector.renamed(weights), from: source)
        let others = ["vision_tower.", "multi_modal_projector.", "mm_projector."]
        let part = Decoder.part(
            of: weights, except: others + others.map { "model." + $0 }, isTied: configuration.text.isTied)
        try decoder.load(part, from: source)
    }

    /// Soft tokens of images: pixels [N, 3, S, S] → [N, P, D].
    public func encode(_ pixels: Tensor, tap: Tap? = nil) throws -> Tensor {
        try projector(
            vision.features(
                pixels, layers: configuration.featureLayers, classToken: configuration.keepsClassToken,
                tap: tap))
    }

    /// The text's embeddings with the images in their places: ids [B, T], images [N, P, D] → [B, T, D].
    ///
    /// The id of an image stands P times for each image.
    public func embed(_ ids: Tensor, images: Tensor?) throws -> Tensor {
        // The mark of LLaVA's own files is negative.
        let words = try decoder.embed(ids.clamped(0, Double(1 << 24)))
        guard let images else { return words }
        return try placed(images, in: words, ids: ids, imageID: configuration.imageID)
    }
}
