import Backbones
import Images
import Support
import Tokenizers

/// A round decodes, resizes to 224 (bicubic), crops and normalises every file, on one thread.
func measureImages(_ files: [String]) throws {
    let processor = ImageProcessor.dvpClip
    let outputs: [JSON] = try files.map { file in
        let values = try processor.pixelValues(ofFile: file).values
        return .array(stride(from: 0, to: values.count, by: 997).map { .number(Double(values[$0])) })
    }
    try serve(.array(outputs)) {
        for file in files { _ = try processor.pixelValues(ofFile: file) }
    }
}

/// What a round of the part about tokenizers does, on one thread.
enum TokensRound: String {
    /// Encodes every text.
    case one
    /// The same in one call.
    case batch
    /// Reads the tokenizer.json and encodes the first text.
    case load
}

/// Shows the ids of all texts, then runs rounds.
func measureTokens(_ round: TokensRound, texts path: String, tokenizer file: String) throws {
    let texts = try JSON(contentsOf: path).array?.compactMap(\.string) ?? []
    let tokenizer = try Tokenizer(contentsOf: file)
    let rows = try tokenizer.encodeBatch(texts).map(\.ids)
    try serve(.array(rows.map { .array($0.map { .integer($0) }) })) {
        switch round {
        case .one: for text in texts { _ = try tokenizer.encode(text) }
        case .batch: _ = try tokenizer.encodeBatch(texts)
        case .load: _ = try Tokenizer(contentsOf: file).encode(texts.first ?? "")
        }
    }
}
