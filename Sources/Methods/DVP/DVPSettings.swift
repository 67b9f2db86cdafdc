import Backbones
import Support

/// What DVP adds to a language model, and where. Every deviation from the authors' code is a setting of its own.
///
/// Settings that are nil have a value of their own for each kind of language model: see ``resolved(for:)``.
public struct DVPSettings: Sendable, Equatable {
    /// How the model answers.
    public enum Answers: String, Sendable, CaseIterable {
        /// A classifier over an answer vocabulary.
        case classify
        /// The language model writes the answer with its own head.
        case write
    }

    /// What a classifier learns from.
    public enum Loss: String, Sendable, CaseIterable {
        /// Binary cross-entropy on the score of every answer: several answers can be right (VQA v2).
        case softTargets = "soft_targets"
        /// Cross-entropy on one answer (GQA, SNLI-VE).
        case oneAnswer = "one_answer"
    }

    /// How the maps of the answer classifier start.
    public enum HeadStart: String, Sendable, CaseIterable {
        /// N(0, 0.02), biases 0.
        case normal
        /// PyTorch's default, which the release leaves to LLaMA on GQA and SNLI-VE.
        case fanIn = "default"
    }

    /// Whose mean is the query of T5's prompt.
    public enum T5Query: String, Sendable, CaseIterable {
        /// Every position up to the text length, padding included, as the release has it.
        case allPositions = "all"
        /// The real tokens.
        case realTokens = "valid"
    }

    /// Which blocks of T5 add the position bias.
    public enum T5Bias: String, Sendable, CaseIterable {
        /// Block 0 alone, as the release has it, which calls blocks one by one.
        case firstBlock = "first_block"
        /// All, as T5 was pretrained.
        case everyBlock = "every_block"
    }

    // Placement
    /// The layer at whose input the prompt enters, from 0.
    public var insertLayer = 0
    /// Prompt tokens P. More than one differ by learnt offsets of their queries.
    public var promptTokens = 1
    /// How the model answers.
    public var answers = Answers.classify
    // What is trained
    /// Train adapters and norms and freeze the rest of the language model; otherwise train all of it.
    public var usesAdapters = true
    /// Adapters, and trained norms, only in layers that see the prompt; layers below stay the pretrained ones and need
    /// computing once a question. T5's whole encoder lies below.
    public var freezesBelowInsertion = true
    /// Bottleneck of an adapter: width / this.
    public var adapterReduction: Int?
    /// How the adapters' maps start.
    public var adapterStart: BottleneckAdapter.Start?
    /// The function between the adapters' maps.
    public var adapterActivation: BottleneckAdapter.Activation?
    /// What the adapters' output is multiplied by, 1 in the release. The states of a decoder grow from layer to layer: in the
    /// upper third of SmolLM2 their root mean square is 10 to 30, where BERT's, which are normalised, have 1. Adapters that
    /// start small would need many steps to change them.
    public var adapterScale: Double?
    // The prompt
    /// Layer norm on the visual tokens before the cross-attention. Without it the raw features of a CNN or of CLIP, whose
    /// scale is far from a language model's, make training slow.
    public var hasVisualNorm = true
    /// Bring the prompt to the scale of its query: a norm with a learnt gain, times the query's root mean square. Beside the
    /// large states of a decoder's residual stream, the small prompt that a new cross-attention makes is lost after one
    /// layer.
    public var hasPromptNorm: Bool?
    /// Add the query to the prompt, as a transformer's cross-attention does. Without it a prompt knows of its question only
    /// what it looked at. In a decoder, where a prompt in front never sees the text, question and image would then meet
    /// nowhere but in the attention of the layers above.
    public var hasPromptResidual: Bool?
    /// What is added at first to the attention scores of the prompt in a decoder, learnt for each head; nil: nothing. A
    /// decoder's heads rest on the first token of the text, which takes all but a hundredth of their attention: a prompt
    /// that joins in the middle is hardly seen without help.
    public var promptBias: Double?
    /// Bring what varies between questions and images to one size before the new maps see it: the query, the visual tokens and
    /// what the classifier reads start as (x − mean) / deviation, measured on the training data, and are learnt from there
    /// (Kingma & Dhariwal 2018, 3.1: actnorm). In a decoder's states, what all questions have in common is thirty times as
    /// large as what tells the colour they ask for.
    public var standardizes: Bool?
    /// A type embedding, added to the prompt and to the text.
    public var hasTypeEmbedding: Bool?
    /// Standard deviation of the type embedding's first values. The release leaves the default of 1, large beside BERT's
    /// states.
    public var typeDeviation = 1.0
    /// Heads of the cross-attention.
    public var heads: Int?
    /// Width of the cross-attention, a multiple of the heads.
    public var innerSize: Int?
    // The classifier
    /// Width between its two maps.
    public var headSize: Int?
    /// How its maps start.
    public var headStart = HeadStart.normal
    /// What it learns from.
    public var loss = Loss.softTargets
    /// Probability of dropout in training: in BERT and T5, and in the cross-attention. Decoders have none.
    public var dropout = 0.1
    // T5
    /// Whose mean is the query.
    public var t5Query = T5Query.realTokens
    /// Which blocks add the position bias.
    public var t5Bias = T5Bias.everyBlock
    /// Whether a token of T5's decoder sees only what stands before it; in the release prompt and start token see each
    /// other.
    public var t5IsCausal = true

    /// The authors' code.
    public static let released = {
        var settings = DVPSettings()
        (settings.freezesBelowInsertion, settings.promptBias) = (false, 0)
        (settings.hasVisualNorm, settings.hasPromptNorm, settings.standardizes) = (false, false, false)
        (settings.hasPromptResidual, settings.adapterScale) = (false, 1)
        (settings.t5Query, settings.t5Bias, settings.t5IsCausal) = (.allPositions, .firstBlock, false)
        return settings
    }()

    /// The repaired method: the defaults above.
    public static let fixed = DVPSettings()

    /// The repaired method, ``fixed``.
    public init() {}

    /// The same settings with the release's value for this kind of language model where none was given: the
    /// cross-attention as wide as BERT or T5 with their own heads and 512 with 16 heads for decoders; adapters of an eighth
    /// of the width with ReLU for BERT and T5, and with SiLU for decoders, where the release's 4096 / 64 = 64 units are kept
    /// for narrower ones; in decoders adapters times 10, a norm of the prompt, a bias of its scores, the query added to it, and
    /// standardized states; a classifier twice as wide as BERT or T5 and of 512 for decoders; no type embedding in decoders.
    public func resolved(for language: DVPLanguage) -> DVPSettings {
        var result = self
        let isDecoder = language.kind == .decoder
        result.heads = heads ?? (isDecoder ? 16 : language.heads)
        result.innerSize = innerSize ?? (isDecoder ? 512 : language.size)
        result.adapterReduction = adapterReduction ?? (isDecoder ? max(1, language.size / 64) : 8)
        result.adapterStart = adapterStart ?? (isDecoder ? .xavier : .normal)
        result.adapterActivation = adapterActivation ?? (isDecoder ? .silu : .relu)
        result.adapterScale = adapterScale ?? (isDecoder ? 10 : 1)
        result.headSize = headSize ?? (isDecoder ? 512 : 2 * language.size)
        result.hasPromptNorm = hasPromptNorm ?? isDecoder
        result.hasPromptResidual = hasPromptResidual ?? isDecoder
        result.standardizes = standardizes ?? isDecoder
        result.promptBias = isDecoder ? promptBias ?? 2 : 0
        result.hasTypeEmbedding = hasTypeEmbedding ?? !isDecoder
        return result
    }

    /// Refuses what the language model cannot do.
    func check(for language: DVPLanguage) throws {
        func refuse(_ place: String, _ why: String, _ remedy: String? = nil) -> VQAError {
            VQAError("cannot build DVP", at: place, because: why, remedy: remedy)
        }
        guard (0..<language.layerCount).contains(insertLayer) else {
            throw refuse(
                "insert_layer", "\(insertLayer) is not a layer of this model",
                "use 0 to \(language.layerCount - 1)")
        }
        let (heads, inner) = (heads ?? 1, innerSize ?? 1)
        guard heads > 0, inner > 0, inner % heads == 0 else {
            throw refuse(
                "num_heads", "the cross-attention's width \(inner) is not a multiple of \(heads) heads")
        }
        guard (1...256).contains(promptTokens) else {
            throw refuse("prompt_tokens", "\(promptTokens) is not in 1…256")
        }
        guard (adapterReduction ?? 1) > 0, (headSize ?? 1) > 0 else {
            throw refuse("adapter_reduction", "widths must be positive")
        }
        guard answers == .classify || language.kind != .bert else {
            throw refuse("answers", "BERT does not write", "use answers=classify, or a T5 or a decoder")
        }
        guard answers == .classify || language.kind != .t5 || t5IsCausal else {
            throw refuse("t5_causal", "T5 writes from left to right only", "use t5_causal=true")
        }
        guard standardizes != true || language.kind != .t5 else {
            throw refuse("standardize", "T5's decoder reads one token, which is the same for all questions")
        }
        guard usesAdapters || !language.isPacked else {
            throw refuse(
                "use_adapter", "packed weights cannot be trained", "use adapters, or frozen_format=float32")
        }
    }
}
