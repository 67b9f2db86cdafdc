import Backbones
import Methods
import Support
import Testing
import Torch

/// The super-net of the placement search, and checkpoints of the release.
@Suite(.serialized) struct DVPSearchTests {
    private static func search(adapters: Bool, _ base: DVPSettings) throws -> DVP {
        var settings = base
        settings.usesAdapters = adapters
        return try DVPReference.filled(
            DVP(DVPBERTTests.network(), visualSize: 16, classes: 7, settings, searching: [0, 1, 2]))
    }

    @Test(
        "the prompt of a layer, copied out of a search model, gives the same answers",
        arguments: [0, 1, 2])
    func copiedArm(_ layer: Int) throws {
        let (ids, mask) = try DVPBERTTests.text()
        let visual = try DVPReference.visual()
        for adapters in [true, false] {
            let search = try Self.search(adapters: adapters, .released)
            let found = try search(ids, mask: mask, visual: visual, layer: layer).logits.floats()
            var weights: [String: Tensor] = [:]
            for parameter in try search.parameters() {
                weights["state_dict." + parameter.key] = parameter.tensor
            }
            var preferences: [Float] = [0, 0, 0]
            preferences[layer] = 1
            weights["state_dict.layer_alphas"] = try Tensor(preferences, [3])
            let known = DVPReleasedCheckpoint.renamed(weights)
            #expect(DVPReleasedCheckpoint.preferredLayer(weights) == layer)
            var model = try DVPBERTTests.model(layer, adapters: adapters)
            try model.forEachParameter { slot, tensor in
                tensor = try #require(known[slot.key], "\(slot.key)")
            }
            let logits = try model(ids, mask: mask, visual: visual).logits.floats()
            for (x, y) in zip(found, logits) { #expect(abs(x - y) < 1e-6) }
        }
    }

    @Test("with frozen lower layers, only layers above a prompt are adapted") func frozenLower() throws {
        let (ids, mask) = try DVPBERTTests.text()
        let visual = try DVPReference.visual()
        var settings = DVPSettings.fixed
        settings.adapterStart = .normal
        var search = try DVP(
            DVPBERTTests.network(), visualSize: 16, classes: 7, settings, searching: [0, 1, 2])
        try search.prepareTraining(seed: 3, precision: .float32)
        // As training would: everything that is trained moves, norms of all layers included.
        let moved = search
        for parameter in try moved.trainableParameters() {
            try withoutGradients { try parameter.tensor.copy(from: parameter.tensor * 1.5 + 0.1) }
        }
        let query = try search(ids, mask: mask, visual: visual, layer: 2).query.floats()
        let untouched = try #require(search.untouched)
        guard case .bert(let bert) = untouched else {
            throw VQAError("no BERT", because: "it is another")
        }
        let plain = try bert.encode(bert.embeddings(ids), mask: mask, layers: 0..<2).sliced(1, 0, 1).floats()
        #expect(query == plain)
    }

    @Test("the release's names of classifiers and modules are known") func names() throws {
        let tensor = try Tensor.zeros([1])
        let known = DVPReleasedCheckpoint.renamed([
            "state_dict.gqa_classifier.3.weight": tensor, "module.snli_ve_classifier.0.bias": tensor,
            "cross_attn.linear_q.weight": tensor,
            "bert_model.encoder.layer.0.output.LayerNorm.weight": tensor,
        ])
        #expect(
            Set(known.keys) == [
                "vqa_classifier.3.weight", "vqa_classifier.0.bias", "cross_attn.linear_q.weight",
                "bert_model.encoder.layer.0.output.LayerNorm.weight",
            ])
    }
}
