import Support
import Tasks
import Torch

/// The samples of a split as DVP takes them: distinct texts by their ids, images by their row, targets.
public struct DVPData {
    /// One question about one image.
    public struct Item {
        /// Index into ``texts``.
        public let text: Int
        /// Row of the visual tokens.
        public let image: Int
        /// The answers that earn something; empty when made without a vocabulary.
        public let targets: [AnswerVocabulary.Target]
        /// Index into the samples it was made from.
        public let sample: Int

        /// Pairs them.
        public init(text: Int, image: Int, targets: [AnswerVocabulary.Target], sample: Int) {
            (self.text, self.image, self.targets, self.sample) = (text, image, targets, sample)
        }
    }

    /// A text with what is to be written behind it.
    public struct Text: Hashable {
        /// Token ids of the question.
        public let ids: [Int]
        /// Token ids of the answer, its end included; empty unless writing is learnt.
        public let answer: [Int]

        /// Pairs them.
        public init(ids: [Int], answer: [Int] = []) { (self.ids, self.answer) = (ids, answer) }
    }

    /// The distinct texts, in order of first appearance.
    public private(set) var texts: [Text] = []
    /// What is trained on or answered, in the order of the samples.
    public private(set) var items: [Item] = []
    /// Samples left out of training because no answer of theirs is in the vocabulary.
    public private(set) var unanswerable = 0
    /// Samples left out because their image could not be read.
    public private(set) var unseen = 0

    /// Data that is at hand.
    public init(texts: [Text], items: [Item]) { (self.texts, self.items) = (texts, items) }

    /// - Parameters:
    ///   - vocabulary: nil when targets are not needed; with one, samples without a target are left out.
    ///   - learnsWriting: put the best answer of a sample behind its question.
    ///   - imageRow: the row of a sample's visual tokens, nil when its image is unreadable.
    public init(
        _ samples: [Sample], reader: DVPReader, vocabulary: AnswerVocabulary?, learnsWriting: Bool = false,
        imageRow: (Sample) -> Int?
    ) throws {
        var known: [String: Int] = [:]
        for (index, sample) in samples.enumerated() {
            let targets = vocabulary?.targets(for: sample) ?? []
            if vocabulary != nil, targets.isEmpty {
                unanswerable += 1
                continue
            }
            guard let row = imageRow(sample) else {
                unseen += 1
                continue
            }
            var answer: String?
            if learnsWriting, let vocabulary {
                let best = targets.max { $0.score < $1.score }
                answer = best.map { vocabulary.answers[$0.number] }
            }
            let key = answer.map { sample.question + "\0" + $0 } ?? sample.question
            let text: Int
            if let found = known[key] {
                text = found
            } else {
                text = texts.count
                known[key] = text
                texts.append(
                    Text(
                        ids: try reader.ids(of: sample.question),
                        answer: try answer.map { try reader.backbone.answerIDs(of: $0) } ?? []))
            }
            items.append(Item(text: text, image: row, targets: targets, sample: index))
        }
    }
}

/// How questions become ids.
public struct DVPReader {
    /// Whose tokenizer it is.
    public let backbone: DVPBackbone
    /// How the model answers.
    public let answers: DVPSettings.Answers
    /// Tokens of a question, cut there.
    public let maxLength: Int
    /// Where `{question}` stands for the question, for a decoder or T5 that writes.
    public let prompt: String

    /// The prompt unless another is asked for.
    public static let defaultPrompt = "Question: {question} Answer:"

    /// - Parameter maxLength: nil: the backbone's own.
    public init(
        _ backbone: DVPBackbone, answers: DVPSettings.Answers, maxLength: Int? = nil,
        prompt: String = DVPReader.defaultPrompt
    ) throws {
        let length = maxLength ?? backbone.defaultLength
        guard length <= backbone.positions else {
            throw VQAError(
                "cannot use the text length", at: "max_text_len",
                because: "\(length) is more than the \(backbone.positions) positions of \(backbone.name)")
        }
        guard prompt.contains("{question}") else {
            throw VQAError("cannot use the prompt", at: "prompt", because: "it has no {question}")
        }
        (self.backbone, self.answers, self.maxLength, self.prompt) = (backbone, answers, length, prompt)
    }

    /// The ids of a question.
    public func ids(of question: String) throws -> [Int] {
        guard answers == .write else { return try backbone.ids(of: question, limit: maxLength) }
        let text = prompt.replacing("{question}", with: question)
        return try backbone.promptIDs(of: text, limit: maxLength)
    }
}
