import Support
import Torch

/// One problem as tokens.
public struct ScienceQAExample: Sendable, Equatable {
    /// The token that begins a text, the prompt, and in training the answer and the token that ends a text.
    public var ids: [Int]
    /// Tokens of the prompt, the first token of all not counted.
    public var promptLength: Int
    /// Whether the problem has an image.
    public var hasImage: Bool

    /// What follows prompt and first token is the answer.
    public init(ids: [Int], promptLength: Int, hasImage: Bool) {
        self.ids = ids
        self.promptLength = promptLength
        self.hasImage = hasImage
    }
}

/// The tokens that come between the first token and the prompt.
public struct ScienceQAPrefix: Sendable, Equatable {
    /// `Image: `, before the class tokens of an image.
    public var image: [Int]
    /// `Image: N/A`, of a problem without image.
    public var none: [Int]

    /// Ids without the tokens that begin and end a text.
    public init(image: [Int], none: [Int]) {
        self.image = image
        self.none = none
    }
}

/// Where everything stands in the sequences of a batch:
///
/// | image | modality, first token, `Image: `, class tokens, slot, prompt, answer |
/// | no image | modality, first token, `Image: N/A`, prompt, answer |
///
/// Legend: B rows, T columns of the longest row, C class tokens of an image.
struct ScienceQALayout {
    /// Ids of the words, [B][T]; 0 where something else stands and behind the end.
    private(set) var ids: [[Int]] = []
    /// Columns that a row fills.
    private(set) var lengths: [Int] = []
    /// The column of the slot; nil without image.
    private(set) var slots: [Int?] = []
    /// The columns of the prompt's tokens.
    private(set) var prompts: [Range<Int>] = []
    /// The columns whose token is to be predicted.
    private(set) var answers: [Range<Int>] = []
    /// The column of the slot in every row with an image.
    let imageSlot: Int
    /// T
    let length: Int

    /// - Parameters:
    ///   - classTokens: C.
    ///   - limit: columns beyond are cut off.
    init(_ examples: [ScienceQAExample], _ prefix: ScienceQAPrefix, classTokens: Int, limit: Int) throws {
        imageSlot = 2 + prefix.image.count + classTokens
        for example in examples {
            guard let first = example.ids.first, (0..<example.ids.count).contains(example.promptLength) else {
                throw VQAError(
                    "cannot lay out a problem",
                    because: "its prompt has \(example.promptLength) of "
                        + "\(example.ids.count) tokens")
            }
            let image = [Int](repeating: 0, count: example.hasImage ? classTokens + 1 : 0)
            let words = example.hasImage ? prefix.image : prefix.none
            let row = [0, first] + words + image + example.ids.dropFirst()
            let start = 2 + words.count + image.count
            ids.append(Array(row.prefix(limit)))
            lengths.append(min(limit, row.count))
            slots.append(example.hasImage ? imageSlot : nil)
            let end = min(limit, start + example.promptLength)
            prompts.append(min(start, end)..<end)
            answers.append(end..<min(limit, row.count))
        }
        length = lengths.max() ?? 0
        guard length > 0, slots.allSatisfy({ ($0 ?? 0) < length }) else {
            throw VQAError(
                "cannot lay out a problem",
                because: ids.isEmpty ? "there is none" : "an image does not fit into \(limit) tokens")
        }
        for row in ids.indices {
            ids[row] += [Int](repeating: 0, count: length - ids[row].count)
        }
    }

    /// Rows with an image.
    var imageRows: [Int] { slots.indices.filter { slots[$0] != nil } }

    /// What each query sees, [B or 1, 1, T, T]: what stands before it and itself, but not the modality token, and with
    /// `hidesSlot` not the slot either.
    func mask(hidesSlot: Bool) throws -> Tensor {
        let columns = try Tensor.arange(0, Double(length))
        let (query, key) = (try columns.unsqueezed(1), try columns.unsqueezed(0))
        let seen = try (key .<= query).and((key .> 0).or(query .== 0))
            .unsqueezed(0).unsqueezed(0)  // [1, 1, T, T]
        guard hidesSlot, slots.contains(where: { $0 != nil }) else { return seen }
        // Beyond every column in rows without an image.
        let slot = try Tensor(slots.map { $0 ?? length }, [slots.count, 1, 1, 1])
        return try seen.and((key .== slot).and(query .> slot).not())
    }

    /// Weights [B, 1, columns] whose sum over a row's hidden states is the mean of its prompt, as far as it lies within
    /// the first `columns`.
    func promptWeights(columns: Int) throws -> Tensor {
        var weights = [Float](repeating: 0, count: ids.count * columns)
        for (row, range) in prompts.enumerated() {
            let seen = range.clamped(to: 0..<columns)
            for column in seen { weights[row * columns + column] = 1 / Float(seen.count) }
        }
        return try Tensor(weights, [ids.count, 1, columns])
    }

    /// The answers' tokens: row, the column that predicts it, id. The id 0 stands for nothing, as in the release.
    func targets() -> (rows: [Int], columns: [Int], ids: [Int]) {
        var result: (rows: [Int], columns: [Int], ids: [Int]) = ([], [], [])
        for (row, range) in answers.enumerated() {
            for column in range where column > 0 && ids[row][column] != 0 {
                result.rows.append(row)
                result.columns.append(column - 1)
                result.ids.append(ids[row][column])
            }
        }
        return result
    }
}
