// Expressions, from the loosest to the tightest binding: choice, or, and, not, comparison, sum, `~`, product, power,
// sign, operand with what follows it.

extension TemplateParser {
    /// An expression, or several with commas between, which make a tuple.
    mutating func tuple(allowsChoice: Bool = true, isParenthesised: Bool = false) throws -> TemplateExpression
    {
        if isParenthesised, current == .symbol(")") { return .tuple([]) }
        var items = [try expression(allowsChoice: allowsChoice)]
        guard current == .symbol(",") else { return items[0] }
        while take(symbol: ",") {
            if [.symbol(")"), .variableEnd, .blockEnd].contains(current) { break }
            items.append(try expression(allowsChoice: allowsChoice))
        }
        return .tuple(items)
    }

    /// One expression; `allowsChoice` is false where a following `if` has another meaning.
    mutating func expression(allowsChoice: Bool = true) throws -> TemplateExpression {
        try nested { parser in
            var value = try parser.alternatives()
            while allowsChoice, parser.take(word: "if") {
                let condition = try parser.alternatives()
                let otherwise = parser.take(word: "else") ? try parser.expression() : nil
                value = .choice(value, if: condition, otherwise: otherwise)
                // `a if b if c` would nest to the left without bound; nobody writes it.
                if parser.current == .name("if") { throw parser.unexpected("the end of the expression") }
            }
            return value
        }
    }

    private mutating func alternatives() throws -> TemplateExpression {
        var operands = [try conjunction()]
        while take(word: "or") { operands.append(try conjunction()) }
        return operands.count == 1 ? operands[0] : .any(operands)
    }

    private mutating func conjunction() throws -> TemplateExpression {
        var operands = [try negation()]
        while take(word: "and") { operands.append(try negation()) }
        return operands.count == 1 ? operands[0] : .all(operands)
    }

    private mutating func negation() throws -> TemplateExpression {
        guard take(word: "not") else { return try comparison() }
        return .not(try nested { try $0.negation() })
    }

    private mutating func comparison() throws -> TemplateExpression {
        let first = try sum()
        var rest: [(symbol: String, operand: TemplateExpression)] = []
        while let symbol = takeComparison() { rest.append((symbol, try sum())) }
        return rest.isEmpty ? first : .comparison(first, rest)
    }

    private mutating func takeComparison() -> String? {
        for symbol in ["==", "!=", "<", "<=", ">", ">="] where take(symbol: symbol) { return symbol }
        if take(word: "in") { return "in" }
        guard current == .name("not"), following == .name("in") else { return nil }
        advance()
        advance()
        return "not in"
    }

    private mutating func sum() throws -> TemplateExpression {
        try chain(["+", "-"]) { try $0.concatenation() }
    }

    private mutating func concatenation() throws -> TemplateExpression {
        var operands = [try product()]
        while take(symbol: "~") { operands.append(try product()) }
        return operands.count == 1 ? operands[0] : .joined(operands)
    }

    private mutating func product() throws -> TemplateExpression {
        try chain(["*", "/", "//", "%"]) { parser in try parser.chain(["**"]) { try $0.signed() } }
    }

    private mutating func chain(
        _ symbols: [String], _ operand: (inout TemplateParser) throws -> TemplateExpression
    ) throws -> TemplateExpression {
        let first = try operand(&self)
        var rest: [(symbol: String, operand: TemplateExpression)] = []
        while case .symbol(let symbol) = current, symbols.contains(symbol) {
            advance()
            rest.append((symbol, try operand(&self)))
        }
        return rest.isEmpty ? first : .arithmetic(first, rest)
    }

    /// A signed operand; filters and tests apply to it with its sign.
    private mutating func signed(allowsFilters: Bool = true) throws -> TemplateExpression {
        var value: TemplateExpression
        if take(symbol: "-") {
            value = .negated(try nested { try $0.signed(allowsFilters: false) })
        } else if take(symbol: "+") {
            value = .positive(try nested { try $0.signed(allowsFilters: false) })
        } else {
            value = try operand()
        }
        var postfixes = try accesses()
        if allowsFilters {
            while true {
                if current == .symbol("|") {
                    postfixes += try filterChain(afterBar: true)
                } else if take(word: "is") {
                    postfixes.append(try test())
                } else if current == .symbol("(") {
                    postfixes.append(.call(try arguments()))
                } else {
                    break
                }
            }
        }
        if !postfixes.isEmpty { value = .postfix(value, postfixes) }
        return value
    }

    private mutating func operand() throws -> TemplateExpression {
        switch current {
        case .name:
            let name = try expectName()
            switch name {
            case "true", "True": return .constant(.boolean(true))
            case "false", "False": return .constant(.boolean(false))
            case "none", "None": return .constant(.null)
            default: return .name(name)
            }
        case .text:
            // Neighbouring texts are one.
            var joined: Text = []
            while case .text(let text) = current {
                joined += text
                advance()
            }
            return .constant(.text(joined))
        case .integer(let value):
            advance()
            return .constant(.integer(value))
        case .number(let value):
            advance()
            return .constant(.number(value))
        case .symbol("("):
            advance()
            let value = try nested { try $0.tuple(isParenthesised: true) }
            try expect(.symbol(")"))
            return value
        case .symbol("["):
            advance()
            return .list(try items(until: "]") { try $0.expression() })
        case .symbol("{"):
            advance()
            return .mapping(
                try items(until: "}") { parser in
                    let key = try parser.expression()
                    try parser.expect(.symbol(":"))
                    return (key, try parser.expression())
                })
        default: throw unexpected("a value")
        }
    }

    /// Items with commas between, and perhaps one more at the end, up to a closing mark.
    private mutating func items<Item>(
        until end: String, _ item: (inout TemplateParser) throws -> Item
    ) throws -> [Item] {
        var items: [Item] = []
        while !take(symbol: end) {
            if !items.isEmpty {
                try expect(.symbol(","))
                if take(symbol: end) { break }
            }
            items.append(try item(&self))
        }
        return items
    }

    // MARK: After an operand

    /// Attributes, items, slices and calls.
    private mutating func accesses() throws -> [TemplatePostfix] {
        var postfixes: [TemplatePostfix] = []
        while true {
            if take(symbol: ".") {
                if case .integer(let index) = current {
                    advance()
                    postfixes.append(.item(.constant(.integer(index))))
                } else {
                    postfixes.append(.attribute(try expectName()))
                }
            } else if take(symbol: "[") {
                postfixes.append(try subscripted())
            } else if current == .symbol("(") {
                postfixes.append(.call(try arguments()))
            } else {
                return postfixes
            }
        }
    }

    private mutating func subscripted() throws -> TemplatePostfix {
        let start = current == .symbol(":") ? nil : try expression()
        if let start, take(symbol: "]") { return .item(start) }
        try expect(.symbol(":"))
        var bounds: [TemplateExpression?] = []
        for _ in 0..<2 {
            let isAbsent = current == .symbol(":") || current == .symbol("]")
            bounds.append(isAbsent ? nil : try expression())
            if bounds.count < 2, !take(symbol: ":") { break }
        }
        try expect(.symbol("]"))
        return .slice(start, bounds[0], bounds.count > 1 ? bounds[1] : nil)
    }

    mutating func filterChain(afterBar: Bool = false) throws -> [TemplatePostfix] {
        var filters: [TemplatePostfix] = []
        while take(symbol: "|") || (filters.isEmpty && !afterBar) {
            let name = try expectName()
            guard TemplateFilters.names.contains(name) else {
                throw TemplateFault("the filter \"\(name.prefix(60))\" is not supported")
            }
            filters.append(.filter(name, current == .symbol("(") ? try arguments() : TemplateCall()))
        }
        return filters
    }

    private mutating func test() throws -> TemplatePostfix {
        let isNegated = take(word: "not")
        let name = try expectName()
        guard TemplateTests.names.contains(name) else {
            throw TemplateFault("the test \"\(name.prefix(60))\" is not supported")
        }
        var call = TemplateCall()
        switch current {
        case .symbol("("): call = try arguments()
        case .name("else"), .name("or"), .name("and"): break
        case .name("is"): throw TemplateFault("one \"is\" follows another")
        case .name, .text, .integer, .number, .symbol("["), .symbol("{"):
            let argument = try nested { try $0.operand() }
            let postfixes = try accesses()
            call.positional = [postfixes.isEmpty ? argument : .postfix(argument, postfixes)]
        default: break
        }
        return .test(name, call, isNegated: isNegated)
    }

    private mutating func arguments() throws -> TemplateCall {
        try expect(.symbol("("))
        var call = TemplateCall()
        _ = try items(until: ")") { parser in
            guard call.positional.count + call.named.count < Self.maximumArguments else {
                throw TemplateFault("a call has more than \(Self.maximumArguments) arguments")
            }
            if case .name(let name) = parser.current, parser.following == .symbol("=") {
                parser.advance()
                parser.advance()
                guard !call.named.contains(where: { $0.name == name }) else {
                    throw TemplateFault("the argument \"\(name)\" is given twice")
                }
                call.named.append((name, try parser.expression()))
            } else {
                guard call.named.isEmpty else { throw TemplateFault("an argument follows a named one") }
                call.positional.append(try parser.expression())
            }
        }
        return call
    }
}
