import Checkpoints
import Support
import Torch

/// The shape of an Idefics2 model.
public struct Idefics2Configuration: Sendable, Equatable {
    /// The image tower, SigLIP with variable resolution.
    public var vision = SigLIPVisionConfiguration()
    /// From image tokens to soft tokens.
    public var connector = Idefics2ConnectorConfiguration()
    /// The language model, Mistral.
    public var text = DecoderConfiguration()
    /// `image_token_id`: stands for an image in a text.
    public var imageID = 32001

    /// Reads an `Idefics2Config`.
    public init(_ json: JSON, source: String) throws {
        vision = try SigLIPVisionConfiguration(idefics2: json, source: source)
        connector = try Idefics2ConnectorConfiguration(json, source: source)
        var members = json["text_config"]?.members ?? []
        if !members.contains(where: { $0.key == "model_type" }) {
            members.append(.init("model_type", "mistral"))
        }
        // The reference's default for this model, not Mistral's own.
        if !members.contains(where: { $0.key == "max_position_embeddings" }) {
            members.append(.init("max_position_embeddings", .integer(4096 * 8)))
        }
        text = try DecoderConfiguration(.object(members), source: source)
        imageID = try json.tokenID("image_token_id", "image_token_index", imageID, source: source)
    }
}

/// Idefics2 (Laurençon et al. 2024, arXiv 2405.02246): images of any size become a fixed number of soft tokens in the text.
/// Keys as in the reference's `Idefics2ForConditionalGeneration`.
///
/// Legend: N images, P soft tokens of an image, B batch, T tokens, D width of the decoder.
public struct Idefics2: Module {
    /// The shape it was built with.
    public let configuration: Idefics2Configuration
    /// model.vision_model
    public var vision: SigLIPVision
    /// model.connector
    public var connector: Idefics2Connector
    /// model.text_model and lm_head
    public var decoder: Decoder

    /// A model without weights, on the meta device.
    public init(_ configuration: Idefics2Configuration) throws {
        self.configuration = configuration
        vision = try SigLIPVision(configuration.vision)
        connector = try Idefics2Connector(configuration.connector)
        decoder = try Decoder(configuration.text)
    }

    /// Lists vision_model, connector and text_model.
    public mutating func visit(_ visitor: ParameterVisitor) throws {
        try visitor("vision_model", &vision)
        try visitor("connector", &connector)
        try visitor("text_model", &decoder)
    }

    /// Loads the reference's checkpoint. Strict.
    public mutating func load(_ weights: [String: Tensor], from source: String) throws {
        let parts = ["model.vision_model.", "model.connector.", "model.text_model."]
        try requireParts(weights, parts + ["lm_head."], source: source)
        try vision.load(SigLIPVision.renamed(weights), from: source)
        let joint = weights.filter { $0.key.hasPrefix(parts[1]) }
        try connector.load(
            Dictionary(
                uniqueKeysWithValues: joint.map { (String($0.key.dropFirst(parts[1].count)), $0.value) }),
            from: source)
        try decoder.load(Decoder.part(of: weights, isTied: configuration.text.isTied), from: source)
    }

    /// Soft tokens of images: pixels [N, 3, H, W] → [N, P, D].
    ///
    /// - Parameter mask: [N, H, W], true where a pixel is the image's own; nil when none is padding.
    public func encode(_ pixels: Tensor, mask: Tensor? = nil, tap: Tap? = nil) throws -> Tensor {
        let patches = try mask.map { try vision.patchMask($0) }  // [N, h, w]
        let tokens = try vision(pixels, mask: patches, tap: tap)
        return try connector(tokens, mask: patches, tap: tap)
    }

    /// The text's embeddings with the images in their places: ids [B, T], images [N, P, D] → [B, T, D].
    public func embed(_ ids: Tensor, images: Tensor?) throws -> Tensor {
        let words = try decoder.embed(ids)
        guard let images else { return words }
        return try placed(images, in: words, ids: ids, imageID: configuration.imageID)
    }
}
