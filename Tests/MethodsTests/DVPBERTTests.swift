import Backbones
import Checkpoints
import Methods
import Support
import Testing
import Torch

/// The reference numbers of DVP's specification, section 9.1: weights are a fixed function of the parameter's name.
@Suite(.serialized) struct DVPBERTTests {
    static let bert = {
        var configuration = BERTConfiguration()
        configuration.vocabularySize = 32
        configuration.hiddenSize = 16
        configuration.layers = 3
        configuration.heads = 4
        configuration.intermediateSize = 32
        configuration.positions = 16
        return configuration
    }()

    static func network(_ configuration: BERTConfiguration = bert) throws -> DVPLanguage {
        var plain = configuration
        plain.hasPooler = false
        return .bert(try BERT(plain))
    }

    static func model(_ layer: Int, adapters: Bool, _ base: DVPSettings = .released) throws -> DVP {
        var settings = base
        settings.insertLayer = layer
        settings.usesAdapters = adapters
        return try DVPReference.filled(DVP(network(), visualSize: 16, classes: 7, settings))
    }

    static func bert(of model: DVP) throws -> BERT {
        guard case .bert(let bert) = model.language else {
            throw VQAError("no BERT", because: "it is another")
        }
        return bert
    }

    static func text() throws -> (ids: Tensor, mask: Tensor) {
        let ids = try Tensor([2, 5, 9, 11, 3, 0, 0, 0, 2, 7, 8, 3, 0, 0, 0, 0], [2, 8])
        return (ids, try ids .!= 0)
    }

    static let table: [DVPReference.Row] = [
        DVPReference.Row(
            layer: 0, adapters: false, query: [2.933249, 24.853941], prompt: [0.711843, 29.427896],
            feature: [0.874791, 23.712794, 0.789613, 0.232875],
            logits: [0.070559, 11.335067, -0.415362, 1.061978],
            loss: 5.657465),
        DVPReference.Row(
            layer: 1, adapters: false, query: [1.303632, 27.066719], prompt: [0.643603, 29.080137],
            feature: [0.896809, 23.478662, 0.771828, 0.233820],
            logits: [0.072203, 11.278708, -0.402742, 1.049086],
            loss: 5.648151),
        DVPReference.Row(
            layer: 2, adapters: false, query: [0.987650, 25.208086], prompt: [0.474398, 28.149988],
            feature: [0.953054, 23.347938, 0.770981, 0.218935],
            logits: [0.072332, 11.274297, -0.378466, 1.029993],
            loss: 5.641842),
        DVPReference.Row(
            layer: 0, adapters: true, query: [2.933249, 24.853941], prompt: [0.711843, 29.427896],
            feature: [1.524737, 22.312291, 0.702086, 0.095766],
            logits: [0.079381, 11.032728, -0.135658, 0.830838],
            loss: 5.581244),
        DVPReference.Row(
            layer: 1, adapters: true, query: [1.615177, 26.481984], prompt: [0.921401, 30.496112],
            feature: [1.551049, 22.569584, 0.663193, 0.105400],
            logits: [0.080926, 10.979752, -0.127599, 0.821750],
            loss: 5.575198),
        DVPReference.Row(
            layer: 2, adapters: true, query: [1.523589, 23.468102], prompt: [0.907513, 30.283490],
            feature: [1.594282, 22.804989, 0.669849, 0.095824],
            logits: [0.081982, 10.943594, -0.114180, 0.809988],
            loss: 5.571084),
    ]

    @Test("visual tokens equal the specification's") func visualTokens() throws {
        let visual = try DVPReference.visual()
        let (sum, absolute) = try DVPReference.sums(visual)
        #expect(visual.shape == [2, 5, 16])
        #expect(DVPReference.near(sum, -7.001822) && DVPReference.near(absolute, 227.398493))
        let first = try visual.floats().prefix(4)
        for (found, wanted) in zip(first, [3.443585, 2.685650, -0.156479, -2.615676]) {
            #expect(DVPReference.near(Double(found), wanted))
        }
    }

    @Test("every stage equals the specification's numbers", arguments: table)
    func forward(_ row: DVPReference.Row) throws {
        let (ids, mask) = try Self.text()
        let output = try Self.model(row.layer, adapters: row.adapters)(
            ids, mask: mask, visual: DVPReference.visual())
        try DVPReference.expect(output, row)
    }

    @Test("gradients equal the specification's numbers") func gradients() throws {
        let (ids, mask) = try Self.text()
        let model = try Self.model(1, adapters: false)
        let output = try model(ids, mask: mask, visual: DVPReference.visual())
        try softTargetLoss(output.logits, DVPReference.targets()).backward()
        var found: [String: Double] = [:]
        for parameter in try model.parameters() {
            if let gradient = try parameter.tensor.gradient() {
                found[parameter.key] = try DVPReference.sums(gradient).abs
            }
        }
        let wanted = [
            "cross_attn.linear_q.weight": 0.009843, "cross_attn.linear_k.weight": 0.011232,
            "cross_attn.linear_v.weight": 0.048088, "cross_attn.linear_merge.weight": 0.163363,
            "token_type_embeddings.weight": 0.177095, "vqa_classifier.3.weight": 40.666505,
            "bert_model.embeddings.word_embeddings.weight": 0.491308,
            "bert_model.encoder.layer.0.attention.self.query.weight": 0.453625,
            "bert_model.encoder.layer.2.output.dense.weight": 5.638930,
        ]
        for (key, value) in wanted {
            #expect(DVPReference.near(found[key] ?? .nan, value), "\(key): \(found[key] ?? .nan)")
        }
        // The softmax does not see a constant added to every score.
        #expect((found["cross_attn.linear_k.bias"] ?? 1) < 1e-8)
    }

    @Test("parameter counts at BERT-base size equal the specification's") func counts() throws {
        var settings = DVPSettings.released
        settings.usesAdapters = true
        let plain = try Self.network(BERTConfiguration())
        let model = try DVP(plain, visualSize: 768, classes: 3129, settings)
        let all = try model.parameters()
        func count(_ selected: (String) -> Bool) -> Int {
            all.filter { selected($0.key) }.reduce(0) { $0 + $1.tensor.count }
        }
        #expect(count { $0.hasPrefix("bert_model.") } == 108_891_648)
        #expect(count { $0.hasPrefix("adapter_modules.0.") } == 148_320)
        #expect(count { $0.hasPrefix("adapter_modules.") } == 3_559_680)
        #expect(count { $0.hasPrefix("cross_attn.") } == 2_362_368)
        #expect(count { $0.hasPrefix("token_type_embeddings.") } == 1_536)
        #expect(count { $0.hasPrefix("vqa_classifier.") } == 5_993_529)
        #expect(count { $0.hasPrefix("bert_model.") && model.isTrained($0) } == 36_864)
        #expect(count { model.isTrained($0) } == 11_953_977)
        let gqa = try DVP(plain, visualSize: 768, classes: 1843, settings).parameters()
        #expect(
            gqa.filter { $0.key.hasPrefix("vqa_classifier.") }.reduce(0) { $0 + $1.tensor.count } == 4_016_947
        )
    }

    @Test("a layer outside the model is refused", arguments: [-1, 3, 7]) func layerOutOfRange(_ layer: Int)
        throws
    {
        let error = #expect(throws: VQAError.self) { _ = try Self.model(layer, adapters: true) }
        #expect(error?.description.contains("use 0 to 2") == true)
    }

    // MARK: Invariants, specification 9.2

    @Test("the order of the visual tokens does not matter") func tokenOrder() throws {
        let (ids, mask) = try Self.text()
        let model = try Self.model(1, adapters: true)
        let visual = try DVPReference.visual()
        let a = try model(ids, mask: mask, visual: visual).prompt.floats()
        let b = try model(ids, mask: mask, visual: visual.flipped([1])).prompt.floats()
        for (x, y) in zip(a, b) { #expect(abs(x - y) < 1e-5) }
    }

    @Test("at layer 0 the query is the same for every question") func constantQuery() throws {
        let (ids, mask) = try Self.text()
        let query = try Self.model(0, adapters: true)(ids, mask: mask, visual: DVPReference.visual()).query
        #expect(try query.selected(0, 0).floats() == query.selected(0, 1).floats())
        let later = try Self.model(1, adapters: true)(ids, mask: mask, visual: DVPReference.visual()).query
        #expect(try later.selected(0, 0).floats() != later.selected(0, 1).floats())
    }

    @Test("a sample's logits do not depend on the batch or on padding") func batchInvariance() throws {
        let (ids, mask) = try Self.text()
        let model = try Self.model(1, adapters: true, .fixed)
        let visual = try DVPReference.visual()
        let both = try model(ids, mask: mask, visual: visual).logits.selected(0, 1).floats()
        let alone = try model(
            ids.sliced(0, 1, 2).sliced(1, 0, 4), mask: mask.sliced(0, 1, 2).sliced(1, 0, 4),
            visual: visual.sliced(0, 1, 2)
        ).logits.floats()
        for (x, y) in zip(both, alone) { #expect(abs(x - y) < 1e-5) }
    }

    @Test("adapters with a zero up-projection change nothing") func identityAdapters() throws {
        let (ids, mask) = try Self.text()
        let visual = try DVPReference.visual()
        var model = try Self.model(1, adapters: true)
        try model.forEachParameter { slot, tensor in
            if slot.key.contains("up_sampler") { tensor = try .zeros(tensor.shape) }
        }
        let plain = try Self.model(1, adapters: false)(ids, mask: mask, visual: visual).logits.floats()
        // Which kernel attends depends on what is recorded, so the last bits may differ.
        for (x, y) in zip(try model(ids, mask: mask, visual: visual).logits.floats(), plain) {
            #expect(abs(x - y) < 1e-6)
        }
    }

    @Test("without the merge the image cannot be seen") func zeroMerge() throws {
        let (ids, mask) = try Self.text()
        var model = try Self.model(1, adapters: true)
        try model.forEachParameter { slot, tensor in
            if slot.key == "cross_attn.linear_merge.weight" { tensor = try .zeros(tensor.shape) }
        }
        let visual = try DVPReference.visual()
        let seen = try model(ids, mask: mask, visual: visual).logits.floats()
        let blank = try model(ids, mask: mask, visual: visual * 0).logits.floats()
        #expect(seen == blank)
    }

    @Test("computing one position of the last layer equals computing all") func onePosition() throws {
        let (ids, mask) = try Self.text()
        // Frozen keys and values are not computed for one position; trained ones are.
        for isFrozen in [true, false] {
            var model = try Self.model(0, adapters: true)
            try model.setTrainable { !isFrozen && $0.hasSuffix("attention.self.key.weight") }
            let bert = try Self.bert(of: model)
            let hidden = try bert.embeddings(ids).detached()
            try hidden.requireGradient()
            let states = try [
                bert.encode(hidden, mask: mask, layers: 0..<3).selected(1, 1),
                bert.encode(hidden, mask: mask, layers: 0..<3, only: 1).selected(1, 0),
            ]
            let slopes: [Tensor] = try states.map { state in
                try #require(Torch.gradients(of: [state.square().sum()], withRespectTo: [hidden])[0])
            }
            for (x, y) in try zip(states[0].floats(), states[1].floats()) { #expect(abs(x - y) < 1e-5) }
            for (x, y) in try zip(slopes[0].floats(), slopes[1].floats()) {
                #expect(abs(x - y) < 1e-4)
            }
        }
    }

    @Test("`fixed` trains nothing below the prompt") func trainedBelow() throws {
        let model = try Self.model(2, adapters: true, .fixed)
        #expect(!model.isTrained("bert_model.encoder.layer.1.output.LayerNorm.weight"))
        #expect(model.isTrained("bert_model.encoder.layer.2.output.LayerNorm.weight"))
        #expect(!model.isTrained("bert_model.embeddings.LayerNorm.weight"))
        let keys = try model.trainableParameters().map(\.key)
        let adapters = Set(
            keys.filter { $0.hasPrefix("adapter_modules.") }.map { $0.split(separator: ".")[1] })
        #expect(adapters == ["4", "5"])
    }
}
