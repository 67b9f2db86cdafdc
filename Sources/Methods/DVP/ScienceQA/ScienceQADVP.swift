import Backbones
import Checkpoints
import Support
import Torch

/// DVP's ScienceQA program: a LLaMA that writes the answer, built on LaVIN (Luo et al. 2023, arXiv 2305.15023). Language
/// model and CLIP tower are frozen; both have adapters with routers at what enters their attentions. The tower's class
/// tokens stand in the text, and one more token, the slot, becomes the visual prompt at layer K.
///
/// Specification of DVP, 2.9. Keys of what is trained are those of the authors' checkpoints; the frozen parts keep the keys
/// of ``Decoder`` and ``CLIPVision`` behind `llama_model.` and `backbone.visual.`.
///
/// Legend: B problems, T columns of the sequence, D width of the language model, V width of the tower, N visual tokens,
/// C class tokens of an image, R images seen, K insertion layer.
public struct ScienceQADVP: Module {
    /// What was added, and how far it follows the release.
    public let settings: ScienceQASettings
    /// The tokens before a prompt.
    public let prefix: ScienceQAPrefix
    /// The frozen language model.
    public var decoder: Decoder
    /// The frozen image tower.
    public var tower: CLIPVision
    /// All that is trained.
    public var added: ScienceQAAdded
    /// C
    public let classTokens: Int

    /// - Parameters:
    ///   - prefix: the pieces of `Image: ` and `Image: N/A`.
    public init(
        _ decoder: Decoder, _ tower: CLIPVision, prefix: ScienceQAPrefix, _ settings: ScienceQASettings
    ) throws {
        let text = decoder.configuration
        let vision = tower.configuration
        func require(_ isRight: Bool, _ place: String, _ why: String, _ remedy: String? = nil) throws {
            if !isRight { throw VQAError("cannot build DVP", at: place, because: why, remedy: remedy) }
        }
        for layer in settings.placements {
            try require(
                (0..<text.layers).contains(layer),
                settings.searchLayers == nil ? "insert_layer" : "search_layers",
                "\(layer) is not a layer of this model", "use 0 to \(text.layers - 1)")
        }
        for (name, width) in [("dim", text.hiddenSize), ("width", vision.hiddenSize)] {
            try require(width % 2 == 0, name, "the adapters need an even width, not \(width)")
        }
        try require(
            settings.adapterWidth > 0 && settings.adapterWidth % 2 == 0, "adapter_dim",
            "\(settings.adapterWidth) is not even and positive")
        try require(
            settings.heads > 0 && settings.attentionWidth > 0
                && settings.attentionWidth % settings.heads == 0, "num_heads",
            "\(settings.heads) heads do not divide the width \(settings.attentionWidth)")
        try require(
            settings.projectionWidth > 0 && settings.routerTemperature > 0, "hidden_proj",
            "widths and temperature must be positive")
        try require(
            (1...vision.layers).contains(settings.classTokenInterval), "class_token_interval",
            "\(settings.classTokenInterval) gives no class token of \(vision.layers) blocks")
        classTokens = vision.layers / settings.classTokenInterval
        try require(
            settings.maxLength > 3 + prefix.image.count + classTokens, "max_seq_len",
            "an image does not fit into \(settings.maxLength) tokens")
        (self.decoder, self.tower) = (decoder, tower)
        (self.settings, self.prefix) = (settings, prefix)
        added = try ScienceQAAdded(text, vision, settings)
    }

    /// Lists llama_model, backbone.visual, and what is trained.
    public mutating func visit(_ visitor: ParameterVisitor) throws {
        try visitor("llama_model", &decoder)
        try visitor("backbone.visual", &tower)
        try added.visit(visitor)
    }

    /// Whether a parameter is trained, by its key: the release's own rule.
    public static func isTrained(_ key: String) -> Bool {
        ["adapter", "cross_attn", "image_params"].contains { key.contains($0) }
    }

    /// First values of what is added, what is trained, and frozen maps kept in the type they are multiplied in; tables,
    /// norms and what is trained stay float32.
    public mutating func prepareTraining(seed: Int, precision: DType) throws {
        try initialize(seed: seed)
        try setTrainable(Self.isTrained)
        try keepFrozen(in: precision)
    }

    /// Frozen maps in the type they are multiplied in; tables and norms stay as they are.
    public mutating func keepFrozen(in precision: DType) throws {
        try convertFrozen(to: precision) { key in
            let name = key.lowercased()
            return key.hasPrefix("llama_model.") && !name.contains("norm") && !name.contains("embed")
        }
    }

    /// Loads what was trained from a checkpoint of the release (its `model`), whose keys begin with `module.` where it was
    /// trained on several GPUs. Strict.
    public mutating func loadTrained(_ weights: [String: Tensor], from source: String) throws {
        try added.load(Self.renamed(weights), from: source)
    }

    /// The trained tensors of an adapter folder, or of a checkpoint of the release.
    public static func saved(_ path: String) throws -> [String: Tensor] {
        try renamed(
            Checkpoint(opening: isFolder(path) ? path + "/adapter_model.safetensors" : path).tensors())
    }

    /// What was trained in a checkpoint of the release under our names: without the `model` it lies in and the `module` of
    /// training on several GPUs, and without the state of the optimiser beside it.
    public static func renamed(_ weights: [String: Tensor]) -> [String: Tensor] {
        let isWhole = weights.keys.contains { $0.hasPrefix("model.") }
        var named: [String: Tensor] = [:]
        for (key, tensor) in weights {
            var name = key[...]
            if isWhole {
                guard key.hasPrefix("model.") else { continue }
                name = name.dropFirst("model.".count)
            }
            if name.hasPrefix("module.") { name = name.dropFirst("module.".count) }
            named[String(name)] = tensor
        }
        return named
    }

    // MARK: Images

    /// The rows of a batch whose image the tower is shown: all in the release, whose routes depend on the first; else those
    /// that have one.
    func shownRows(_ examples: [ScienceQAExample]) -> [Int] {
        settings.imageRouting == .firstImage
            ? Array(examples.indices) : examples.indices.filter { examples[$0].hasImage }
    }

    /// Shows images to the tower: [R, 3, S, S].
    public func see(_ pixels: Tensor, dropout: Double = 0) throws -> ScienceQASight {
        var classes: [Tensor] = []
        let interval = settings.classTokenInterval
        let tap = Tap([.attentionInput, .blockOutput]) { site, layer, x in
            if site == .blockOutput {
                if (layer + 1) % interval == 0 { classes.append(try x.selected(1, 0)) }
                return x
            }
            let adapter = added.visualAdapters[layer]
            // [1, N, 2] of the first image, or [R, 1, 2] of each one's class token.
            let route =
                settings.imageRouting == .firstImage
                ? try adapter.route(x.selected(0, 0)).unsqueezed(0)
                : try adapter.route(x.selected(1, 0)).unsqueezed(1)
            return try adapter(x, route: route, dropout: dropout)
        }
        let tokens = try tower(pixels, tap: tap)  // [R, N, V]
        let stacked = try Tensor.stacked(classes, 1).to(.float32)  // [R, C, V]
        return ScienceQASight(
            tokens: try tokens.to(.float32), classTokens: stacked, projected: try added.projection(stacked))
    }

    // MARK: Text

    /// The sequences with everything in its place, [B, T, D].
    ///
    /// - Parameter images: the row of `sight` of each problem.
    func embedded(_ layout: ScienceQALayout, _ sight: ScienceQASight?, images: [Int?]) throws -> Tensor {
        let words = try decoder.embed(Tensor(layout.ids.flatMap { $0 }, [layout.ids.count, layout.length]))
        var (rows, columns) = (Array(layout.ids.indices), [Int](repeating: 0, count: layout.ids.count))
        let kinds = try Tensor(layout.slots.map { $0 == nil ? 0 : 1 })
        var values = [try added.modality(kinds)]  // [B, D]
        for row in layout.imageRows {
            guard let sight, let image = images[row] else { throw unseen(row) }
            values += [try sight.projected.selected(0, image), added.slot]  // [C, D], [1, D]
            rows += [Int](repeating: row, count: classTokens + 1)
            columns += (layout.imageSlot - classTokens)...layout.imageSlot
        }
        return try words.replacing(
            [Tensor(rows), Tensor(columns)], with: Tensor.concatenated(values, 0).to(words.dtype))
    }

    private func unseen(_ row: Int) -> VQAError {
        VQAError("cannot read a problem", because: "the image of row \(row) was not shown", kind: .failure)
    }

    /// What the prompt is made of and put in place of the slot: hidden states at the input of layer `layer`, [B, T, D].
    ///
    /// Rows whose image was shown get a query and a prompt; those that have an image get it into their slot.
    func inserted(
        _ hidden: Tensor, _ layout: ScienceQALayout, _ sight: ScienceQASight?, images: [Int?], layer: Int,
        dropout: Double = 0
    ) throws -> (hidden: Tensor, query: Tensor?, prompt: Tensor?) {
        let shown = images.indices.filter { images[$0] != nil }
        guard let sight, !shown.isEmpty else { return (hidden, nil, nil) }
        let weights = try layout.promptWeights(columns: hidden.shape[1])
        // The pooled rows, [shown, 1, D].
        let query = try weights.matmul(hidden.to(.float32)).selected(0, indices: Tensor(shown))
        let tokens = try sight.tokens.selected(0, indices: Tensor(images.compactMap { $0 }))
        let prompt = try added.attention(of: layer)(query, visual: tokens, dropout: dropout)
        let rows = layout.imageRows
        guard !rows.isEmpty else { return (hidden, query, prompt) }
        let places = rows.compactMap { shown.firstIndex(of: $0) }
        let values = try prompt.selected(1, 0).selected(0, indices: Tensor(places)).to(hidden.dtype)
        let columns = [Int](repeating: layout.imageSlot, count: rows.count)
        return (try hidden.replacing([Tensor(rows), Tensor(columns)], with: values), query, prompt)
    }

    /// The adapters of the language model. The first column decides the route; where `routes` holds those of a text whose
    /// first column has been read already, they are taken.
    func textTap(_ routes: ScienceQARoutes? = nil, dropout: Double = 0) -> Tap {
        Tap([.attentionInput]) { _, layer, x in
            let adapter = added.textAdapters[layer]
            // [B, 1, 2]
            let route = try routes?.known[layer] ?? adapter.route(x.selected(1, 0)).unsqueezed(1)
            routes?.known[layer] = route
            return try adapter(x, route: route, dropout: dropout)
        }
    }

    // MARK: Forward

    /// The whole model on problems with their answers.
    ///
    /// - Parameters:
    ///   - pixels: [B, 3, S, S], anything for problems without image.
    ///   - layer: K, when it is not the settings'; in the search, the arm.
    public func callAsFunction(
        _ examples: [ScienceQAExample], pixels: Tensor?, layer: Int? = nil, dropout: Double = 0
    ) throws -> ScienceQAOutput {
        let layout = try ScienceQALayout(
            examples, prefix, classTokens: classTokens, limit: settings.maxLength)
        let (sight, images) = try sight(examples, pixels, dropout: dropout)
        return try read(layout, sight, images: images, layer: layer, dropout: dropout)
    }

    /// Shows the images of a batch; gives for each problem the row of what was seen.
    func sight(_ examples: [ScienceQAExample], _ pixels: Tensor?, dropout: Double = 0) throws -> (
        ScienceQASight?, [Int?]
    ) {
        let shown = shownRows(examples)
        guard let pixels, !shown.isEmpty else { return (nil, examples.map { _ in nil }) }
        guard pixels.shape.first == examples.count else {
            throw VQAError(
                "cannot read problems",
                because: "there are \(examples.count) of them and pixels of shape \(pixels.shape)",
                kind: .failure)
        }
        let some = shown.count == examples.count ? pixels : try pixels.selected(0, indices: Tensor(shown))
        return (try see(some, dropout: dropout), examples.indices.map { shown.firstIndex(of: $0) })
    }

    func read(
        _ layout: ScienceQALayout, _ sight: ScienceQASight?, images: [Int?], layer: Int? = nil,
        dropout: Double = 0
    ) throws -> ScienceQAOutput {
        let layer = layer ?? settings.insertLayer
        let hidden = try decoder.hidden(
            embedded(layout, sight, images: images), tap: textTap(dropout: dropout), layers: 0..<layer,
            attention: layout.mask(hidesSlot: true))
        return try fused(hidden, layout, sight, images: images, layer: layer, dropout: dropout)
    }

    /// The prompt and the layers above, on what enters a layer.
    private func fused(
        _ hidden: Tensor, _ layout: ScienceQALayout, _ sight: ScienceQASight?, images: [Int?], layer: Int,
        dropout: Double = 0
    ) throws -> ScienceQAOutput {
        let (joined, query, prompt) = try inserted(
            hidden, layout, sight, images: images, layer: layer, dropout: dropout)
        let end = try decoder.hidden(
            joined, tap: textTap(dropout: dropout), layers: layer..<decoder.layers.count,
            attention: layout.mask(hidesSlot: settings.slotMask == .aliased))
        return ScienceQAOutput(
            sight: sight, query: query, prompt: prompt, hidden: end, loss: try loss(end, layout))
    }

    /// Losses with the prompt at each of some layers, without dropout: images and layers below a prompt are computed once.
    func losses(_ examples: [ScienceQAExample], pixels: Tensor?, at layers: [Int]) throws -> [Double] {
        let layout = try ScienceQALayout(
            examples, prefix, classTokens: classTokens, limit: settings.maxLength)
        let (sight, images) = try sight(examples, pixels)
        let mask = try layout.mask(hidesSlot: true)
        var (hidden, reached) = (try embedded(layout, sight, images: images), 0)
        var found: [Int: Double] = [:]
        for layer in Set(layers).sorted() {
            hidden = try decoder.hidden(hidden, tap: textTap(), layers: reached..<layer, attention: mask)
            reached = layer
            found[layer] = try fused(hidden, layout, sight, images: images, layer: layer).loss.item()
        }
        return layers.map { found[$0] ?? .infinity }
    }

    /// Cross-entropy, averaged over the answers' tokens of the batch. Logits are computed where there is one. Without any
    /// (all were cut off) the loss is 0.
    private func loss(_ hidden: Tensor, _ layout: ScienceQALayout) throws -> Tensor {
        let (rows, columns, ids) = layout.targets()
        guard !ids.isEmpty else { return try hidden.to(.float32).sum() * 0 }
        let states = try hidden.indexed([Tensor(rows), Tensor(columns)])  // [answers' tokens, D]
        return try decoder.logits(states).to(.float32).crossEntropy(Tensor(ids))
    }
}

/// What the tower gives of the images of a batch.
public struct ScienceQASight {
    /// All tokens of the last block, [R, N, V].
    public let tokens: Tensor
    /// The class tokens of chosen blocks, [R, C, V].
    public let classTokens: Tensor
    /// The same in the width of the text, [R, C, D].
    public let projected: Tensor
}

/// What a forward pass gives.
public struct ScienceQAOutput {
    /// What was seen; nil without images.
    public let sight: ScienceQASight?
    /// The pooled prompts, [R, 1, D].
    public let query: Tensor?
    /// The visual prompts, [R, 1, D].
    public let prompt: Tensor?
    /// After the last norm, [B, T, D].
    public let hidden: Tensor
    /// A scalar; 0 without answers.
    public let loss: Tensor
}

/// Routes of the language model's adapters that were decided when the prompts were read.
final class ScienceQARoutes {
    /// Of each layer, [B, 1, 2].
    var known: [Int: Tensor] = [:]
}

/// All that DVP's ScienceQA program trains.
public struct ScienceQAAdded: Module {
    /// One a layer of the language model.
    var textAdapters: [RepAdapter]
    /// One a block of the tower.
    var visualAdapters: [RepAdapter]
    var projection: ClassTokenProjection
    /// Row 1 begins the problems with an image, row 0 the others.
    var modality: Embedding
    /// [1, D]
    var slot: Tensor
    /// One, or in the search one for each of ``placements``.
    private var attentions: [VisualPromptAttention]
    private let placements: [Int]
    private let isSearch: Bool

    init(_ text: DecoderConfiguration, _ vision: CLIPVisionConfiguration, _ settings: ScienceQASettings)
        throws
    {
        func adapters(_ count: Int, _ size: Int) throws -> [RepAdapter] {
            try (0..<count).map { _ in
                try RepAdapter(
                    size, bottleneck: settings.adapterWidth, scale: settings.adapterScale,
                    temperature: settings.routerTemperature)
            }
        }
        textAdapters = try adapters(text.layers, text.hiddenSize)
        visualAdapters = try adapters(vision.layers, vision.hiddenSize)
        projection = try ClassTokenProjection(
            vision.hiddenSize, hidden: settings.projectionWidth, text.hiddenSize)
        modality = try Embedding(2, text.hiddenSize, .normal(deviation: 1))
        slot = try .empty([1, text.hiddenSize], on: .meta)
        (placements, isSearch) = (settings.placements, settings.searchLayers != nil)
        attentions = try placements.map { _ in
            try VisualPromptAttention(
                textSize: text.hiddenSize, visualSize: vision.hiddenSize,
                innerSize: settings.attentionWidth, heads: settings.heads)
        }
    }

    /// Lists adapters, adapter_proj, adapter_modality_embedding, image_params and cross_attn, in the search
    /// cross_attn_options.
    public mutating func visit(_ visitor: ParameterVisitor) throws {
        for index in textAdapters.indices {
            try visitor("layers.\(index).adapter_attn", &textAdapters[index])
        }
        for index in visualAdapters.indices {
            try visitor(
                "backbone.visual.transformer.resblocks.\(index).adapter_attn", &visualAdapters[index])
        }
        try visitor("adapter_proj", &projection)
        try visitor("adapter_modality_embedding", &modality)
        try visitor("image_params", &slot, .normal(deviation: 1))
        for (index, layer) in placements.enumerated() {
            let name = isSearch ? "cross_attn_options.\(layer)" : "cross_attn"
            try visitor(name, &attentions[index])
        }
    }

    /// The cross-attention of an insertion layer.
    func attention(of layer: Int) -> VisualPromptAttention {
        attentions[isSearch ? placements.firstIndex(of: layer) ?? 0 : 0]
    }
}
