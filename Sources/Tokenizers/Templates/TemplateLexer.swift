/// A piece of a template.
struct TemplateToken: Sendable {
    enum Kind: Sendable, Equatable {
        /// Text outside tags, after trimming.
        case data(Text)
        case blockBegin, blockEnd, variableBegin, variableEnd
        case name(String)
        case text(Text)
        case integer(Int)
        case number(Double)
        case symbol(String)
        case end
    }

    let kind: Kind
    let line: Int
}

/// Cuts a template into tokens, with white space handled as `trim_blocks` and `lstrip_blocks` ask: the line break after a
/// block or comment is dropped, and so are blanks before one that begins its line. A minus drops all white space on its
/// side, a plus keeps it.
struct TemplateLexer {
    private let source: Text
    private var position = 0
    private var tokens: [TemplateToken] = []
    /// Whether what was read last ended with a line break.
    private var atLineStart = true
    private var line = 1
    private var counted = 0

    /// Line breaks become `\n`, and one at the very end is dropped.
    init(_ template: String) {
        var source: Text = []
        source.reserveCapacity(template.utf8.count)
        var previous: Unicode.Scalar?
        for scalar in template.unicodeScalars {
            if scalar != "\n" || previous != "\r" { source.append(scalar == "\r" ? "\n" : scalar) }
            previous = scalar
        }
        if source.last == "\n" { source.removeLast() }
        self.source = source
    }

    /// All tokens, `end` last.
    ///
    /// - Throws: `LocatedFault`.
    static func tokens(of template: String) throws -> [TemplateToken] {
        var lexer = TemplateLexer(template)
        do { try lexer.readAll() } catch let fault as TemplateFault {
            throw LocatedFault(fault.why, line: lexer.currentLine())
        }
        return lexer.tokens
    }

    private mutating func readAll() throws {
        while position < source.count {
            guard let start = nextTag(from: position) else {
                emit(.data(Array(source[position...])))
                position = source.count
                break
            }
            try readTag(at: start)
        }
        emit(.end)
    }

    // MARK: Outside tags

    private func nextTag(from start: Int) -> Int? {
        var i = start
        while i + 1 < source.count {
            if source[i] == "{", ["%", "{", "#"].contains(source[i + 1]) { return i }
            i += 1
        }
        return nil
    }

    private mutating func readTag(at start: Int) throws {
        let mark = source[start + 1]
        let inner = start + 2 + (sign(at: start + 2) == nil ? 0 : 1)
        emitData(upTo: start, sign: sign(at: start + 2), isVariable: mark == "{")
        position = inner
        switch mark {
        case "#": try skipComment()
        case "{":
            emit(.variableBegin)
            try readExpression(closing: "}")
        default:
            if try skipRaw() { return }
            emit(.blockBegin)
            try readExpression(closing: "%")
        }
    }

    private func sign(at index: Int) -> Unicode.Scalar? {
        index < source.count && (source[index] == "-" || source[index] == "+") ? source[index] : nil
    }

    /// Emits the text before a tag, without the white space that the tag's sign or `lstrip_blocks` removes.
    private mutating func emitData(upTo end: Int, sign: Unicode.Scalar?, isVariable: Bool) {
        var data = Array(source[position..<end])
        if sign == "-" {
            data = data.stripped(start: false) { $0.isTemplateSpace }
        } else if sign == nil, !isVariable {
            let lineStart = (data.lastIndex(of: "\n") ?? -1) + 1
            if lineStart > 0 || atLineStart, data[lineStart...].allSatisfy(\.isTemplateSpace) {
                data.removeSubrange(lineStart...)
            }
        }
        if !data.isEmpty { emit(.data(data)) }
    }

    private mutating func skipComment() throws {
        var i = position
        while i + 1 < source.count, source[i] != "#" || source[i + 1] != "}" { i += 1 }
        guard i + 1 < source.count else { throw TemplateFault("a comment is not closed by \"#}\"") }
        let sign = i > position ? sign(at: i - 1) : nil
        position = i + 2
        skipAfterTag(sign: sign, trimsLine: true)
    }

    /// Steps over the white space after a tag that its sign or `trim_blocks` removes.
    private mutating func skipAfterTag(sign: Unicode.Scalar?, trimsLine: Bool) {
        let start = position
        if sign == "-" {
            while position < source.count, source[position].isTemplateSpace { position += 1 }
        } else if sign == nil, trimsLine, position < source.count, source[position] == "\n" {
            position += 1
        }
        atLineStart = position > start && source[position - 1] == "\n"
    }

    /// Reads `raw %}…{% endraw %}` when it comes next.
    private mutating func skipRaw() throws -> Bool {
        guard let begin = tagEnd("raw", from: position) else { return false }
        position = begin.end
        skipAfterTag(sign: begin.sign, trimsLine: false)
        var i = position
        while i + 1 < source.count {
            let opening = sign(at: i + 2)
            if source[i] == "{", source[i + 1] == "%",
                let finish = tagEnd("endraw", from: i + 2 + (opening == nil ? 0 : 1))
            {
                emitData(upTo: i, sign: opening, isVariable: false)
                position = finish.end
                skipAfterTag(sign: finish.sign, trimsLine: true)
                return true
            }
            i += 1
        }
        throw TemplateFault("a raw block is not closed by \"{% endraw %}\"")
    }

    /// Where a tag of one word ends, when it stands at `start`.
    private func tagEnd(_ word: String, from start: Int) -> (end: Int, sign: Unicode.Scalar?)? {
        var i = start
        while i < source.count, source[i].isTemplateSpace { i += 1 }
        let letters = Text(word)
        guard source.count - i >= letters.count, source[i..<(i + letters.count)].elementsEqual(letters) else {
            return nil
        }
        i += letters.count
        while i < source.count, source[i].isTemplateSpace { i += 1 }
        let sign = sign(at: i)
        if sign != nil { i += 1 }
        guard i + 1 < source.count, source[i] == "%", source[i + 1] == "}" else { return nil }
        return (i + 2, sign)
    }

    // MARK: Inside tags

    private mutating func readExpression(closing mark: Unicode.Scalar) throws {
        var open: [Unicode.Scalar] = []
        while position < source.count {
            if open.isEmpty, skipTagEnd(mark) { return }
            let scalar = source[position]
            if scalar.isTemplateSpace {
                position += 1
            } else if ("0"..."9").contains(scalar) {
                try readNumber()
            } else if scalar == "_" || scalar.properties.isXIDStart {
                readName()
            } else if scalar == "'" || scalar == "\"" {
                try readText(quote: scalar)
            } else {
                try readSymbol(&open)
            }
        }
        throw TemplateFault(
            mark == "%" ? "a block is not closed by \"%}\"" : "a \"{{\" is not closed by \"}}\"")
    }

    private mutating func skipTagEnd(_ mark: Unicode.Scalar) -> Bool {
        var sign = sign(at: position)
        if sign == "+", mark == "}" { sign = nil }
        let i = position + (sign == nil ? 0 : 1)
        guard i + 1 < source.count, source[i] == mark, source[i + 1] == "}" else { return false }
        emit(mark == "%" ? .blockEnd : .variableEnd)
        position = i + 2
        skipAfterTag(sign: sign, trimsLine: mark == "%")
        return true
    }

    private mutating func readName() {
        let start = position
        while position < source.count, source[position].properties.isXIDContinue { position += 1 }
        emit(.name(Array(source[start..<position]).string))
    }

    private mutating func readSymbol(_ open: inout [Unicode.Scalar]) throws {
        let first = source[position]
        let symbols: Set<Unicode.Scalar> = [
            "+", "-", "/", "*", "%", "~", "[", "]", "(", ")", "{", "}", ">", "<", "=", ".", ":", "|", ",",
            ";", "!",
        ]
        guard symbols.contains(first) else {
            throw TemplateFault("the character \(JSONText.quoted([first]).string) has no meaning here")
        }
        var symbol = String(Character(first))
        if position + 1 < source.count {
            let pair = symbol + String(Character(source[position + 1]))
            if ["**", "//", "==", "!=", ">=", "<="].contains(pair) { symbol = pair }
        }
        guard symbol != "!" else { throw TemplateFault("the character \"!\" has no meaning here") }
        switch first {
        case "(": open.append(")")
        case "[": open.append("]")
        case "{": open.append("}")
        case ")", "]", "}":
            guard open.popLast() == first else { throw TemplateFault("\"\(symbol)\" closes nothing") }
        default: break
        }
        emit(.symbol(symbol))
        position += symbol.unicodeScalars.count
    }

    // MARK: Literals

    /// Reads an integer (decimal, or hexadecimal, octal, binary by its prefix) or a decimal fraction.
    private mutating func readNumber() throws {
        let afterDot = position > 0 && source[position - 1] == "."
        if source[position] == "0", position + 1 < source.count,
            let radix = ["x": 16, "X": 16, "o": 8, "O": 8, "b": 2, "B": 2][source[position + 1]]
        {
            position += 2
            let digits = takeDigits { $0.properties.isASCIIHexDigit }
            guard let value = Int(digits, radix: radix) else {
                throw TemplateFault("the number \(digits) is out of range")
            }
            return emit(.integer(value))
        }
        var text = takeDigits { ("0"..."9").contains($0) }
        var isFraction = false
        if !afterDot {
            if digit(at: position + 1), source[position] == "." {
                position += 1
                text += "." + takeDigits { ("0"..."9").contains($0) }
                isFraction = true
            }
            if position < source.count, source[position] == "e" || source[position] == "E" {
                let signed = sign(at: position + 1) != nil
                if digit(at: position + (signed ? 2 : 1)) {
                    text += "e" + (signed ? String(Character(source[position + 1])) : "")
                    position += signed ? 2 : 1
                    text += takeDigits { ("0"..."9").contains($0) }
                    isFraction = true
                }
            }
        }
        if isFraction, let value = Double(text), value.isFinite { return emit(.number(value)) }
        guard !isFraction, let value = Int(text) else {
            throw TemplateFault("the number \(text.prefix(40)) is out of range")
        }
        emit(.integer(value))
    }

    private func digit(at index: Int) -> Bool {
        index < source.count && ("0"..."9").contains(source[index])
    }

    /// Digits, with single underscores between them dropped.
    private mutating func takeDigits(_ isDigit: (Unicode.Scalar) -> Bool) -> String {
        var digits: Text = []
        while position < source.count {
            if isDigit(source[position]) {
                digits.append(source[position])
            } else if source[position] != "_" || position + 1 >= source.count
                || !isDigit(source[position + 1])
            {
                break
            }
            position += 1
        }
        return digits.string
    }

    private mutating func readText(quote: Unicode.Scalar) throws {
        var text: Text = []
        var i = position + 1
        while i < source.count, source[i] != quote {
            if source[i] == "\\", i + 1 < source.count {
                i += 1
                try readEscape(at: &i, into: &text)
            } else {
                text.append(source[i])
                i += 1
            }
        }
        guard i < source.count else { throw TemplateFault("a text in quotes is not closed") }
        emit(.text(text))
        position = i + 1
    }

    /// Reads what follows a backslash, as Python's literals have it; an unknown escape stays as it is.
    private func readEscape(at i: inout Int, into text: inout Text) throws {
        let mark = source[i]
        i += 1
        let plain: [Unicode.Scalar: Unicode.Scalar] = [
            "n": "\n", "t": "\t", "r": "\r", "\\": "\\", "'": "'", "\"": "\"", "a": "\u{7}", "b": "\u{8}",
            "f": "\u{C}", "v": "\u{B}",
        ]
        if let scalar = plain[mark] { return text.append(scalar) }
        switch mark {
        case "\n": return
        case "0"..."7":
            let limit = min(i + 2, source.count)
            var digits: Text = [mark]
            while i < limit, ("0"..."7").contains(source[i]) {
                digits.append(source[i])
                i += 1
            }
            try text.append(scalar(digits, radix: 8))
        case "x", "u", "U":
            let width = mark == "x" ? 2 : mark == "u" ? 4 : 8
            guard source.count - i >= width else { throw TemplateFault("an escape in a text is cut off") }
            try text.append(scalar(Array(source[i..<(i + width)]), radix: 16))
            i += width
        case "N": throw TemplateFault("the escape \"\\N{…}\" is not supported")
        default: text += ["\\", mark]
        }
    }

    private func scalar(_ digits: Text, radix: Int) throws -> Unicode.Scalar {
        guard let value = UInt32(digits.string, radix: radix), let scalar = Unicode.Scalar(value) else {
            throw TemplateFault("the escape \(JSONText.quoted(digits).string) in a text is no character")
        }
        return scalar
    }

    // MARK: Lines

    private mutating func emit(_ kind: TemplateToken.Kind) {
        tokens.append(TemplateToken(kind: kind, line: currentLine()))
    }

    private mutating func currentLine() -> Int {
        let end = min(position, source.count)
        if end > counted {
            line += source[counted..<end].count { $0 == "\n" }
            counted = end
        }
        return line
    }
}

/// A fault and the line of the template where it was found.
struct LocatedFault: Error {
    let why: String
    let line: Int

    init(_ why: String, line: Int) {
        self.why = why
        self.line = line
    }
}
