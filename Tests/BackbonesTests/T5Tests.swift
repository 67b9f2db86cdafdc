import Backbones
import Checkpoints
import Support
import Testing
import Torch

/// Tiny T5 of both versions against what transformers computes with them; made by Tools/goldens/t5.py.
@Suite(.serialized) struct T5Tests {
    static let cases = ["v10-short", "v10-long", "v11-short", "v11-long"]

    static func tensors(_ name: String) throws -> [String: Tensor] {
        try ReferenceTests.tensors("t5/\(name).safetensors")
    }

    static func configuration(_ name: String) throws -> T5Configuration {
        let path = ReferenceTests.fixture("t5/\(name)/config.json")
        return try T5Configuration(JSON(contentsOf: path), source: path)
    }

    /// The model of a case: `v10` for `v10-short`.
    static func model(_ name: String) throws -> T5 {
        try T5(folder: ReferenceTests.fixture("t5/\(name.prefix(3))"))
    }

    static func close(_ found: Tensor?, _ wanted: Tensor?) throws -> Bool {
        try ReferenceTests.close(found, wanted)
    }

    /// Whether rows of real tokens are equal; the others are zeroed.
    static func close(_ found: Tensor, _ wanted: Tensor, where mask: Tensor) throws -> Bool {
        let mask = try mask.to(.float32).unsqueezed(2)
        return try close(found * mask, wanted * mask)
    }

    @Test("the configuration is read, whichever version of the reference wrote it") func configurations()
        throws
    {
        let old = try Self.configuration("v10")
        #expect(old.activation == .relu && !old.isGated && old.scalesOutput && !old.hasHead)
        #expect(old.headSize * old.heads != old.hiddenSize && old.startID == 3 && old.endIDs == [1])
        let new = try Self.configuration("v11")
        #expect(new.activation == .geluTanh && new.isGated && !new.scalesOutput)
        // Flan-T5's own file says it by the other key.
        let flan = try JSON(
            parsing: Array(
                #"{"model_type":"t5","feed_forward_proj":"gated-gelu","tie_word_embeddings":false}"#.utf8),
            source: "c")
        let read = try T5Configuration(flan, source: "c")
        #expect(read.activation == .geluTanh && read.isGated && !read.scalesOutput && read.hasHead)
        for (name, activation, gated) in [
            ("gelu", T5Configuration.Activation.gelu, false), ("gated-silu", .silu, true),
            ("gelu_new", .geluTanh, false),
        ] {
            let json = try JSON(parsing: Array(#"{"feed_forward_proj":"\#(name)"}"#.utf8), source: "c")
            let read = try T5Configuration(json, source: "c")
            #expect(read.activation == activation && read.isGated == gated)
        }
    }

    @Test("a configuration that is not computed is refused by name") func refusals() throws {
        for (text, word) in [
            (#"{"model_type":"umt5"}"#, "umt5"), (#"{"feed_forward_proj":"gated-tanh"}"#, "gated-tanh"),
            (#"{"feed_forward_proj":"twice-gated-gelu"}"#, "twice-gated-gelu"),
            (#"{"num_layers":5000}"#, "5000"),
            (#"{"relative_attention_num_buckets":2}"#, "buckets"), (#"{"d_kv":0}"#, "d_kv"),
            (#"{"relative_attention_max_distance":16}"#, "16"), (#"{"decoder_start_token_id":-3}"#, "-3"),
            (#"{"eos_token_id":99999999}"#, "99999999"),
        ] {
            let json = try JSON(parsing: Array(text.utf8), source: "config.json")
            let error = #expect(throws: VQAError.self, "\(text)") {
                _ = try T5Configuration(json, source: "config.json")
            }
            #expect(error?.description.contains(word) == true, "\(text)")
        }
    }

    @Test("position buckets equal the reference's at every distance") func buckets() throws {
        let expected = try Self.tensors("buckets")
        let distances = try #require(expected["distances"])
        for (count, maximum) in [(32, 128), (8, 20), (12, 25), (33, 100)] {
            for both in [true, false] {
                let found = try T5.bucket(
                    distances, isBidirectional: both, buckets: count, maximumDistance: maximum)
                let key = "\(count).\(maximum).\(both ? "both" : "one")"
                #expect(try found.integers() == expected[key]?.integers(), "\(key)")
            }
        }
    }

    @Test("states, logits and input gradients of padded batches equal the reference", arguments: cases)
    func states(_ name: String) throws {
        let model = try Self.model(name)
        let expected = try Self.tensors(name)
        let ids = try #require(expected["ids"])
        let decoderIDs = try #require(expected["decoder_ids"])
        let (mask, decoderMask) = (try ids .!= 0, try decoderIDs .!= 0)
        let inputs = try model.embed(ids).detached()
        let targets = try model.embed(decoderIDs).detached()
        try inputs.requireGradient()
        try targets.requireGradient()
        var found: [String: Tensor] = [:]
        let pass = T5Pass(
            tap: Tap(Set(TapSite.allCases)) { site, layer, tensor in
                found["\(site.rawValue).\(layer)"] = tensor
                return tensor
            })
        let encoded = try model.encode(inputs, mask: mask, pass: pass)
        let hidden = try model.decode(
            targets, memory: model.memory(encoded, mask: mask), mask: decoderMask, pass: pass)
        let logits = try model.logits(hidden)

        let (first, second) = (model.encoder.blocks.count, model.decoder.blocks.count)
        for layer in 0..<first {
            #expect(
                try Self.close(found["blockInput.\(layer)"], expected["encoder.state.\(layer)"]), "\(layer)")
        }
        #expect(try Self.close(encoded, expected["encoder.state.\(first)"]))
        #expect(try Self.close(found["finalNorm.\(first)"], expected["encoder.state.\(first)"]))
        for layer in 0..<second {
            let state = try #require(expected["decoder.state.\(layer)"])
            let ours = try #require(found["blockInput.\(first + layer)"])
            #expect(try Self.close(ours, state, where: decoderMask), "\(layer)")
        }
        #expect(try Self.close(hidden, try #require(expected["decoder.state.\(second)"]), where: decoderMask))
        #expect(try Self.close(logits, try #require(expected["logits"]), where: decoderMask))
        let weight = try Tensor.arange(0, Double(logits.count), .float32).sin().reshaped(logits.shape)
        try (logits * weight * decoderMask.to(.float32).unsqueezed(2)).sum().backward()
        #expect(try Self.close(inputs.gradient(), expected["gradient"]))
        #expect(try Self.close(targets.gradient(), expected["decoder_gradient"]))
        guard name.hasSuffix("short") else { return }
        for layer in 0..<(first + second) {
            let stack = layer < first ? "encoder.\(layer)" : "decoder.\(layer - first)"
            for (site, key) in [
                ("headOutput", "heads"), ("attentionOutput", "SelfAttention"), ("mlpOutput", "mlp"),
                ("crossAttentionOutput", "EncDecAttention"),
            ] where layer >= first || key != "EncDecAttention" {
                #expect(
                    try Self.close(found["\(site).\(layer)"], expected["tap.\(stack).\(key)"]),
                    "\(site) \(layer)")
            }
        }
        #expect(found.count == 6 * (first + second) + second + 2)
    }

    @Test("greedy tokens and their scores equal the reference's generation", arguments: cases)
    func greedy(_ name: String) throws {
        let model = try Self.model(name)
        let expected = try Self.tensors(name)
        let ids = try #require(expected["ids"])
        let scores = try #require(expected["scores"])
        let mask = try ids .!= 0
        let session = try T5Session(
            model, encoded: model.encode(model.embed(ids), mask: mask), mask: mask, maxNewTokens: 12)
        var answer: [[Int]] = []
        var logits = try session.start()
        for index in 0..<12 {
            #expect(try Self.close(logits, scores.selected(0, index)), "step \(index)")
            answer.append(try logits.argmax(1).integers())
            if index < 11 { logits = try session.step(answer[index]) }
        }
        let wanted = try #require(expected["generated"])
        #expect(try answer.flatMap { $0 } == wanted.transposed(0, 1).contiguous().integers())
    }

    @Test(
        "a session of reordered, doubled and dropped rows equals fresh ones",
        arguments: ["v10-long", "v11-short"])
    func reordering(_ name: String) throws {
        let model = try Self.model(name)
        let ids = try #require(Self.tensors(name)["ids"])
        let mask = try ids .!= 0
        let encoded = try model.encode(model.embed(ids), mask: mask)
        let session = try T5Session(model, encoded: encoded, mask: mask, prompt: [3, 7], maxNewTokens: 9)
        _ = try session.start()
        let order = [1, 0, 0, 1, 0]
        try session.reorder(order)
        _ = try session.step([4, 5, 6, 7, 8])
        try session.reorder([0, 2, 1, 3, 4])  // the beams of row 0 change places
        _ = try session.step([9, 10, 11, 12, 13])
        try session.reorder([4, 3, 1])
        let found = try session.step([20, 21, 22])
        #expect(session.rows == 3)
        let rows = try Tensor([0, 1, 0])
        let (someMask, some) = (try mask.selected(0, indices: rows), try encoded.selected(0, indices: rows))
        let history = try Tensor([3, 7, 8, 13, 20, 3, 7, 7, 12, 21, 3, 7, 6, 10, 22], [3, 5])
        let whole = try model.decode(model.embed(history), memory: model.memory(some, mask: someMask))
        #expect(try Self.close(found, model.logits(whole).selected(1, 4)))
    }

    @Test("a session refuses misuse with an error") func misuse() throws {
        let model = try Self.model("v10")
        let encoded = try model.encode(model.embed(Tensor([4, 5, 6], [1, 3])))
        let session = try T5Session(model, encoded: encoded, maxNewTokens: 2)
        #expect(throws: VQAError.self) { try session.step([4]) }
        _ = try session.start()
        #expect(throws: VQAError.self) { try session.start() }
        #expect(throws: VQAError.self) { try session.step([4, 5]) }
        #expect(throws: VQAError.self) { try session.reorder([1]) }
        #expect(throws: VQAError.self) { try session.reorder([-1]) }
        _ = try session.step([4])
        _ = try session.step([5])
        #expect(throws: VQAError.self) { try session.step([6]) }
        #expect(throws: TorchError.self) {
            try T5Session(model, encoded: encoded, prompt: [], maxNewTokens: 2)
        }
        #expect(throws: VQAError.self) { try T5Session(model, encoded: encoded, maxNewTokens: .max) }
    }

    @Test("generating leaves no tensor behind and records no gradient") func leaks() throws {
        var model = try Self.model("v11")
        try model.setTrainable { _ in true }
        func run() throws {
            let encoded = try model.encode(model.embed(Tensor([4, 5, 6, 7], [2, 2])))
            let session = try T5Session(model, encoded: encoded, maxNewTokens: 3)
            #expect(try !session.start().requiresGradient)
            try session.reorder([1, 1])
            #expect(try !session.step([3, 4]).requiresGradient)
        }
        try run()
        let before = Engine.liveTensors()
        try run()
        #expect(Engine.liveTensors() == before)
    }

    @Test("ranges of blocks one after another equal the whole; a range beyond the end is an error")
    func ranges() throws {
        let model = try Self.model("v10")
        let ids = try #require(Self.tensors("v10-long")["ids"])
        let mask = try ids .!= 0
        let embedded = try model.embed(ids)
        var hidden = try model.encode(embedded, mask: mask, layers: 0..<1)
        hidden = try model.encode(hidden, mask: mask, layers: 1..<3)
        let encoded = try model.encode(embedded, mask: mask)
        #expect(try model.encoder.normed(hidden).floats() == encoded.floats())
        let memory = try model.memory(encoded, mask: mask)
        var decoded = try model.decode(embedded, memory: memory, layers: 0..<0)
        for layer in 0..<2 {
            decoded = try model.decode(decoded, memory: memory, layers: layer..<(layer + 1))
        }
        #expect(
            try model.decoder.normed(decoded).floats() == model.decode(embedded, memory: memory).floats())
        #expect(throws: TorchError.self) { try model.encode(embedded, layers: 2..<4) }
        #expect(throws: TorchError.self) { try model.decode(embedded, memory: memory, layers: -1..<1) }
        #expect(throws: TorchError.self) { try model.encode(ids, layers: 0..<1) }
    }

    @Test(
        "an identity tap changes nothing, a replaced tensor reaches the logits", arguments: TapSite.allCases)
    func taps(_ site: TapSite) throws {
        let model = try Self.model("v11")
        let (inputs, decoderIDs) = (
            try model.embed(Tensor([4, 5, 6], [1, 3])), try Tensor([3, 9], [1, 2])
        )
        let plain = try model(inputs, decoderIDs: decoderIDs).floats()
        let same = T5Pass(tap: Tap([site]) { _, _, tensor in tensor })
        #expect(try model(inputs, decoderIDs: decoderIDs, pass: same).floats() == plain)
        for layer in site == .crossAttentionOutput ? [2, 4] : site == .finalNorm ? [2, 5] : [0, 4] {
            let half = T5Pass(tap: Tap([site]) { _, index, x in index == layer ? try x * 0.5 : x })
            // What enters the first block is scaled away by its norms only in part: the residual keeps it.
            #expect(try model(inputs, decoderIDs: decoderIDs, pass: half).floats() != plain, "\(layer)")
        }
    }

    @Test("older files, which repeat the word table, load to the same model") func oldFiles() throws {
        let weights = try Self.tensors("v10/model")
        let configuration = try Self.configuration("v10")
        let table = try #require(weights["shared.weight"])
        var old = weights
        for name in ["encoder.embed_tokens.weight", "decoder.embed_tokens.weight", "lm_head.weight"] {
            old[name] = table
        }
        old["decoder.block.0.layer.1.EncDecAttention.relative_attention_bias.weight"] = try .zeros([8, 5])
        let plain = try Self.model("v10").parameters()
        var nameless = old
        nameless["shared.weight"] = nil
        let joined = Dictionary(uniqueKeysWithValues: old.map { ("language_model." + $0.key, $0.value) })
            .merging(["query_tokens": try .zeros([2])]) { first, _ in first }
        for (weights, prefix) in [(old, ""), (nameless, ""), (joined, "language_model.")] {
            let read = try T5(configuration, weights: weights, prefix: prefix, source: "m").parameters()
            #expect(read.map(\.key) == plain.map(\.key))
            for (a, b) in zip(read, plain) { #expect(try a.tensor.bytes() == b.tensor.bytes()) }
        }
        old["decoder.embed_tokens.weight"] = try table * 2
        let error = #expect(throws: VQAError.self) { try T5(configuration, weights: old, source: "m") }
        #expect(error?.description.contains("decoder.embed_tokens.weight") == true)
    }

    @Test("a head that the configuration promises and the file lacks is an error; so is a stray key")
    func strict() throws {
        var configuration = try Self.configuration("v11")
        configuration.hasHead = true
        var weights = try Self.tensors("v11/model")
        #expect(try T5(configuration, weights: weights, source: "m").head != nil)
        weights["lm_head.weight"] = nil
        var error = #expect(throws: VQAError.self) { try T5(configuration, weights: weights, source: "m") }
        #expect(error?.description.contains("lm_head.weight") == true)
        configuration.hasHead = false
        #expect(try T5(configuration, weights: weights, source: "m").head == nil)
        weights["encoder.block.7.layer.0.layer_norm.weight"] = try .zeros([18])
        error = #expect(throws: VQAError.self) { try T5(configuration, weights: weights, source: "m") }
        #expect(error?.description.contains("encoder.block.7") == true)
    }

    @Test("decoder inputs are the labels moved by one") func shifted() throws {
        let model = try Self.model("v10")
        let ids = try model.decoderIDs(labels: Tensor([7, 8, 1, 9, 1, -100], [2, 3]))
        #expect(try ids.integers() == [3, 7, 8, 3, 9, 1])
        #expect(ids.shape == [2, 3])
        #expect(try model.decoderIDs(labels: Tensor([7, -100, -100], [1, 3])).integers() == [3, 7, 0])
        #expect(throws: TorchError.self) { try model.decoderIDs(labels: Tensor([7, 8])) }
    }

    @Test("a row without any real token stays finite; bfloat16 weights and autocast come near")
    func precision() throws {
        var model = try Self.model("v10")
        let ids = try Tensor([4, 5, 6, 0, 0, 0], [2, 3])
        let decoderIDs = try Tensor([3, 9, 3, 9], [2, 2])
        func run() throws -> Tensor {
            try model(model.embed(ids), mask: ids .!= 0, decoderIDs: decoderIDs).to(.float32)
        }
        let plain = try run()
        #expect(try plain.isFinite().all().integerItem() == 1)
        let cast = try withAutocast(.bfloat16) { try run() }
        #expect(try (cast - plain).abs().max().item() < 0.15 * plain.abs().max().item())
        // The norms stay float32 where a method trains them.
        try model.convertFrozen(to: .bfloat16) { !$0.hasSuffix("layer_norm.weight") }
        let mixed = try withAutocast(.bfloat16) { try run() }
        #expect(try (mixed - plain).abs().max().item() < 0.15 * plain.abs().max().item())
        let session = try withAutocast(.bfloat16) {
            let session = try T5Session(
                model, encoded: model.encode(model.embed(ids)), prompt: [3, 9], maxNewTokens: 2)
            _ = try session.start()
            return try session.step([4, 5])
        }
        #expect(session.dtype == .float32 && session.shape == [2, 43])
        try model.convertFrozen(to: .bfloat16)
        #expect(try (run() - plain).abs().max().item() < 0.15 * plain.abs().max().item())
    }

    @Test("dropout changes the output, comes after the taps, and keeps the mean") func dropout() throws {
        let model = try Self.model("v10")
        let inputs = try model.embed(Tensor([4, 5, 6, 7], [1, 4]))
        var fed: [Float] = []
        let pass = T5Pass(
            dropout: 0.5,
            tap: Tap([.mlpOutput]) { _, _, tensor in
                fed += try tensor.floats()
                return tensor
            })
        let plain = try model.encode(inputs)
        #expect(try model.encode(inputs, pass: pass).floats() != plain.floats())
        #expect(fed.count == 3 * 80 && fed.allSatisfy { $0 != 0 })
        let dropped = try model.encoder.normed(plain, pass: T5Pass(dropout: 0.5)).floats()
        let kept = try model.encoder.normed(plain).floats()
        #expect(zip(dropped, kept).allSatisfy { $0 == 0 || abs($0 - 2 * $1) < 1e-5 })
    }
}
