/// A template after parsing: what to run, and the macros it defines.
struct TemplateProgram: Sendable {
    var body: [TemplateStatement] = []
    var macros: [TemplateMacro] = []
}

/// A statement with the line where it begins.
struct TemplateStatement: Sendable {
    indirect enum Kind: Sendable {
        case text(Text)
        case print(TemplateExpression)
        case branches([TemplateBranch], otherwise: [TemplateStatement])
        case loop(TemplateLoop)
        case assign(TemplateTarget, TemplateExpression)
        /// `{% set name %}…{% endset %}`: what the body renders, after filters.
        case capture(TemplateTarget, filters: [TemplatePostfix], body: [TemplateStatement])
        /// `{% filter name %}…{% endfilter %}`.
        case filter([TemplatePostfix], body: [TemplateStatement])
        /// `{% with a = b %}…{% endwith %}`, and `{% generation %}` with no assignments: a scope of its own.
        case scope([TemplateAssignment], body: [TemplateStatement])
        /// Gives a macro, by its index in the program, its name.
        case macro(Int)
        case breakLoop, continueLoop
    }

    let kind: Kind
    let line: Int
}

struct TemplateBranch: Sendable {
    let condition: TemplateExpression
    let body: [TemplateStatement]
}

struct TemplateLoop: Sendable {
    let target: TemplateTarget
    let items: TemplateExpression
    let condition: TemplateExpression?
    let body: [TemplateStatement]
    let otherwise: [TemplateStatement]
    /// Whether the body speaks of `loop`; then the condition is tested for all items beforehand, to know their number.
    let usesLoop: Bool
}

/// What a value is stored to.
indirect enum TemplateTarget: Sendable {
    case name(String)
    /// `set namespace.attribute = …`.
    case attribute(namespace: String, String)
    case tuple([TemplateTarget])
}

struct TemplateAssignment: Sendable {
    let target: TemplateTarget
    let value: TemplateExpression
}

struct TemplateMacro: Sendable {
    struct Parameter: Sendable {
        let name: String
        let missing: TemplateExpression?
    }

    let name: String
    let parameters: [Parameter]
    let body: [TemplateStatement]
}

/// An expression. Chains of one precedence are flat lists, so that the depth of the tree is that of the nesting in the
/// source, which is bounded.
indirect enum TemplateExpression: Sendable {
    case constant(TemplateValue)
    case name(String)
    case list([TemplateExpression])
    case tuple([TemplateExpression])
    case mapping([(key: TemplateExpression, value: TemplateExpression)])
    case negated(TemplateExpression)
    case positive(TemplateExpression)
    case not(TemplateExpression)
    /// From left to right.
    case arithmetic(TemplateExpression, [(symbol: String, operand: TemplateExpression)])
    case joined([TemplateExpression])
    /// `a < b < c`: every neighbouring pair.
    case comparison(TemplateExpression, [(symbol: String, operand: TemplateExpression)])
    case all([TemplateExpression])
    case any([TemplateExpression])
    case choice(TemplateExpression, if: TemplateExpression, otherwise: TemplateExpression?)
    case postfix(TemplateExpression, [TemplatePostfix])
}

/// What follows an operand.
enum TemplatePostfix: Sendable {
    case attribute(String)
    case item(TemplateExpression)
    case slice(TemplateExpression?, TemplateExpression?, TemplateExpression?)
    case call(TemplateCall)
    case filter(String, TemplateCall)
    case test(String, TemplateCall, isNegated: Bool)
}

/// The arguments of a call, before they are computed.
struct TemplateCall: Sendable {
    var positional: [TemplateExpression] = []
    var named: [(name: String, value: TemplateExpression)] = []
}
