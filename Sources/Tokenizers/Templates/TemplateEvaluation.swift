// How expressions are computed.

extension TemplateRendering {
    /// The value of an expression.
    func evaluate(_ expression: TemplateExpression) throws -> TemplateValue {
        try enter()
        defer { leave() }
        try charge()
        switch expression {
        case .constant(let value): return value
        case .name(let name): return value(named: name)
        case .list(let items): return try list(items)
        case .tuple(let items):
            try charge(elements: items.count)
            return try checked(.tuple(TemplateList(try items.map { try evaluate($0) })))
        case .mapping(let pairs): return try mapping(pairs)
        case .negated(let operand): return try negated(try evaluate(operand))
        case .positive(let operand): return try signed(try evaluate(operand))
        case .not(let operand): return .boolean(!(try evaluate(operand).isTrue))
        case .arithmetic(let first, let rest): return try arithmetic(first, rest)
        case .joined(let operands): return try joined(operands)
        case .comparison(let first, let rest): return try comparison(first, rest)
        case .all(let operands): return try firstOperand(operands, thatIs: false)
        case .any(let operands): return try firstOperand(operands, thatIs: true)
        case .choice(let value, let condition, let otherwise):
            return try choice(value, condition, otherwise)
        case .postfix(let operand, let postfixes): return try apply(postfixes, to: try evaluate(operand))
        }
    }

    private func list(_ items: [TemplateExpression]) throws -> TemplateValue {
        try charge(elements: items.count)
        return try checked(.list(try items.map { try evaluate($0) }))
    }

    private func mapping(
        _ pairs: [(key: TemplateExpression, value: TemplateExpression)]
    ) throws -> TemplateValue {
        try charge(elements: pairs.count)
        var mapping = TemplateMapping()
        for pair in pairs {
            let name = try evaluate(pair.key)
            mapping.set(try key(of: name), named: name, to: try evaluate(pair.value))
        }
        return try checked(.mapping(mapping))
    }

    private func arithmetic(
        _ first: TemplateExpression, _ rest: [(symbol: String, operand: TemplateExpression)]
    ) throws -> TemplateValue {
        var value = try evaluate(first)
        for (symbol, operand) in rest { value = try compute(value, symbol, try evaluate(operand)) }
        return value
    }

    private func joined(_ operands: [TemplateExpression]) throws -> TemplateValue {
        var result: Text = []
        for operand in operands {
            let text = try text(of: try evaluate(operand))
            try charge(characters: text.count)
            result += text
        }
        return .text(result)
    }

    private func comparison(
        _ first: TemplateExpression, _ rest: [(symbol: String, operand: TemplateExpression)]
    ) throws -> TemplateValue {
        var left = try evaluate(first)
        for (symbol, operand) in rest {
            let right = try evaluate(operand)
            guard try compare(left, symbol, right) else { return .boolean(false) }
            left = right
        }
        return .boolean(true)
    }

    /// The first operand of that truth, which decides an `or` or `and`, else the last one.
    private func firstOperand(_ operands: [TemplateExpression], thatIs truth: Bool) throws -> TemplateValue {
        var value = TemplateValue.null
        for operand in operands {
            value = try evaluate(operand)
            if value.isTrue == truth { break }
        }
        return value
    }

    private func choice(
        _ value: TemplateExpression, _ condition: TemplateExpression, _ otherwise: TemplateExpression?
    ) throws -> TemplateValue {
        if try evaluate(condition).isTrue { return try evaluate(value) }
        return try otherwise.map { try evaluate($0) } ?? .undefined("an \"if\" without \"else\"")
    }

    // MARK: After an operand

    /// Applies attributes, items, calls, filters and tests from left to right.
    func apply(_ postfixes: [TemplatePostfix], to operand: TemplateValue) throws -> TemplateValue {
        var value = operand
        for postfix in postfixes {
            try charge()
            value = try apply(postfix, to: value)
        }
        return value
    }

    private func apply(_ postfix: TemplatePostfix, to value: TemplateValue) throws -> TemplateValue {
        switch postfix {
        case .attribute(let name): return try attribute(name, of: value)
        case .item(let index): return try item(try evaluate(index), of: value)
        case .slice(let start, let stop, let step):
            return try slice(
                value, try start.map { try evaluate($0) }, try stop.map { try evaluate($0) },
                try step.map { try evaluate($0) })
        case .call(let call): return try self.call(value, try arguments(call))
        case .filter(let name, let call): return try filter(value, by: name, try arguments(call))
        case .test(let name, let call, let isNegated):
            return .boolean(try test(value, name, try arguments(call)) != isNegated)
        }
    }

    private func arguments(_ call: TemplateCall) throws -> TemplateArguments {
        TemplateArguments(
            positional: try call.positional.map { try evaluate($0) },
            named: try call.named.map { ($0.name, try evaluate($0.value)) })
    }

    private func call(_ value: TemplateValue, _ arguments: TemplateArguments) throws -> TemplateValue {
        switch value {
        case .macro(let index): return try call(macro: index, arguments)
        case .function(let function): return try call(function, arguments)
        case .method(let method): return try call(method, arguments)
        default: throw TemplateFault("\(value.kindName) is called like a function")
        }
    }

    // MARK: Attributes and items

    /// `value.name`: a method, else the item of that key.
    func attribute(_ name: String, of value: TemplateValue) throws -> TemplateValue {
        if let found = try ownAttribute(name, of: value) { return found }
        if case .mapping(let mapping) = value, let item = mapping[name] { return item }
        return .undefined(name)
    }

    /// `value[index]`: the item of that key or position, else the attribute of that name.
    func item(_ index: TemplateValue, of value: TemplateValue) throws -> TemplateValue {
        switch value {
        case .mapping(let mapping):
            if let item = mapping[try key(of: index)] { return item }
        case .list(let list), .tuple(let list):
            if let position = position(index, in: list.count) { return list.values[position] }
        case .text(let text):
            if let position = position(index, in: text.count) { return .text([text[position]]) }
        default: break
        }
        guard case .text(let name) = index, name.count <= 100 else {
            if value.isUndefined { throw TemplateFault("\(value.kindName) has no items") }
            return .undefined("an item")
        }
        return try ownAttribute(name.string, of: value) ?? .undefined(name.string)
    }

    private func ownAttribute(_ name: String, of value: TemplateValue) throws -> TemplateValue? {
        switch value {
        case .undefined: throw TemplateFault("\(value.kindName) has no attribute \"\(name.prefix(60))\"")
        case .namespace(let index): return namespaces[index][name]
        case .loop(let id):
            guard let loop = loops.last(where: { $0.id == id }) else {
                throw TemplateFault("a loop is used after its end")
            }
            if name == "cycle" { return .method(TemplateMethod(of: value, name: name)) }
            return loop.attribute(name)
        default:
            let exists = TemplateMethod.names(of: value).contains(name)
            return exists ? .method(TemplateMethod(of: value, name: name)) : nil
        }
    }

    /// A place counted from the start, or from the end when negative; nil when it is outside.
    private func position(_ index: TemplateValue, in count: Int) -> Int? {
        guard let index = index.asInteger else { return nil }
        let place = index < 0 ? index &+ count : index
        return place >= 0 && place < count ? place : nil
    }

    /// This value as a key. Counts the walk over a long text.
    func key(of value: TemplateValue) throws -> TemplateMapping.Key {
        if case .text(let text) = value { try charge(walking: text.count) }
        return try value.key()
    }

    private func slice(
        _ value: TemplateValue, _ start: TemplateValue?, _ stop: TemplateValue?, _ step: TemplateValue?
    ) throws -> TemplateValue {
        func bound(_ value: TemplateValue?) throws -> Int? {
            switch value {
            case nil, .some(.null): return nil
            case .some(let value):
                guard let integer = value.asInteger else {
                    throw TemplateFault("\(value.kindName) is no bound of a slice")
                }
                return integer
            }
        }
        let bounds = (try bound(start), try bound(stop), try bound(step))
        switch value {
        case .text(let text):
            let places = try places(bounds, in: text.count)
            try charge(characters: places.count)
            return .text(places.map { text[$0] })
        case .list(let list), .tuple(let list):
            let places = try places(bounds, in: list.count)
            try charge(elements: places.count)
            let values = TemplateList(places.map { list.values[$0] })
            if case .tuple = value { return .tuple(values) }
            return .list(values)
        case .undefined: throw TemplateFault("\(value.kindName) has no slices")
        default: return .undefined("a slice")
        }
    }

    /// The places that a slice takes, by Python's rules: bounds are cut to the ends, a negative step goes backwards.
    private func places(_ bounds: (Int?, Int?, Int?), in count: Int) throws -> [Int] {
        // Steps beyond the length change nothing but could overflow.
        let step = max(-count - 1, min(count + 1, bounds.2 ?? 1))
        guard step != 0 else { throw TemplateFault("the step of a slice is zero") }
        func cut(_ bound: Int, _ low: Int, _ high: Int) -> Int {
            let place = bound < 0 ? (bound < -count ? low : bound + count) : bound
            return max(low, min(high, place))
        }
        if step > 0 {
            return Array(
                stride(
                    from: cut(bounds.0 ?? 0, 0, count), to: cut(bounds.1 ?? count, 0, count), by: step))
        }
        return Array(
            stride(
                from: bounds.0.map { cut($0, -1, count - 1) } ?? count - 1,
                to: bounds.1.map { cut($0, -1, count - 1) } ?? -1, by: step))
    }
}
