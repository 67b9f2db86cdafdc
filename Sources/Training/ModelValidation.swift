import Backbones
import Checkpoints
import Images
import Methods
import Support
import Tasks
import Tokenizers
import Torch

/// Whether a model can be used: its `config.json`, tokenizer, image settings and weights, held against the
/// architecture without running it.
public struct ModelValidation: Sendable {
    /// The file or folder that was looked at.
    public let path: String
    /// The architecture it was held against, such as `BERT`; nil when it is not known.
    public private(set) var architecture: String?
    /// Everything that was looked at, in the order of the report.
    public private(set) var findings: [Finding] = []

    /// True when the model cannot be used.
    public var isFatal: Bool { findings.contains { $0.grade == .bad } }

    /// For people: a line a finding, then the verdict.
    public var lines: [String] {
        let verdict = isFatal ? "cannot be used" : "can be used"
        return Finding.lines(findings) + [
            "", "\(path) \(verdict)" + (architecture.map { " as \($0)" } ?? ""),
        ]
    }

    /// `{"path", "architecture", "ok", "checks"}`
    public var json: JSON {
        [
            "path": .string(path), "architecture": architecture.map { .string($0) } ?? .null,
            "ok": .bool(!isFatal),
            "checks": .array(findings.map(\.json)),
        ]
    }

    /// Looks at a model's folder, or at a file of weights.
    ///
    /// - Throws: `VQAError` when nothing is there, `TorchError` when libtorch cannot be loaded: the shapes of
    ///   an architecture come from its own modules.
    public init(_ path: String) throws {
        guard fileExists(path) else {
            throw VQAError("cannot validate the model", at: path, because: "there is no such file or folder")
        }
        self.path = path
        if fileExists("\(path)/adapter_config.json") {
            try checkAdapter()
            return
        }
        let folder = isFolder(path) ? path : nil
        let config = folder.flatMap {
            check("config.json", file: "\($0)/config.json") { try JSON(contentsOf: $0, limit: 16 << 20) }
        }
        let checkpoint = attempt("weights") { try Checkpoint(opening: path) }
        if let checkpoint {
            findings.append(
                Finding(
                    "weights", .good,
                    "\(checkpoint.path), \(checkpoint.format), \(counted(checkpoint.names.count, "tensor"))"))
        }
        if let family = languageFamily(config), folder == nil || config != nil {
            checkLanguageModel(family, folder, config, hasWeights: checkpoint != nil)
            return
        }
        guard let plan = ArchitecturePlan(config: config, names: checkpoint?.names ?? []) else {
            findings.append(unknownArchitecture(config, folder))
            return
        }
        architecture = plan.rawValue
        if let folder, plan == .bert { checkTokenizer(folder, config) }
        if let folder, plan == .clipVision { checkImages(folder) }
        guard let checkpoint else { return }
        try compare(checkpoint, plan, config)
    }

    // MARK: Parts

    /// An adapter is good when it opens with the models it was trained on: that is strict about names and
    /// shapes.
    private mutating func checkAdapter() throws {
        do {
            let adapted = try AdaptedModel(adapter: path)
            let description = adapted.description
            architecture = "an adapter of \(adapted.reader.backbone.name) and \(adapted.tower.name)"
            findings.append(
                Finding(
                    "adapter", .good,
                    "\(counted(description.vocabulary.answers.count, "answer")), trained on \(description.task)"
                ))
        } catch let error as VQAError {
            findings.append(Finding("adapter", error))
        }
    }

    /// The type of a model that ``LanguageModel`` opens; nil for others.
    private func languageFamily(_ config: JSON?) -> String? {
        if path.hasSuffix(".gguf") { return "GGUF" }
        return config?["model_type"]?.string.flatMap { LanguageModel.families.contains($0) ? $0 : nil }
    }

    /// Language and joined models: opened strictly, as `vqa generate` does, but not converted and not run.
    private mutating func checkLanguageModel(
        _ family: String, _ folder: String?, _ config: JSON?, hasWeights: Bool
    ) {
        architecture = family
        let path = path
        let tokenizer = attempt("tokenizer") { try Tokenizer(ofModel: path) }
        if let folder {
            if family == "instructblip" {
                let questions = "\(folder)/qformer_tokenizer"
                if let own = attempt("qformer_tokenizer", { try Tokenizer(contentsOf: questions) }) {
                    findings.append(
                        Finding("qformer_tokenizer", .good, "\(grouped(own.vocabularySize)) tokens"))
                }
            }
            if let template = attempt("chat template", { try ChatTemplate(folder: folder) }) {
                let text = template == nil ? "none; --chat writes the prompt of the family" : "can be read"
                findings.append(Finding("chat template", .good, text))
            }
            // LLaVA's own files name an image tower, from which the processor follows.
            let namesTower = config?["mm_vision_tower"] != nil
            if LanguageModel.imageFamilies.contains(family), !namesTower { checkImages(folder) }
        }
        guard hasWeights, let check = attempt("architecture", { try LanguageModel.check(path) }) else {
            return
        }
        findings.append(
            Finding(
                "architecture", .good,
                "\(counted(check.parameters, "parameter")), each with its tensor in its shape"))
        guard let tokenizer else { return }
        let text = "\(grouped(tokenizer.vocabularySize)) tokens"
        if tokenizer.vocabularySize > check.vocabularySize {
            findings.append(
                Finding(
                    "tokenizer", .bad,
                    "\(text), more than the \(grouped(check.vocabularySize)) rows of the model's word table",
                    remedy: "use the tokenizer that the model was trained with"))
        } else {
            findings.append(Finding("tokenizer", .good, text))
        }
    }

    private mutating func checkTokenizer(_ folder: String, _ config: JSON?) {
        guard let tokenizer = attempt("tokenizer", { try Tokenizer(contentsOf: folder) }) else { return }
        let text = "\(grouped(tokenizer.vocabularySize)) tokens"
        if let rows = config?["vocab_size"]?.integer, tokenizer.vocabularySize > rows {
            findings.append(
                Finding(
                    "tokenizer", .bad,
                    "\(text), more than the \(grouped(rows)) rows of the model's word table",
                    remedy: "use the tokenizer that the model was trained with"))
            return
        }
        findings.append(Finding("tokenizer", .good, text))
    }

    private mutating func checkImages(_ folder: String) {
        guard let processor = attempt("images", { try ImageProcessor(folder: folder) }) else { return }
        findings.append(Finding("images", .good, processor.name))
    }

    private mutating func compare(_ checkpoint: Checkpoint, _ plan: ArchitecturePlan, _ config: JSON?) throws
    {
        do {
            let source = config == nil ? checkpoint.path : "\(path)/config.json"
            let comparison = try plan.compare(checkpoint, config: config, source: source)
            findings += Self.describe(comparison)
        } catch let error as VQAError {
            findings.append(Finding("architecture", error))
        }
    }

    private static func describe(_ match: StrictMatch) -> [Finding] {
        guard !match.isComplete else {
            return [
                Finding(
                    "architecture", .good,
                    "\(counted(match.names.count, "parameter")), each with its tensor in its shape")
            ]
        }
        func shape(_ sizes: [Int]) -> String { "[\(sizes.map(String.init).joined(separator: ", "))]" }
        let missing = match.missing.map { Finding("missing", .bad, "\($0.key) \(shape($0.shape))") }
        let misshapen = match.misshapen.map {
            Finding(
                "misshapen", .bad, "\($0.key): expected \(shape($0.expected)), found \(shape($0.found.shape))"
            )
        }
        let unused = match.unused.map { Finding("unused", .bad, "\($0.name) \(shape($0.shape))") }
        return [missing, misshapen, unused].flatMap(shortened)
    }

    /// At most ten of a sort: a wrong config.json makes hundreds.
    private static func shortened(_ findings: [Finding]) -> [Finding] {
        guard findings.count > 10, let first = findings.first else { return findings }
        return findings.prefix(10) + [Finding(first.name, .bad, "… and \(findings.count - 10) more")]
    }

    private func unknownArchitecture(_ config: JSON?, _ folder: String?) -> Finding {
        let known = (ArchitecturePlan.allCases.map(\.rawValue) + LanguageModel.families + ["GGUF"])
            .joined(separator: ", ")
        if let type = config?["model_type"]?.string {
            return Finding(
                "architecture", .bad, "model_type \(type) is not known",
                remedy: "the architectures are \(known)")
        }
        let why =
            folder == nil ? "the names of the tensors fit no architecture" : "config.json names no model_type"
        return Finding("architecture", .bad, why, remedy: "the architectures are \(known)")
    }

    // MARK: Collecting

    /// The value of `body`; nil with a finding when it fails.
    private mutating func attempt<Value>(_ name: String, _ body: () throws -> Value) -> Value? {
        do {
            return try body()
        } catch let error as VQAError {
            findings.append(Finding(name, error))
        } catch {
            findings.append(Finding(name, .bad, "\(error)"))
        }
        return nil
    }

    /// The same for a file that must be there, with a finding when it is good.
    private mutating func check<Value>(_ name: String, file: String, _ body: (String) throws -> Value)
        -> Value?
    {
        guard fileExists(file) else {
            findings.append(
                Finding(name, .bad, "\(file) is missing", remedy: "copy the whole folder of the model"))
            return nil
        }
        guard let value = attempt(name, { try body(file) }) else { return nil }
        findings.append(Finding(name, .good, file))
        return value
    }
}
