import Checkpoints
import Support
import Tokenizers
import Torch

/// A frozen BERT as it lies on disk: shape, weights still mapped, tokenizer.
public struct TextEncoder {
    /// The shape in `config.json`, with a pooler only where there are weights for it.
    public let configuration: BERTConfiguration
    /// Keys of ``BERT``, mapped.
    public let weights: [String: Tensor]
    /// The tokenizer of the same folder.
    public let tokenizer: Tokenizer
    /// The short name or path it was opened by.
    public let name: String
    /// The folder that the name led to.
    public let path: String
    private let hash: WeightsHash
    /// The SHA-256 of the weights.
    public var weightsHash: String { get throws { try hash.value() } }

    /// Opens a BERT folder in the Hugging Face layout, by path or short name.
    public init(_ name: String) throws {
        path = try ModelLibrary.locate(name)
        self.name = name
        let configPath = path + "/config.json"
        let json = try JSON(contentsOf: configPath)
        let type = json["model_type"]?.string ?? "bert"
        guard type == "bert" else {
            throw VQAError(
                "cannot use the model", at: configPath, because: "its model_type is \(type), this needs bert")
        }
        let checkpoint = try Checkpoint(opening: path)
        hash = WeightsHash(checkpoint)
        weights = BERT.renamed(try checkpoint.tensors())
        var configuration = try BERTConfiguration(json, source: configPath)
        configuration.hasPooler = weights["pooler.dense.weight"] != nil
        self.configuration = configuration
        tokenizer = try Tokenizer(contentsOf: path)
        guard tokenizer.vocabularySize <= configuration.vocabularySize else {
            throw VQAError(
                "cannot use the model", at: path,
                because:
                    "the tokenizer has \(tokenizer.vocabularySize) tokens, the embedding \(configuration.vocabularySize)"
            )
        }
    }

    /// The model with its weights.
    public func model() throws -> BERT {
        var bert = try BERT(configuration)
        try bert.load(weights, from: path)
        return bert
    }

    /// The weights without the pooler, for methods that do not use it.
    public var weightsWithoutPooler: [String: Tensor] { weights.filter { !$0.key.hasPrefix("pooler.") } }

    /// The ids of a question: [CLS] … [SEP], at most `limit` tokens.
    public func ids(of question: String, limit: Int) throws -> [Int] {
        try tokenizer.encode(question, truncation: Truncation(to: limit)).ids
    }
}

/// Rows of ids padded to the longest, with the mask of real tokens.
public struct TokenBatch {
    /// [B, L], int64
    public let ids: Tensor
    /// [B, L], bool
    public let mask: Tensor

    /// Whether a row is shorter than the longest.
    public let isPadded: Bool

    /// - Parameters:
    ///   - padID: what fills short rows.
    ///   - isLeft: fill their beginning, so that all rows end together.
    ///   - length: fill up to there at least.
    public init(_ rows: [[Int]], padID: Int = 0, isLeft: Bool = false, length: Int = 0) throws {
        let length = max(length, rows.map(\.count).max() ?? 0)
        var ids: [Int] = []
        var mask: [Bool] = []
        for row in rows {
            let padding = length - row.count
            if isLeft { ids += Array(repeating: padID, count: padding) }
            ids += row
            if !isLeft { ids += Array(repeating: padID, count: padding) }
            mask += (0..<length).map { isLeft ? $0 >= padding : $0 < row.count }
        }
        self.ids = try Tensor(ids, [rows.count, length])
        self.mask = try Tensor(mask, [rows.count, length])
        isPadded = mask.contains(false)
    }
}
