import Methods
import Runs
import Support
import Tasks
import Torch

/// Everything that decides a training run: one YAML file with `key=value` on top. Where the methods' releases have a
/// name for a setting, it is the key.
public struct TrainingConfiguration {
    /// The type of the frozen weights and matrix products.
    public enum Precision: String, Sendable, CaseIterable {
        /// The fastest safe one, timed at start.
        case auto
        case float32
        case bfloat16
    }

    // What, on what
    /// Name of the run; by default that of the file.
    public let name: String
    /// How to adapt: `dvp`.
    public let method: String
    /// Where the defaults come from.
    public let preset: Preset
    /// Of everything random.
    public let seed: Int
    /// Data set family, such as `easy-vqa`.
    public let task: String
    /// The root of the data set; nil for the embedded easy-VQA.
    public let dataRoot: String?
    /// The splits to train on, joined.
    public let trainSplits: [String]
    /// The split to score after every epoch; nil: none.
    public let validationSplit: String?
    /// The split to score at the end.
    public let testSplit: String
    /// Only the first so many questions of every split; nil: all.
    public let limit: Int?
    /// Share of unreadable images, 0…1, to skip before stopping.
    public let brokenImageShare: Double
    /// BERT folder or short name.
    public let languageModel: String
    /// Image encoder: folder, file or short name.
    public let visionModel: String
    /// Side of the input in pixels; nil: the model's own.
    public let imageSize: Int?
    /// Tokens of a question, cut there.
    public let maxTextLength: Int
    /// Answers as frequent as this form the vocabulary, when the data set has no list of its own.
    public let answerMinimumCount: Int
    // DVP
    /// What DVP adds to the language model, and where.
    public let dvp: DVPSettings
    // Optimisation
    /// Questions a step.
    public let batchSize: Int
    /// Parts a batch is computed in, to save memory.
    public let accumulation: Int
    /// Passes over the training data.
    public let epochs: Int
    /// Stop after so many steps; nil: after the epochs.
    public let maxSteps: Int?
    /// The peak of the learning rate.
    public let learningRate: Double
    /// The head's learning rate is so many times higher.
    public let headRateScale: Double
    /// Weight decay, 0…1; ``DVPLearner`` spares biases and norms.
    public let weightDecay: Double
    /// How long the learning rate climbs to its peak.
    public let warmup: Warmup
    /// How it falls afterwards.
    public let decay: Schedule.Decay
    /// The update rule.
    public let optimizer: OptimizerKind
    /// Scale gradients down to this length; nil: leave them.
    public let clip: Double?
    /// Of the frozen weights and matrix products.
    public let precision: Precision
    /// Threads of tensor operations; nil: one a core.
    public let threads: Int?
    // Speed and safety
    /// Where features of frozen encoders are kept.
    public let cacheFolder: String
    /// Compute the frozen layers below the prompt once a question.
    public let cachesFeatures: Bool
    /// Put questions of similar length into one batch.
    public let groupsByLength: Bool
    /// Steps between checkpoints.
    public let checkpointEvery: Int
    /// Measure what can be had without looking at images.
    public let baselines: Bool
    /// As resolved, for the run folder.
    public let resolved: ResolvedConfiguration

    /// A share of all steps, or a number of them.
    public enum Warmup: Sendable, Equatable {
        case share(Double)
        case steps(Int)

        func steps(of total: Int) -> Int {
            switch self {
            case .share(let share): Int(Double(total) * share)
            case .steps(let steps): steps
            }
        }
    }

    /// `released` reproduces the authors' code, `fixed` is the repaired method.
    public enum Preset: String, Sendable, CaseIterable { case released, fixed }

    /// Reads a configuration; every problem found is reported, one line each.
    public init(_ source: ConfigurationSource) throws {
        var reader = ConfigurationReader(source)
        name = reader.string("name", default: source.stem, aliases: ["exp_name"], help: "name of the run")
        method = reader.choice("method", default: "dvp", of: ["dvp"], help: "how to adapt")
        preset = reader.choice(
            "preset", default: Preset.fixed,
            help: "released: the authors' code; fixed: the repaired method. Sets the defaults of what follows"
        )
        seed = reader.integer("seed", default: 0, in: 0...Int(Int32.max), help: "of everything random")
        task = reader.string("task", default: "easy-vqa", help: "data set family: easy-vqa, vqav2, table")
        dataRoot = reader.optionalString(
            "data_root", help: "folder of the data set; null: the easy-VQA that make setup brings")
        trainSplits = reader.strings(
            "train_split", default: ["train"], help: "split, or list of splits, to train on")
        validationSplit = reader.optionalString("validation_split", help: "split to score after every epoch")
        testSplit = reader.string("test_split", default: "test", help: "split to score at the end")
        limit = reader.optionalInteger(
            "limit", in: 1 ... .max, help: "use the first so many questions of every split")
        brokenImageShare = reader.number(
            "broken_image_share", default: 0, in: 0...1,
            help: "share of unreadable images to skip before stopping")
        languageModel = reader.string(
            "language_model", default: "minilm", aliases: ["tokenizer"], help: "BERT folder or short name")
        visionModel = reader.string(
            "vision_model", default: "efficientnet-lite0", aliases: ["clip_model"],
            help: "image encoder: folder, file or short name")
        imageSize = reader.optionalInteger(
            "image_size", in: 1...4096, help: "side of the input; null: the model's own")
        maxTextLength = reader.integer(
            "max_text_len", default: 16, in: 3...512, help: "tokens of a question, cut there")
        answerMinimumCount = reader.integer(
            "answer_min_count", default: 9, in: 1 ... .max,
            help: "answers as frequent as this form the vocabulary, when the data set has no list of its own")
        dvp = TrainingConfiguration.readDVP(&reader, preset)

        let released = preset == .released
        batchSize = reader.integer(
            "batch_size", default: released ? 256 : 64, in: 1...65536, help: "questions a step")
        accumulation = reader.integer(
            "accumulation", default: 1, in: 1...4096, help: "parts a batch is computed in, to save memory")
        epochs = reader.integer(
            "max_epoch", default: 10, in: 1...10000, help: "passes over the training data")
        maxSteps = reader.optionalInteger("max_steps", in: 1 ... .max, help: "stop after so many steps")
        learningRate = reader.number(
            "learning_rate", default: released ? (dvp.usesAdapters ? 1e-3 : 1e-4) : 1e-3, in: 0...10,
            aliases: ["lr"],
            help: "peak")
        headRateScale = reader.number(
            "lr_mult", default: released ? 10 : 1, in: 0...1000,
            help: "the head's learning rate is so many times higher")
        weightDecay = reader.number("weight_decay", default: 0.01, in: 0...1)
        let warmup = reader.number(
            "warmup_steps", default: 0.1, in: 0...1e9, help: "below 1 a share of all steps, else their number"
        )
        self.warmup = warmup < 1 ? .share(warmup) : .steps(Int(warmup))
        decay = TrainingConfiguration.readDecay(&reader, released)
        optimizer = TrainingConfiguration.readOptimizer(&reader, released)
        clip = reader.optionalNumber("clip", in: 1e-9...1e6, help: "scale gradients down to this length")
        precision = reader.choice(
            "precision", default: released ? Precision.float32 : .auto,
            otherNames: ["32": .float32, "16": .bfloat16],
            help: "of the frozen weights and matrix products; auto times them at start")
        threads = reader.optionalInteger("threads", in: 1...1024, help: "null: one a core")
        cacheFolder = reader.string(
            "cache_dir", default: "runs/cache", help: "where features of frozen encoders are kept")
        cachesFeatures = reader.bool(
            "cache_features", default: true,
            help: "compute the frozen layers below the prompt once a question")
        groupsByLength = reader.bool(
            "group_by_length", default: true, help: "put questions of similar length into one batch")
        checkpointEvery = reader.integer("checkpoint_every", default: 500, in: 1 ... .max, help: "steps")
        baselines = reader.bool(
            "baselines", default: true, help: "measure what can be had without looking at images")
        resolved = try reader.finish()
    }

    private static func readDVP(_ reader: inout ConfigurationReader, _ preset: Preset) -> DVPSettings {
        var settings = preset == .released ? DVPSettings.released : .fixed
        settings.insertLayer = reader.integer(
            "insert_layer", default: 0, in: 0...1000,
            help: "layer at whose input the visual prompt enters, from 0")
        settings.usesAdapters = reader.bool(
            "use_adapter", default: preset == .fixed,
            help: "train adapters and norms; false: all of the language model")
        settings.freezesBelowInsertion = reader.bool(
            "freeze_below", default: settings.freezesBelowInsertion,
            help: "leave the layers below the prompt as they are, which lets them be computed once a question"
        )
        settings.hasVisualNorm = reader.bool(
            "visual_norm", default: settings.hasVisualNorm, help: "layer norm on the image features")
        settings.adapterReduction = reader.integer(
            "adapter_reduction", default: settings.adapterReduction, in: 1...4096, help: "width / bottleneck")
        let start = reader.choice(
            "adapter_init", default: "normal", of: ["normal", "identity"],
            help: "normal: N(0, 0.01), as released; identity: adapters change nothing at first")
        settings.adapterStart = start == "identity" ? .identity : .normal
        settings.typeDeviation = reader.number(
            "type_init", default: settings.typeDeviation, in: 0...10,
            help: "deviation of the type embedding at first")
        settings.heads = reader.integer(
            "num_heads", default: settings.heads, in: 1...1024, help: "of the cross-attention")
        settings.dropout = reader.number(
            "drop_rate", default: settings.dropout, in: 0...0.99, help: "dropout")
        return settings
    }

    private static func readDecay(_ reader: inout ConfigurationReader, _ released: Bool) -> Schedule.Decay {
        let name = reader.string(
            "decay_power", default: released ? "1" : "cosine",
            help: "cosine, constant, or the power of a polynomial: 1 is linear")
        let end = reader.number(
            "end_lr", default: 0, in: 0...10, help: "where a polynomial ends, as a share of the peak")
        switch name {
        case "cosine": return .cosine
        case "constant": return .constant
        default:
            guard let power = Double(name), power > 0, power < 100 else {
                reader.report("decay_power", because: "\(name) is neither cosine nor constant nor a power")
                return .cosine
            }
            return .polynomial(power: power, end: end)
        }
    }

    private static func readOptimizer(_ reader: inout ConfigurationReader, _ released: Bool) -> OptimizerKind
    {
        let name = reader.choice(
            "optim_type", default: released ? "adamw_original" : "adamw",
            of: ["adamw", "adamw_original", "adam", "sgd"],
            help: "adamw: PyTorch's; adamw_original: the early Hugging Face form the release trains with")
        let beta2 = released ? 0.98 : 0.999
        return switch name {
        case "adamw_original": .adamWOriginal(beta2: beta2)
        case "adam": .adam(beta2: beta2)
        case "sgd": .sgd(momentum: 0.9)
        default: .adamW(beta2: beta2)
        }
    }
}
