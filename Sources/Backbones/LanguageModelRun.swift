import Images
import Support
import Tokenizers
import Torch

/// What was generated after one prompt.
public struct GeneratedText: Sendable {
    /// The new ids.
    public let ids: [Int]
    /// Their text, without special tokens.
    public let text: String
    /// Why it ends.
    public let reason: FinishReason
    /// Tokens of the prompt, soft tokens of images included.
    public let promptTokens: Int
    /// Seconds from the start to the first new token of the batch; with beams, to the end.
    public let firstTokenSeconds: Double
    /// Seconds from the start to the last token of the batch.
    public let seconds: Double
}

extension LanguageModel {
    // MARK: One pass

    /// The tensors of one forward pass, to compare with another implementation.
    ///
    /// `input_ids` [1, T], `pixel_values` with images, in the shape of the reference's processor, and `logits` [T, V]; T5:
    /// `logits` [T', V] of the decoder's ids and `encoder_hidden` [T, D]; InstructBLIP also `qformer` [Q, D], the Q-Former's
    /// states at its queries, before they are brought to the width of the language model.
    ///
    /// - Throws: `VQAError` for a prompt that is longer than the context, and for ids that the model has not.
    public func outputs(_ prompt: PreparedPrompt, decoderIDs: [Int]? = nil) throws -> [NamedTensor] {
        try checkForward(prompt, decoderIDs)
        return try withoutGradients {
            let ids = try Tensor(prompt.ids, [1, prompt.ids.count])
            var found = [NamedTensor("input_ids", ids)]
            if let pixels = try prompt.images.map({ try Tensor($0.pixelValues, $0.shape) }) {
                found.append(NamedTensor("pixel_values", try hasImageRows ? pixels.unsqueezed(0) : pixels))
            }
            if case .t5(let model) = network {
                return try found + t5Outputs(model, model.embed(ids), decoderIDs)
            }
            if case .instructBLIP(let model) = network {
                let queries = try instructQueries(model, prompt)
                found.append(NamedTensor("qformer", try queries.states.selected(0, 0)))
                if case .t5(let t5) = model.language {
                    return try found
                        + t5Outputs(t5, model.embed(ids, images: queries.tokens).embeddings, decoderIDs)
                }
            }
            let (text, embeddings) = try reader(prompt)
            let hidden = try text.hidden(embeddings, mask: nil, cache: nil, tap: nil)
            return try found + [NamedTensor("logits", text.logits(hidden).selected(0, 0).to(.float32))]
        }
    }

    /// Idefics' processors give the images of each prompt a row.
    private var hasImageRows: Bool {
        switch network {
        case .idefics, .idefics2: true
        default: false
        }
    }

    private func checkForward(_ prompt: PreparedPrompt, _ decoderIDs: [Int]?) throws {
        func refuse(_ place: String, _ why: String, _ remedy: String? = nil) -> VQAError {
            VQAError("cannot run the model", at: place, because: why, remedy: remedy)
        }
        if let context = decoder?.context, prompt.ids.count > context {
            throw refuse(
                "the prompt", "it has \(prompt.ids.count) tokens, the model's context has \(context)",
                "shorten it")
        }
        guard let decoderIDs else { return }
        guard let size = encoderDecoder?.vocabularySize else {
            throw refuse("--decoder-ids", "the model has one text, not an encoder's and a decoder's")
        }
        guard !decoderIDs.isEmpty, decoderIDs.allSatisfy((0..<size).contains) else {
            throw refuse("--decoder-ids", "the ids of the model go from 0 to \(size - 1)")
        }
    }

    private func t5Outputs(_ model: T5, _ embeddings: Tensor, _ decoderIDs: [Int]?) throws -> [NamedTensor] {
        let encoded = try model.encode(embeddings)
        let ids = decoderIDs ?? [model.configuration.startID]
        let hidden = try model.decode(
            model.embed(Tensor(ids, [1, ids.count])), memory: model.memory(encoded))
        return [
            NamedTensor("encoder_hidden", try encoded.selected(0, 0)),
            NamedTensor("logits", try model.logits(hidden).selected(0, 0).to(.float32)),
        ]
    }

    /// A decoder with the images of a prompt, and the prompt's embeddings [1, T, D].
    private func reader(_ prompt: PreparedPrompt) throws -> (any TextDecoder, Tensor) {
        let ids = try Tensor(prompt.ids, [1, prompt.ids.count])
        let pixels = try prompt.images.map { try Tensor($0.pixelValues, $0.shape) }
        switch network {
        case .decoder(let model): return (model, try model.embed(ids))
        case .llava(let model):
            return (model.decoder, try model.embed(ids, images: pixels.map { try model.encode($0) }))
        case .idefics2(let model):
            let images = try prompt.images.flatMap { given in
                try pixels.map { try model.encode($0, mask: mask(of: given)) }
            }
            return (model.decoder, try model.embed(ids, images: images))
        case .idefics(let model): return try ideficsReader(model, prompt, ids, pixels)
        case .instructBLIP(let model):
            guard case .decoder(let decoder) = model.language else { break }
            return (decoder, try model.embed(ids, images: instructQueries(model, prompt).tokens).embeddings)
        case .t5: break
        }
        throw VQAError(
            "cannot run the model", at: name, because: "it has no decoder of this kind", kind: .failure)
    }

    /// [N, H, W], nil when no image is padded.
    private func mask(of images: ProcessedImages) throws -> Tensor? {
        let shape = [images.shape[0], images.shape[2], images.shape[3]]
        return try Tensor(images.pixelAttentionMask, shape)
    }

    private func ideficsReader(_ model: Idefics, _ prompt: PreparedPrompt, _ ids: Tensor, _ pixels: Tensor?)
        throws
        -> (any TextDecoder, Tensor)
    {
        let side = model.configuration.vision.imageSize
        // Without an image the reference shows one of zeros to nobody.
        let count = max(1, pixels?.shape[0] ?? 0)
        let tokens = try model.encode(pixels ?? .zeros([1, 3, side, side]))
        let imageID = tokenizer.id(for: Self.mark) ?? -1
        let seen = Idefics.seenImages(prompt.ids, imageID: imageID, endID: generation.eosIDs.first)
        let rows = seen.flatMap { image in (0..<count).map { $0 == image } }
        let reader = try IdeficsReader(
            model, images: tokens.unsqueezed(0), seen: Tensor(rows, [1, seen.count, count]))
        return (reader, try reader.embed(ids))
    }

    /// The Q-Former's states at its queries, [1, Q, width of the Q-Former], and the soft tokens [1, Q, D] they become.
    private func instructQueries(_ model: InstructBLIP, _ prompt: PreparedPrompt) throws -> (
        states: Tensor, tokens: Tensor
    ) {
        guard let images = prompt.images else {
            throw VQAError("cannot read the prompt", at: name, because: "the model needs an image")
        }
        let question =
            prompt.question.isEmpty ? nil : try Tensor(prompt.question, [1, prompt.question.count])
        let states = try model.queries(Tensor(images.pixelValues, images.shape), instruction: question)
        return (states, try model.joint.projection(states))
    }

    // MARK: Generation

    /// Generates after a prompt.
    ///
    /// - Parameters:
    ///   - onText: receives the text as it becomes complete; with beams all of it at the end.
    ///   - shouldStop: asked before every token.
    public func generate(
        _ prompt: PreparedPrompt, options: GenerationOptions, onText: ((String) throws -> Void)? = nil,
        shouldStop: () -> Bool = { false }
    ) throws -> [GeneratedText] {
        var stream = StreamingDecoder(tokenizer)
        let results = try generate(
            [prompt], options: options,
            onToken: { token in if let onText { try onText(stream.append(token)) } }, shouldStop: shouldStop)
        if let onText { try onText(stream.finish()) }
        return results.first ?? []
    }

    /// Generates after each of several prompts together: a step reads the weights once for all of them. Every prompt is read
    /// by itself, so that its answer does not depend on the others.
    ///
    /// - Parameters:
    ///   - numbers: decide the draws of each prompt when sampling; 0, 1, … when nil.
    ///   - shouldStop: asked before every step; true ends the open texts as they are.
    /// - Returns: the results of each prompt.
    public func generate(
        batch prompts: [PreparedPrompt], options: GenerationOptions, numbers: [Int]? = nil,
        shouldStop: () -> Bool = { false }
    ) throws -> [[GeneratedText]] {
        if case .idefics = network {
            // Its decoder looks at the images of one prompt.
            return try prompts.enumerated().map { index, prompt in
                try generate(
                    [prompt], options: options, numbers: numbers.map { [$0[index]] }, shouldStop: shouldStop)[
                        0]
            }
        }
        return try generate(
            prompts, options: options, numbers: numbers, shouldStop: shouldStop)
    }

    private func generate(
        _ prompts: [PreparedPrompt], options: GenerationOptions, numbers: [Int]? = nil,
        onToken: ((Int) throws -> Void)? = nil, shouldStop: () -> Bool
    ) throws -> [[GeneratedText]] {
        guard !prompts.isEmpty else { return [] }
        let clock = ContinuousClock()
        let start = clock.now
        var first: Duration?
        let (session, ids, maxNew) = try session(prompts, options: options)
        var options = options
        options.maxNewTokens = maxNew
        options.maxLength = nil
        let sequences = try Backbones.generate(
            session, prompt: ids, options: options, numbers: numbers,
            decode: { try tokenizer.decode($0, skipSpecialTokens: false) },
            onToken: { sequence, token in
                if first == nil { first = clock.now - start }
                if sequence == 0 { try onToken?(token) }
                return true
            }, shouldStop: shouldStop)
        let total = clock.now - start
        return try prompts.enumerated().map { index, prompt in
            let count = options.returnSequences
            return try sequences[index * count..<(index + 1) * count].map {
                GeneratedText(
                    ids: $0.ids, text: try tokenizer.decode($0.ids), reason: $0.reason,
                    promptTokens: prompt.ids.count, firstTokenSeconds: (first ?? total) / .seconds(1),
                    seconds: total / .seconds(1))
            }
        }
    }

    /// A session over prompts, the ids of each that penalties count, and how many tokens may follow.
    private func session(_ prompts: [PreparedPrompt], options: GenerationOptions) throws -> (
        any GenerationSession, [[Int]], Int
    ) {
        try withoutGradients {
            let longest = prompts.reduce(0) { max($0, $1.ids.count) }
            let wanted = try GenerationLength(options, prompt: longest).maximumNew
            if let t5 = network.t5 {
                let encoded = try prompts.map { try t5.encode(encoderEmbeddings($0)) }
                let (states, mask) = try padded(encoded)
                let session = try T5Session(t5, encoded: states, mask: mask, maxNewTokens: wanted)
                return (session, prompts.map { _ in [t5.configuration.startID] }, wanted)
            }
            var embeddings: [Tensor] = []
            var decoder: (any TextDecoder)?
            for prompt in prompts {
                let (text, embedded) = try reader(prompt)
                decoder = text
                embeddings.append(embedded)
            }
            guard let decoder else { throw TorchError(.shape, operation: "generate", message: "no prompt") }
            let room = embeddings.reduce(decoder.configuration.context) {
                min($0, decoder.configuration.context - $1.shape[1])
            }
            let session = try DecoderSession(
                decoder, prompts: embeddings, maxNewTokens: max(1, min(wanted, room)))
            return (session, prompts.map(\.ids), min(wanted, room))
        }
    }

    /// What T5's encoder is given for a prompt, [1, T, D].
    private func encoderEmbeddings(_ prompt: PreparedPrompt) throws -> Tensor {
        let ids = try Tensor(prompt.ids, [1, prompt.ids.count])
        switch network {
        case .t5(let model): return try model.embed(ids)
        case .instructBLIP(let model):
            return try model.embed(ids, images: instructQueries(model, prompt).tokens).embeddings
        default:
            throw VQAError("cannot run the model", at: name, because: "it has no encoder", kind: .failure)
        }
    }

    /// States [1, T, D] of several texts as one [B, S, D], padded behind, and the mask [B, S], nil when all have one length.
    private func padded(_ states: [Tensor]) throws -> (Tensor, Tensor?) {
        let lengths = states.map { $0.shape[1] }
        guard let longest = lengths.max(), lengths.contains(where: { $0 != longest }) else {
            return (try .concatenated(states, 0), nil)
        }
        let rows = try zip(states, lengths).map { try $0.padded([0, 0, 0, longest - $1]) }
        let mask = lengths.flatMap { length in (0..<longest).map { $0 < length } }
        return (try .concatenated(rows, 0), try Tensor(mask, [states.count, longest]))
    }

    // MARK: Conversations

    /// The prompt of one user turn, by the model's template; without one, as the family's releases write it.
    ///
    /// - Parameter images: how many images stand before the words.
    /// - Returns: the prompt and whether special tokens are still to be added.
    public func chatPrompt(_ words: String, images: Int = 0) throws -> (text: String, addSpecialTokens: Bool)
    {
        let marks = String(repeating: Self.mark, count: images)
        if let template {
            let parts: [JSON] =
                Array(repeating: ["type": "image"], count: images) + [
                    ["type": "text", "text": .string(words)]
                ]
            let content: JSON = readsImages ? .array(parts) : .string(words)
            let special = tokenizer.specialTokens
            let text = try template.render(
                messages: [["role": "user", "content": content]],
                variables: [
                    "bos_token": .string(special.beginning?.text ?? ""),
                    "eos_token": .string(special.end?.text ?? ""),
                ])
            let written = special.beginning.map { text.hasPrefix($0.text) } ?? false
            return (text, !written)
        }
        switch network {
        case .llava:
            let system =
                "A chat between a curious human and an artificial intelligence assistant. "
                + "The assistant gives helpful, detailed, and polite answers to the human's questions."
            return ("\(system) USER: \(marks)\n\(words) ASSISTANT:", true)
        case .instructBLIP: return ("Question: \(words) Short answer:", true)
        case .idefics, .idefics2: return ("\(marks)Question: \(words) Short answer:", true)
        case .decoder, .t5: return (words, true)
        }
    }
}
