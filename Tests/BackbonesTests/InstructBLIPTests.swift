import Backbones
import Checkpoints
import Support
import Testing
import Torch

/// Tiny InstructBLIPs on a LLaMA and on a T5 against the reference: two images, questions and instructions of different
/// lengths. Made by Tools/goldens/joined.py.
@Suite(.serialized) struct InstructBLIPTests {
    static let names = ["instructblip-vicuna", "instructblip-t5"]
    static let queries = 5

    struct Loaded {
        let test: JoinedTests.Case
        let model: InstructBLIP
        let instruction: Tensor
        let shown: Tensor

        init(_ name: String) throws {
            test = try JoinedTests.Case(name)
            model = try InstructBLIPTests.model(test, test.weights)
            instruction = try #require(test.expected["qformer_input_ids"])
            shown = try #require(test.expected["qformer_attention_mask"])
        }

        func images() throws -> Tensor {
            try model.encode(test.pixels, instruction: instruction, mask: shown)
        }
    }

    static func model(_ test: JoinedTests.Case, _ weights: [String: Tensor]) throws -> InstructBLIP {
        var model = try InstructBLIP(InstructBLIPConfiguration(test.json, source: test.folder))
        try model.load(weights, from: test.folder)
        return model
    }

    /// Logits of the text, or of the three decoder tokens of the golden script.
    static func logits(_ model: InstructBLIP, _ embeddings: Tensor, _ mask: Tensor?) throws -> Tensor {
        switch model.language {
        case .decoder(let decoder): try decoder.logits(decoder.hidden(embeddings, mask: mask))
        case .t5(let t5):
            try t5(embeddings, mask: mask, decoderIDs: Tensor([0, 5, 6, 0, 9, 4], [2, 3]))
        }
    }

    /// Nine greedy tokens of each row.
    static func greedy(_ model: InstructBLIP, _ embeddings: Tensor, _ mask: Tensor?) throws -> [[Int]] {
        let session = try model.session(embeddings.detached(), mask: mask, maxNewTokens: 9)
        var tokens = [try session.start().argmax(1).integers()]
        while tokens.count < 9 {
            tokens.append(try session.step(tokens[tokens.count - 1]).argmax(1).integers())
        }
        return (0..<session.rows).map { row in tokens.map { $0[row] } }
    }

    static func wanted(_ test: JoinedTests.Case) throws -> [[Int]] {
        let generated = try #require(test.expected["generated"])
        return try (0..<2).map { try generated.selected(0, $0).integers() }
    }

    @Test("logits, pixel gradients and greedy tokens equal the reference", arguments: names)
    func reference(_ name: String) throws {
        let loaded = try Loaded(name)
        let test = loaded.test
        let (embeddings, mask) = try loaded.model.embed(test.ids, mask: test.mask, images: loaded.images())
        #expect(try mask?.bytes() == test.mask.bytes())
        let logits = try Self.logits(loaded.model, embeddings, mask)
        if case .decoder = loaded.model.language {
            try test.check(logits)
        } else {
            #expect(try ReferenceTests.close(logits.detached(), test.expected["logits"]))
            try logits.sin().sum().backward()
            #expect(try ReferenceTests.close(test.pixels.gradient(), test.expected["gradient"]))
        }
        #expect(try Self.greedy(loaded.model, embeddings, mask) == Self.wanted(test))
    }

    @Test("a text without marks has the queries in front, and answers the same", arguments: names)
    func queriesInFront(_ name: String) throws {
        let loaded = try Loaded(name)
        let images = try loaded.images().detached()
        let wanted = try Self.wanted(loaded.test)
        for (row, length) in [10, 5].enumerated() {
            // [1, T], no padding.
            let text = try loaded.test.ids.sliced(0, row, row + 1).sliced(1, 15 - length)
            let (embeddings, mask) = try loaded.model.embed(text, images: images.sliced(0, row, row + 1))
            #expect(embeddings.shape == [1, Self.queries + length, 30] && mask == nil)
            #expect(try Self.greedy(loaded.model, embeddings, mask) == [wanted[row]])
        }
    }

    @Test("padding may stand between queries and text of a decoder") func paddingBetween() throws {
        let loaded = try Loaded("instructblip-vicuna")
        let test = loaded.test
        let images = try loaded.images().detached()
        let text = try test.ids.sliced(1, 5)  // row 1: the marks of the image, then its text
        let ids = try text.masked(text .== 80.0, 0)
        let (embeddings, mask) = try loaded.model.embed(ids, mask: ids .!= 0, images: images)
        let seen = try #require(mask)
        #expect(try seen.to(.int64).sum([1]).integers() == [15, 10])
        let keep = try (ids .!= 0).unsqueezed(-1).expanded([2, 10, 89])
        let logits = try Self.logits(loaded.model, embeddings, seen).sliced(1, 5)
        let expected = try #require(test.expected["logits"]).sliced(1, 5)
        #expect(try ReferenceTests.close(logits.selected(where: keep), expected.selected(where: keep)))
        #expect(try Self.greedy(loaded.model, embeddings, seen) == Self.wanted(test))
    }

    @Test("the instruction's padding is not read, its words are") func instructions() throws {
        let loaded = try Loaded("instructblip-vicuna")
        let images = try loaded.images().detached()
        let pixels = try loaded.test.pixels.detached().sliced(0, 1, 2)
        let short = try loaded.instruction.sliced(0, 1, 2).sliced(1, 0, 3)
        let alone = try loaded.model.encode(pixels, instruction: short)
        #expect(try ReferenceTests.close(alone, images.sliced(0, 1, 2)))
        let others = try loaded.model.encode(pixels, instruction: short + 1)
        #expect(try !ReferenceTests.close(others, alone))
        #expect(try loaded.model.encode(pixels, instruction: nil).shape == alone.shape)
    }

    // MARK: Names

    /// Releases that name everything `model.`, the head of the language model outside.
    static func newer(_ weights: [String: Tensor]) -> [String: Tensor] {
        var result: [String: Tensor] = [:]
        for (name, tensor) in weights {
            if name == "language_model.lm_head.weight" {
                result["lm_head.weight"] = tensor
            } else if name.hasPrefix("language_model.model.") {
                result["model.language_model." + name.dropFirst("language_model.model.".count)] = tensor
            } else {
                result["model." + name] = tensor
            }
        }
        return result
    }

    /// LAVIS's names, with its head of the Q-Former and a classifier of the tower.
    static func lavis(_ weights: [String: Tensor], t5: Bool) throws -> [String: Tensor] {
        var result = [
            "Qformer.cls.predictions.bias": try Tensor.zeros([3]),
            "visual_encoder.head.weight": try .zeros([3]),
            "Qformer.bert.embeddings.position_ids": try .zeros([1, 40], .int64),
        ]
        let beginnings = [
            ("vision_model.embeddings.class_embedding", "visual_encoder.cls_token"),
            ("vision_model.embeddings.position_embedding", "visual_encoder.pos_embed"),
            ("vision_model.embeddings.patch_embedding.", "visual_encoder.patch_embed.proj."),
            ("vision_model.encoder.layers.", "visual_encoder.blocks."),
            ("vision_model.post_layernorm.", "ln_vision."),
            ("qformer.embeddings.layernorm.", "Qformer.bert.embeddings.LayerNorm."),
            ("qformer.", "Qformer.bert."), ("language_projection.", t5 ? "t5_proj." : "llm_proj."),
            ("language_model.", t5 ? "t5_model." : "llm_model."),
        ]
        for (name, tensor) in weights {
            var key = name
            if let (ours, theirs) = beginnings.first(where: { name.hasPrefix($0.0) }) {
                key = theirs + name.dropFirst(ours.count)
            }
            let isTower = key.hasPrefix("visual_encoder.")
            let inner =
                isTower
                ? ["layer_norm1": "norm1", "layer_norm2": "norm2", "self_attn": "attn", "projection": "proj"]
                : [:]
            var parts = key.split(separator: ".").map { inner[String($0)] ?? String($0) }
            if let index = parts.lastIndex(of: "attention"), index > 0, parts[0] == "Qformer",
                parts[index - 1].hasSuffix("attention")
            {
                parts[index] = "self"
            }
            key = parts.joined(separator: ".")
            if key.hasSuffix("attn.qkv.bias") {
                let third = tensor.shape[0] / 3
                let block = key.dropLast("qkv.bias".count)
                result[block + "q_bias"] = try tensor.sliced(0, 0, third)
                result[block + "v_bias"] = try tensor.sliced(0, 2 * third)
            } else {
                result[key] = tensor
            }
        }
        return result
    }

    /// The weights with zeros where LAVIS has no biases of keys.
    static func withoutKeyBias(_ weights: [String: Tensor]) throws -> [String: Tensor] {
        var result = weights
        for (name, tensor) in weights where name.hasSuffix("self_attn.qkv.bias") {
            let third = tensor.shape[0] / 3
            result[name] = try .concatenated(
                [tensor.sliced(0, 0, third), .zeros([third]), tensor.sliced(0, 2 * third)], 0)
        }
        return result
    }

    static func expectEqual(_ one: InstructBLIP, _ two: InstructBLIP) throws {
        let (first, second) = (try one.parameters(), try two.parameters())
        #expect(first.count == second.count)
        for (a, b) in zip(first, second) {
            #expect(try a.key == b.key && a.tensor.bytes() == b.tensor.bytes(), "\(a.key)")
        }
    }

    @Test("the model lists the reference's keys", arguments: names) func keys(_ name: String) throws {
        let loaded = try Loaded(name)
        #expect(try Set(loaded.model.parameters().map(\.key)) == Set(loaded.test.weights.keys))
    }

    @Test("newer names give the same model", arguments: names) func newerNames(_ name: String) throws {
        let loaded = try Loaded(name)
        let weights = Self.newer(loaded.test.weights)
        #expect(weights["model.query_tokens"] != nil && weights.count == loaded.test.weights.count)
        try Self.expectEqual(Self.model(loaded.test, weights), loaded.model)
    }

    @Test(
        "LAVIS's names give the same model, with the language model and the tower inside or apart",
        arguments: names)
    func lavisNames(_ name: String) throws {
        let test = try JoinedTests.Case(name)
        let isT5 = name == "instructblip-t5"
        let model = try Self.model(test, Self.withoutKeyBias(test.weights))
        let whole = try Self.lavis(test.weights, t5: isT5)
        #expect(whole["Qformer.bert.encoder.layer.0.crossattention.self.query.weight"] != nil)
        #expect(whole["visual_encoder.blocks.1.attn.q_bias"] != nil && whole["ln_vision.bias"] != nil)
        try Self.expectEqual(Self.model(test, whole), model)

        func below(_ prefix: String) -> [String: Tensor] {
            var part: [String: Tensor] = [:]
            for (key, tensor) in whole where key.hasPrefix(prefix) {
                part[String(key.dropFirst(prefix.count))] = tensor
            }
            return part
        }
        let (llm, tower) = (below(isT5 ? "t5_model." : "llm_model."), below("visual_encoder."))
        let trimmed = whole.filter { !$0.key.contains("_model.") && !$0.key.hasPrefix("visual_encoder.") }
        var other = try InstructBLIP(model.configuration)
        try other.load(trimmed, tower: tower, language: llm, from: "lavis")
        try Self.expectEqual(other, model)
        func refused(_ word: String, _ body: () throws -> Void) {
            let error = #expect(throws: VQAError.self) { try body() }
            #expect(error?.description.contains("no \(word)") == true)
        }
        refused("image tower") { try other.load(trimmed, language: llm, from: "lavis") }
        refused("language model") { try other.load(trimmed, tower: tower, from: "lavis") }
        let stranger = llm.merging(["stranger.weight": try .zeros([2])]) { $1 }
        #expect(throws: VQAError.self) {
            try other.load(trimmed, tower: tower, language: stranger, from: "lavis")
        }
    }

    @Test("a head of T5's own is used where the file has one") func ownHead() throws {
        let loaded = try Loaded("instructblip-t5")
        var weights = loaded.test.weights
        weights["language_model.lm_head.weight"] = try #require(weights["language_model.shared.weight"]) * 2
        let (embeddings, mask) = try loaded.model.embed(
            loaded.test.ids, mask: loaded.test.mask, images: loaded.images().detached())
        let wanted = try #require(loaded.test.expected["logits"]) * 2
        for weights in [weights, Self.newer(weights)] {
            let doubled = try Self.logits(Self.model(loaded.test, weights), embeddings, mask)
            #expect(try ReferenceTests.close(doubled, wanted))
        }
    }

    @Test("loading refuses what is missing, left over or misshapen in any part", arguments: names)
    func strict(_ name: String) throws {
        let test = try JoinedTests.Case(name)
        let keys = [
            "vision_model.post_layernorm.bias", "query_tokens", "qformer.encoder.layer.1.output.dense.weight",
            "language_projection.bias",
            name == "instructblip-t5"
                ? "language_model.encoder.final_layer_norm.weight" : "language_model.lm_head.weight",
        ]
        for key in keys {
            let tensor = try #require(test.weights[key], "\(key)")
            var (missing, misshapen) = (test.weights, test.weights)
            missing[key] = nil
            misshapen[key] = try .concatenated([tensor, tensor], 0)
            let word = key.split(separator: ".").suffix(2).joined(separator: ".")
            for weights in [missing, misshapen] {
                let error = #expect(throws: VQAError.self) { try Self.model(test, weights) }
                #expect(error?.description.contains(word) == true, "\(key): \(error?.description ?? "")")
            }
        }
        for prefix in [
            "", "vision_model.", "qformer.", "language_projection.", "language_model.", "lm_head.",
        ] {
            var weights = test.weights
            weights[prefix + "stranger.weight"] = try .zeros([2])
            let error = #expect(throws: VQAError.self) { try Self.model(test, weights) }
            #expect(error?.description.contains("stranger.weight") == true, "\(prefix)")
        }
    }

    // MARK: Taps and refusals

    @Test("taps reach tower, Q-Former and language model, each by its own", arguments: names)
    func taps(_ name: String) throws {
        let loaded = try Loaded(name)
        let (test, model) = (loaded.test, loaded.model)
        let pixels = try test.pixels.detached()
        func soft(_ visionTap: Tap?, _ tap: Tap?) throws -> [UInt8] {
            try model.encode(
                pixels, instruction: loaded.instruction, mask: loaded.shown, visionTap: visionTap, tap: tap
            ).bytes()
        }
        let plain = try soft(nil, nil)
        let all = Tap(Set(TapSite.allCases)) { _, _, tensor in tensor }
        #expect(try soft(all, all) == plain)
        func zero(_ site: TapSite) -> Tap { Tap([site]) { _, _, tensor in try tensor * 0 } }
        for site in TapSite.allCases where site != .crossAttentionOutput {
            #expect(try soft(zero(site), nil) != plain, "tower, \(site)")
        }
        for site in TapSite.allCases where site != .finalNorm {
            #expect(try soft(nil, zero(site)) != plain, "Q-Former, \(site)")
        }
        let (embeddings, mask) = try model.embed(
            test.ids, mask: test.mask, images: loaded.images().detached())
        func scores(_ tap: Tap?) throws -> [UInt8] {
            try model.session(embeddings, mask: mask, maxNewTokens: 1, tap: tap).start().bytes()
        }
        let first = try scores(nil)
        #expect(try scores(all) == first)
        for site in TapSite.allCases where site != .crossAttentionOutput || name == "instructblip-t5" {
            #expect(try scores(zero(site)) != first, "language model, \(site)")
        }
    }

    @Test("images, instructions and texts that do not fit are one line") func misfits() throws {
        let loaded = try Loaded("instructblip-vicuna")
        let (model, test) = (loaded.model, loaded.test)
        let pixels = try test.pixels.detached()
        let images = try loaded.images().detached()
        let text = try test.ids.sliced(1, 10)
        func refused(_ word: String, _ body: () throws -> Void) {
            let error = #expect(throws: VQAError.self, "\(word)") { try body() }
            #expect(error?.description.contains(word) == true, "\(error?.description ?? "")")
        }
        refused("10 image tokens, the images have 5") {
            _ = try model.embed(test.ids, images: images.sliced(0, 0, 1))
        }
        refused("there is no image") { _ = try model.embed(test.ids, images: nil) }
        refused("do not stand in front") { _ = try model.embed(text, images: images.sliced(0, 0, 1)) }
        refused("for 2 images") {
            _ = try model.encode(pixels, instruction: loaded.instruction.sliced(0, 0, 1))
        }
        refused("their mask [2, 5]") {
            _ = try model.encode(pixels, instruction: loaded.instruction, mask: loaded.shown.sliced(1, 1))
        }
        refused("41 tokens, the Q-Former reads 40") {
            _ = try model.encode(pixels, instruction: .ones([2, 41], .int64))
        }
        let (plain, mask) = try model.embed(text, mask: text .!= 0, images: nil)
        #expect(plain.shape == [2, 5, 30] && mask?.shape == [2, 5])
    }

    // MARK: Configuration

    @Test("absent keys have the reference's defaults") func defaults() throws {
        func read(_ text: String) throws -> InstructBLIPConfiguration {
            try InstructBLIPConfiguration(JSON(parsing: Array(text.utf8), source: "c"), source: "c")
        }
        let vicuna = try read(#"{"text_config":{"model_type":"llama"}}"#)
        #expect(vicuna.vision.layers == 39 && vicuna.vision.hiddenSize == 1408)
        #expect(vicuna.qformer.queries == 32 && vicuna.qformer.imageSize == 1408 && vicuna.qformer.readsText)
        #expect(vicuna.imageID == nil && vicuna.text.hiddenSize == 4096)
        let flan = try read(
            #"{"model_type":"instructblip","image_token_id":7,"image_token_index":null,"vision_config":{"hidden_size":64},"qformer_config":{"encoder_hidden_size":9,"model_type":"blip_2_qformer"},"text_config":{"model_type":"t5","d_model":2048}}"#
        )
        #expect(flan.imageID == 7 && flan.qformer.imageSize == 64 && flan.qformer.readsText)
        #expect(flan.text.hiddenSize == 2048)
    }

    @Test("what is not computed is refused by name") func refusals() throws {
        for (text, word) in [
            (#"{"model_type":"blip-2","text_config":{"model_type":"t5"}}"#, "blip-2"),
            (#"{"text_config":{"model_type":"bloom"}}"#, "bloom"), (#"{"text_config":{}}"#, "opt"),
            ("{}", "opt"),
            (#"{"text_config":{"model_type":"t5","d_kv":0}}"#, "d_kv"),
            (#"{"num_query_tokens":0,"text_config":{"model_type":"t5"}}"#, "num_query_tokens"),
            (#"{"image_token_index":"x","text_config":{"model_type":"t5"}}"#, "image_token_index"),
            (
                #"{"vision_config":{"num_attention_heads":3},"text_config":{"model_type":"t5"}}"#,
                "hidden_size"
            ),
            (#"{"qformer_config":{"hidden_act":"relu"},"text_config":{"model_type":"t5"}}"#, "hidden_act"),
        ] {
            try checkRefused(text, word) { _ = try InstructBLIPConfiguration($0, source: "config.json") }
        }
    }
}
