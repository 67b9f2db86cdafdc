/// Makes a program of the tokens of a template: the statements. Expressions are in TemplateExpressionParser.swift.
struct TemplateParser {
    private let tokens: [TemplateToken]
    private var index = 0
    private var program = TemplateProgram()
    private var nesting = 0
    private let maximumNesting: Int
    /// Arguments of one call or parameters of one macro; their names are compared pairwise.
    static let maximumArguments = 255
    /// How many loops are open; `break` needs one.
    private var openLoops = 0
    /// Whether this is the outermost scope, where macros are defined.
    private var isOutermost = true
    /// Whether `loop` was read since this was last set to false.
    private var readsLoop = false

    /// Parses a template.
    ///
    /// - Throws: `LocatedFault`.
    static func program(_ template: String, maximumNesting: Int) throws -> TemplateProgram {
        var parser = TemplateParser(
            tokens: try TemplateLexer.tokens(of: template), maximumNesting: maximumNesting)
        do { parser.program.body = try parser.body(until: []) } catch let fault as TemplateFault {
            throw LocatedFault(fault.why, line: parser.line)
        }
        return parser.program
    }

    private init(tokens: [TemplateToken], maximumNesting: Int) {
        self.tokens = tokens
        self.maximumNesting = maximumNesting
    }

    // MARK: Tokens

    /// The next token; the last one, `end`, is never stepped over.
    var current: TemplateToken.Kind { index < tokens.count ? tokens[index].kind : .end }
    /// The token after the next.
    var following: TemplateToken.Kind { index + 1 < tokens.count ? tokens[index + 1].kind : .end }
    private var line: Int { index < tokens.count ? tokens[index].line : tokens.last?.line ?? 1 }

    mutating func advance() { if current != .end { index += 1 } }

    mutating func take(_ kind: TemplateToken.Kind) -> Bool {
        guard current == kind else { return false }
        advance()
        return true
    }

    mutating func take(symbol: String) -> Bool { take(.symbol(symbol)) }

    mutating func take(word: String) -> Bool { take(.name(word)) }

    mutating func expect(_ kind: TemplateToken.Kind) throws {
        guard take(kind) else { throw unexpected(Self.describe(kind)) }
    }

    mutating func expectName() throws -> String {
        guard case .name(let name) = current else { throw unexpected("a name") }
        advance()
        if name == "loop" { readsLoop = true }
        return name
    }

    func unexpected(_ wanted: String) -> TemplateFault {
        TemplateFault("expected \(wanted), found \(Self.describe(current))")
    }

    private static func describe(_ kind: TemplateToken.Kind) -> String {
        switch kind {
        case .data: "text"
        case .blockBegin: "\"{%\""
        case .blockEnd: "\"%}\""
        case .variableBegin: "\"{{\""
        case .variableEnd: "\"}}\""
        case .name(let name): "\"\(name.prefix(60))\""
        case .text: "a text in quotes"
        case .integer, .number: "a number"
        case .symbol(let symbol): "\"\(symbol)\""
        case .end: "the end of the template"
        }
    }

    /// Goes one level deeper for the duration of `parse`.
    mutating func nested<Result>(_ parse: (inout TemplateParser) throws -> Result) throws -> Result {
        guard nesting < maximumNesting else {
            throw TemplateFault("blocks and expressions are nested deeper than \(maximumNesting)")
        }
        nesting += 1
        defer { nesting -= 1 }
        return try parse(&self)
    }

    // MARK: Statements

    /// Reads statements up to a tag whose first word is one of `ends`, and that word; to the end when there are none.
    private mutating func body(until ends: [String]) throws -> [TemplateStatement] {
        var statements: [TemplateStatement] = []
        while true {
            let line = line
            let kind: TemplateStatement.Kind
            switch current {
            case .end:
                guard ends.isEmpty else {
                    throw TemplateFault("the template ends before \"{% \(ends[ends.count - 1]) %}\"")
                }
                return statements
            case .data(let text):
                advance()
                kind = .text(text)
            case .variableBegin:
                advance()
                kind = .print(try tuple())
                try expect(.variableEnd)
            default:
                try expect(.blockBegin)
                if case .name(let word) = current, ends.contains(word) { return statements }
                kind = try nested { try $0.statement() }
                try expect(.blockEnd)
            }
            statements.append(TemplateStatement(kind: kind, line: line))
        }
    }

    /// A body whose end is a tag of its own, stepped over but for its closing `%}`.
    private mutating func block(until end: String) throws -> [TemplateStatement] {
        try expect(.blockEnd)
        let statements = try body(until: [end])
        advance()
        return statements
    }

    private mutating func statement() throws -> TemplateStatement.Kind {
        let word = try expectName()
        switch word {
        case "if": return try branches()
        case "for": return try loop()
        case "set": return try assignment()
        case "macro": return try macro()
        case "with": return try with()
        case "filter":
            let filters = try filterChain()
            return .filter(filters, body: try inner { try $0.block(until: "endfilter") })
        case "generation":
            return .scope([], body: try inner { try $0.block(until: "endgeneration") })
        case "print":
            var values = [try expression()]
            while take(symbol: ",") { values.append(try expression()) }
            return .print(.joined(values))
        case "break", "continue":
            guard openLoops > 0 else { throw TemplateFault("\"\(word)\" stands outside a loop") }
            return word == "break" ? .breakLoop : .continueLoop
        default: throw TemplateFault("the tag \"\(word.prefix(60))\" is not supported")
        }
    }

    private mutating func branches() throws -> TemplateStatement.Kind {
        var branches: [TemplateBranch] = []
        while true {
            let condition = try tuple(allowsChoice: false)
            try expect(.blockEnd)
            branches.append(
                TemplateBranch(condition: condition, body: try body(until: ["elif", "else", "endif"])))
            if take(word: "elif") { continue }
            guard take(word: "else") else { break }
            try expect(.blockEnd)
            let otherwise = try body(until: ["endif"])
            advance()
            return .branches(branches, otherwise: otherwise)
        }
        advance()
        return .branches(branches, otherwise: [])
    }

    private mutating func loop() throws -> TemplateStatement.Kind {
        let target = try target(allowsNamespace: false, endsAt: "in")
        guard take(word: "in") else { throw unexpected("\"in\"") }
        let items = try tuple(allowsChoice: false)
        let condition = take(word: "if") ? try expression() : nil
        if current == .name("recursive") { throw TemplateFault("a recursive loop is not supported") }
        try expect(.blockEnd)
        let outerReads = readsLoop
        readsLoop = false
        openLoops += 1
        let statements = try inner(keepsLoops: true) { try $0.body(until: ["else", "endfor"]) }
        openLoops -= 1
        let usesLoop = readsLoop
        readsLoop = outerReads || usesLoop
        var otherwise: [TemplateStatement] = []
        if take(word: "else") {
            try expect(.blockEnd)
            otherwise = try inner(keepsLoops: true) { try $0.body(until: ["endfor"]) }
        }
        advance()
        return .loop(
            TemplateLoop(
                target: target, items: items, condition: condition, body: statements, otherwise: otherwise,
                usesLoop: usesLoop))
    }

    private mutating func assignment() throws -> TemplateStatement.Kind {
        let target = try target(allowsNamespace: true, endsAt: nil)
        if take(symbol: "=") { return .assign(target, try tuple()) }
        let filters = current == .symbol("|") ? try filterChain(afterBar: true) : []
        return .capture(
            target, filters: filters, body: try inner(keepsLoops: true) { try $0.block(until: "endset") })
    }

    private mutating func with() throws -> TemplateStatement.Kind {
        var assignments: [TemplateAssignment] = []
        while current != .blockEnd {
            if !assignments.isEmpty { try expect(.symbol(",")) }
            let target = try simpleTarget(allowsNamespace: false)
            try expect(.symbol("="))
            assignments.append(TemplateAssignment(target: target, value: try expression()))
        }
        return .scope(assignments, body: try inner(keepsLoops: true) { try $0.block(until: "endwith") })
    }

    /// Macros are defined in the outermost scope only, so that they need not carry the scope of their definition along.
    private mutating func macro() throws -> TemplateStatement.Kind {
        guard isOutermost else {
            throw TemplateFault("a macro inside a loop, a macro or another scope is not supported")
        }
        let name = try expectName()
        try expect(.symbol("("))
        var parameters: [TemplateMacro.Parameter] = []
        while current != .symbol(")") {
            if !parameters.isEmpty { try expect(.symbol(",")) }
            let name = try expectName()
            let missing = take(symbol: "=") ? try expression() : nil
            guard missing != nil || parameters.last?.missing == nil else {
                throw TemplateFault("the parameter \"\(name)\" without a default follows one with a default")
            }
            guard !parameters.contains(where: { $0.name == name }) else {
                throw TemplateFault("the parameter \"\(name)\" appears twice")
            }
            guard parameters.count < Self.maximumArguments else {
                throw TemplateFault("a macro has more than \(Self.maximumArguments) parameters")
            }
            parameters.append(TemplateMacro.Parameter(name: name, missing: missing))
        }
        advance()
        let body = try inner { try $0.block(until: "endmacro") }
        program.macros.append(TemplateMacro(name: name, parameters: parameters, body: body))
        return .macro(program.macros.count - 1)
    }

    /// Parses the body of an inner scope. Unless `keepsLoops`, a `break` in it does not see the loops around.
    private mutating func inner<Result>(
        keepsLoops: Bool = false, _ parse: (inout TemplateParser) throws -> Result
    ) throws -> Result {
        let (wasOutermost, loops) = (isOutermost, openLoops)
        isOutermost = false
        if !keepsLoops { openLoops = 0 }
        defer { (isOutermost, openLoops) = (wasOutermost, loops) }
        return try parse(&self)
    }

    // MARK: Targets

    /// One target, or several with commas between.
    private mutating func target(allowsNamespace: Bool, endsAt end: String?) throws -> TemplateTarget {
        var targets = [try simpleTarget(allowsNamespace: allowsNamespace)]
        guard current == .symbol(",") else { return targets[0] }
        while take(symbol: ",") {
            if current == .symbol("=") || current == .blockEnd || current == .symbol(")") { break }
            if let end, current == .name(end) { break }
            targets.append(try simpleTarget(allowsNamespace: allowsNamespace))
        }
        return .tuple(targets)
    }

    private mutating func simpleTarget(allowsNamespace: Bool) throws -> TemplateTarget {
        if take(symbol: "(") {
            let inner = try nested { try $0.target(allowsNamespace: allowsNamespace, endsAt: nil) }
            try expect(.symbol(")"))
            return inner
        }
        let name = try expectName()
        guard !["true", "false", "none", "True", "False", "None"].contains(name) else {
            throw TemplateFault("nothing can be stored to \"\(name)\"")
        }
        if allowsNamespace, take(symbol: ".") { return .attribute(namespace: name, try expectName()) }
        return .name(name)
    }
}
