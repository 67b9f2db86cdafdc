import Backbones
import Support
import Tasks
import Torch

/// The samples of a split as DVP takes them: distinct questions by their ids, images by their row, targets.
public struct DVPData {
    /// One question about one image.
    public struct Item {
        /// Index into ``questions``.
        public let question: Int
        /// Row of the visual tokens.
        public let image: Int
        /// The answers that earn something; empty when made without a vocabulary.
        public let targets: [AnswerVocabulary.Target]
        /// Index into the samples it was made from.
        public let sample: Int
    }

    /// Token ids of the distinct questions, in order of first appearance.
    public private(set) var questions: [[Int]] = []
    /// What is trained on or answered, in the order of the samples.
    public private(set) var items: [Item] = []
    /// Samples left out of training because no answer of theirs is in the vocabulary.
    public private(set) var unanswerable = 0
    /// Samples left out because their image could not be read.
    public private(set) var unseen = 0

    /// - Parameters:
    ///   - vocabulary: nil when targets are not needed; with one, samples without a target are left out.
    ///   - imageRow: the row of a sample's visual tokens, nil when its image is unreadable.
    public init(
        _ samples: [Sample], encoder: TextEncoder, maxLength: Int, vocabulary: AnswerVocabulary?,
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
            let question: Int
            if let found = known[sample.question] {
                question = found
            } else {
                question = questions.count
                known[sample.question] = question
                questions.append(try encoder.ids(of: sample.question, limit: maxLength))
            }
            items.append(Item(question: question, image: row, targets: targets, sample: index))
        }
    }
}
