import Images
import Support

/// What DVP's ScienceQA program adds to a LLaMA and a CLIP, and how far it follows the release.
public struct ScienceQASettings: Sendable, Equatable {
    /// Whether the slot of the prompt can be seen.
    public enum SlotMask: String, Sendable, CaseIterable {
        /// The mask of the layers below the prompt is the same object as that of the layers above, so no text sees the slot
        /// while training or reading a prompt. Tokens fed one at a time do see it from layer K on.
        case aliased
        /// Text sees the slot from layer K on, always.
        case copied
    }

    /// Which tokens decide the routes of the adapters inside the image tower.
    public enum ImageRouting: String, Sendable, CaseIterable {
        /// Each token of the batch's first image, for the tokens of all images at its place.
        case firstImage = "first-image"
        /// Each image's own class token.
        case ownImage = "own-image"
    }

    /// Positions of the tokens that are fed one at a time.
    public enum DecodePositions: String, Sendable, CaseIterable {
        /// One too low: the modality token was counted when the prompt was read, and is not now.
        case shifted
        /// Those that follow the prompt's.
        case continued
    }

    /// How much of the prompts of a batch is read at once, and hence pooled for the query.
    public enum PromptReading: String, Sendable, CaseIterable {
        /// As many tokens as the shortest one has; the rest of longer ones is fed token by token.
        case shortest = "shortest-prompt"
        /// Each prompt's own tokens.
        case own = "own-prompt"
    }

    /// What stands for a text that names no option.
    public enum UnreadOption: String, Sendable, CaseIterable {
        /// An option drawn at random, by the id of the question (the release draws without a seed).
        case random
        /// None: the question counts as wrong.
        case none
    }

    /// How pixels are scaled for the tower.
    public enum PixelScale: String, Sendable, CaseIterable {
        /// ImageNet's mean and deviation.
        case imageNet = "imagenet"
        /// Those that CLIP was trained with.
        case clip
    }

    /// How the next token is chosen.
    public enum Choosing: Sendable, Equatable {
        /// The likeliest.
        case greedy
        /// Drawn from the likeliest tokens that together have the probability `topP`.
        case sampled(temperature: Double, topP: Double, seed: Int)
    }

    /// The layer K at whose input the prompt enters, from 0; the release's script has 4.
    public var insertLayer = 4
    /// In a search of K the layers to choose from, each of which has a cross-attention; otherwise nil.
    public var searchLayers: [Int]?
    /// Where the prompt can enter, in rising order.
    public var placements: [Int] { (searchLayers ?? [insertLayer]).sorted() }
    /// Narrow width of the adapters: `adapter_dim`.
    public var adapterWidth = 8
    /// What the adapters' change is multiplied by: `adapter_scale`.
    public var adapterScale = 1.0
    /// The routers' scores are divided by this: `temperature`.
    public var routerTemperature = 10.0
    /// Width between the maps of the class tokens: `hidden_proj`.
    public var projectionWidth = 128
    /// Width of the cross-attention.
    public var attentionWidth = 512
    /// Heads of the cross-attention.
    public var heads = 16
    /// A class token is taken after every so many blocks of the tower.
    public var classTokenInterval = 4
    /// Probability of dropout in training, in adapters and cross-attention.
    public var dropout = 0.1
    /// The longest sequence in training, modality token and image included: `max_seq_len`.
    public var maxLength = 512
    /// Tokens that an answer has at most.
    public var maxNewTokens = 64
    /// Whether the prompt can be seen.
    public var slotMask = SlotMask.copied
    /// Who decides the routes in the tower.
    public var imageRouting = ImageRouting.ownImage
    /// Positions in generation.
    public var decodePositions = DecodePositions.continued
    /// How prompts of a batch are read in generation.
    public var promptReading = PromptReading.own
    /// What a text without an option counts as.
    public var unreadOption = UnreadOption.none
    /// How pixels are scaled.
    public var pixelScale = PixelScale.clip
    /// How tokens are chosen in generation.
    public var choosing = Choosing.greedy

    /// The authors' code. Its draws had no seed; here they have one.
    public static let released = {
        var settings = ScienceQASettings()
        settings.slotMask = .aliased
        settings.imageRouting = .firstImage
        settings.decodePositions = .shifted
        settings.promptReading = .shortest
        settings.unreadOption = .random
        settings.pixelScale = .imageNet
        settings.choosing = .sampled(temperature: 0.1, topP: 0.75, seed: 0)
        return settings
    }()

    /// The repaired method: the defaults above.
    public static let fixed = ScienceQASettings()

    /// The repaired method, ``fixed``.
    public init() {}

    /// How images are prepared: squashed to a square of `size` pixels.
    public func imageProcessor(size: Int) -> ImageProcessor {
        pixelScale == .imageNet ? .dvpScienceQA(size: size) : .lavis(size: size)
    }
}
