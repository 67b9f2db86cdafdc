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
    case sequence([PreTokenizer])

    /// What becomes of the scalars at which a text is split.
    enum SplitBehavior: Sendable, Equatable {
        case removed, isolated, mergedWithPrevious, mergedWithNext, contiguous
    }

    /// Splits each of the pieces further. None of the new pieces is empty.
    func split(_ text: SplitText) -> SplitText {
        switch self {
        case .bert: text.splitAsBert()
        case .whitespace: text.splitIntoRuns()
        case .whitespaceSplit: text.split(at: .whiteSpace, .removed)
        case .punctuation(let behavior): text.split(at: .punctuation, behavior)
        case .digits(let individual): text.split(at: .number, individual ? .isolated : .contiguous)
        case .sequence(let steps): steps.reduce(text) { $1.split($0) }
        }
    }
}

/// A text and the ranges of its bytes that are pieces.
struct SplitText: Sendable {
    var text: NormalizedText
    var pieces: [Range<Int>]

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
