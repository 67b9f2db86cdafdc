import Backbones
import Checkpoints
import Support
import Tokenizers
import Torch

/// A frozen language model as it lies on disk, for DVP: BERT, T5, or a decoder in a folder or GGUF file.
public final class DVPBackbone {
    /// The short name or path it was opened by.
    public let name: String
    /// The folder or file that the name led to.
    public let path: String
    /// Which of the three.
    public let kind: DVPLanguage.Kind
    /// Text to ids and back.
    public let tokenizer: Tokenizer
    /// Tokens of the longest text.
    public let positions: Int
    /// What ends a text that a decoder or T5 writes.
    public let endIDs: [Int]
    /// How frozen weights are kept.
    public let format: WeightFormat
    private let encoder: TextEncoder?
    /// A written model as it was opened, until it is asked for.
    private var opened: LanguageModel?
    private let hash: () throws -> String

    /// Opens a model by path or short name.
    ///
    /// - Parameter format: how the frozen weights of T5 and decoders are kept; `auto` is float32.
    public init(_ name: String, format: WeightFormat = .automatic) throws {
        self.name = name
        path = try ModelLibrary.locate(name)
        self.format = format == .automatic ? .float32 : format
        if try Self.family(path) == "bert" {
            let encoder = try TextEncoder(name)
            (kind, tokenizer, positions) = (.bert, encoder.tokenizer, encoder.configuration.positions)
            endIDs = []
            self.encoder = encoder
            hash = { try encoder.weightsHash }
            return
        }
        let model = try LanguageModel(name, format: self.format)
        switch model.network {
        case .decoder(let decoder): (kind, positions) = (.decoder, decoder.configuration.context)
        case .t5: (kind, positions) = (.t5, 1 << 14)
        default:
            throw VQAError(
                "cannot use the language model", at: path,
                because: "\(model.family) has eyes of its own; DVP gives eyes to a model that reads text")
        }
        tokenizer = model.tokenizer
        endIDs = model.generation.eosIDs
        encoder = nil
        opened = model
        let content = try model.contentHash()
        hash = { content }
        guard kind != .decoder || !endIDs.isEmpty else {
            throw VQAError(
                "cannot use the language model", at: path, because: "it names no token that ends a text")
        }
    }

    /// `model_type`; nil for GGUF files.
    private static func family(_ path: String) throws -> String? {
        guard isFolder(path) else { return nil }
        return try JSON(contentsOf: path + "/config.json")["model_type"]?.string ?? "bert"
    }

    /// Identifies the weights.
    public var weightsHash: String { get throws { try hash() } }

    /// The model with its weights, frozen. The first call of a decoder or T5 gives what was opened; later ones open it
    /// again, so that nothing is kept twice.
    public func language() throws -> DVPLanguage {
        if let encoder {
            var configuration = encoder.configuration
            configuration.hasPooler = false
            var bert = try BERT(configuration)
            try bert.load(encoder.weightsWithoutPooler, from: encoder.path)
            return .bert(bert)
        }
        let model = try opened ?? LanguageModel(name, format: format)
        opened = nil
        switch model.network {
        case .decoder(let decoder): return .decoder(decoder)
        case .t5(let t5): return .t5(t5)
        default: throw VQAError("cannot use the language model", at: path, because: "it has changed")
        }
    }

    // MARK: Text

    /// The tokens of a question when none are asked for: 16 for BERT and T5 as in the release; decoders take all.
    public var defaultLength: Int { kind == .decoder ? positions : 16 }

    /// The ids that DVP reads of a question, at most `limit`: [CLS] … [SEP] of BERT, … `</s>` of T5, and a decoder's own
    /// beginning with, at the end, the token that ends a text, whose state is the query.
    public func ids(of question: String, limit: Int) throws -> [Int] {
        guard kind == .decoder else {
            return try tokenizer.encode(question, truncation: Truncation(to: limit)).ids
        }
        let end = endIDs.first.map { [$0] } ?? []
        let words = try tokenizer.encode(question, truncation: Truncation(to: max(1, limit - 1))).ids
        return words.last == end.first ? words : words + end
    }

    /// The ids that a model reads before it writes: of T5 the question as ever, of a decoder the prompt without an end.
    public func promptIDs(of prompt: String, limit: Int) throws -> [Int] {
        try tokenizer.encode(prompt, truncation: Truncation(to: limit)).ids
    }

    /// The ids of an answer that is written, its end included.
    public func answerIDs(of answer: String) throws -> [Int] {
        let text = kind == .decoder ? " " + answer : answer
        let ids = try tokenizer.encode(text, addSpecialTokens: false).ids
        return ids + (endIDs.first.map { [$0] } ?? [])
    }
}
