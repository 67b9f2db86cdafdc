/// One rendering of a template: its scopes, its output, and what it has used of its limits.
final class TemplateRendering {
    private let program: TemplateProgram
    let limits: ChatTemplate.Limits
    let now: TemplateDate?
    /// The names of every open scope; the outermost first.
    private var scopes: [[String: TemplateValue]]
    /// The output, and on top of it what a block or macro is rendering.
    private var outputs: [Text] = [[]]
    var namespaces: [TemplateMapping] = []
    var loops: [TemplateLoopState] = []
    private var loopsStarted = 0
    private var depth = 0
    private var steps = 0
    private var madeBytes = 0
    /// The line of the statement that runs.
    private(set) var line = 1

    private enum Flow { case onward, breakLoop, continueLoop }

    init(
        _ program: TemplateProgram, limits: ChatTemplate.Limits, variables: [String: TemplateValue],
        now: TemplateDate?
    ) {
        self.program = program
        self.limits = limits
        self.now = now
        var outermost: [String: TemplateValue] = [:]
        for function in TemplateFunction.allCases { outermost[function.rawValue] = .function(function) }
        outermost.merge(variables) { $1 }
        scopes = [outermost]
    }

    /// The text of the whole template.
    func render() throws -> Text {
        _ = try run(program.body)
        return outputs[0]
    }

    // MARK: Limits

    /// Counts one step, and one more for every 64 of `count` elements or characters to be walked over.
    func charge(walking count: Int = 0) throws {
        steps += 1 + count / 64
        guard steps <= limits.steps else {
            throw TemplateFault("it takes more than \(limits.steps) steps")
        }
    }

    /// Counts a text of `count` characters before it is made.
    func charge(characters count: Int) throws { try charge(count, of: 4) }

    /// Counts a list or mapping of `count` elements before it is made.
    func charge(elements count: Int) throws { try charge(count, of: 32) }

    private func charge(_ count: Int, of size: Int) throws {
        let (bytes, overflow) = count.multipliedReportingOverflow(by: size)
        guard !overflow, bytes <= limits.madeBytes - madeBytes else {
            throw TemplateFault("its texts and lists take more than \(limits.madeBytes) bytes")
        }
        madeBytes += bytes
        try charge(walking: count)
    }

    /// Refuses a value that is nested too deep, for whoever makes it.
    func checked(_ value: TemplateValue) throws -> TemplateValue {
        guard value.depth <= limits.depth else {
            throw TemplateFault("lists are nested deeper than \(limits.depth)")
        }
        return value
    }

    /// Goes one level deeper; every call is followed by `defer { leave() }`.
    func enter() throws {
        guard depth < limits.depth else {
            throw TemplateFault("calls and expressions are nested deeper than \(limits.depth)")
        }
        depth += 1
    }

    func leave() { depth -= 1 }

    // MARK: Statements

    private func run(_ statements: [TemplateStatement]) throws -> Flow {
        try enter()
        defer { leave() }
        for statement in statements {
            line = statement.line
            try charge()
            let flow = try run(statement.kind)
            if flow != .onward { return flow }
        }
        return .onward
    }

    private func run(_ kind: TemplateStatement.Kind) throws -> Flow {
        switch kind {
        case .text(let text): try write(text)
        case .print(let expression): try write(try text(of: try evaluate(expression)))
        case .branches(let branches, let otherwise): return try run(branches, otherwise: otherwise)
        case .loop(let loop): return try run(loop)
        case .assign(let target, let value): try store(try evaluate(value), to: target)
        case .capture(let target, let filters, let body):
            let (text, flow) = try captured { try scoped([:]) { try run(body) } }
            try store(try apply(filters, to: .text(text)), to: target)
            return flow
        case .filter(let filters, let body):
            let (text, _) = try captured { try scoped([:]) { try run(body) } }
            try write(try self.text(of: try apply(filters, to: .text(text))))
        case .scope(let assignments, let body): return try run(assignments, body)
        case .macro(let index): try store(.macro(index), to: .name(program.macros[index].name))
        case .breakLoop: return .breakLoop
        case .continueLoop: return .continueLoop
        }
        return .onward
    }

    private func run(_ branches: [TemplateBranch], otherwise: [TemplateStatement]) throws -> Flow {
        for branch in branches where try evaluate(branch.condition).isTrue { return try run(branch.body) }
        return try run(otherwise)
    }

    private func run(_ assignments: [TemplateAssignment], _ body: [TemplateStatement]) throws -> Flow {
        let values = try assignments.map { try evaluate($0.value) }
        return try scoped([:]) {
            for (assignment, value) in zip(assignments, values) { try store(value, to: assignment.target) }
            return try run(body)
        }
    }

    private func run(_ loop: TemplateLoop) throws -> Flow {
        var items = try elements(of: try evaluate(loop.items), for: "a loop")
        if loop.usesLoop, loop.condition != nil { items = try items.filter { try passes($0, loop) } }
        loopsStarted += 1
        loops.append(TemplateLoopState(id: loopsStarted, items: items))
        defer { loops.removeLast() }
        var ran = false
        for (index, item) in items.enumerated() {
            try charge()
            if !loop.usesLoop, loop.condition != nil, !(try passes(item, loop)) { continue }
            ran = true
            loops[loops.count - 1].index = index
            let flow = try scoped(["loop": .loop(loops[loops.count - 1].id)]) {
                try store(item, to: loop.target)
                return try run(loop.body)
            }
            if flow == .breakLoop { break }
        }
        return ran ? .onward : try scoped([:]) { try run(loop.otherwise) }
    }

    private func passes(_ item: TemplateValue, _ loop: TemplateLoop) throws -> Bool {
        guard let condition = loop.condition else { return true }
        return try scoped([:]) {
            try store(item, to: loop.target)
            return try evaluate(condition).isTrue
        }
    }

    private func scoped<Result>(_ names: [String: TemplateValue], _ body: () throws -> Result) throws
        -> Result
    {
        scopes.append(names)
        defer { scopes.removeLast() }
        return try body()
    }

    // MARK: Output

    private func write(_ text: Text) throws {
        let last = outputs.count - 1
        guard text.count <= limits.outputCharacters - outputs[last].count else {
            throw TemplateFault("it renders more than \(limits.outputCharacters) characters")
        }
        try charge(characters: text.count)
        outputs[last] += text
    }

    private func captured<Result>(_ body: () throws -> Result) throws -> (text: Text, result: Result) {
        outputs.append([])
        var result: Result?
        do { result = try body() } catch {
            outputs.removeLast()
            throw error
        }
        let text = outputs.removeLast()
        guard let result else { throw TemplateFault("a block gave nothing") }
        return (text, result)
    }

    // MARK: Names

    func value(named name: String) -> TemplateValue {
        for scope in scopes.reversed() { if let value = scope[name] { return value } }
        return .undefined(name)
    }

    private func store(_ value: TemplateValue, to target: TemplateTarget) throws {
        switch target {
        case .name(let name): scopes[scopes.count - 1][name] = value
        case .attribute(let name, let attribute):
            guard case .namespace(let index) = self.value(named: name) else {
                throw TemplateFault("\"\(name)\" is no namespace, so its attributes cannot be set")
            }
            try setAttribute(attribute, of: index, to: value)
        case .tuple(let targets):
            let values = try elements(of: value, for: "an assignment to several names")
            guard values.count == targets.count else {
                throw TemplateFault("\(values.count) values are assigned to \(targets.count) names")
            }
            for (target, value) in zip(targets, values) { try store(value, to: target) }
        }
    }

    /// Sets an attribute of a namespace. As in the reference, names that begin with an underscore are refused.
    func setAttribute(_ name: String, of namespace: Int, to value: TemplateValue) throws {
        guard !name.hasPrefix("_") else {
            throw TemplateFault(
                "the attribute \"\(name.prefix(60))\" of a namespace begins with an underscore")
        }
        try charge(elements: 1)
        namespaces[namespace].set(Text(name), to: value)
    }

    // MARK: Macros

    /// Runs a macro. It sees its parameters and the names of the outermost scope.
    func call(macro index: Int, _ arguments: TemplateArguments) throws -> TemplateValue {
        try enter()
        defer { leave() }
        let macro = program.macros[index]
        let values = try arguments.bound(to: macro.parameters.map(\.name), of: "the macro \"\(macro.name)\"")
        let (outer, outerLine) = (scopes, line)
        scopes = [outer[0], [:]]
        defer { (scopes, line) = (outer, outerLine) }
        for (parameter, value) in zip(macro.parameters, values) {
            let missing = try parameter.missing.map { try evaluate($0) } ?? .undefined(parameter.name)
            try store(value ?? missing, to: .name(parameter.name))
        }
        return .text(try captured { try run(macro.body) }.text)
    }
}

/// A loop that runs.
struct TemplateLoopState {
    let id: Int
    let items: [TemplateValue]
    var index = 0

    /// An attribute of `loop`.
    func attribute(_ name: String) -> TemplateValue? {
        switch name {
        case "index": .integer(index + 1)
        case "index0": .integer(index)
        case "revindex": .integer(items.count - index)
        case "revindex0": .integer(items.count - index - 1)
        case "first": .boolean(index == 0)
        case "last": .boolean(index == items.count - 1)
        case "length": .integer(items.count)
        case "previtem": index > 0 ? items[index - 1] : .undefined(name)
        case "nextitem": index + 1 < items.count ? items[index + 1] : .undefined(name)
        case "depth": .integer(1)
        case "depth0": .integer(0)
        default: nil
        }
    }
}

/// The arguments of a call.
struct TemplateArguments {
    var positional: [TemplateValue] = []
    var named: [(name: String, value: TemplateValue)] = []

    /// The value of every parameter, nil where none was given.
    func bound(to parameters: [String], of function: String) throws -> [TemplateValue?] {
        guard positional.count <= parameters.count else {
            throw TemplateFault(
                "\(function) takes at most \(parameters.count) arguments, not \(positional.count)")
        }
        var values: [TemplateValue?] = positional
        values += [TemplateValue?](repeating: nil, count: parameters.count - positional.count)
        for (name, value) in named {
            guard let place = parameters.firstIndex(of: name) else {
                throw TemplateFault("\(function) has no parameter \"\(name.prefix(60))\"")
            }
            guard values[place] == nil else { throw TemplateFault("\(function) is given \"\(name)\" twice") }
            values[place] = value
        }
        return values
    }
}
