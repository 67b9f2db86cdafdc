import Backbones
import Support
import Torch

/// What DVP adds to a BERT, and where.
public struct DVPSettings: Sendable, Equatable {
    /// The layer at whose input the prompt enters, from 0.
    public var insertLayer = 0
    /// Train adapters and norms and freeze the rest of BERT; otherwise train all of BERT.
    public var usesAdapters = true
    /// Adapters, and trained norms, only in layers that see the prompt; layers below stay the pretrained ones and need
    /// computing once a question.
    public var freezesBelowInsertion = true
    /// Layer norm on the visual tokens before the cross-attention. Without it the raw features of a CNN or of CLIP, whose
    /// scale is far from BERT's, make training slow.
    public var hasVisualNorm = true
    /// Bottleneck of an adapter: width / this.
    public var adapterReduction = 8
    /// How the adapters' maps start.
    public var adapterStart = BottleneckAdapter.Start.normal
    /// Standard deviation of the type embedding's first values. The release leaves the default of 1, large beside BERT's
    /// states.
    public var typeDeviation = 1.0
    /// Heads of the cross-attention.
    public var heads = 12
    /// Probability of dropout in training: in BERT and in the cross-attention.
    public var dropout = 0.1

    /// The authors' code.
    public static let released = {
        var settings = DVPSettings()
        settings.freezesBelowInsertion = false
        settings.hasVisualNorm = false
        return settings
    }()

    /// The repaired method: the defaults above.
    public static let fixed = DVPSettings()

    /// The repaired method, ``fixed``.
    public init() {}
}

/// DVP on BERT: image features become one prompt token in front of the hidden states at layer K, the layers above do the
/// fusion, and the [CLS] state is classified over an answer vocabulary.
///
/// Huang et al. 2023, arXiv 2306.00409; specification 2.2, 2.3, 2.6, 2.7. Keys are those of the authors' checkpoints.
///
/// Legend: B batch, L text tokens, N visual tokens, D width of BERT, V width of the tower, K insertion layer, M layers.
public struct DVPBERT: Module {
    /// What was added, and where.
    public let settings: DVPSettings
    /// The language model, without its pooler.
    public var bert: BERT
    private var typeEmbedding: Embedding
    private var visualNorm: LayerNorm?
    private var attention: VisualPromptAttention
    /// Two a layer (after attention, after feed-forward), from layer `firstAdapterLayer` on.
    private var adapters: [BottleneckAdapter]
    private var classifier: AnswerClassifier

    /// - Parameters:
    ///   - visualSize: V.
    ///   - classes: size of the answer vocabulary.
    public init(_ bert: BERTConfiguration, visualSize: Int, classes: Int, _ settings: DVPSettings) throws {
        guard (0..<bert.layers).contains(settings.insertLayer) else {
            throw VQAError(
                "cannot build DVP", at: "insert_layer",
                because: "\(settings.insertLayer) is not a layer of this model",
                remedy: "use 0 to \(bert.layers - 1)")
        }
        guard bert.hiddenSize % settings.heads == 0 else {
            throw VQAError(
                "cannot build DVP", at: "num_heads",
                because: "the model's width \(bert.hiddenSize) is not a multiple of \(settings.heads)")
        }
        guard visualSize > 0, classes > 0, settings.adapterReduction > 0 else {
            throw VQAError(
                "cannot build DVP", because: "the visual width, answers and reduction must be positive")
        }
        self.settings = settings
        var plain = bert
        plain.hasPooler = false
        self.bert = try BERT(plain)
        let size = bert.hiddenSize
        typeEmbedding = try Embedding(2, size, .normal(deviation: settings.typeDeviation))
        visualNorm = settings.hasVisualNorm ? try LayerNorm(visualSize) : nil
        attention = try VisualPromptAttention(
            textSize: size, visualSize: visualSize, innerSize: size, heads: settings.heads)
        let adapted = settings.usesAdapters ? bert.layers - DVPBERT.firstAdapterLayer(settings) : 0
        adapters = try (0..<2 * adapted).map { _ in
            try BottleneckAdapter(
                size, bottleneck: max(1, size / settings.adapterReduction), start: settings.adapterStart)
        }
        classifier = try AnswerClassifier(size, hidden: 2 * size, classes: classes)
    }

    private static func firstAdapterLayer(_ settings: DVPSettings) -> Int {
        settings.freezesBelowInsertion ? settings.insertLayer : 0
    }

    /// Lists bert_model, token_type_embeddings, visual_norm, cross_attn, adapter_modules, vqa_classifier.
    public mutating func visit(_ visitor: ParameterVisitor) throws {
        try visitor("bert_model", &bert)
        try visitAdded(visitor)
    }

    /// What DVP adds, without BERT.
    private mutating func visitAdded(_ visitor: ParameterVisitor) throws {
        try visitor("token_type_embeddings", &typeEmbedding)
        try visitor("visual_norm", &visualNorm)
        try visitor("cross_attn", &attention)
        let first = 2 * DVPBERT.firstAdapterLayer(settings)
        for index in adapters.indices { try visitor("adapter_modules.\(first + index)", &adapters[index]) }
        try visitor("vqa_classifier", &classifier)
    }

    /// Whether a parameter is trained, by its key.
    public static func isTrained(_ key: String, _ settings: DVPSettings) -> Bool {
        guard key.hasPrefix("bert_model.") else { return true }
        guard settings.usesAdapters else { return true }
        let parts = key.split(separator: ".")
        guard key.contains("LayerNorm"), parts.count > 3, parts[1] == "encoder", let layer = Int(parts[3])
        else {
            return false
        }
        return layer >= firstAdapterLayer(settings)
    }

    /// True when the layers below the prompt are frozen, hence the same for a question at every step.
    public var lowerLayersAreFrozen: Bool { settings.usesAdapters && settings.freezesBelowInsertion }

    // MARK: Forward

    /// The hidden states at the input of layer K: ids and mask [B, L] → [B, L, D].
    public func lower(_ ids: Tensor, mask: Tensor, dropout: Double = 0) throws -> Tensor {
        try bert.encode(
            bert.embeddings(ids, dropout: dropout), mask: mask, layers: 0..<settings.insertLayer,
            dropout: dropout,
            tap: tap())
    }

    /// Prompt, upper layers and head, on the states of ``lower(_:mask:dropout:)``.
    ///
    /// - Parameters:
    ///   - hidden: [B, L, D].
    ///   - mask: [B, L], true at real tokens.
    ///   - visual: [B, N, V].
    public func upper(_ hidden: Tensor, mask: Tensor, visual: Tensor, dropout: Double = 0) throws -> DVPOutput
    {
        let query = try hidden.sliced(1, 0, 1)  // [B, 1, D]: [CLS] as it stands at layer K
        let prompt = try attention(
            query, visual: visualNorm.map { try $0(visual) } ?? visual, dropout: dropout)
        let types = typeEmbedding.weight
        let joined = try Tensor.concatenated(
            [prompt + types.selected(0, 1), hidden + types.selected(0, 0)], 1)  // [B, 1 + L, D], prompt first
        let visible = try Tensor.concatenated([.ones([mask.shape[0], 1], .bool), mask.to(.bool)], 1)
        let range = settings.insertLayer..<bert.layers.count
        // [CLS], behind the prompt, is all that the head reads.
        let feature = try bert.encode(
            joined, mask: visible, layers: range, only: 1, dropout: dropout, tap: tap()
        )
        .selected(1, 0)  // [B, D]
        return DVPOutput(query: query, prompt: prompt, feature: feature, logits: try classifier(feature))
    }

    /// The whole model.
    public func callAsFunction(_ ids: Tensor, mask: Tensor, visual: Tensor, dropout: Double = 0) throws
        -> DVPOutput
    {
        try upper(lower(ids, mask: mask, dropout: dropout), mask: mask, visual: visual, dropout: dropout)
    }

    /// The adapters, at the two sub-layer outputs of every adapted layer.
    private func tap() -> Tap? {
        guard !adapters.isEmpty else { return nil }
        let first = DVPBERT.firstAdapterLayer(settings)
        let adapters = adapters
        return Tap([.attentionOutput, .mlpOutput]) { site, layer, x in
            let index = 2 * (layer - first) + (site == .attentionOutput ? 0 : 1)
            return adapters.indices.contains(index) ? try adapters[index](x) : x
        }
    }
}

/// What a forward pass of DVP gives.
public struct DVPOutput {
    /// [B, 1, D]
    public let query: Tensor
    /// Before its type embedding, [B, 1, D]
    public let prompt: Tensor
    /// What the head reads, [B, D]
    public let feature: Tensor
    /// [B, C]
    public let logits: Tensor
}

/// VQA's loss: binary cross-entropy on soft targets [B, C], summed over answers, averaged over the batch.
public func softTargetLoss(_ logits: Tensor, _ targets: Tensor) throws -> Tensor {
    let classes = Double(logits.shape.last ?? 1)
    return try logits.to(.float32).binaryCrossEntropy(targets) * classes
}
