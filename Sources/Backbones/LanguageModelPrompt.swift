import Images
import Support
import Tokenizers
import Torch

/// A prompt as a model takes it.
public struct PreparedPrompt {
    /// Ids, the one that stands for an image repeated for each of its soft tokens.
    public let ids: [Int]
    /// The images, nil without any.
    public let images: ProcessedImages?
    /// What InstructBLIP's Q-Former reads: the same text in its own ids.
    public let question: [Int]
}

extension LanguageModel {
    /// Marks an image in a prompt.
    public static let mark = "<image>"

    /// Ids and pixels of one prompt, as the reference's processors make them.
    ///
    /// - Parameters:
    ///   - prompt: with `<image>` where an image stands; InstructBLIP sees its one image before the text and needs no mark.
    ///   - images: the files, in the order of their marks.
    ///   - addSpecialTokens: false when the prompt came from a chat template, which has written them.
    /// - Throws: `VQAError` when marks and images differ in number, a file is no image, or nothing is left to read.
    public func prepare(_ prompt: String, images files: [String] = [], addSpecialTokens: Bool = true) throws
        -> PreparedPrompt
    {
        let pieces = split(prompt)
        try checkMarks(pieces.count - 1, files.count)
        let processed = try files.isEmpty ? nil : processor?.process(files: [files])
        let parts = files.isEmpty ? 0 : (processed?.sizes.count ?? 0) / files.count
        let ids: [Int]
        var question: [Int] = []
        switch network {
        case .decoder, .t5: ids = try encode(prompt, addSpecialTokens)
        case .llava(let model): ids = try llavaIDs(pieces, model.configuration, addSpecialTokens)
        case .instructBLIP(let model):
            let text = pieces.joined()
            let marks = model.configuration.imageID.map {
                Array(repeating: $0, count: files.isEmpty ? 0 : model.configuration.qformer.queries)
            }
            ids = try (marks ?? []) + encode(text, addSpecialTokens)
            question = try questionTokenizer?.encode(text).ids ?? []
        case .idefics: ids = try ideficsIDs(pieces, addSpecialTokens)
        case .idefics2(let model):
            ids = try idefics2IDs(pieces, model, parts: max(1, parts), addSpecialTokens)
        }
        guard !ids.isEmpty else {
            throw VQAError(
                "cannot read the prompt", at: "the prompt", because: "it has no tokens",
                remedy: "write something")
        }
        return PreparedPrompt(ids: ids, images: processed, question: question)
    }

    private func encode(_ text: String, _ addSpecialTokens: Bool) throws -> [Int] {
        try tokenizer.encode(text, addSpecialTokens: addSpecialTokens).ids
    }

    /// The text between the marks.
    private func split(_ prompt: String) -> [String] {
        guard readsImages else { return [prompt] }
        var pieces: [String] = []
        var rest = prompt[...]
        while let range = rest.range(ofMark: Self.mark) {
            pieces.append(String(rest[..<range.lowerBound]))
            rest = rest[range.upperBound...]
        }
        return pieces + [String(rest)]
    }

    private func checkMarks(_ marks: Int, _ images: Int) throws {
        guard readsImages || images == 0 else {
            throw VQAError(
                "cannot read the prompt", at: name, because: "the model reads text only",
                remedy: "leave the image out")
        }
        if case .instructBLIP = network {
            guard images == 1, marks <= 1 else {
                throw VQAError(
                    "cannot read the prompt", at: name,
                    because: "the model reads one image, \(images) were given")
            }
            return
        }
        guard marks == images else {
            throw VQAError(
                "cannot read the prompt", at: "the prompt",
                because:
                    "it marks \(marks) image\(marks == 1 ? "" : "s") with \(Self.mark), \(images) were given",
                remedy: "mark each image once")
        }
    }

    // MARK: Families

    /// The reference has a token for images; LLaVA's own files cut the text at them and put a number that no token has.
    private func llavaIDs(_ pieces: [String], _ configuration: LlavaConfiguration, _ special: Bool) throws
        -> [Int]
    {
        let count = configuration.imageTokens
        if configuration.imageID >= 0 {
            let mark = tokenizer.token(for: configuration.imageID) ?? Self.mark
            return try encode(pieces.joined(separator: String(repeating: mark, count: count)), special)
        }
        let marks = Array(repeating: configuration.imageID, count: count)
        var ids: [Int] = []
        for (index, piece) in pieces.enumerated() {
            var part = try encode(piece, special)
            if index > 0 {
                if let first = part.first, first == generation.bosID ?? decoder?.beginID {
                    part.removeFirst()
                }
                ids += marks
            }
            ids += part
        }
        return ids
    }

    /// Every run of images is put between marks of its own; spaces at both ends of a text are dropped. The first begins
    /// with <s>.
    private func ideficsIDs(_ pieces: [String], _ special: Bool) throws -> [Int] {
        let around = "<fake_token_around_image>"
        var text = special ? tokenizer.specialTokens.beginning?.text ?? "<s>" : ""
        var isAfterImage = false
        for (index, piece) in pieces.enumerated() {
            if index > 0 {
                text += isAfterImage ? Self.mark + around : around + Self.mark + around
                isAfterImage = true
            }
            let words = piece.trimmed
            if !words.isEmpty {
                text += words
                isAfterImage = false
            }
        }
        return try encode(text, false)
    }

    private func idefics2IDs(_ pieces: [String], _ model: Idefics2, parts: Int, _ special: Bool) throws
        -> [Int]
    {
        let around = "<fake_token_around_image>"
        let tokens = String(repeating: Self.mark, count: model.configuration.connector.latents)
        let image = String(repeating: around + tokens + around, count: parts)
        var text = ""
        for (index, piece) in pieces.enumerated() {
            if index > 0 { text += image }
            // A word right behind an image begins as after a space.
            if index > 0, let first = piece.first, !first.isWhitespace, first != "<" { text += " " }
            text += piece
        }
        return try encode(text.replacing(around + around, with: around), special)
    }
}

extension Substring {
    /// The first place of `mark`.
    fileprivate func range(ofMark mark: String) -> Range<Index>? {
        var start = startIndex
        while start < endIndex {
            if self[start...].hasPrefix(mark) { return start..<index(start, offsetBy: mark.count) }
            start = index(after: start)
        }
        return nil
    }
}

extension String {
    fileprivate var trimmed: String {
        var text = self[...]
        while text.first == " " { text.removeFirst() }
        while text.last == " " { text.removeLast() }
        return String(text)
    }

    fileprivate func replacing(_ part: String, with other: String) -> String {
        var result = ""
        var rest = self[...]
        while let range = rest.range(ofMark: part) {
            result += rest[..<range.lowerBound] + other
            rest = rest[range.upperBound...]
        }
        return result + rest
    }
}
