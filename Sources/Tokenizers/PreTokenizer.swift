/// A step that splits normalised text into the pieces that the model turns into tokens, each on its own.
indirect enum PreTokenizer: Sendable, Equatable {
    /// At white space, which goes, and around punctuation.
    case bert
    /// Runs of word characters, and runs of what is neither that nor white space.
    case whitespace
    /// At white space, which goes.
    case whitespaceSplit
    case punctuation(SplitBehavior)
    /// Numbers on their own; each digit on its own or not.
    case digits(individual: Bool)
    /// Spells bytes by characters (``ByteAlphabet``), before that splits as GPT-2 does when there is a pattern.
    case byteLevel(prefixesSpace: Bool, pattern: Pattern?)
    /// At the matches of a regular expression; at what lies between them when inverted.
    case pattern(Pattern, SplitBehavior, isInverted: Bool)
    /// At a text; at what lies between when inverted.
    case literal([UInt8], SplitBehavior, isInverted: Bool)
    /// Writes spaces as a visible character, one more before the text, and splits before each.
    case metaspace(Metaspace)
    case sequence([PreTokenizer])

    /// What becomes of the scalars at which a text is split.
    enum SplitBehavior: Sendable, Equatable {
        case removed, isolated, mergedWithPrevious, mergedWithNext, contiguous
    }

    /// Splits each of the pieces further. None of the new pieces is empty.
    func split(_ text: SplitText) throws -> SplitText {
        var text = text
        text.spellBytes()
        switch self {
        case .bert: return text.splitAsBert()
        case .whitespace: return text.splitIntoRuns()
        case .whitespaceSplit: return text.split(at: .whiteSpace, .removed)
        case .punctuation(let behavior): return text.split(at: .punctuation, behavior)
        case .digits(let individual): return text.split(at: .number, individual ? .isolated : .contiguous)
        case .byteLevel(let prefixesSpace, let pattern):
            if prefixesSpace { text.prefixSpaces() }
            if let pattern { text = try text.split(at: pattern, .isolated, isInverted: false) }
            text.isByteLevel = true
            return text
        case .pattern(let pattern, let behavior, let isInverted):
            return try text.split(at: pattern, behavior, isInverted: isInverted)
        case .literal(let literal, let behavior, let isInverted):
            return text.split(at: literal, behavior, isInverted: isInverted)
        case .metaspace(let metaspace): return metaspace.split(text)
        case .sequence(let steps): return try steps.reduce(text) { try $1.split($0) }
        }
    }

    /// The pattern of GPT-2.
    static let gpt2Pattern =
        #"'s|'t|'re|'ve|'m|'ll|'d| ?\p{L}+| ?\p{N}+| ?[^\s\p{L}\p{N}]+|\s+(?!\S)|\s+"#
}

/// SentencePiece's way with spaces: they become a character that pieces begin with.
struct Metaspace: Sendable, Equatable {
    /// Where one is put before a text that does not begin with one.
    enum Prefix: Sendable, Equatable {
        case always, never
        /// At the very beginning of the input, not after an added token.
        case first
    }

    /// Mostly U+2581.
    var replacement: [UInt8] = Array("\u{2581}".utf8)
    var prefix = Prefix.always
    /// Splits before each replacement.
    var splits = true

    func split(_ text: SplitText) -> SplitText {
        let old = text.text
        var builder = TextBuilder(capacity: old.bytes.count * 2)
        var pieces: [Range<Int>] = []
        pieces.reserveCapacity(old.bytes.count / 4 + 4)
        old.bytes.withUnsafeBufferPointer { bytes in
            for piece in text.pieces where !piece.isEmpty {
                var start = builder.count
                let isWhole = piece.count == bytes.count
                let begins = (isWhole ? old.origin : old.alignment(at: piece.lowerBound).start) == 0
                let isWanted = prefix == .always || prefix == .first && begins
                if isWanted, bytes[piece.lowerBound] != 0x20, !bytes[piece].starts(with: replacement) {
                    let origin = old.alignment(at: piece.lowerBound)
                    for byte in replacement { builder.append(byte: byte, origin) }
                }
                for i in piece {
                    let origin = old.alignment(at: i)
                    if bytes[i] != 0x20, bytes[i] != replacement[0] || !bytes[i...].starts(with: replacement)
                    {
                        builder.append(byte: bytes[i], origin)
                        continue
                    }
                    if splits, builder.count > start {
                        pieces.append(start..<builder.count)
                        start = builder.count
                    }
                    if bytes[i] == 0x20 {
                        for byte in replacement { builder.append(byte: byte, origin) }
                    } else {
                        builder.append(byte: bytes[i], origin)
                    }
                }
                if builder.count > start { pieces.append(start..<builder.count) }
            }
        }
        var result = text.text
        result.become(builder)
        return SplitText(text: result, pieces: pieces)
    }
}

/// A text and the ranges of its bytes that are pieces.
struct SplitText: Sendable {
    var text: NormalizedText
    var pieces: [Range<Int>]
    /// Every byte stands for its character of the ``ByteAlphabet``. The bytes are spelled out only when a step
    /// follows that looks at the characters: models of such vocabularies read bytes.
    var isByteLevel = false

    init(text: NormalizedText, pieces: [Range<Int>]) {
        self.text = text
        self.pieces = pieces
    }

    /// Spells out the bytes of a text that ``isByteLevel``.
    mutating func spellBytes() {
        guard isByteLevel else { return }
        isByteLevel = false
        rebuildPieces { bytes, piece, text, builder in
            for i in piece { builder.append(ByteAlphabet.scalars[Int(bytes[i])], text.alignment(at: i)) }
        }
    }

    /// Puts a space before every piece that does not begin with one.
    fileprivate mutating func prefixSpaces() {
        rebuildPieces { bytes, piece, text, builder in
            if bytes[piece.lowerBound] != 0x20 {
                builder.append(byte: 0x20, text.alignment(at: piece.lowerBound))
            }
            for i in piece { builder.append(byte: bytes[i], text.alignment(at: i)) }
        }
    }

    private mutating func rebuildPieces(
        _ body: (UnsafeBufferPointer<UInt8>, Range<Int>, NormalizedText, inout TextBuilder) -> Void
    ) {
        var builder = TextBuilder(capacity: text.bytes.count * 2)
        var rebuilt: [Range<Int>] = []
        rebuilt.reserveCapacity(pieces.count)
        text.bytes.withUnsafeBufferPointer { bytes in
            for piece in pieces where !piece.isEmpty {
                let start = builder.count
                body(bytes, piece, text, &builder)
                rebuilt.append(start..<builder.count)
            }
        }
        text.become(builder)
        pieces = rebuilt
    }

    fileprivate func split(
        at pattern: Pattern, _ behavior: PreTokenizer.SplitBehavior, isInverted: Bool
    ) throws -> SplitText {
        var result: [Range<Int>] = []
        result.reserveCapacity(text.bytes.count / 4 + 4)
        try text.bytes.withUnsafeBufferPointer { bytes in
            for piece in pieces {
                if behavior == .isolated {
                    try pattern.forEachSpan(in: bytes, piece) { range, _ in result.append(range) }
                    continue
                }
                var spans: [Span] = []
                try pattern.forEachSpan(in: bytes, piece) { range, isMatch in
                    spans.append(Span(range: range, isMatch: isMatch != isInverted))
                }
                result.append(contentsOf: behavior.merge(spans))
            }
        }
        return SplitText(text: text, pieces: result)
    }

    fileprivate func split(
        at literal: [UInt8], _ behavior: PreTokenizer.SplitBehavior, isInverted: Bool
    ) -> SplitText {
        splitEach { bytes, piece, result in
            var spans: [Span] = []
            var done = piece.lowerBound
            var i = piece.lowerBound
            while i + literal.count <= piece.upperBound {
                guard bytes[i] == literal[0], bytes[i...].starts(with: literal) else {
                    i += 1
                    continue
                }
                if done < i { spans.append(Span(range: done..<i, isMatch: isInverted)) }
                spans.append(Span(range: i..<(i + literal.count), isMatch: !isInverted))
                i += literal.count
                done = i
            }
            if done < piece.upperBound {
                spans.append(Span(range: done..<piece.upperBound, isMatch: isInverted))
            }
            result.append(contentsOf: behavior.merge(spans))
        }
    }

    /// In one pass what splitting at white space and then at punctuation gives.
    fileprivate func splitAsBert() -> SplitText {
        let classes = ScalarClasses.shared
        return splitEach { bytes, piece, result in
            var start = piece.lowerBound
            var i = start
            while i < piece.upperBound {
                let scalarStart = i
                let kind = classes[decodeScalar(bytes, &i)]
                if kind.isDisjoint(with: [.whiteSpace, .punctuation]) { continue }
                if start < scalarStart { result.append(start..<scalarStart) }
                if kind.contains(.punctuation) { result.append(scalarStart..<i) }
                start = i
            }
            if start < piece.upperBound { result.append(start..<piece.upperBound) }
        }
    }

    fileprivate func splitIntoRuns() -> SplitText {
        let classes = ScalarClasses.shared
        return splitEach { bytes, piece, result in
            var start = piece.lowerBound
            var runKind = ScalarClass.whiteSpace
            var i = start
            while i < piece.upperBound {
                let scalarStart = i
                let kind = classes[decodeScalar(bytes, &i)].intersection([.word, .whiteSpace])
                if kind == runKind { continue }
                if start < scalarStart, runKind != .whiteSpace { result.append(start..<scalarStart) }
                start = scalarStart
                runKind = kind
            }
            if start < piece.upperBound, runKind != .whiteSpace { result.append(start..<piece.upperBound) }
        }
    }

    fileprivate func split(at kind: ScalarClass, _ behavior: PreTokenizer.SplitBehavior) -> SplitText {
        let classes = ScalarClasses.shared
        return splitEach { bytes, piece, result in
            var spans: [Span] = []
            var i = piece.lowerBound
            while i < piece.upperBound {
                let start = i
                let isMatch = classes[decodeScalar(bytes, &i)].contains(kind)
                if !isMatch, let last = spans.last, !last.isMatch {
                    spans[spans.count - 1].range = last.range.lowerBound..<i
                } else {
                    spans.append(Span(range: start..<i, isMatch: isMatch))
                }
            }
            result.append(contentsOf: behavior.merge(spans))
        }
    }

    private func splitEach(
        _ body: (UnsafeBufferPointer<UInt8>, Range<Int>, inout [Range<Int>]) -> Void
    ) -> SplitText {
        var result: [Range<Int>] = []
        result.reserveCapacity(text.bytes.count / 4 + 4)
        text.bytes.withUnsafeBufferPointer { bytes in
            for piece in pieces { body(bytes, piece, &result) }
        }
        return SplitText(text: text, pieces: result)
    }
}

/// A scalar at which text is split, or all that stands between two of them.
private struct Span {
    var range: Range<Int>
    var isMatch: Bool
}

extension PreTokenizer.SplitBehavior {
    fileprivate func merge(_ spans: [Span]) -> [Range<Int>] {
        switch self {
        case .removed: spans.filter { !$0.isMatch }.map(\.range)
        case .isolated: spans.map(\.range)
        case .contiguous: join(spans) { $0.isMatch == $1.isMatch }
        case .mergedWithPrevious: join(spans) { !$0.isMatch && $1.isMatch }
        case .mergedWithNext: join(spans) { $0.isMatch && !$1.isMatch }
        }
    }

    /// Joins neighbours that `belong` together.
    private func join(_ spans: [Span], if belong: (Span, Span) -> Bool) -> [Range<Int>] {
        var result: [Range<Int>] = []
        for (index, span) in spans.enumerated() {
            if index > 0, belong(spans[index - 1], span), let last = result.popLast() {
                result.append(last.lowerBound..<span.range.upperBound)
            } else {
                result.append(span.range)
            }
        }
        return result
    }
}
