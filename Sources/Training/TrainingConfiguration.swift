import Backbones
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
    /// How to adapt: `dvp`, or `dvp-scienceqa`, DVP's own program for ScienceQA.
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
    /// The split to score after every epoch; nil: none, or held-out images.
    public let validationSplit: String?
    /// Whether the test split is among the validation splits.
    var validatesOnTest: Bool {
        validationSplit?.split(separator: "+").contains { $0 == testSplit } ?? false
    }
    /// Images of the last training split to hold out for validation; nil: none, or in a search as many as it needs.
    public let holdoutImages: Int?
    /// Which epoch's adapter is kept.
    public let selectEpoch: EpochSelection
    /// The split to score at the end.
    public let testSplit: String
    /// Only the first so many questions of every split; nil: all.
    public let limit: Int?
    /// Share of unreadable images, 0…1, to skip before stopping.
    public let brokenImageShare: Double
    /// BERT, T5 or decoder: folder, GGUF file or short name.
    public let languageModel: String
    /// How its frozen weights are kept; `auto` as they are multiplied.
    public let frozenFormat: WeightFormat
    /// Image encoder: folder, file or short name.
    public let visionModel: String
    /// Side of the input in pixels; nil: the model's own.
    public let imageSize: Int?
    /// Tokens of a question, cut there; nil: as many as the method reads.
    public let maxTextLength: Int?
    /// Where `{question}` stands for the question, for a model that writes.
    public let prompt: String
    /// The most tokens of an answer that is written.
    public let maxNewTokens: Int
    /// A file with the answers to choose from; nil: those of the data set, or counted.
    public let answerList: String?
    /// Answers as frequent as this form the vocabulary, when the data set has no list of its own.
    public let answerMinimumCount: Int
    // DVP
    /// What DVP adds to the language model, and where.
    public let dvp: DVPSettings
    /// What DVP's ScienceQA program adds, and how it reads and answers; nil for other methods.
    public let scienceQA: ScienceQAPlan?
    /// How the placement is searched for.
    public let search: SearchPlan
    /// An adapter, or a checkpoint of the release, to begin with.
    public let loadPath: String?
    /// Test what ``loadPath`` holds, without training.
    public let testOnly: Bool
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

    /// Which epoch's adapter is kept.
    public enum EpochSelection: String, Sendable, CaseIterable {
        /// The one that scored best on the validation split.
        case best
        case last
    }

    /// Reads a configuration; every problem found is reported, one line each.
    public init(_ source: ConfigurationSource) throws {
        var reader = ConfigurationReader(source)
        name = reader.string("name", default: source.stem, aliases: ["exp_name"], help: "name of the run")
        method = reader.choice(
            "method", default: "dvp", of: ["dvp", "dvp-scienceqa"],
            help: "how to adapt: dvp, or dvp-scienceqa, DVP's own program for ScienceQA")
        let isScienceQA = method == "dvp-scienceqa"
        let presetName = reader.choice(
            "preset", default: Preset.fixed.rawValue, of: ["released", "paper", "fixed"],
            help: "released: the authors' code; fixed: the repaired method. Sets the defaults of what follows"
        )
        preset = Preset(rawValue: presetName) ?? .released
        if presetName == "paper" {
            reader.report(
                "preset", because: "nothing is known in which DVP's paper differs from its code",
                remedy: "use released")
        }
        seed = reader.integer("seed", default: 0, in: 0...Int(Int32.max), help: "of everything random")
        let family = reader.string(
            "task", default: isScienceQA ? "scienceqa" : "easy-vqa",
            help: "data set family: easy-vqa, vqav2, gqa, snli-ve, table, …")
        task = (try? TaskRegistry.named(family).name) ?? family
        dataRoot = reader.optionalString(
            "data_root", help: "folder of the data set; null: the easy-VQA that make setup brings")
        trainSplits = reader.strings(
            "train_split", default: ["train"], help: "split, or list of splits, to train on")
        validationSplit = reader.optionalString(
            "validation_split", help: "split to score after every epoch; dev+test is two")
        holdoutImages = reader.optionalInteger(
            "holdout_images", in: 1 ... .max,
            help: "hold out so many images of the last training split for validation")
        selectEpoch = reader.choice(
            "select_epoch",
            default: validationSplit == nil && holdoutImages == nil ? EpochSelection.last : .best,
            help: "keep the adapter of the best epoch, by validation, or of the last")
        testSplit = reader.string("test_split", default: "test", help: "split to score at the end")
        limit = reader.optionalInteger(
            "limit", in: 1 ... .max, help: "use the first so many questions of every split")
        brokenImageShare = reader.number(
            "broken_image_share", default: 0, in: 0...1,
            help: "share of unreadable images to skip before stopping")
        languageModel = reader.string(
            "language_model", default: isScienceQA ? "smollm2" : "minilm", aliases: ["tokenizer"],
            help: "BERT, T5 or decoder: folder, GGUF file or short name")
        frozenFormat = reader.choice(
            "frozen_format", default: WeightFormat.automatic,
            help:
                "how T5's and decoders' frozen weights are kept: auto, float32, bfloat16, float16, int8, int4"
        )
        visionModel = reader.string(
            "vision_model", default: "efficientnet-lite0", aliases: ["clip_model"],
            help: "image encoder: folder, file or short name")
        imageSize = reader.optionalInteger(
            "image_size", in: 1...4096, help: "side of the input; null: the model's own")
        if isScienceQA {
            (maxTextLength, prompt, maxNewTokens) = (nil, DVPReader.defaultPrompt, 64)
            (answerList, answerMinimumCount, dvp) = (nil, 9, .fixed)
            scienceQA = TrainingConfiguration.readScienceQA(&reader, preset)
        } else {
            maxTextLength = reader.optionalInteger(
                "max_text_len", in: 3...65536,
                help: "tokens of a question, cut there; null: 16 for BERT and T5, no limit for decoders")
            prompt = reader.string(
                "prompt", default: DVPReader.defaultPrompt, help: "what a model that writes reads")
            maxNewTokens = reader.integer(
                "max_new_tokens", default: 16, in: 1...4096, help: "the most tokens of a written answer")
            answerList = reader.optionalString(
                "answer_list",
                help:
                    "file with the answers to choose from: a JSON list, what a run saved, or GQA's dictionary"
            )
            answerMinimumCount = reader.integer(
                "answer_min_count", default: ["gqa", "snli-ve"].contains(task) ? 1 : 9, in: 1 ... .max,
                help:
                    "answers as frequent as this form the vocabulary, when the data set has no list of its own"
            )
            dvp = TrainingConfiguration.readDVP(&reader, preset, task: task)
            scienceQA = nil
        }
        search = TrainingConfiguration.readSearch(&reader, preset, isScienceQA: isScienceQA)
        loadPath = reader.optionalString(
            "load_path", help: "adapter folder, or checkpoint of the release, to begin with")
        testOnly = reader.bool("test_only", default: false, help: "test what load_path holds; no training")
        if testOnly, loadPath == nil { reader.report("test_only", because: "load_path is not given") }

        let released = preset == .released
        batchSize = reader.integer(
            "batch_size", default: isScienceQA ? 32 : released ? 256 : 64, in: 1...65536,
            help: "questions a step")
        accumulation = TrainingConfiguration.readAccumulation(&reader, batchSize)
        epochs = reader.integer(
            "max_epoch", default: isScienceQA ? 20 : 10, in: 1...10000, help: "passes over the training data")
        maxSteps = reader.optionalInteger("max_steps", in: 1 ... .max, help: "stop after so many steps")
        learningRate = reader.number(
            "learning_rate",
            default: isScienceQA ? 1.25e-3 : released && !dvp.usesAdapters ? 1e-4 : 1e-3, in: 0...10,
            aliases: ["lr"], help: "peak")
        headRateScale = reader.number(
            "lr_mult", default: released && !isScienceQA ? 10 : 1, in: 0...1000,
            help: "the head's learning rate is so many times higher")
        weightDecay = reader.number("weight_decay", default: isScienceQA ? 0.05 : 0.01, in: 0...1)
        let warmup = reader.number(
            "warmup_steps", default: 0.1, in: 0...1e9, help: "below 1 a share of all steps, else their number"
        )
        self.warmup = warmup < 1 ? .share(warmup) : .steps(Int(warmup))
        // The release's two programs train differently: the ScienceQA one as it is repaired, but for AdamW's second beta.
        decay = TrainingConfiguration.readDecay(&reader, released && !isScienceQA)
        optimizer = TrainingConfiguration.readOptimizer(
            &reader, released && !isScienceQA, beta2: isScienceQA ? 0.95 : released ? 0.98 : 0.999)
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

    /// The release gives the questions that a GPU computes at once in place of the parts of a batch.
    private static func readAccumulation(_ reader: inout ConfigurationReader, _ batchSize: Int) -> Int {
        let atOnce = reader.optionalInteger(
            "per_gpu_batchsize", in: 1...65536,
            help: "questions computed at once, as the release says it; null: see accumulation")
        let devices =
            reader.integer("num_gpus", default: 1, in: 1...4096, help: "of the release's command lines")
            * reader.integer("num_nodes", default: 1, in: 1...4096, help: "of the release's command lines")
        let implied = atOnce.map { max(1, batchSize / ($0 * devices)) }
        return reader.integer(
            "accumulation", default: implied ?? 1, in: 1...4096,
            help: "parts a batch is computed in, to save memory")
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

    private static func readOptimizer(_ reader: inout ConfigurationReader, _ released: Bool, beta2: Double)
        -> OptimizerKind
    {
        let name = reader.choice(
            "optim_type", default: released ? "adamw_original" : "adamw",
            of: ["adamw", "adamw_original", "adam", "sgd"],
            help: "adamw: PyTorch's; adamw_original: the early Hugging Face form the release trains with")
        return switch name {
        case "adamw_original": .adamWOriginal(beta2: beta2)
        case "adam": .adam(beta2: beta2)
        case "sgd": .sgd(momentum: 0.9)
        default: .adamW(beta2: beta2)
        }
    }
}

/// The file that a configuration's name stands for: the path itself, or `Examples/NAME.yaml` of this or a higher folder,
/// such as `dvp_adaption_bert_vqa`.
public func namedConfiguration(_ name: String) -> String {
    guard !fileExists(name), !name.contains("/"), !name.hasSuffix(".yaml") else { return name }
    return findUpwards("Examples/\(name).yaml") ?? name
}
