// Filters of lists and other things with elements.

extension TemplateRendering {
    /// What a loop over a value walks over: elements, keys, characters; nothing when it is undefined.
    func elements(of value: TemplateValue, for use: String) throws -> [TemplateValue] {
        switch value {
        case .undefined: return []
        case .list(let list), .tuple(let list):
            try charge(walking: list.count)
            return list.values
        case .mapping(let mapping): return mapping.keys
        case .text(let text):
            try charge(elements: text.count)
            return text.map { .text([$0]) }
        default: throw TemplateFault("\(value.kindName) has no elements for \(use)")
        }
    }

    func filter(
        sequence value: TemplateValue, by name: String, _ arguments: TemplateArguments
    ) throws -> TemplateValue {
        let filter = "the filter \"\(name)\""
        if name == "length" || name == "count" {
            _ = try arguments.bound(to: [], of: filter)
            return .integer(try length(of: value))
        }
        if name == "items" {
            _ = try arguments.bound(to: [], of: filter)
            if value.isUndefined { return .list([]) }
            guard case .mapping(let mapping) = value else {
                throw TemplateFault("\(value.kindName) has no items")
            }
            return try pairs(of: mapping)
        }
        if name == "reverse", case .text(let text) = value {
            try charge(characters: text.count)
            return .text(text.reversed())
        }
        if name == "dictsort" { return try sortedPairs(value, arguments) }
        let values = try elements(of: value, for: filter)
        try charge(elements: values.count)
        switch name {
        case "join": return try joined(values, arguments)
        case "sort": return try sorted(values, arguments)
        case "unique": return try unique(values, arguments)
        case "sum": return try sum(values, arguments)
        case "min", "max": return try extreme(values, name, arguments)
        default: _ = try arguments.bound(to: [], of: filter)
        }
        switch name {
        case "first": return values.first ?? .undefined("the first of nothing")
        case "last": return values.last ?? .undefined("the last of nothing")
        case "reverse": return .list(values.reversed())
        default: return .list(values)
        }
    }

    /// The number of elements, keys or characters.
    func length(of value: TemplateValue) throws -> Int {
        switch value {
        case .undefined: 0
        case .text(let text): text.count
        case .list(let list), .tuple(let list): list.count
        case .mapping(let mapping): mapping.count
        case .loop: try attribute("length", of: value).asInteger ?? 0
        default: throw TemplateFault("\(value.kindName) has no length")
        }
    }

    /// Every key with its value.
    func pairs(of mapping: TemplateMapping) throws -> TemplateValue {
        try charge(elements: 2 * mapping.count)
        return try checked(.list(mapping.pairs))
    }

    private func joined(_ values: [TemplateValue], _ arguments: TemplateArguments) throws -> TemplateValue {
        let given = try arguments.bound(to: ["d", "attribute"], of: "the filter \"join\"")
        let separator = try given[0].map { try text(of: $0) } ?? []
        let getter = try given[1].map { try self.path(of: $0) }
        var result: Text = []
        for (index, value) in values.enumerated() {
            let part = try text(of: try getter.map { try follow($0, from: value) } ?? value)
            try charge(characters: part.count + separator.count)
            if index > 0 { result += separator }
            result += part
        }
        return .text(result)
    }

    // MARK: Order

    /// A stable sort by key.
    func sorted<Element>(
        _ elements: [Element], descending: Bool = false, by key: (Element) throws -> TemplateValue
    ) throws -> [Element] {
        try charge(elements: elements.count)
        let keyed = try elements.enumerated().map { (offset: $0, key: try key($1), element: $1) }
        return try keyed.sorted { a, b in
            if try isLess(descending ? b.key : a.key, descending ? a.key : b.key) { return true }
            if try isLess(descending ? a.key : b.key, descending ? b.key : a.key) { return false }
            return a.offset < b.offset
        }.map(\.element)
    }

    private func sorted(_ values: [TemplateValue], _ arguments: TemplateArguments) throws -> TemplateValue {
        let given = try arguments.bound(
            to: ["reverse", "case_sensitive", "attribute"], of: "the filter \"sort\"")
        let folds = given[1]?.isTrue != true
        let paths = try given[2].map { try self.paths(of: $0) }
        return .list(
            try sorted(values, descending: given[0]?.isTrue ?? false) { value in
                guard let paths else { return try folded(value, folds) }
                return .list(try paths.map { try folded(try follow($0, from: value), folds) })
            })
    }

    private func sortedPairs(_ value: TemplateValue, _ arguments: TemplateArguments) throws -> TemplateValue {
        let given = try arguments.bound(
            to: ["case_sensitive", "by", "reverse"], of: "the filter \"dictsort\"")
        guard case .mapping(let mapping) = value else {
            throw TemplateFault("\(value.kindName) is no mapping")
        }
        let folds = given[0]?.isTrue != true
        let by = try given[1].map { try text(of: $0).string } ?? "key"
        guard by == "key" || by == "value" else { throw TemplateFault("\"dictsort\" sorts by key or value") }
        let pairs = try sorted(
            Array(zip(mapping.keys, mapping.values)), descending: given[2]?.isTrue ?? false
        ) { try folded(by == "key" ? $0.0 : $0.1, folds) }
        try charge(elements: 2 * pairs.count)
        return try checked(.list(pairs.map { .tuple(TemplateList([$0.0, $0.1])) }))
    }

    private func unique(_ values: [TemplateValue], _ arguments: TemplateArguments) throws -> TemplateValue {
        let given = try arguments.bound(to: ["case_sensitive", "attribute"], of: "the filter \"unique\"")
        let folds = given[0]?.isTrue != true
        let path = try given[1].map { try self.path(of: $0) }
        var seen: Set<TemplateMapping.Key> = []
        return .list(
            try values.filter { value in
                let mark = try folded(try path.map { try follow($0, from: value) } ?? value, folds)
                return seen.insert(try key(of: mark)).inserted
            })
    }

    private func extreme(
        _ values: [TemplateValue], _ name: String, _ arguments: TemplateArguments
    ) throws -> TemplateValue {
        let given = try arguments.bound(to: ["case_sensitive", "attribute"], of: "the filter \"\(name)\"")
        let folds = given[0]?.isTrue != true
        let path = try given[1].map { try self.path(of: $0) }
        var best: (key: TemplateValue, value: TemplateValue)?
        for value in values {
            let key = try folded(try path.map { try follow($0, from: value) } ?? value, folds)
            guard let least = best?.key else {
                best = (key, value)
                continue
            }
            if name == "min" ? try isLess(key, least) : try isLess(least, key) { best = (key, value) }
        }
        return best?.value ?? .undefined("the \(name) of nothing")
    }

    private func sum(_ values: [TemplateValue], _ arguments: TemplateArguments) throws -> TemplateValue {
        let given = try arguments.bound(to: ["attribute", "start"], of: "the filter \"sum\"")
        let path: [TemplateValue]?
        switch given[0] {
        case nil, .some(.null): path = nil
        case .some(let attribute): path = try self.path(of: attribute)
        }
        var total = given[1] ?? .integer(0)
        for value in values {
            total = try compute(total, "+", try path.map { try follow($0, from: value) } ?? value)
        }
        return total
    }

    /// A text in small letters, unless case counts; other values as they are.
    private func folded(_ value: TemplateValue, _ folds: Bool) throws -> TemplateValue {
        guard folds, case .text(let text) = value else { return value }
        try charge(characters: text.count)
        return .text(text.lowercased())
    }

    // MARK: Attributes

    /// `a.b.0`: the names and positions to follow.
    private func path(of attribute: TemplateValue) throws -> [TemplateValue] {
        if case .integer = attribute { return [attribute] }
        guard case .text(let text) = attribute else {
            throw TemplateFault("\(attribute.kindName) names no attribute")
        }
        try charge(elements: text.count)
        return try text.split(at: ["."]).map { part in
            if !part.isEmpty, part.allSatisfy({ ("0"..."9").contains($0) }) {
                guard let index = Int(part.string) else { throw TemplateFault("an index is out of range") }
                return .integer(index)
            }
            return .text(part)
        }
    }

    private func paths(of attribute: TemplateValue) throws -> [[TemplateValue]] {
        guard case .text(let text) = attribute else { return [try self.path(of: attribute)] }
        try charge(elements: text.count)
        return try text.split(at: [","]).map { try self.path(of: .text($0)) }
    }

    private func follow(_ path: [TemplateValue], from value: TemplateValue) throws -> TemplateValue {
        try path.reduce(value) {
            try charge()
            return try item($1, of: $0)
        }
    }

    // MARK: Every element

    func filter(
        eachOf values: [TemplateValue], _ name: String, _ arguments: TemplateArguments
    ) throws -> [TemplateValue] {
        try charge(elements: values.count)
        if name == "map" { return try mapped(values, arguments) }
        var rest = arguments
        var path: [TemplateValue]?
        if name.hasSuffix("attr") {
            guard !rest.positional.isEmpty else {
                throw TemplateFault("the filter \"\(name)\" needs an attribute")
            }
            path = try self.path(of: rest.positional.removeFirst())
        }
        let test = try takeName(&rest, known: TemplateTests.names, "test")
        return try values.filter { value in
            let subject = try path.map { try follow($0, from: value) } ?? value
            let holds = try test.map { try self.test(subject, $0, rest) } ?? subject.isTrue
            return holds == name.hasPrefix("select")
        }
    }

    private func mapped(_ values: [TemplateValue], _ arguments: TemplateArguments) throws -> [TemplateValue] {
        if arguments.positional.isEmpty, arguments.named.contains(where: { $0.name == "attribute" }) {
            let given = try arguments.bound(to: ["attribute", "default"], of: "the filter \"map\"")
            let path = try self.path(of: given[0] ?? .null)
            return try values.map { value in
                let found = try follow(path, from: value)
                return found.isUndefined ? given[1] ?? found : found
            }
        }
        var rest = arguments
        guard let name = try takeName(&rest, known: TemplateFilters.names, "filter") else {
            throw TemplateFault("the filter \"map\" needs an attribute or a filter")
        }
        return try values.map { value in
            try enter()
            defer { leave() }
            return try checked(try filter(value, by: name, rest))
        }
    }

    /// Takes the name of a filter or test off the arguments, when there is one.
    private func takeName(
        _ arguments: inout TemplateArguments, known: Set<String>, _ kind: String
    ) throws -> String? {
        guard !arguments.positional.isEmpty else { return nil }
        let name = try text(of: arguments.positional.removeFirst()).string
        guard known.contains(name) else {
            throw TemplateFault("the \(kind) \"\(name.prefix(60))\" is not supported")
        }
        return name
    }
}
