import Support
import Tasks
import Tokenizers

/// The problems of a split as DVP's ScienceQA program takes them: tokens and the row of the image.
public struct ScienceQAData {
    /// One problem.
    public struct Item {
        /// Its tokens: with the answer for training, without for answering.
        public let example: ScienceQAExample
        /// The row of its image; nil without image.
        public let image: Int?
        /// Index into the samples it was made from.
        public let sample: Int
    }

    /// In the order of the samples.
    public private(set) var items: [Item] = []
    /// Samples left out of training because their right option is not known.
    public private(set) var unanswerable = 0
    /// Samples left out because their image could not be read.
    public private(set) var unseen = 0

    /// - Parameters:
    ///   - answers: with the answers, for training; samples without one are left out then.
    ///   - imageRow: the row of the pixels of a sample's image, asked where there is one; nil when it is unreadable.
    public init(
        _ samples: [Sample], _ words: ScienceQAWords, format: ScienceQAFormat, answers: Bool,
        imageRow: (Sample) -> Int?
    ) throws {
        for (index, sample) in samples.enumerated() {
            let target = answers ? format.target(for: sample) : nil
            if answers, target == nil {
                unanswerable += 1
                continue
            }
            let image = sample.images.isEmpty ? nil : imageRow(sample)
            if image == nil, !sample.images.isEmpty {
                unseen += 1
                continue
            }
            let example = try words.example(
                prompt: format.prompt(for: sample), target: target, hasImage: image != nil)
            items.append(Item(example: example, image: image, sample: index))
        }
    }
}

/// A LLaMA tokenizer as the ScienceQA program uses it.
public struct ScienceQAWords: Sendable {
    /// The token that ends a text.
    public let end: Int
    private let begin: Int
    private let tokenizer: Tokenizer

    /// Takes the tokens `<s>` and `</s>` by the parts they play.
    public init(_ tokenizer: Tokenizer) throws {
        guard let begin = tokenizer.specialTokens.beginning?.id ?? tokenizer.id(for: "<s>"),
            let end = tokenizer.specialTokens.end?.id ?? tokenizer.id(for: "</s>")
        else {
            throw VQAError(
                "cannot prepare ScienceQA", at: "the tokenizer",
                because: "it has no tokens that begin and end a text", remedy: "use LLaMA's tokenizer.model")
        }
        (self.begin, self.end, self.tokenizer) = (begin, end, tokenizer)
    }

    private func ids(_ text: String) throws -> [Int] {
        try tokenizer.encode(text, addSpecialTokens: false).ids
    }

    /// The pieces of `Image: ` and `Image: N/A`.
    public func prefix() throws -> ScienceQAPrefix {
        ScienceQAPrefix(image: try ids("Image: "), none: try ids("Image: N/A"))
    }

    /// A problem as tokens. Prompt and answer are read as one text; the prompt is as long as it is alone.
    ///
    /// - Parameter target: the answer; nil for a problem that is to be answered.
    public func example(prompt: String, target: String?, hasImage: Bool) throws -> ScienceQAExample {
        let words = try ids(prompt)
        let whole = try target.map { [begin] + (try ids(prompt + $0)) + [end] } ?? [begin] + words
        return ScienceQAExample(
            ids: whole, promptLength: min(words.count, whole.count - 1), hasImage: hasImage)
    }

    /// A problem whose answer is begun, and the tokens with which each option goes on.
    public func options(prompt: String, count: Int, hasImage: Bool) throws -> (
        prompt: ScienceQAExample, options: [[Int]]
    ) {
        let lead = prompt + "The answer is"
        let texts = try (0..<count).map { try ids("\(lead) \(Choices.letter($0) ?? String($0 + 1))") }
        // What all have in common is read as part of the prompt; each option keeps one token at least.
        let stem = texts.first ?? []
        let shared =
            texts.map { text in min(text.count - 1, zip(text, stem).prefix { $0 == $1 }.count) }
            .min() ?? 0
        var example = try example(prompt: prompt, target: nil, hasImage: hasImage)
        example.ids = [begin] + stem.prefix(shared)
        example.promptLength = min(example.promptLength, example.ids.count - 1)
        return (example, texts.map { Array($0.dropFirst(shared)) })
    }

    /// The text of generated tokens.
    public func text(_ ids: [Int]) throws -> String { try tokenizer.decode(ids) }
}
