import Support

/// A text, or a pair of texts, as the numbers a model reads. All arrays have one entry a token.
public struct Encoding: Sendable, Equatable {
    /// The ids of the tokens.
    public internal(set) var ids: [Int] = []
    /// The tokens as the vocabulary spells them; an added token as it stands in the normalised text.
    public internal(set) var tokens: [String] = []
    /// The number of the segment each token belongs to: 0 for the first text, mostly 1 for its pair.
    public internal(set) var typeIDs: [Int] = []
    /// 1 for a token, 0 for padding.
    public internal(set) var attentionMask: [Int] = []
    /// 1 for padding and for the tokens that were put around the text, 0 for what stands in the text.
    public internal(set) var specialTokensMask: [Int] = []
    /// The Unicode scalars of the original text (of the pair for its tokens) that became the token; `0..<0`
    /// for tokens that stand for no text.
    public internal(set) var offsets: [Range<Int>] = []
    /// The number of the word within its text, counted as the pre-tokenizer splits; nil for tokens of no
    /// text.
    public internal(set) var wordIDs: [Int?] = []

    /// The number of tokens, padding included.
    public var count: Int { ids.count }

    mutating func reserve(_ capacity: Int) {
        ids.reserveCapacity(capacity)
        tokens.reserveCapacity(capacity)
        typeIDs.reserveCapacity(capacity)
        attentionMask.reserveCapacity(capacity)
        specialTokensMask.reserveCapacity(capacity)
        offsets.reserveCapacity(capacity)
        wordIDs.reserveCapacity(capacity)
    }

    /// Appends a token of the text.
    mutating func append(_ placed: PlacedToken, _ token: String, typeID: Int) {
        ids.append(Int(placed.id))
        tokens.append(token)
        typeIDs.append(typeID)
        attentionMask.append(1)
        specialTokensMask.append(0)
        offsets.append(Int(placed.start)..<max(Int(placed.start), Int(placed.end)))
        wordIDs.append(Int(placed.word))
    }

    /// Appends a token that stands for no text.
    mutating func appendSpecial(id: Int, token: String, typeID: Int) {
        ids.append(id)
        tokens.append(token)
        typeIDs.append(typeID)
        attentionMask.append(1)
        specialTokensMask.append(1)
        offsets.append(0..<0)
        wordIDs.append(nil)
    }

    /// Fills up to `length` tokens with padding; longer encodings stay as they are.
    mutating func pad(to length: Int, side: Side, id: Int, token: String, typeID: Int) {
        let missing = length - count
        guard missing > 0 else { return }
        func extend<Value>(_ values: inout [Value], by value: Value) {
            values.insert(
                contentsOf: repeatElement(value, count: missing), at: side == .left ? 0 : values.count)
        }
        extend(&ids, by: id)
        extend(&tokens, by: token)
        extend(&typeIDs, by: typeID)
        extend(&attentionMask, by: 0)
        extend(&specialTokensMask, by: 1)
        extend(&offsets, by: 0..<0)
        extend(&wordIDs, by: nil)
    }
}

/// The side of a row where tokens are cut off or padding is put.
public enum Side: Sendable, Equatable { case left, right }

/// How an encoding is cut to a length. The tokens put around the text are counted, and never cut.
public struct Truncation: Sendable, Equatable {
    /// Which text of a pair gives way.
    public enum Strategy: Sendable, Equatable {
        /// The longer one first, then both alike.
        case longestFirst
        /// Only the first text; an error when that is not enough.
        case onlyFirst
        /// Only the second text; an error when that is not enough.
        case onlySecond
    }

    /// The greatest number of tokens of the result, special ones included.
    public var length: Int
    /// Which text gives way.
    public var strategy: Strategy
    /// The side that is cut.
    public var side: Side

    /// Cuts to at most `length` tokens.
    public init(to length: Int, strategy: Strategy = .longestFirst, side: Side = .right) {
        self.length = length
        self.strategy = strategy
        self.side = side
    }

    /// How many tokens stay of texts with `first` and `second` tokens (nil: no pair) when `added` are put
    /// around.
    func lengths(first: Int, second: Int?, added: Int) throws -> (first: Int, second: Int) {
        let room = length - added
        guard length >= 0, room >= 0 else {
            throw failure("the limit of \(length) tokens has no room for the \(added) special ones")
        }
        let both = first + (second ?? 0)
        guard both > room else { return (first, second ?? 0) }
        if room == 0 { return (0, 0) }
        switch strategy {
        case .longestFirst:
            guard let second else { return (room, 0) }
            return Self.share(room, first, second)
        case .onlyFirst:
            guard first > both - room else { throw tooShort("first") }
            return (first - (both - room), second ?? 0)
        case .onlySecond:
            guard let second else { throw failure("there is no second text to cut") }
            guard second > both - room else { throw tooShort("second") }
            return (first, second - (both - room))
        }
    }

    /// The shorter text keeps its tokens while they fit beside as many of the other; else each gets half, the
    /// longer one the odd token (the second when both are as long).
    private static func share(_ room: Int, _ first: Int, _ second: Int) -> (Int, Int) {
        var short = min(first, second)
        var long = max(short, room - short)
        if short + long > room {
            short = room / 2
            long = short + room % 2
        }
        return first > second ? (long, short) : (short, long)
    }

    private func tooShort(_ name: String) -> VQAError {
        failure("the \(name) text is too short to be cut enough for a limit of \(length) tokens")
    }

    private func failure(_ why: String) -> VQAError {
        VQAError("cannot cut the text", because: why, remedy: "raise the limit or choose another strategy")
    }
}

/// How encodings are filled up to one length.
public struct Padding: Sendable, Equatable {
    /// The length that is reached.
    public enum Target: Sendable, Equatable {
        /// That of the longest row of the batch.
        case longest
        /// A fixed one; longer rows stay as they are.
        case length(Int)
    }

    /// The length that is reached.
    public var target: Target
    /// The side where padding is put.
    public var side: Side
    /// The length is rounded up to a multiple of this.
    public var multipleOf: Int?
    /// The id of the padding; nil for the pad token of the tokenizer.
    public var id: Int?
    /// The type id of the padding.
    public var typeID: Int

    /// Pads up to `target`.
    public init(
        _ target: Target = .longest, side: Side = .right, multipleOf: Int? = nil, id: Int? = nil,
        typeID: Int = 0
    ) {
        self.target = target
        self.side = side
        self.multipleOf = multipleOf
        self.id = id
        self.typeID = typeID
    }

    /// The greatest length that padding makes.
    static let maximumLength = 1 << 24

    /// The length for rows of which the longest has `longest` tokens.
    func length(longest: Int) throws -> Int {
        let wanted: Int
        switch target {
        case .longest: wanted = longest
        case .length(let length): wanted = length
        }
        let step = max(1, multipleOf ?? 1)
        guard wanted >= 0, max(wanted, step) <= Self.maximumLength else {
            throw VQAError(
                "cannot pad",
                because:
                    "the length \(wanted) (multiple of \(step)) is not within 0 and \(Self.maximumLength)")
        }
        return (wanted + step - 1) / step * step
    }
}
