import Backbones
import Methods
import Runs

/// DVP's own settings, under the release's names where it has one.
extension TrainingConfiguration {
    static func readDVP(
        _ reader: inout ConfigurationReader, _ preset: Preset, task: String
    ) -> DVPSettings {
        var settings = preset == .released ? DVPSettings.released : .fixed
        settings.insertLayer = reader.integer(
            "insert_layer", default: 0, in: 0...1000,
            help: "layer at whose input the visual prompt enters, from 0")
        settings.promptTokens = reader.integer(
            "prompt_tokens", default: 1, in: 1...256, help: "visual prompt tokens")
        settings.answers = reader.choice(
            "answers", default: settings.answers,
            help: "classify: over the answer vocabulary; write: by the language model's own head")
        settings.usesAdapters = reader.bool(
            "use_adapter", default: preset == .fixed,
            help: "train adapters and norms; false: all of the language model")
        settings.freezesBelowInsertion = reader.bool(
            "freeze_below", default: settings.freezesBelowInsertion,
            help: "leave the layers below the prompt as they are, which lets them be computed once a question"
        )
        settings.hasVisualNorm = reader.bool(
            "visual_norm", default: settings.hasVisualNorm, help: "layer norm on the image features")
        readShapes(&reader, &settings)
        settings.loss = reader.choice(
            "loss", default: ["gqa", "snli-ve"].contains(task) ? .oneAnswer : settings.loss,
            help:
                "soft_targets: each answer by itself, as for VQA v2; one_answer: one of all, as for GQA and SNLI-VE"
        )
        settings.dropout = reader.number(
            "drop_rate", default: settings.dropout, in: 0...0.99, help: "dropout")
        settings.t5Query = reader.choice(
            "t5_query", default: settings.t5Query,
            help: "T5's query is the mean over all positions, padding included, or over the valid tokens")
        settings.t5Bias = reader.choice(
            "t5_bias", default: settings.t5Bias,
            help: "blocks of T5 that add the position bias: first_block, as released, or every_block")
        settings.t5IsCausal = reader.bool(
            "t5_causal", default: settings.t5IsCausal,
            help:
                "T5's decoder sees only what stands before; in the release prompt and start token see each other"
        )
        return settings
    }

    /// Null stands for the release's value for the kind of language model.
    private static func readShapes(_ reader: inout ConfigurationReader, _ settings: inout DVPSettings) {
        settings.heads = reader.optionalInteger(
            "num_heads", in: 1...1024,
            help: "of the cross-attention; null: the model's own for BERT and T5, 16 for decoders")
        settings.innerSize = reader.optionalInteger(
            "prompt_width", in: 1...65536,
            help: "width of the cross-attention; null: the model's for BERT and T5, 512 for decoders")
        settings.headSize = reader.optionalInteger(
            "head_width", in: 1...65536,
            help: "width inside the classifier; null: twice the model's for BERT and T5, 512 for decoders")
        settings.adapterReduction = reader.optionalInteger(
            "adapter_reduction", in: 1...4096,
            help: "width / bottleneck; null: 8 for BERT and T5, for decoders a bottleneck of 64")
        settings.adapterStart = optionalChoice(
            &reader, "adapter_init",
            help: "normal: N(0, 0.01); xavier; identity: adapters change nothing at first; null: as released")
        settings.adapterActivation = optionalChoice(
            &reader, "adapter_activation", help: "relu or silu; null: as released")
        settings.adapterScale =
            reader.optionalNumber(
                "adapter_scale", in: 0.001...1000,
                help: "the adapters' output is multiplied by it; null: 10 for decoders, 1 as released")
            ?? settings.adapterScale
        settings.hasPromptNorm =
            reader.optionalBool(
                "prompt_norm",
                help: "bring the prompt to the scale of the text; null: for decoders, not as released")
            ?? settings.hasPromptNorm
        settings.hasPromptResidual =
            reader.optionalBool(
                "prompt_residual", help: "add the query to the prompt; null: for decoders, not as released")
            ?? settings.hasPromptResidual
        settings.promptBias =
            reader.optionalNumber(
                "prompt_bias", in: -100...100,
                help:
                    "added at first to the attention scores of the prompt in a decoder, learnt for each head; null: 2, not as released"
            ) ?? settings.promptBias
        settings.standardizes =
            reader.optionalBool(
                "standardize",
                help:
                    "begin with states of questions and images brought to one size, by the training data; null: for decoders, not as released"
            ) ?? settings.standardizes
        settings.hasTypeEmbedding = reader.optionalBool(
            "type_embedding", help: "null: as released, which is not for decoders")
        settings.typeDeviation = reader.number(
            "type_init", default: settings.typeDeviation, in: 0...10,
            help: "deviation of the type embedding at first")
        settings.headStart = reader.choice(
            "head_init", default: settings.headStart,
            help: "normal: N(0, 0.02); default: PyTorch's, as released for LLaMA on GQA and SNLI-VE")
    }

    private static func optionalChoice<Case: RawRepresentable & CaseIterable>(
        _ reader: inout ConfigurationReader, _ key: String, help: String
    ) -> Case? where Case.RawValue == String {
        guard let word = reader.optionalString(key, help: help) else { return nil }
        guard let found = Case(rawValue: word) else {
            let words = Case.allCases.map(\.rawValue).joined(separator: ", ")
            reader.report(key, because: "\(word) is not one of \(words)")
            return nil
        }
        return found
    }

    /// The placement search.
    static func readSearch(_ reader: inout ConfigurationReader, _ preset: Preset, isScienceQA: Bool)
        -> SearchPlan
    {
        var base = preset == .released ? DVPSearchSettings.released : .fixed
        if isScienceQA {
            // Specification of DVP, 3: ten draws on sixteen problems, and a step two thousand times as large.
            (base.draws, base.scoringBatch) = (10, 16)
            if preset == .released { base.stepSize = 10 }
        }
        var settings = base
        let isStage = reader.bool(
            "search_stage", default: false,
            help: "the configuration is of a search: its max_epoch is the search's own")
        let epochs = reader.number(
            "search_epochs", default: 1, in: 1e-6...10000,
            help: "passes of a search over the training data, when search_stage is false")
        settings.layers = reader.integers(
            "search_layers", default: [], in: 0...1000, help: "layers to choose from; []: all")
        settings.draws = reader.integer(
            "search_sample", default: base.draws, in: 1...1000, help: "layers a search compares after a step")
        settings.scoringBatch =
            reader.optionalInteger(
                "search_batch", in: 1...65536,
                help: "questions they are compared on; null: half of batch_size, 16 for dvp-scienceqa")
            ?? base.scoringBatch
        settings.rule = reader.choice(
            "search_rule", default: base.rule,
            help: "diagonal: only drawn layers move, as released; full: the gradient of the expected score")
        settings.stepSize = reader.number(
            "search_step", default: base.stepSize, in: 0...1000, help: "factor before every update")
        settings.scoresWithDropout = reader.bool(
            "search_dropout", default: base.scoresWithDropout, help: "compare with dropout, as released")
        settings.movesIdleArms = reader.bool(
            "search_moves_idle", default: base.movesIdleArms,
            help: "momentum and decay move the prompts of layers at rest, as released")
        settings.begin = reader.number(
            "search_begin", default: base.begin, in: 0...1,
            help: "share of the steps after which layers are compared; before, they are only trained")
        return SearchPlan(isStage: isStage, epochs: epochs, settings: settings)
    }

    /// What a placement search does.
    public struct SearchPlan: Sendable {
        /// Whether the epochs of the configuration are the search's own.
        public let isStage: Bool
        /// Passes over the training data; used when ``isStage`` is false.
        public let epochs: Double
        /// Of the bandit.
        public let settings: DVPSearchSettings

        /// The layers to choose from, of so many.
        func layers(of count: Int) -> [Int] { settings.layers.isEmpty ? Array(0..<count) : settings.layers }
    }
}
