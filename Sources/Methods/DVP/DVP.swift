import Backbones
import Checkpoints
import Support
import Torch

/// Dynamic visual prompting: image features become prompt tokens in front of the hidden states at layer K, the layers
/// above do the fusion, and the answer is classified over a vocabulary or written by the language model.
///
/// Huang et al. 2023, arXiv 2306.00409; specification 2.2–2.7 and 3. Keys are those of the authors' checkpoints, with
/// `vqa_classifier` for every task. While the placement is searched for, each layer has a prompt of its own.
///
/// Legend: B batch, L text tokens, N visual tokens, P prompt tokens, D width of the language model, V width of the tower,
/// K insertion layer, M layers, C answers.
public struct DVP: Module {
    /// What was added, and where; nothing in it is nil.
    public let settings: DVPSettings
    /// The language model.
    public var language: DVPLanguage
    /// Where a prompt can enter, in rising order: in a search several layers, each with a prompt of its own.
    public let placements: [Int]
    /// Whether the layer is searched for.
    public let isSearch: Bool
    /// The language model before training, where training changes its norms alone: what the layers below the prompt of a
    /// search are, in which all norms are trained, and what baselines use.
    public private(set) var untouched: DVPLanguage?
    var visualNorm: LayerNorm?
    /// One for each of ``placements``.
    var arms: [DVPArm]
    /// T5's encoder: two a block.
    private var encoderAdapters: [BottleneckAdapter]
    /// Two a layer (attention, feed-forward), in T5's decoder three, from layer ``firstAdaptedLayer`` on.
    private var adapters: [BottleneckAdapter]
    private var classifier: AnswerClassifier?
    /// Before the classifier.
    var featureNorm: StateNorm?
    /// What is added to the scores of the prompt in each layer of a decoder from ``firstAdaptedLayer`` on, [H].
    private var promptBiases: [Tensor]

    /// - Parameters:
    ///   - language: with its weights, or on the meta device.
    ///   - visualSize: V.
    ///   - classes: size of the answer vocabulary.
    ///   - searching: for a search, the layers to choose from, which get a prompt each.
    public init(
        _ language: DVPLanguage, visualSize: Int, classes: Int, _ settings: DVPSettings,
        searching: [Int]? = nil
    ) throws {
        let settings = settings.resolved(for: language)
        try settings.check(for: language)
        guard visualSize > 0, classes > 0 else {
            throw VQAError("cannot build DVP", because: "the visual width and the answers must be positive")
        }
        self.settings = settings
        (placements, isSearch) = ((searching ?? [settings.insertLayer]).sorted(), searching != nil)
        try Self.check(placements, language)
        self.language = language
        if settings.answers == .classify, case .decoder(var model) = language {
            // The head of the language model is not needed, and may be as large as its table.
            model.head = nil
            self.language = .decoder(model)
        }
        visualNorm = settings.hasVisualNorm ? try LayerNorm(visualSize) : nil
        let size = language.size
        arms = try placements.map { _ in
            try DVPArm(size, visualSize: visualSize, settings)
        }
        func adapters(_ count: Int) throws -> [BottleneckAdapter] {
            try (0..<count).map { _ in
                try BottleneckAdapter(
                    size, bottleneck: max(1, size / (settings.adapterReduction ?? 8)),
                    activation: settings.adapterActivation ?? .relu, start: settings.adapterStart ?? .normal,
                    scale: settings.adapterScale ?? 1)
            }
        }
        let first = Self.firstAdaptedLayer(settings, placements)
        let adapted = settings.usesAdapters ? language.layerCount - first : 0
        promptBiases =
            settings.promptBias == 0
            ? [] : try (first..<language.layerCount).map { _ in try .empty([language.heads], on: .meta) }
        var encoderBlocks = 0
        if case .t5(let model) = language, settings.usesAdapters, !settings.freezesBelowInsertion {
            encoderBlocks = model.encoder.blocks.count
        }
        encoderAdapters = try adapters(2 * encoderBlocks)
        self.adapters = try adapters((language.kind == .t5 ? 3 : 2) * adapted)
        classifier =
            settings.answers == .classify
            ? try AnswerClassifier(
                size, hidden: settings.headSize ?? 2 * size, classes: classes, start: settings.headStart)
            : nil
        featureNorm =
            settings.standardizes == true && classifier != nil ? try StateNorm(size) : nil
    }

    private static func check(_ placements: [Int], _ language: DVPLanguage) throws {
        let known = 0..<language.layerCount
        guard !placements.isEmpty, Set(placements).count == placements.count,
            placements.allSatisfy(known.contains)
        else {
            throw VQAError(
                "cannot search", at: "search_layers",
                because: "\(placements) are not different layers of this model",
                remedy: "use some of 0 to \(language.layerCount - 1)")
        }
    }

    private static func firstAdaptedLayer(_ settings: DVPSettings, _ placements: [Int]) -> Int {
        settings.freezesBelowInsertion ? placements.first ?? 0 : 0
    }

    private var firstAdaptedLayer: Int { Self.firstAdaptedLayer(settings, placements) }

    /// Lists the language model, the prompt (token_type_embeddings and cross_attn; in a search one of each a layer, under
    /// …_options), adapters and vqa_classifier; visual_norm, query_norm, prompt_queries, prompt_norm,
    /// prompt_bias and feature_norm, which the release has not, where they are set.
    public mutating func visit(_ visitor: ParameterVisitor) throws {
        try language.visit(visitor)
        try visitor("visual_norm", &visualNorm)
        for index in arms.indices {
            let end = isSearch ? "_options.\(placements[index])" : ""
            try visitor("token_type_embeddings" + end, &arms[index].types)
            try visitor("cross_attn" + end, &arms[index].attention)
            try visitor("prompt_queries" + end, &arms[index].queries)
            try visitor("prompt_norm" + end, &arms[index].norm)
            try visitor("query_norm" + end, &arms[index].queryNorm)
        }
        let first = firstAdaptedLayer * (language.kind == .t5 ? 3 : 2)
        let name = language.kind == .t5 ? "decoder_adapter" : "adapter_modules"
        try visitor("encoder_adapter", &encoderAdapters)
        for index in adapters.indices { try visitor("\(name).\(first + index)", &adapters[index]) }
        for index in promptBiases.indices {
            let start = Initialization.constant(settings.promptBias ?? 0)
            try visitor("prompt_bias.\(firstAdaptedLayer + index)", &promptBiases[index], start)
        }
        try visitor("feature_norm", &featureNorm)
        try visitor("vqa_classifier", &classifier)
    }

    // MARK: What is trained

    /// Whether a parameter is trained, by its key.
    public func isTrained(_ key: String) -> Bool {
        guard key.hasPrefix(language.prefix) else { return true }
        guard settings.usesAdapters else { return true }
        let parts = key.dropFirst(language.prefix.count).split(separator: ".")
        switch language {
        case .bert:
            guard key.contains("LayerNorm"), parts.count > 2, parts[0] == "encoder" else { return false }
            return isAdapted(parts[2])
        case .t5:
            guard key.contains("layer_norm"), parts.count > 2 else { return false }
            if parts[0] == "encoder" { return !settings.freezesBelowInsertion }
            return parts[1] == "final_layer_norm" || isAdapted(parts[2])
        case .decoder:
            if parts.first == "norm" { return true }
            guard key.contains("layernorm"), parts.count > 2 else { return false }
            return isAdapted(parts[1])
        }
    }

    /// First values, what is trained, and frozen maps kept in the type they are multiplied in; tables, norms and what is
    /// trained stay float32.
    public mutating func prepareTraining(seed: Int, precision: DType) throws {
        try initialize(seed: seed)
        let before = settings.usesAdapters ? try language.parameters() : []
        let model = self
        try setTrainable { model.isTrained($0) }
        let (prefix, isDecoder) = (language.prefix, language.kind == .decoder)
        try convertFrozen(to: precision) { key in
            let isTable = key.contains("embed") || key.contains("shared") || key.contains("attention_bias")
            return key.hasPrefix(prefix) && !key.lowercased().contains("norm") && (!isTable || isDecoder)
        }
        guard !before.isEmpty else { return }
        let norms = Dictionary(uniqueKeysWithValues: before.map { ($0.key, $0.tensor) })
        var untouched = language
        try untouched.forEachParameter { slot, tensor in
            if tensor.requiresGradient, let norm = norms[slot.key] { tensor = norm }
        }
        self.untouched = untouched
    }

    /// Puts trained parameters in their places; the language model keeps its own weights where they are frozen.
    public mutating func load(trained: [String: Tensor], from source: String) throws {
        var weights = try trained.mapValues { try $0.to(.float32) }
        for parameter in try language.parameters() where !isTrained(parameter.key) {
            weights[parameter.key] = parameter.tensor
        }
        try load(weights, from: source)
    }

    private func isAdapted(_ layer: Substring) -> Bool { Int(layer).map { $0 >= firstAdaptedLayer } ?? false }

    /// True when the layers below the prompt are frozen, hence the same for a question at every step.
    public var lowerLayersAreFrozen: Bool { settings.usesAdapters && settings.freezesBelowInsertion }

    // MARK: Forward

    /// How a pass is run; the layers below the prompt have adapters only where they are not frozen.
    func pass(dropout: Double = 0) -> DVPPass {
        let tap = tap()
        return DVPPass(
            dropout: dropout, tap: tap, lowerTap: settings.freezesBelowInsertion ? nil : tap,
            bias: settings.t5Bias, isCausal: settings.t5IsCausal, promptBiases: promptBiases,
            firstBias: firstAdaptedLayer)
    }

    /// The visual prompt for a query [B, 1, D] and visual tokens [B, N, V]: [B, P, D], without its type.
    func prompt(_ query: Tensor, visual: Tensor, arm: Int = 0, dropout: Double = 0) throws -> Tensor {
        let arm = arms[arm]
        let seen = try visualNorm.map { try $0(visual) } ?? visual
        let asked = try arm.queryNorm.map { try $0(query) } ?? query
        let queries = try arm.queries.map { try asked + $0.weight } ?? asked
        var prompt = try arm.attention(queries, visual: seen, dropout: dropout)
        if settings.hasPromptResidual == true { prompt = try prompt + queries }
        guard let norm = arm.norm else { return prompt }
        let scale = try query.detached().to(.float32).square().mean([-1], keep: true).sqrt()
        return try norm(prompt.to(.float32)) * scale
    }

    /// Prompt, upper layers and head, on a text that stands at the layer where the prompt enters.
    ///
    /// - Parameter visual: [B, N, V].
    func upper(_ text: DVPText, visual: Tensor, pass: DVPPass) throws -> DVPOutput {
        let query = try language.query(text, settings)
        let (prompt, hidden) = try fused(text, query, visual: visual, tail: 1, pass: pass)
        let feature = try language.feature(hidden)
        let state = try feature.to(.float32)
        let logits = try classifier?(featureNorm.map { try $0(state) } ?? state)
        return DVPOutput(query: query, prompt: prompt, feature: feature, logits: logits ?? feature)
    }

    /// The states after the last norm, with the prompt in front of the text; of a decoder the last `tail` of them.
    func fused(_ text: DVPText, _ query: Tensor, visual: Tensor, tail: Int? = nil, pass: DVPPass) throws -> (
        prompt: Tensor, hidden: Tensor
    ) {
        let (prompt, joined) = try prompted(text, query, visual: visual, dropout: pass.dropout)
        let prompts = settings.promptTokens
        return (
            prompt, try language.finished(joined, text, prompts: prompts, tail: tail, pass: pass)
        )
    }

    /// The prompt, and the prompt in front of the text: [B, P, D] and [B, P + L, D].
    func prompted(_ text: DVPText, _ query: Tensor, visual: Tensor, dropout: Double = 0) throws -> (
        prompt: Tensor, joined: Tensor
    ) {
        let arm = isSearch ? placements.firstIndex(of: text.layer) ?? 0 : 0
        let prompt = try prompt(query, visual: visual, arm: arm, dropout: dropout)
        let typed = try arms[arm].types.map { try prompt + $0.weight.selected(0, 1) } ?? prompt
        // Of one type: the states of a decoder may be in a half type, and the prompt need not be.
        let words = try self.typed(text.hidden, arm: arm).to(typed.dtype)
        return (prompt, try Tensor.concatenated([typed, words], 1))
    }

    /// Text states with the type of the text.
    func typed(_ hidden: Tensor, arm: Int = 0) throws -> Tensor {
        try arms[arm].types.map { try hidden + $0.weight.selected(0, 0) } ?? hidden
    }

    /// The whole model on ids and mask [B, L] and visual tokens [B, N, V]; rows of a decoder are padded on the left.
    ///
    /// - Parameter layer: where the prompt enters; nil: where the settings say.
    public func callAsFunction(
        _ ids: Tensor, mask: Tensor?, visual: Tensor, layer: Int? = nil, dropout: Double = 0
    ) throws -> DVPOutput {
        let pass = pass(dropout: dropout)
        let text = try lower.advanced(
            lower.begin(ids, mask: mask, pass: pass), to: layer ?? settings.insertLayer, pass: pass)
        return try upper(text, visual: visual, pass: pass)
    }

    /// What runs the layers below the prompt.
    var lower: DVPLanguage { lowerLayersAreFrozen ? untouched ?? language : language }

    /// The adapters, at the sub-layer outputs of every adapted layer.
    private func tap() -> Tap? {
        guard !adapters.isEmpty else { return nil }
        let (adapters, encoderAdapters, first) = (adapters, encoderAdapters, firstAdaptedLayer)
        guard case .t5(let model) = language else {
            return Tap([.attentionOutput, .mlpOutput]) { site, layer, x in
                let index = 2 * (layer - first) + (site == .attentionOutput ? 0 : 1)
                return adapters.indices.contains(index) ? try adapters[index](x) : x
            }
        }
        let blocks = model.encoder.blocks.count
        return Tap([.attentionOutput, .crossAttentionOutput, .mlpOutput]) { site, layer, x in
            guard layer >= blocks else {
                let index = 2 * layer + (site == .attentionOutput ? 0 : 1)
                return encoderAdapters.indices.contains(index) ? try encoderAdapters[index](x) : x
            }
            let place = site == .attentionOutput ? 0 : site == .crossAttentionOutput ? 1 : 2
            let index = 3 * (layer - blocks - first) + place
            return adapters.indices.contains(index) ? try adapters[index](x) : x
        }
    }
}

/// The prompt of one insertion layer.
struct DVPArm {
    /// Row 0 is added to the text, row 1 to the prompt.
    var types: Embedding?
    /// Gathers the visual tokens.
    var attention: VisualPromptAttention
    /// Brings the prompt to the scale of the query.
    var norm: RMSNorm?
    /// Of the query.
    var queryNorm: StateNorm?
    /// What tells several prompt tokens apart, [P, D], added to their common query.
    var queries: Embedding?

    init(_ size: Int, visualSize: Int, _ settings: DVPSettings) throws {
        types =
            settings.hasTypeEmbedding ?? true
            ? try Embedding(2, size, .normal(deviation: settings.typeDeviation)) : nil
        attention = try VisualPromptAttention(
            textSize: size, visualSize: visualSize, innerSize: settings.innerSize ?? size,
            heads: settings.heads ?? 1)
        norm = settings.hasPromptNorm == true ? try RMSNorm(size) : nil
        queryNorm = settings.standardizes == true ? try StateNorm(size) : nil
        queries =
            settings.promptTokens > 1
            ? try Embedding(settings.promptTokens, size, .normal(deviation: 1)) : nil
    }
}

/// What a forward pass of DVP gives.
public struct DVPOutput {
    /// [B, 1, D]
    public let query: Tensor
    /// Before its type embedding, [B, P, D]
    public let prompt: Tensor
    /// What the head reads, [B, D]
    public let feature: Tensor
    /// [B, C]; the feature again where the answers are written.
    public let logits: Tensor
}

/// VQA's loss: binary cross-entropy on soft targets [B, C], summed over answers, averaged over the batch.
public func softTargetLoss(_ logits: Tensor, _ targets: Tensor) throws -> Tensor {
    let classes = Double(logits.shape.last ?? 1)
    return try logits.to(.float32).binaryCrossEntropy(targets) * classes
}
