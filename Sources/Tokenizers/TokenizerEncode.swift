import Support

/// A token with its place in the original text.
struct PlacedToken: Sendable {
    var id: Int32
    /// Unicode scalars of the original.
    var start: UInt32
    var end: UInt32
    /// The number of its word.
    var word: UInt32
}

/// The tokens of one text, before anything is cut off or put around.
private struct TokenizedText {
    var tokens: [PlacedToken] = []
    /// The texts of added tokens that stand in the text otherwise than in the vocabulary, by position.
    var spellings: [Int: String] = [:]
    var wordCount: UInt32 = 0
    /// For the tokens of one stretch.
    var pieces = PieceTokens()

    mutating func appendAdded(id: Int32, _ span: Alignment, spelling: String?) {
        if let spelling { spellings[tokens.count] = spelling }
        tokens.append(PlacedToken(id: id, start: span.start, end: span.end, word: wordCount))
        wordCount += 1
    }
}

extension Tokenizer {
    /// The greatest length of a text in bytes.
    static let longestText = 64 << 20

    /// Turns a text, or a pair of texts, into tokens.
    ///
    /// - Parameters:
    ///   - pair: the second text, such as the question beside a caption.
    ///   - addSpecialTokens: puts the tokens around that the model expects, such as `[CLS]` and `[SEP]`.
    ///   - truncation: cuts to a length; nil keeps everything.
    ///   - padding: fills up to a length.
    /// - Throws: `VQAError` when a text is over 64 MB, cannot be spelled and the vocabulary has no unknown
    ///   token, or cannot be cut or padded as asked.
    public func encode(
        _ text: String, pair: String? = nil, addSpecialTokens: Bool = true, truncation: Truncation? = nil,
        padding: Padding? = nil
    ) throws -> Encoding {
        let encoding = try encodeUnpadded(text, pair, addSpecialTokens, truncation)
        guard let padding else { return encoding }
        var rows = [encoding]
        try pad(&rows, padding)
        return rows[0]
    }

    /// Turns many texts into tokens: row `i` is `texts[i]`, with `pairs[i]` as its second text.
    ///
    /// - Parameter padding: the target `.longest` makes all rows as long as the longest.
    /// - Throws: as ``encode(_:pair:addSpecialTokens:truncation:padding:)``, and when there are not as many
    ///   pairs as texts.
    public func encodeBatch(
        _ texts: [String], pairs: [String]? = nil, addSpecialTokens: Bool = true,
        truncation: Truncation? = nil,
        padding: Padding? = nil
    ) throws -> [Encoding] {
        if let pairs, pairs.count != texts.count {
            throw VQAError(
                "cannot tokenize", because: "there are \(texts.count) texts and \(pairs.count) pairs")
        }
        var rows: [Encoding] = []
        rows.reserveCapacity(texts.count)
        for (index, text) in texts.enumerated() {
            rows.append(try encodeUnpadded(text, pairs?[index], addSpecialTokens, truncation))
        }
        if let padding { try pad(&rows, padding) }
        return rows
    }

    private func pad(_ rows: inout [Encoding], _ padding: Padding) throws {
        guard let id = padding.id ?? specialTokens.padding?.id else {
            throw VQAError(
                "cannot pad", because: "this tokenizer has no pad token", remedy: "give the padding an id")
        }
        let length = try padding.length(longest: rows.lazy.map(\.count).max() ?? 0)
        let text = token(for: id) ?? ""
        for index in rows.indices {
            rows[index].pad(to: length, side: padding.side, id: id, token: text, typeID: padding.typeID)
        }
    }

    // MARK: One row

    private func encodeUnpadded(
        _ text: String, _ pair: String?, _ addSpecialTokens: Bool, _ truncation: Truncation?
    ) throws -> Encoding {
        let first = try tokenize(text)
        let second = try pair.map(tokenize)
        var kept = (first: 0..<first.tokens.count, second: 0..<(second?.tokens.count ?? 0))
        if let truncation {
            let added = addSpecialTokens ? postProcessor.addedCount(isPair: pair != nil) : 0
            let lengths = try truncation.lengths(
                first: kept.first.count, second: second.map(\.tokens.count), added: added)
            func cut(_ range: Range<Int>, to length: Int) -> Range<Int> {
                truncation.side == .right ? 0..<length : (range.count - length)..<range.count
            }
            kept = (cut(kept.first, to: lengths.first), cut(kept.second, to: lengths.second))
        }
        var encoding = Encoding()
        encoding.reserve(kept.first.count + kept.second.count + postProcessor.addedCount(isPair: pair != nil))
        for part in pair == nil ? postProcessor.single : postProcessor.pair {
            switch part {
            case .text(isSecond: false, let typeID): append(first, kept.first, typeID, to: &encoding)
            case .text(isSecond: true, let typeID):
                if let second { append(second, kept.second, typeID, to: &encoding) }
            case .special(let ids, let tokens, let typeID):
                guard addSpecialTokens else { continue }
                for (id, token) in zip(ids, tokens) {
                    encoding.appendSpecial(id: id, token: token, typeID: typeID)
                }
            }
        }
        return encoding
    }

    private func append(
        _ text: TokenizedText, _ kept: Range<Int>, _ typeID: Int, to encoding: inout Encoding
    ) {
        for index in kept {
            var token = text.tokens[index]
            let spelling = (text.spellings.isEmpty ? nil : text.spellings[index]) ?? usualSpelling(token.id)
            postProcessor.trimming?.trim(&token, spelling, isFirst: index == kept.lowerBound)
            encoding.append(token, spelling, typeID: typeID)
        }
    }

    // MARK: One text

    /// Cuts out added tokens, then normalises and splits each stretch between them on its own.
    private func tokenize(_ text: String) throws -> TokenizedText {
        var text = text
        return try text.withUTF8 { bytes in
            guard bytes.count <= Self.longestText else {
                throw VQAError(
                    "cannot tokenize",
                    because: "the text has \(bytes.count) bytes, more than \(Self.longestText)")
            }
            var result = TokenizedText()
            result.tokens.reserveCapacity(bytes.count / 4 + 4)
            guard !added.original.isEmpty else {
                try tokenizeStretch(bytes, base: 0, &result)
                return result
            }
            var scalars: UInt32 = 0
            for match in added.original.matches(in: bytes) {
                let stretch = UnsafeBufferPointer(rebasing: bytes[match.range])
                let end = scalars + UInt32(stretch.count { $0 & 0xC0 != 0x80 })
                if let id = match.id {
                    let span = Alignment(start: scalars, end: end)
                    result.appendAdded(id: id, span, spelling: spelling(stretch, id))
                } else {
                    let first = result.tokens.count
                    try tokenizeStretch(stretch, base: scalars, &result)
                    if stripsContinuations, scalars > 0, stretch.first != 0x20 {
                        stripPrefix(ofTokenAt: first, &result)
                    }
                }
                scalars = end
            }
            return result
        }
    }

    /// Takes the space off a token: what is left is another token, or none.
    private func stripPrefix(ofTokenAt index: Int, _ result: inout TokenizedText) {
        let mark = "\u{2581}".unicodeScalars
        guard result.tokens.indices.contains(index),
            let text = model.vocabulary.token(for: Int(result.tokens[index].id))?.unicodeScalars,
            text.starts(with: mark)
        else { return }
        let rest = String(text.dropFirst(mark.count))
        if rest.isEmpty {
            result.tokens.remove(at: index)
        } else if let id = model.vocabulary.id(for: rest)
            ?? model.unknownToken.flatMap(model.vocabulary.id(for:))
        {
            result.tokens[index].id = id
        }
    }

    private func tokenizeStretch(
        _ stretch: UnsafeBufferPointer<UInt8>, base: UInt32, _ result: inout TokenizedText
    ) throws {
        var text = NormalizedText(stretch, base: base)
        try normalizer?.apply(to: &text)
        guard !added.normalized.isEmpty else { return try tokenizePieces(text, &result) }
        let matches = text.bytes.withUnsafeBufferPointer { added.normalized.matches(in: $0) }
        for match in matches {
            if let id = match.id {
                let spelled = text.bytes.withUnsafeBufferPointer { bytes in
                    spelling(UnsafeBufferPointer(rebasing: bytes[match.range]), id)
                }
                result.appendAdded(id: id, text.span(match.range), spelling: spelled)
            } else {
                try tokenizePieces(text.slice(match.range), &result)
            }
        }
    }

    /// The pieces of a text that the model sees one by one, added tokens left aside. For tests.
    package func pieces(of text: String) throws -> [String] {
        var text = text
        var normalized = text.withUTF8 { NormalizedText($0, base: 0) }
        try normalizer?.apply(to: &normalized)
        let whole = SplitText(text: normalized, pieces: [0..<normalized.bytes.count].filter { !$0.isEmpty })
        var split = try preTokenizer?.split(whole) ?? whole
        split.spellBytes()
        return split.pieces.map { String(decoding: split.text.bytes[$0], as: UTF8.self) }
    }

    /// The text of an added token as it stands, when that differs from its usual spelling.
    private func spelling(_ text: UnsafeBufferPointer<UInt8>, _ id: Int32) -> String? {
        usualSpelling(id).utf8.elementsEqual(text) ? nil : String(decoding: text, as: UTF8.self)
    }

    /// The text of a token of the model, or of an added one that the model has not.
    private func usualSpelling(_ id: Int32) -> String {
        model.vocabulary.token(for: Int(id)) ?? added.texts[id] ?? ""
    }

    private func tokenizePieces(_ text: NormalizedText, _ result: inout TokenizedText) throws {
        guard !text.bytes.isEmpty else { return }
        var split = SplitText(text: text, pieces: [0..<text.bytes.count])
        if let preTokenizer { split = try preTokenizer.split(split) }
        if !model.readsBytes { split.spellBytes() }
        result.pieces.tokens.removeAll(keepingCapacity: true)
        result.pieces.ends.removeAll(keepingCapacity: true)
        let spelledID = model.spelledID
        try split.text.bytes.withUnsafeBufferPointer { bytes in
            try model.tokenize(
                bytes, pieces: split.pieces, isByteLevel: split.isByteLevel, into: &result.pieces)
            var index = 0
            for end in result.pieces.ends {
                while index < end {
                    let token = result.pieces.tokens[index]
                    if token.id == spelledID {
                        result.spellings[result.tokens.count] = String(
                            decoding: bytes[token.start..<token.end], as: UTF8.self)
                    }
                    let span = split.text.span(token.start..<token.end)
                    result.tokens.append(
                        PlacedToken(id: token.id, start: span.start, end: span.end, word: result.wordCount))
                    index += 1
                }
                result.wordCount += 1
            }
        }
    }
}
