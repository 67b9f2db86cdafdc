#if canImport(Glibc)
    import Glibc
#else
    import Darwin
#endif

// Arithmetic and comparison, by Python's rules. Integers have 64 bits; what does not fit is an error.

extension TemplateRendering {
    /// `left symbol right` for + - * / // % **.
    func compute(_ left: TemplateValue, _ symbol: String, _ right: TemplateValue) throws -> TemplateValue {
        try charge()
        if let a = left.asInteger, let b = right.asInteger {
            if let result = try compute(a, symbol, b) { return result }
        } else if let a = left.asNumber, let b = right.asNumber {
            return .number(try compute(a, symbol, b))
        }
        switch (left, symbol, right) {
        case (.text(let a), "+", .text(let b)):
            try charge(characters: a.count + b.count)
            return .text(a + b)
        case (.list(let a), "+", .list(let b)):
            try charge(elements: a.count + b.count)
            return .list(a.values + b.values)
        case (.tuple(let a), "+", .tuple(let b)):
            try charge(elements: a.count + b.count)
            return .tuple(TemplateList(a.values + b.values))
        case (_, "*", _):
            if let times = right.asInteger, let result = try repeated(left, times) { return result }
            if let times = left.asInteger, let result = try repeated(right, times) { return result }
        default: break
        }
        if let a = left.asNumber, let b = right.asNumber { return .number(try compute(a, symbol, b)) }
        throw TemplateFault("\"\(symbol)\" is not defined for \(left.kindName) and \(right.kindName)")
    }

    /// The integer result, or nil where integers give a fraction.
    private func compute(_ a: Int, _ symbol: String, _ b: Int) throws -> TemplateValue? {
        let result: (partialValue: Int, overflow: Bool)
        switch symbol {
        case "+": result = a.addingReportingOverflow(b)
        case "-": result = a.subtractingReportingOverflow(b)
        case "*": result = a.multipliedReportingOverflow(by: b)
        case "//", "%":
            guard b != 0 else { throw TemplateFault("division by zero") }
            // By minus one, quotients may overflow.
            if b == -1 {
                result = symbol == "%" ? (0, false) : a.multipliedReportingOverflow(by: -1)
                break
            }
            let (quotient, rest) = a.quotientAndRemainder(dividingBy: b)
            let isBelow = rest != 0 && (rest < 0) != (b < 0)
            result = (
                symbol == "%" ? (isBelow ? rest + b : rest) : (isBelow ? quotient - 1 : quotient), false
            )
        case "**":
            if b < 0 { return nil }
            result = power(a, b)
        default: return nil
        }
        guard !result.overflow else { throw TemplateFault("an integer needs more than 64 bits") }
        return .integer(result.partialValue)
    }

    private func power(_ base: Int, _ exponent: Int) -> (partialValue: Int, overflow: Bool) {
        var (result, square, rest) = (1, base, exponent)
        while rest > 0 {
            if rest & 1 == 1 {
                let product = result.multipliedReportingOverflow(by: square)
                if product.overflow { return product }
                result = product.partialValue
            }
            rest >>= 1
            if rest > 0 {
                let product = square.multipliedReportingOverflow(by: square)
                if product.overflow { return product }
                square = product.partialValue
            }
        }
        return (result, false)
    }

    private func compute(_ a: Double, _ symbol: String, _ b: Double) throws -> Double {
        switch symbol {
        case "+": return a + b
        case "-": return a - b
        case "*": return a * b
        case "**":
            let result = pow(a, b)
            guard result.isFinite || !a.isFinite || !b.isFinite else {
                throw TemplateFault("a power is out of range")
            }
            return result
        default: break
        }
        guard b != 0 else { throw TemplateFault("division by zero") }
        if symbol == "/" { return a / b }
        var rest = fmod(a, b)
        var quotient = (a - rest) / b
        if rest != 0, (rest < 0) != (b < 0) {
            rest += b
            quotient -= 1
        } else if rest == 0 {
            rest = b < 0 ? -0.0 : 0
        }
        return symbol == "%" ? rest : quotient.rounded()
    }

    private func repeated(_ value: TemplateValue, _ times: Int) throws -> TemplateValue? {
        func total(_ count: Int) throws -> Int {
            let (total, overflow) = count.multipliedReportingOverflow(by: max(0, times))
            guard !overflow else { throw TemplateFault("a repeated value is too long") }
            return total
        }
        switch value {
        case .text(let text):
            try charge(characters: try total(text.count))
            return .text(text.isEmpty ? [] : Array(repeatElement(text, count: max(0, times)).joined()))
        case .list(let list):
            try charge(elements: try total(list.count))
            return .list(
                list.count == 0 ? [] : Array(repeatElement(list.values, count: max(0, times)).joined()))
        default: return nil
        }
    }

    func negated(_ value: TemplateValue) throws -> TemplateValue {
        if case .number(let number) = value { return .number(-number) }
        return try compute(.integer(0), "-", try signed(value))
    }

    func signed(_ value: TemplateValue) throws -> TemplateValue {
        if let integer = value.asInteger { return .integer(integer) }
        guard case .number = value else { throw TemplateFault("\(value.kindName) has no sign") }
        return value
    }

    // MARK: Comparison

    /// `left symbol right` for == != < <= > >= in, not in.
    func compare(_ left: TemplateValue, _ symbol: String, _ right: TemplateValue) throws -> Bool {
        switch symbol {
        case "==": try areEqual(left, right)
        case "!=": try !areEqual(left, right)
        case "in": try contains(right, left)
        case "not in": try !contains(right, left)
        case "<": try isLess(left, right)
        case ">": try isLess(right, left)
        case "<=": try isLess(left, right) || areEqual(left, right)
        default: try isLess(right, left) || areEqual(left, right)
        }
    }

    /// Equality of contents; numbers are compared across types, other types are unequal.
    func areEqual(_ left: TemplateValue, _ right: TemplateValue) throws -> Bool {
        try charge()
        if let a = left.asInteger, let b = right.asInteger { return a == b }
        if let a = left.asNumber, let b = right.asNumber { return a == b }
        switch (left, right) {
        case (.undefined, .undefined), (.null, .null): return true
        case (.text(let a), .text(let b)):
            guard a.count == b.count else { return false }
            try charge(walking: a.count)
            return a == b
        case (.list(let a), .list(let b)), (.tuple(let a), .tuple(let b)):
            guard a.count == b.count else { return false }
            for (x, y) in zip(a.values, b.values) where try !areEqual(x, y) { return false }
            return true
        case (.mapping(let a), .mapping(let b)):
            guard a.count == b.count else { return false }
            for (name, value) in zip(a.keys, a.values) {
                guard let other = b[try key(of: name)], try areEqual(value, other) else { return false }
            }
            return true
        case (.namespace(let a), .namespace(let b)), (.loop(let a), .loop(let b)),
            (.macro(let a), .macro(let b)):
            return a == b
        case (.function(let a), .function(let b)): return a == b
        default: return false
        }
    }

    /// The order of numbers, texts, and of lists element by element.
    func isLess(_ left: TemplateValue, _ right: TemplateValue) throws -> Bool {
        try charge()
        if let a = left.asInteger, let b = right.asInteger { return a < b }
        if let a = left.asNumber, let b = right.asNumber { return a < b }
        switch (left, right) {
        case (.text(let a), .text(let b)):
            try charge(walking: min(a.count, b.count))
            return a.lexicographicallyPrecedes(b)
        case (.list(let a), .list(let b)), (.tuple(let a), .tuple(let b)):
            for (x, y) in zip(a.values, b.values) where try !areEqual(x, y) { return try isLess(x, y) }
            return a.count < b.count
        default:
            throw TemplateFault("\(left.kindName) and \(right.kindName) have no order")
        }
    }

    /// `item in container`.
    func contains(_ container: TemplateValue, _ item: TemplateValue) throws -> Bool {
        switch container {
        case .undefined: return false
        case .text(let text):
            guard case .text(let part) = item else {
                throw TemplateFault("\(item.kindName) is looked for in a text")
            }
            try charge(walking: text.count + part.count)
            return part.isEmpty || !text.places(of: part, limit: 1).isEmpty
        case .list(let list), .tuple(let list):
            for value in list.values where try areEqual(value, item) { return true }
            return false
        case .mapping(let mapping): return mapping[try key(of: item)] != nil
        default: throw TemplateFault("\(container.kindName) contains nothing that could be looked for")
        }
    }
}
