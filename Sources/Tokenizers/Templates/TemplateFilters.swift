/// The filters that exist.
enum TemplateFilters {
    static let names: Set<String> = [
        "abs", "capitalize", "count", "d", "default", "dictsort", "first", "float", "indent", "int", "items",
        "join",
        "last", "length", "list", "lower", "map", "max", "min", "reject", "rejectattr", "replace", "reverse",
        "safe",
        "select", "selectattr", "sort", "string", "sum", "title", "tojson", "trim", "unique", "upper",
    ]
}

extension TemplateRendering {
    /// `value | name(arguments)`. Filters that give an iterator in the reference give a list here.
    func filter(
        _ value: TemplateValue, by name: String, _ arguments: TemplateArguments
    ) throws -> TemplateValue {
        switch name {
        case "default", "d": return try defaulted(value, arguments)
        case "tojson": return .text(try json(value, arguments))
        case "trim", "upper", "lower", "capitalize", "title", "replace", "indent", "string", "safe":
            return .text(try filter(text: try text(of: value), by: name, arguments))
        case "int", "float", "abs": return try filter(number: value, by: name, arguments)
        case "map", "select", "reject", "selectattr", "rejectattr":
            return .list(
                try filter(eachOf: try elements(of: value, for: "the filter \"\(name)\""), name, arguments))
        default: return try filter(sequence: value, by: name, arguments)
        }
    }

    private func defaulted(_ value: TemplateValue, _ arguments: TemplateArguments) throws -> TemplateValue {
        let given = try arguments.bound(to: ["default_value", "boolean"], of: "the filter \"default\"")
        let isReplaced = value.isUndefined || (given[1]?.isTrue == true && !value.isTrue)
        return isReplaced ? given[0] ?? .text([]) : value
    }

    // MARK: Texts

    private func filter(text: Text, by name: String, _ arguments: TemplateArguments) throws -> Text {
        func given(_ parameters: String...) throws -> [TemplateValue?] {
            try arguments.bound(to: parameters, of: "the filter \"\(name)\"")
        }
        try charge(characters: text.count)
        switch name {
        case "trim": return try stripped(text, of: try given("chars")[0])
        case "replace":
            let given = try given("old", "new", "count")
            guard let old = given[0], let new = given[1] else {
                throw TemplateFault("the filter \"replace\" needs two texts")
            }
            return try replaced(text, try self.text(of: old), try self.text(of: new), count: given[2])
        case "indent":
            let given = try given("width", "first", "blank")
            return try indented(
                text, given[0], first: given[1]?.isTrue ?? false, blank: given[2]?.isTrue ?? false)
        default: _ = try given()
        }
        switch name {
        case "upper": return text.uppercased()
        case "lower": return text.lowercased()
        case "capitalize": return text.capitalized()
        case "title": return titledWords(text)
        default: return text
        }
    }

    /// Large first letters after blanks, hyphens and opening brackets; unlike the method, not after apostrophes.
    private func titledWords(_ text: Text) -> Text {
        var result: Text = []
        var word: Text = []
        func finish() {
            if let first = word.first {
                result += [first].uppercased()
                result += Text(word.dropFirst()).lowercased()
            }
            word = []
        }
        for scalar in text {
            if scalar.isTemplateSpace || ["-", "(", "{", "[", "<"].contains(scalar) {
                finish()
                result.append(scalar)
            } else {
                word.append(scalar)
            }
        }
        finish()
        return result
    }

    private func indented(_ text: Text, _ width: TemplateValue?, first: Bool, blank: Bool) throws -> Text {
        let indent: Text
        switch width {
        case .some(.text(let text)): indent = text
        case .some(let value):
            guard let width = value.asInteger, width <= 1000 else {
                throw TemplateFault("the width of the filter \"indent\" is no number up to 1000")
            }
            indent = Text(repeating: " ", count: max(0, width))
        case nil: indent = Text(repeating: " ", count: 4)
        }
        let lines = (text + ["\n"]).lines()
        let (size, overflow) = indent.count.multipliedReportingOverflow(by: lines.count)
        guard !overflow else { throw TemplateFault("an indented text is too long") }
        try charge(characters: size + text.count)
        var result = first ? indent : []
        for (index, line) in lines.enumerated() {
            if index > 0 {
                result.append("\n")
                if blank || !line.isEmpty { result += indent }
            }
            result += line
        }
        return result
    }

    // MARK: Numbers

    private func filter(
        number value: TemplateValue, by name: String, _ arguments: TemplateArguments
    ) throws -> TemplateValue {
        if value.isUndefined, name == "abs" { throw TemplateFault("\(value.kindName) is no number") }
        switch name {
        case "abs":
            _ = try arguments.bound(to: [], of: "the filter \"abs\"")
            if let integer = value.asInteger {
                guard integer != .min else { throw TemplateFault("an integer needs more than 64 bits") }
                return .integer(abs(integer))
            }
            guard case .number(let number) = value else {
                throw TemplateFault("\(value.kindName) is no number")
            }
            return .number(number.magnitude)
        case "float":
            let given = try arguments.bound(to: ["default"], of: "the filter \"float\"")
            return try number(of: value).map { .number($0) } ?? given[0] ?? .number(0)
        default:
            let given = try arguments.bound(to: ["default", "base"], of: "the filter \"int\"")
            return try integer(of: value, base: given[1]).map { .integer($0) } ?? given[0] ?? .integer(0)
        }
    }

    private func number(of value: TemplateValue) throws -> Double? {
        guard case .text(let text) = value else {
            if value.isUndefined { throw TemplateFault("\(value.kindName) is no number") }
            return value.asNumber
        }
        try charge(walking: text.count)
        let digits = text.stripped(\.isTemplateSpace)
        // Swift also reads hexadecimal fractions, the reference does not.
        guard digits.count <= 400, !digits.contains(where: { ["x", "X", "p", "P"].contains($0) }) else {
            return nil
        }
        return Double(digits.string)
    }

    private func integer(of value: TemplateValue, base: TemplateValue?) throws -> Int? {
        if let integer = value.asInteger { return integer }
        if case .text(let text) = value {
            try charge(walking: text.count)
            let base = base?.asInteger ?? 10
            guard (2...36).contains(base) else {
                throw TemplateFault("the base of \"int\" is not between 2 and 36")
            }
            let digits = text.stripped(\.isTemplateSpace)
            guard digits.count <= 100 else { return nil }
            if let integer = Int(digits.string, radix: base) { return integer }
        }
        guard let number = try number(of: value), number.magnitude < 9.2e18 else { return nil }
        return Int(number)
    }
}
