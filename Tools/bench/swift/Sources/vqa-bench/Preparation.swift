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

/// A round encodes every text with MiniLM's tokenizer.json, on one thread.
func measureTokens(_ path: String, inBatch: Bool) throws {
    let texts = try JSON(contentsOf: path).array?.compactMap(\.string) ?? []
    let tokenizer = try Tokenizer(contentsOf: ModelLibrary.locate("minilm") + "/tokenizer.json")
    let rows = try tokenizer.encodeBatch(texts).map(\.ids)
    try serve(.array(rows.map { .array($0.map { .integer($0) }) })) {
        if inBatch {
            _ = try tokenizer.encodeBatch(texts)
        } else {
            for text in texts { _ = try tokenizer.encode(text) }
        }
    }
}
