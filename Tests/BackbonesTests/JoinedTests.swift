import Backbones
import Checkpoints
import Support
import Testing
import Torch

/// Tiny joined models against the reference: prompts with no, one and three images in one padded batch. Made by
/// Tools/goldens/joined.py.
@Suite(.serialized) struct JoinedTests {
    struct Case {
        let folder: String
        let json: JSON
        let weights: [String: Tensor]
        let expected: [String: Tensor]
        let ids: Tensor
        let mask: Tensor
        let pixels: Tensor

        init(_ name: String) throws {
            folder = ReferenceTests.fixture("joined/" + name)
            json = try JSON(contentsOf: folder + "/config.json")
            weights = try Checkpoint(opening: folder).tensors()
            expected = try ReferenceTests.tensors("joined/\(name)/expected.safetensors")
            ids = try #require(expected["input_ids"])
            mask = try #require(expected["attention_mask"]).to(.bool)
            pixels = try #require(expected["pixel_values"]).clone()
            try pixels.requireGradient()
        }

        /// Logits at real tokens, and what flows back to the pixels.
        func check(_ logits: Tensor) throws {
            let wanted = try #require(expected["logits"])
            let keep = try mask.unsqueezed(-1).expanded(wanted.shape)
            let deviation = try ReferenceTests.deviation(
                logits.detached().selected(where: keep), wanted.selected(where: keep))
            #expect(deviation <= 1e-4)
            try (logits.sin() * mask.to(.float32).unsqueezed(-1)).sum().backward()
            #expect(try ReferenceTests.deviation(pixels.gradient(), expected["gradient"]) <= 1e-4)
        }

        func greedy(_ model: any TextDecoder, _ embeddings: Tensor) throws {
            let wanted = try #require(expected["generated"]).integers()
            let session = try DecoderSession(
                model, embeddings: embeddings.detached(), mask: mask, maxNewTokens: 9)
            var tokens = [try session.start().argmax(1).integers()]
            while tokens.count < 9 {
                tokens.append(try session.step(tokens[tokens.count - 1]).argmax(1).integers())
            }
            #expect((0..<session.rows).flatMap { row in tokens.map { $0[row] } } == wanted)
        }
    }

    static func llava(_ name: String) throws -> (Case, Llava) {
        let test = try Case(name)
        var model = try Llava(LlavaConfiguration(test.json, source: test.folder))
        try model.load(test.weights, from: test.folder)
        return (test, model)
    }

    @Test(
        "LLaVA: logits, pixel gradients and greedy tokens equal the reference",
        arguments: ["llava-llama", "llava-qwen2"])
    func llava(_ name: String) throws {
        let (test, model) = try JoinedTests.llava(name)
        let embedded = try model.embed(test.ids, images: model.encode(test.pixels))
        try test.check(model.decoder.logits(model.decoder.hidden(embedded, mask: test.mask)))
        try test.greedy(model.decoder, embedded)
    }

    /// The names of newer releases in memory, and of LLaVA's own files.
    static func renamed(_ name: String, own: Bool) -> String {
        func replace(_ prefix: String, _ by: String) -> String? {
            name.hasPrefix(prefix) ? by + name.dropFirst(prefix.count) : nil
        }
        if let tower = replace(
            "vision_tower.", own ? "model.vision_tower.vision_tower.vision_model." : "model.vision_tower.")
        {
            return tower
        }
        if own,
            let map = replace("multi_modal_projector.linear_1.", "model.mm_projector.0.")
                ?? replace("multi_modal_projector.linear_2.", "model.mm_projector.2.")
        {
            return map
        }
        return replace("multi_modal_projector.", "model.multi_modal_projector.")
            ?? replace("language_model.lm_head.", "lm_head.")
            ?? replace("language_model.model.", own ? "model." : "model.language_model.") ?? name
    }

    @Test("LLaVA: every layout of keys loads to the same model", arguments: [false, true])
    func layouts(own: Bool) throws {
        let (test, model) = try JoinedTests.llava("llava-llama")
        var other = try Llava(model.configuration)
        var weights: [String: Tensor] = [:]
        for (name, tensor) in test.weights { weights[JoinedTests.renamed(name, own: own)] = tensor }
        #expect(weights.count == test.weights.count)
        try other.load(weights, from: "other")
        for (one, two) in zip(try model.parameters(), try other.parameters()) {
            #expect(try one.key == two.key && one.tensor.floats() == two.tensor.floats())
        }
        weights["model.stranger.weight"] = try .zeros([1])
        #expect(throws: VQAError.self) { try other.load(weights, from: "other") }
    }

    @Test("LLaVA's own configuration describes the same shape") func ownConfiguration() throws {
        let (test, model) = try JoinedTests.llava("llava-llama")
        let text = try #require(test.json["text_config"]?.members)
        let own: JSON = .object(
            text.filter { $0.key != "model_type" } + [
                .init("model_type", "llava_llama"),
                .init("mm_vision_tower", "openai/clip-vit-large-patch14-336"),
                .init("mm_projector_type", "mlp2x_gelu"), .init("mm_vision_select_layer", -2),
                .init("mm_vision_select_feature", "patch"), .init("image_aspect_ratio", "pad"),
            ])
        let read = try LlavaConfiguration(own: own, vision: model.configuration.vision, source: "own")
        #expect(read.text == model.configuration.text)
        #expect(read.projector == model.configuration.projector)
        #expect(read.padsToSquare && read.imageID == -200 && read.imageTokens == 16)
    }

    @Test("marks and images that differ in number are one line") func counts() throws {
        let (test, model) = try JoinedTests.llava("llava-llama")
        let images = try model.encode(test.pixels.detached().sliced(0, 0, 3))
        let error = #expect(throws: VQAError.self) { try model.embed(test.ids, images: images) }
        #expect(error.map { "\($0)".contains("64 image tokens, the images have 48") } == true)
    }

    static func idefics(_ name: String) throws -> (Case, Idefics) {
        let test = try Case(name)
        var model = try Idefics(IdeficsConfiguration(test.json, source: test.folder))
        try model.load(test.weights, from: test.folder)
        return (test, model)
    }

    static func reader(_ test: Case, _ model: Idefics) throws -> IdeficsReader {
        let shape = test.pixels.shape
        let tokens = try model.encode(test.pixels.reshaped([shape[0] * shape[1]] + shape.dropFirst(2)))
        return try IdeficsReader(
            model, images: tokens.reshaped([shape[0], shape[1]] + tokens.shape.dropFirst()),
            seen: #require(test.expected["image_attention_mask"]))
    }

    @Test(
        "Idefics: logits, pixel gradients and greedy tokens equal the reference",
        arguments: ["idefics", "idefics-plain"])
    func idefics(_ name: String) throws {
        let (test, model) = try JoinedTests.idefics(name)
        let reader = try JoinedTests.reader(test, model)
        let embedded = try reader.embed(test.ids)
        try test.check(reader.logits(reader.hidden(embedded, mask: test.mask, cache: nil, tap: nil)))
        try withoutGradients { try test.greedy(JoinedTests.reader(test, model), embedded) }
    }

    @Test("Idefics: which image a token sees, as the reference counts") func seen() throws {
        let (test, _) = try JoinedTests.idefics("idefics")
        let wanted = try #require(test.expected["image_attention_mask"])
        for row in 0..<3 {
            let ids = try test.ids.selected(0, row).integers()
            let seen = Idefics.seenImages(ids, imageID: 84, endID: 2)
            let ones = seen.map { image in (0..<3).map { $0 == image ? 1 : 0 } }
            #expect(try wanted.selected(0, row).integers() == ones.flatMap { $0 })
        }
    }

    @Test("Idefics: taps reach decoder layers and gated blocks") func ideficsTaps() throws {
        let (test, model) = try JoinedTests.idefics("idefics")
        let reader = try JoinedTests.reader(test, model)
        let embedded = try reader.embed(test.ids)
        func run(_ tap: Tap?) throws -> [Float] {
            try reader.hidden(embedded, mask: test.mask, cache: nil, tap: tap).floats()
        }
        let plain = try run(nil)
        for site in TapSite.decoder + [.crossAttentionOutput] {
            #expect(try run(Tap([site]) { _, _, tensor in tensor }) == plain)
            #expect(try run(Tap([site]) { _, _, tensor in try tensor + 0.5 }) != plain, "\(site)")
        }
    }

    @Test("Idefics2: logits, pixel gradients and greedy tokens equal the reference") func idefics2() throws {
        let test = try Case("idefics2")
        var model = try Idefics2(Idefics2Configuration(test.json, source: test.folder))
        try model.load(test.weights, from: test.folder)
        // The reference drops the images that only fill up a row: all pixels 0.
        let shape = test.pixels.shape
        let flat = try test.pixels.reshaped([shape[0] * shape[1]] + shape.dropFirst(2))
        let visible = try #require(test.expected["pixel_attention_mask"])
            .reshaped([shape[0] * shape[1], shape[3], shape[4]])
        let real = try Tensor([0, 6, 7, 8])
        let images = try model.encode(
            flat.selected(0, indices: real), mask: visible.selected(0, indices: real).to(.bool))
        let embedded = try model.embed(test.ids, images: images)
        try test.check(model.decoder.logits(model.decoder.hidden(embedded, mask: test.mask)))
        try test.greedy(model.decoder, embedded)
    }
}
