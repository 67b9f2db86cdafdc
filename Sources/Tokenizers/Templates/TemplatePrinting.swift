// The texts of values, as the reference prints them.

extension TemplateRendering {
    /// What `{{ value }}` prints: a text as it is, other values as Python writes them.
    func text(of value: TemplateValue) throws -> Text {
        if case .text(let text) = value { return text }
        var result: Text = []
        if !value.isUndefined { try show(value, in: &result) }
        return result
    }

    /// Python's notation of a value, with texts in quotes.
    private func show(_ value: TemplateValue, in result: inout Text) throws {
        try enter()
        defer { leave() }
        try charge()
        let start = result.count
        switch value {
        case .undefined: result += Text("Undefined")
        case .null: result += Text("None")
        case .boolean(let value): result += Text(value ? "True" : "False")
        case .integer(let value): result += Text(String(value))
        case .number(let value): result += Text(value.templateText)
        case .text(let text): result += try quoted(text)
        case .list(let list): try show(list.values, "[", "]", in: &result) { try show($0, in: &$1) }
        case .tuple(let list):
            try show(list.values, "(", list.count == 1 ? ",)" : ")", in: &result) { try show($0, in: &$1) }
        case .mapping(let mapping): try show(mapping, in: &result)
        case .namespace(let index):
            result += Text("<Namespace ")
            try show(namespaces[index], in: &result)
            result.append(">")
        case .loop, .macro, .function, .method: throw TemplateFault("\(value.kindName) is printed")
        }
        // Members have counted themselves already; counting them again is on the safe side.
        try charge(characters: result.count - start)
    }

    private func show(_ mapping: TemplateMapping, in result: inout Text) throws {
        try show(Array(zip(mapping.keys, mapping.values)), "{", "}", in: &result) { pair, result in
            try show(pair.0, in: &result)
            result += Text(": ")
            try show(pair.1, in: &result)
        }
    }

    private func show<Element>(
        _ elements: [Element], _ open: String, _ close: String, in result: inout Text,
        _ body: (Element, inout Text) throws -> Void
    ) throws {
        result += Text(open)
        for (index, element) in elements.enumerated() {
            if index > 0 { result += Text(", ") }
            try body(element, &result)
        }
        result += Text(close)
    }

    /// A text in Python's quotes: single ones, unless only single ones stand inside.
    private func quoted(_ text: Text) throws -> Text {
        try charge(characters: text.count)
        let quote: Unicode.Scalar = text.contains("'") && !text.contains("\"") ? "\"" : "'"
        var result: Text = [quote]
        for scalar in text {
            switch scalar {
            case "\\", quote: result += ["\\", scalar]
            case "\n": result += Text("\\n")
            case "\r": result += Text("\\r")
            case "\t": result += Text("\\t")
            default:
                if scalar.isTemplatePrintable {
                    result.append(scalar)
                } else if scalar.value <= 0xFF {
                    result += Text("\\x" + hexadecimal(scalar.value, width: 2))
                } else if scalar.value <= 0xFFFF {
                    result += Text("\\u" + hexadecimal(scalar.value, width: 4))
                } else {
                    result += Text("\\U" + hexadecimal(scalar.value, width: 8))
                }
            }
        }
        result.append(quote)
        return result
    }

    // MARK: JSON

    /// The filter `tojson` as transformers defines it: Python's `json.dumps`, with text outside ASCII kept unless
    /// `ensure_ascii` asks for escapes.
    func json(_ value: TemplateValue, _ arguments: TemplateArguments) throws -> Text {
        let given = try arguments.bound(
            to: ["ensure_ascii", "indent", "separators", "sort_keys"], of: "the filter \"tojson\"")
        var style = JSONText()
        style.escapesNonASCII = given[0]?.isTrue ?? false
        style.sortsKeys = given[3]?.isTrue ?? false
        switch given[1] {
        case nil, .some(.null): break
        case .some(.text(let text)): style.indent = text
        case .some(let value):
            guard let width = value.asInteger else {
                throw TemplateFault("the indent of \"tojson\" is no number")
            }
            style.indent = Text(repeating: " ", count: max(0, min(width, 100)))
        }
        if style.indent != nil { style.comma = [","] }
        if let separators = given[2], case .tuple(let pair) = separators.asTuple, pair.count == 2 {
            style.comma = try text(of: pair.values[0])
            style.colon = try text(of: pair.values[1])
        }
        var result: Text = []
        try write(value, style, level: 0, to: &result)
        return result
    }

    private func write(_ value: TemplateValue, _ style: JSONText, level: Int, to result: inout Text) throws {
        try enter()
        defer { leave() }
        try charge(characters: 4)
        switch value {
        case .null: result += Text("null")
        case .boolean(let value): result += Text(value ? "true" : "false")
        case .integer(let value): result += Text(String(value))
        case .number(let value): result += JSONText.number(value)
        case .text(let text):
            try charge(characters: text.count)
            result += JSONText.quoted(text, escapesNonASCII: style.escapesNonASCII)
        case .list(let list), .tuple(let list):
            try write(list.values, style, "[", "]", level: level, to: &result) {
                try write($0, style, level: level + 1, to: &$1)
            }
        case .mapping(let mapping): try write(mapping, style, level: level, to: &result)
        default: throw TemplateFault("\(value.kindName) has no JSON")
        }
    }

    private func write(_ mapping: TemplateMapping, _ style: JSONText, level: Int, to result: inout Text)
        throws
    {
        var pairs = Array(zip(mapping.keys, mapping.values))
        if style.sortsKeys { pairs = try sorted(pairs, by: { $0.0 }) }
        try write(pairs, style, "{", "}", level: level, to: &result) { pair, result in
            switch pair.0 {
            case .text(let text):
                try charge(characters: text.count)
                result += JSONText.quoted(text, escapesNonASCII: style.escapesNonASCII)
            default:
                result.append("\"")
                try write(pair.0, style, level: level + 1, to: &result)
                result.append("\"")
            }
            result += style.colon
            try write(pair.1, style, level: level + 1, to: &result)
        }
    }

    private func write<Element>(
        _ elements: [Element], _ style: JSONText, _ open: Unicode.Scalar, _ close: Unicode.Scalar, level: Int,
        to result: inout Text, _ body: (Element, inout Text) throws -> Void
    ) throws {
        result.append(open)
        for (index, element) in elements.enumerated() {
            if index > 0 { result += style.comma }
            try breakLine(style, level: level + 1, in: &result)
            try charge(characters: style.comma.count + style.colon.count)
            try body(element, &result)
        }
        if !elements.isEmpty { try breakLine(style, level: level, in: &result) }
        result.append(close)
    }

    private func breakLine(_ style: JSONText, level: Int, in result: inout Text) throws {
        guard let indent = style.indent else { return }
        try charge(characters: indent.count * level + 1)
        result.append("\n")
        for _ in 0..<level { result += indent }
    }
}

extension TemplateValue {
    /// A list or tuple as a tuple.
    fileprivate var asTuple: TemplateValue {
        if case .list(let list) = self { return .tuple(list) }
        return self
    }
}

/// How JSON is written.
struct JSONText {
    var escapesNonASCII = false
    var sortsKeys = false
    var indent: Text?
    var comma = Text(", ")
    var colon = Text(": ")

    static func number(_ value: Double) -> Text {
        if value.isNaN { return Text("NaN") }
        if value.isInfinite { return Text(value < 0 ? "-Infinity" : "Infinity") }
        return Text(value.templateText)
    }

    /// A text with its quotes.
    static func quoted(_ text: Text, escapesNonASCII: Bool = false) -> Text {
        var result: Text = ["\""]
        for scalar in text {
            switch scalar {
            case "\"", "\\": result += ["\\", scalar]
            case "\n": result += Text("\\n")
            case "\r": result += Text("\\r")
            case "\t": result += Text("\\t")
            case "\u{8}": result += Text("\\b")
            case "\u{C}": result += Text("\\f")
            default:
                // The ASCII form escapes DEL too.
                if scalar.value >= 0x20, scalar.value < 0x7F || !escapesNonASCII {
                    result.append(scalar)
                } else {
                    for unit in String(Character(scalar)).utf16 {
                        result += Text("\\u" + hexadecimal(UInt32(unit), width: 4))
                    }
                }
            }
        }
        result.append("\"")
        return result
    }
}
