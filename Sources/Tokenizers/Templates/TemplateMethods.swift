// Methods of texts, mappings and lists, by Python's rules, and the functions that every template sees. Methods that
// change their receiver do not exist, as in the sandbox of the reference.

extension TemplateMethod {
    private static let textNames: Set<String> = [
        "capitalize", "count", "endswith", "find", "index", "isalnum", "isalpha", "isdigit", "islower",
        "isspace",
        "isupper", "join", "lower", "lstrip", "removeprefix", "removesuffix", "replace", "rfind", "rsplit",
        "rstrip",
        "split", "splitlines", "startswith", "strip", "title", "upper",
    ]
    private static let mappingNames: Set<String> = ["copy", "get", "items", "keys", "values"]
    private static let listNames: Set<String> = ["copy", "count", "index"]

    /// The methods of a value.
    static func names(of value: TemplateValue) -> Set<String> {
        switch value {
        case .text: textNames
        case .mapping: mappingNames
        case .list, .tuple: listNames
        default: []
        }
    }
}

extension TemplateRendering {
    func call(_ method: TemplateMethod, _ arguments: TemplateArguments) throws -> TemplateValue {
        switch method.receiver {
        case .text(let text):
            try charge(characters: text.count)
            return try call(method.name, of: text, arguments)
        case .mapping(let mapping): return try call(method.name, of: mapping, arguments)
        case .list(let list), .tuple(let list): return try call(method.name, of: list, arguments)
        case .loop:
            guard !arguments.positional.isEmpty else { throw TemplateFault("\"cycle\" needs values") }
            let index = try attribute("index0", of: method.receiver).asInteger ?? 0
            return arguments.positional[index % arguments.positional.count]
        default: throw TemplateFault("\(method.receiver.kindName) has no method \"\(method.name)\"")
        }
    }

    // MARK: Mappings and lists

    private func call(
        _ name: String, of mapping: TemplateMapping, _ arguments: TemplateArguments
    ) throws -> TemplateValue {
        if name == "get" {
            let given = try arguments.bound(to: ["key", "default"], of: "\"get\"")
            guard let name = given[0] else { throw TemplateFault("\"get\" needs a key") }
            return mapping[try key(of: name)] ?? given[1] ?? .null
        }
        _ = try arguments.bound(to: [], of: "\"\(name)\"")
        try charge(elements: mapping.count)
        switch name {
        case "items": return try pairs(of: mapping)
        case "keys": return .list(mapping.keys)
        case "values": return .list(mapping.values)
        default: return .mapping(mapping)
        }
    }

    private func call(
        _ name: String, of list: TemplateList, _ arguments: TemplateArguments
    ) throws -> TemplateValue {
        if name == "copy" { return .list(list) }
        guard let value = try arguments.bound(to: ["value"], of: "\"\(name)\"")[0] else {
            throw TemplateFault("\"\(name)\" needs a value")
        }
        var count = 0
        for (index, element) in list.values.enumerated() where try areEqual(element, value) {
            if name == "index" { return .integer(index) }
            count += 1
        }
        guard name == "count" else { throw TemplateFault("the value is not in the list") }
        return .integer(count)
    }

    // MARK: Texts

    private func call(_ name: String, of text: Text, _ arguments: TemplateArguments) throws -> TemplateValue {
        func given(_ parameters: String...) throws -> [TemplateValue?] {
            try arguments.bound(to: parameters, of: "\"\(name)\"")
        }
        switch name {
        case "strip", "lstrip", "rstrip":
            let set = try given("chars")[0]
            return .text(try stripped(text, of: set, start: name != "rstrip", end: name != "lstrip"))
        case "split", "rsplit":
            return try split(text, try given("sep", "maxsplit"), fromEnd: name == "rsplit")
        case "splitlines":
            _ = try given()
            return try list(text.lines())
        case "startswith", "endswith":
            return .boolean(try meets(text, try given("affix")[0], atEnd: name == "endswith"))
        case "removeprefix", "removesuffix":
            let affix = try required(try given("affix")[0], name)
            let found =
                name == "removeprefix"
                ? text.starts(with: affix) : text.reversed().starts(with: affix.reversed())
            guard found else { return .text(text) }
            return .text(
                name == "removeprefix" ? Array(text.dropFirst(affix.count)) : text.dropLast(affix.count))
        case "replace":
            let given = try given("old", "new", "count")
            let (old, new) = (try required(given[0], name), try required(given[1], name))
            return .text(try replaced(text, old, new, count: given[2]))
        case "find", "index", "rfind", "count":
            return try find(name, try required(try given("sub")[0], name), in: text)
        case "join":
            let parts = try elements(of: try given("iterable")[0] ?? .null, for: "\"join\"")
            let texts = try parts.map { try required($0, name) }
            try charge(characters: texts.reduce(text.count * texts.count) { $0 + $1.count })
            return .text(text.joined(texts))
        default:
            _ = try given()
            return plain(name, text)
        }
    }

    /// The methods without arguments.
    private func plain(_ name: String, _ text: Text) -> TemplateValue {
        switch name {
        case "upper": .text(text.uppercased())
        case "lower": .text(text.lowercased())
        case "capitalize": .text(text.capitalized())
        case "title": .text(text.titled())
        case "isupper", "islower": .boolean(hasOneCase(text, isUpper: name == "isupper"))
        case "isspace": .boolean(!text.isEmpty && text.allSatisfy(\.isTemplateSpace))
        case "isdigit": .boolean(!text.isEmpty && text.allSatisfy(\.isTemplateDigit))
        case "isalpha": .boolean(!text.isEmpty && text.allSatisfy(\.isTemplateLetter))
        default:
            .boolean(
                !text.isEmpty && text.allSatisfy { $0.isTemplateLetter || $0.properties.numericType != nil })
        }
    }

    private func required(_ value: TemplateValue?, _ name: String) throws -> Text {
        guard case .some(.text(let text)) = value else { throw TemplateFault("\"\(name)\" needs a text") }
        return text
    }

    private func list(_ texts: [Text]) throws -> TemplateValue {
        try charge(elements: texts.count)
        return .list(texts.map { .text($0) })
    }

    /// Without white space, or the characters of `set`, at the ends.
    func stripped(_ text: Text, of set: TemplateValue?, start: Bool = true, end: Bool = true) throws -> Text {
        switch set {
        case nil, .some(.null): return text.stripped(start: start, end: end, \.isTemplateSpace)
        case .some(let value):
            let letters = try required(value, "strip")
            try charge(walking: letters.count)
            let characters = Set(letters)
            return text.stripped(start: start, end: end) { characters.contains($0) }
        }
    }

    private func split(_ text: Text, _ given: [TemplateValue?], fromEnd: Bool) throws -> TemplateValue {
        let count = given[1]?.asInteger ?? -1
        let limit = count < 0 ? Int.max : count
        // A split from the end is a split of the mirror image.
        let source = fromEnd ? text.reversed() : text
        let parts: [Text]
        switch given[0] {
        case nil, .some(.null): parts = source.words(limit: limit)
        case .some(let value):
            let separator = try required(value, "split")
            guard !separator.isEmpty else { throw TemplateFault("a text is split at an empty text") }
            parts = source.split(at: fromEnd ? separator.reversed() : separator, limit: limit)
        }
        return try list(fromEnd ? parts.reversed().map { $0.reversed() } : parts)
    }

    private func meets(_ text: Text, _ affix: TemplateValue?, atEnd: Bool) throws -> Bool {
        let options: [TemplateValue]
        if case .some(.tuple(let tuple)) = affix {
            options = tuple.values
        } else {
            options = [affix ?? .null]
        }
        return try options.contains { option in
            let part = try required(option, atEnd ? "endswith" : "startswith")
            try charge(walking: part.count)
            return part.count <= text.count
                && (atEnd ? text.suffix(part.count) : text.prefix(part.count)).elementsEqual(part)
        }
    }

    private func find(_ name: String, _ part: Text, in text: Text) throws -> TemplateValue {
        try charge(walking: part.count)
        if part.isEmpty {
            return .integer(name == "count" ? text.count + 1 : name == "rfind" ? text.count : 0)
        }
        switch name {
        case "count": return .integer(text.places(of: part).count)
        case "rfind":
            let place = Text(text.reversed()).places(of: part.reversed(), limit: 1).first
            return .integer(place.map { text.count - $0 - part.count } ?? -1)
        default:
            let place = text.places(of: part, limit: 1).first
            guard place != nil || name == "find" else { throw TemplateFault("the text to find is not there") }
            return .integer(place ?? -1)
        }
    }

    /// With `old` replaced by `new`, at most `count` times. An empty text is found around every character.
    func replaced(_ text: Text, _ old: Text, _ new: Text, count: TemplateValue?) throws -> Text {
        let wanted = count?.asInteger ?? -1
        let limit = wanted < 0 ? Int.max : wanted
        try charge(walking: text.count + old.count)
        let places = old.isEmpty ? Array((0...text.count).prefix(limit)) : text.places(of: old, limit: limit)
        let (added, overflow) = places.count.multipliedReportingOverflow(by: new.count)
        guard !overflow else { throw TemplateFault("a text with replacements is too long") }
        try charge(characters: text.count + added)
        var result: Text = []
        var start = 0
        for place in places {
            result += text[start..<place]
            result += new
            start = place + old.count
        }
        return result + text[start...]
    }

    // MARK: Functions

    func call(_ function: TemplateFunction, _ arguments: TemplateArguments) throws -> TemplateValue {
        switch function {
        case .namespace:
            guard case .mapping(let names) = try mapping(arguments) else { return .null }
            namespaces.append(TemplateMapping())
            for (name, value) in zip(names.keys, names.values) {
                try setAttribute(try text(of: name).string, of: namespaces.count - 1, to: value)
            }
            return .namespace(namespaces.count - 1)
        case .dict: return try mapping(arguments)
        case .range: return try range(arguments)
        case .raiseException:
            let message = try arguments.bound(to: ["message"], of: "\"raise_exception\"")[0]
            let words = try message.map { try text(of: $0) } ?? Text("it raised an exception")
            throw TemplateFault(Text(words.prefix(1000)).string)
        case .strftimeNow:
            guard let format = try arguments.bound(to: ["format"], of: "\"strftime_now\"")[0] else {
                throw TemplateFault("\"strftime_now\" needs a format")
            }
            let letters = try required(format, "strftime_now")
            try charge(characters: 12 * letters.count)
            return .text(Text(try (now ?? TemplateDate.current()).text(letters)))
        }
    }

    /// A mapping of another mapping or of pairs, and of named arguments.
    private func mapping(_ arguments: TemplateArguments) throws -> TemplateValue {
        guard arguments.positional.count <= 1 else {
            throw TemplateFault("a mapping is made of one value, not several")
        }
        var result = TemplateMapping()
        switch arguments.positional.first {
        case nil: break
        case .some(.mapping(let mapping)): result = mapping
        case .some(let value):
            for pair in try elements(of: value, for: "a mapping") {
                let parts = try elements(of: pair, for: "a pair")
                guard parts.count == 2 else {
                    throw TemplateFault("a mapping is made of something else than pairs")
                }
                result.set(try key(of: parts[0]), named: parts[0], to: parts[1])
            }
        }
        try charge(elements: result.count + arguments.named.count)
        for (name, value) in arguments.named { result.set(Text(name), to: value) }
        return try checked(.mapping(result))
    }

    private func range(_ arguments: TemplateArguments) throws -> TemplateValue {
        guard arguments.named.isEmpty, (1...3).contains(arguments.positional.count) else {
            throw TemplateFault("\"range\" takes one to three numbers")
        }
        let numbers = try arguments.positional.map { value in
            guard let number = value.asInteger else {
                throw TemplateFault("\(value.kindName) is no bound of a range")
            }
            return number
        }
        let (start, stop) = numbers.count == 1 ? (0, numbers[0]) : (numbers[0], numbers[1])
        let step = numbers.count == 3 ? numbers[2] : 1
        guard step != 0 else { throw TemplateFault("the step of a range is zero") }
        guard step > 0 ? start < stop : start > stop else { return .list([]) }
        let span = step > 0 ? UInt(bitPattern: stop &- start) : UInt(bitPattern: start &- stop)
        let count = (span - 1) / step.magnitude + 1
        guard count <= UInt(limits.rangeLength) else {
            throw TemplateFault("a range has more than \(limits.rangeLength) numbers")
        }
        try charge(elements: Int(count))
        // The products may leave 64 bits, the sums do not; wrapping brings them back.
        return .list((0..<Int(count)).map { .integer(start &+ $0 &* step) })
    }
}

extension Unicode.Scalar {
    /// A letter to the reference.
    fileprivate var isTemplateLetter: Bool {
        switch properties.generalCategory {
        case .uppercaseLetter, .lowercaseLetter, .titlecaseLetter, .modifierLetter, .otherLetter: true
        default: false
        }
    }

    fileprivate var isTemplateDigit: Bool {
        properties.numericType == .decimal || properties.numericType == .digit
    }
}
