/// The tests that exist.
enum TemplateTests {
    static let names: Set<String> = [
        "boolean", "callable", "defined", "divisibleby", "eq", "equalto", "even", "false", "float", "ge",
        "greaterthan",
        "gt", "in", "integer", "iterable", "le", "lessthan", "lower", "lt", "mapping", "ne", "none", "number",
        "odd",
        "sequence", "string", "true", "undefined", "upper",
    ]
    private static let relations = [
        "eq": "==", "equalto": "==", "ne": "!=", "lt": "<", "lessthan": "<", "le": "<=", "gt": ">",
        "greaterthan": ">", "ge": ">=", "in": "in",
    ]

    /// The operator of a test that compares with its argument.
    static func relation(_ name: String) -> String? { relations[name] }
}

extension TemplateRendering {
    /// `value is name(arguments)`.
    func test(_ value: TemplateValue, _ name: String, _ arguments: TemplateArguments) throws -> Bool {
        try charge()
        let test = "the test \"\(name)\""
        if name == "divisibleby" || TemplateTests.relation(name) != nil {
            guard let other = try arguments.bound(to: ["other"], of: test)[0] else {
                throw TemplateFault("\(test) needs a value to compare with")
            }
            if let symbol = TemplateTests.relation(name) { return try compare(value, symbol, other) }
            return try compare(try compute(value, "%", other), "==", .integer(0))
        }
        _ = try arguments.bound(to: [], of: test)
        switch name {
        case "even", "odd":
            return try compare(try compute(value, "%", .integer(2)), "==", .integer(name == "odd" ? 1 : 0))
        case "upper", "lower":
            let text = try text(of: value)
            try charge(walking: text.count)
            return hasOneCase(text, isUpper: name == "upper")
        default: return hasKind(value, name)
        }
    }

    private func hasKind(_ value: TemplateValue, _ name: String) -> Bool {
        switch (name, value) {
        case ("undefined", _): value.isUndefined
        case ("defined", _): !value.isUndefined
        case ("none", .null), ("string", .text), ("mapping", .mapping), ("boolean", .boolean),
            ("integer", .integer),
            ("float", .number), ("callable", .macro), ("callable", .function), ("callable", .method):
            true
        case ("true", .boolean(let value)): value
        case ("false", .boolean(let value)): !value
        case ("number", _): value.asNumber != nil
        case ("sequence", .text), ("sequence", .list), ("sequence", .tuple), ("sequence", .mapping),
            ("sequence", .undefined), ("iterable", .text), ("iterable", .list), ("iterable", .tuple),
            ("iterable", .mapping), ("iterable", .undefined), ("iterable", .loop):
            true
        default: false
        }
    }

    /// Whether a text has letters and all of them are large, or small.
    func hasOneCase(_ text: Text, isUpper: Bool) -> Bool {
        var hasLetters = false
        for scalar in text where scalar.properties.isCased {
            guard isUpper ? scalar.properties.isUppercase : scalar.properties.isLowercase else {
                return false
            }
            hasLetters = true
        }
        return hasLetters
    }
}
