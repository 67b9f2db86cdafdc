import Foundation
import Support
import Testing
import Tokenizers

@Suite("Hostile chat templates") struct ChatTemplateHostileTests {
    private static let question: JSON = [["role": "user", "content": "Where?"]]

    private struct Greedy: Sendable {
        let source: String
        /// What the error must say.
        let says: String

        init(_ source: String, _ says: String) {
            self.source = source
            self.says = says
        }
    }

    private static func repeated(_ text: String, _ count: Int) -> String {
        String(repeating: text, count: count)
    }

    private static let greedy: [Greedy] = [
        Greedy("{{ 'a' * 10 ** 9 }}", "bytes"),
        Greedy("{{ 'a' * 9223372036854775807 }}", "bytes"),
        Greedy("{{ 'ab' * 9223372036854775807 }}", "too long"),
        Greedy("{{ [0] * 10 ** 9 }}", "bytes"),
        Greedy("{{ ([[0] * 9] * 10 ** 12) | length }}", "bytes"),
        Greedy("{{ 10 ** 10 ** 10 }}", "64 bits"),
        Greedy("{{ 9223372036854775807 + 1 }}", "64 bits"),
        Greedy("{{ -9223372036854775807 - 2 }}", "64 bits"),
        Greedy("{{ (-9223372036854775807 - 1) // -1 }}", "64 bits"),
        Greedy("{{ (-9223372036854775807 - 1) | abs }}", "64 bits"),
        Greedy("{{ -(-9223372036854775807 - 1) }}", "64 bits"),
        Greedy("{{ 2.0 ** 5000 }}", "out of range"),
        Greedy("{{ 99999999999999999999 }}", "out of range"),
        Greedy("{{ 1e999 }}", "out of range"),
        Greedy("{{ range(10 ** 12) }}", "a range"),
        Greedy("{{ range(-9223372036854775807, 9223372036854775807) }}", "a range"),
        Greedy(
            "{% for a in range(10000) %}{% for b in range(10000) %}{% for c in range(10000) %}"
                + "{% endfor %}{% endfor %}{% endfor %}", "steps"),
        Greedy("{% for a in range(50000) %}{{ 'x' * 1000 }}{% endfor %}", "more than"),
        Greedy(
            "{% set n = namespace(x='ab') %}{% for a in range(99) %}{% set n.x = n.x + n.x %}{% endfor %}",
            "bytes"),
        Greedy(
            "{% set n = namespace(x='ab') %}{% for a in range(99) %}{% set n.x = n.x | replace('', n.x) %}"
                + "{% endfor %}", "bytes"),
        Greedy(
            "{% set n = namespace(x=[]) %}{% for a in range(9999) %}{% set n.x = [n.x] %}{% endfor %}",
            "nested deeper"),
        Greedy(
            "{% set n = namespace(x={}) %}{% for a in range(9999) %}{% set n.x = {'a': n.x} %}{% endfor %}",
            "nested deeper"),
        Greedy(
            "{% set n = namespace(x=[1]) %}{% for a in range(99) %}{% set n.x = [n.x, n.x] %}{% endfor %}"
                + "{{ n.x }}", "than"),
        Greedy(
            "{% set n = namespace(x=[1]) %}{% for a in range(99) %}{% set n.x = [n.x, n.x] %}{% endfor %}"
                + "{{ n.x | tojson }}", "than"),
        Greedy(
            "{% set n = namespace(x=[1], y=[1]) %}{% for a in range(99) %}{% set n.x = [n.x, n.x] %}"
                + "{% set n.y = [n.y, n.y] %}{% endfor %}{{ n.x == n.y }}", "steps"),
        Greedy("{% set n = namespace() %}{% set n.x = n %}{{ n }}", "nested deeper"),
        Greedy("{% macro m() %}{{ m() }}{% endmacro %}{{ m() }}", "nested deeper"),
        Greedy("{% macro m(x) %}{{ m(x + x) ~ m(x + x) }}{% endmacro %}{{ m('a') }}", "than"),
        Greedy("{{ 'aaaa' | indent(10 ** 9) }}", "indent"),
        Greedy("{{ dict(" + (0..<300).map { "a\($0)=1" }.joined(separator: ",") + ") }}", "255 arguments"),
        Greedy(
            "{% macro m(" + (0..<300).map { "a\($0)" }.joined(separator: ",") + ") %}{% endmacro %}",
            "255 parameters"),
        Greedy("{{ raise_exception('x' * 100000) }}", "xxx"),
        Greedy("{% set x = 'a' * 500000 %}{% for a in range(100000) %}{{ x is upper }}{% endfor %}", "steps"),
        Greedy(
            "{% set x = 'a' * 500000 %}{% for a in range(100000) %}{{ 'b'.strip(x) }}{% endfor %}", "steps"),
        Greedy(
            "{% set x = 'a.' * 10000 %}{% set n = namespace() %}{% set n.a = n %}{% for a in range(100000) %}"
                + "{{ [n] | map(attribute=x ~ 'a') | list | length }}{% endfor %}", "than"),
        Greedy("{{ ('a\n' * 100000) | indent('x' * 100000) }}", "bytes"),
        Greedy(
            "{% set x = 'a' * 500000 %}{% for a in range(100000) %}{{ x == x ~ '' }}{% endfor %}", "than"),
        Greedy("{% set x = 'a' * 500000 %}{% for a in range(100000) %}{{ 'b' in x }}{% endfor %}", "steps"),
        Greedy("{% set x = 'a' * 500000 %}{% for a in range(100000) %}{{ {}[x] }}{% endfor %}", "steps"),
        Greedy("{% set x = 'a' * 500000 %}{% for a in range(100000) %}{{ x < x }}{% endfor %}", "steps"),
        Greedy(
            "{% set x = 'a' * 500000 %}{% for a in range(100000) %}{{ x.isspace() }}{% endfor %}", "than"),
        Greedy("{% set x = range(90000) %}{% for a in x %}{{ x | sort | first }}{% endfor %}", "than"),
        Greedy("{% set x = range(90000) %}{% for a in x %}{{ -1 in x }}{% endfor %}", "steps"),
        Greedy("{% set x = range(90000) %}{% for a in x %}{{ x | sum }}{% endfor %}", "than"),
        Greedy(repeated("{% if 1 %}", 5000) + repeated("{% endif %}", 5000), "nested deeper"),
        Greedy("{{ " + repeated("(", 5000) + "1" + repeated(")", 5000) + " }}", "nested deeper"),
        Greedy("{{ " + repeated("[", 5000) + repeated("]", 5000) + " }}", "nested deeper"),
        Greedy("{{ " + repeated("not ", 5000) + "1 }}", "nested deeper"),
        Greedy("{{ " + repeated("-", 5000) + "1 }}", "nested deeper"),
        Greedy("{{ " + repeated("1 if 1 else ", 5000) + "1 }}", "nested deeper"),
        Greedy("{{ " + repeated("x[", 5000) + "0" + repeated("]", 5000) + " }}", "nested deeper"),
        Greedy("{{ " + repeated("f(", 5000) + repeated(")", 5000) + " }}", "nested deeper"),
        Greedy("{% for " + repeated("(", 5000) + "x" + repeated(")", 5000) + " in x %}", "nested deeper"),
        Greedy("{{ 1 is " + repeated("eq(1) is ", 5000) + "}}", "expected"),
        Greedy(repeated("x", (1 << 20) + 1), "limit"),
        Greedy("{{ raise_exception('roles must\nalternate') }}", "roles must alternate"),
        Greedy("{{ messages[0].content.nothing.more }}", "has no attribute"),
        Greedy("{% call m() %}{% endcall %}", "not supported"),
        Greedy("{% include 'x' %}", "not supported"),
        Greedy("{{ ''.format }}{{ ''.format(1) }}", "called"),
        Greedy("{{ ''.__class__.__mro__ }}", "no attribute"),
        Greedy("{{ '%s' % 1 }}", "not defined"),
        Greedy("{{ '\\N{DEGREE SIGN}' }}", "not supported"),
        Greedy("{{ '\\ud800' }}", "no character"),
        Greedy("{% for x in [1] %}{% macro m() %}{% endmacro %}{% endfor %}", "macro"),
        Greedy("\n\n{{ 1 +\n 'a' }}", "line 3"),
        Greedy("\n\n{{ ( }}", "line 3"),
    ]

    @Test("what a template may use is bounded, and the error says by what", arguments: greedy.indices)
    func bounded(index: Int) throws {
        let greedy = Self.greedy[index]
        let head = greedy.source.prefix(100)
        // Below the defaults, to be quick without optimisation too.
        var limits = ChatTemplate.Limits()
        limits.steps /= 20
        limits.madeBytes /= 8
        do {
            _ = try ChatTemplate(greedy.source, limits: limits).render(messages: Self.question)
            Issue.record("\(head) was rendered")
        } catch let error as VQAError {
            #expect(error.description.contains(greedy.says), "\(head): \(error)")
            #expect(!error.description.contains("\n") && error.description.utf8.count < 1200)
        }
    }

    @Test("long chains of one operator, and wide ranges, are rendered")
    func chains() throws {
        for (source, text) in [
            ("{{ range(-9223372036854775807 - 1, 9223372036854775807, 2 ** 62) | length }}", "4"),
            ("{{ 1" + Self.repeated(" + 1", 5000) + " }}", "5001"),
            ("{{ 'a'" + Self.repeated(" ~ 'a'", 500) + " }}", Self.repeated("a", 501)),
            ("{{ 0" + Self.repeated(" or 0", 5000) + " }}", "0"),
            ("{{ 1" + Self.repeated(" < 2 > 1", 2000) + " }}", "True"),
            ("{{ 'a'" + Self.repeated(" | upper", 2000) + " }}", "A"),
            ("{% if 0 %}" + Self.repeated("{% elif 0 %}", 5000) + "{% else %}x{% endif %}", "x"),
        ] {
            #expect(try ChatTemplate(source).render(messages: Self.question) == text)
        }
    }

    /// What a secondary thread has on macOS; code that is not optimised needs more.
    private static var stackSize: Int {
        #if DEBUG
            1 << 20
        #else
            512 << 10
        #endif
    }

    @Test("everything fits on the stack of a secondary thread")
    func smallStack() async throws {
        let deep =
            "{% macro m(n) %}{% if n %}{% for x in [1] %}{{ [(m(n - 1) | trim) ~ ''] | map('upper') | list }}"
            + "{% endfor %}{% endif %}{% endmacro %}{{ m(1000) }}"
        let nested =
            Self.repeated("{% if 1 %}", 20) + "{{ " + Self.repeated("(-[1, ", 8) + "1"
            + Self.repeated("][0])", 8)
            + " }}" + Self.repeated("{% endif %}", 20)
        let lists =
            "{% set n = namespace(x=[]) %}{% for a in range(999) %}{% set n.x = {'a': [n.x]} %}{% endfor %}"
        let shown = lists.replacingOccurrences(of: "999", with: "60") + "{{ n.x }}{{ n.x | tojson }}"
        for source in [deep, nested, lists, shown] {
            await withCheckedContinuation { (done: CheckedContinuation<Void, Never>) in
                let thread = Thread {
                    let text = try? ChatTemplate(source).render(messages: Self.question)
                    #expect((text == nil) == (source == deep || source == lists), "\(source.prefix(60))")
                    done.resume()
                }
                thread.stackSize = Self.stackSize
                thread.start()
            }
        }
    }

    @Test("a damaged template is rendered or refused, never worse")
    func mutations() throws {
        let golden = try fixture("chat_templates.json")
        let conversations = try #require(golden["conversations"]?.members).map(\.value)
        var sources = try #require(golden["families"]?.array).compactMap { $0["template"]?.string }
        sources += try #require(golden["features"]?.array).compactMap { $0["template"]?.string }
        let alphabet = Array("{}%#-+()[]'\"\\|.,:=~*/<>! \n0129aeinorst_é猫".unicodeScalars)
        let words = [
            "{% endfor %}", "{{", "}}", "{%-", " if ", " else ", " is ", "not ", " in ", "loop", "|list",
            "[::-1]",
        ]
        .map { Array($0.unicodeScalars) }
        var limits = ChatTemplate.Limits()
        limits.steps = 5000
        var (rendered, refused) = (0, 0)
        for (index, source) in sources.enumerated() {
            for round in 0..<(index < 14 ? 20 : 1) {
                var random = CounterRandom(seed: 5, epoch: round, sample: index, purpose: "mutation")
                var text = Array(source.unicodeScalars)
                for _ in 0...Int.random(in: 0..<3, using: &random) {
                    let place = Int.random(in: 0...text.count, using: &random)
                    let end = min(text.count, place + Int.random(in: 0..<8, using: &random))
                    switch Int.random(in: 0..<4, using: &random) {
                    case 0: text.removeSubrange(place..<end)
                    case 1: text.insert(alphabet.randomElement(using: &random) ?? "x", at: place)
                    case 2: text.insert(contentsOf: words.randomElement(using: &random) ?? [], at: place)
                    default:
                        text.insert(
                            contentsOf: Array(text[place..<end]),
                            at: Int.random(in: 0...text.count, using: &random))
                    }
                }
                var damaged = String.UnicodeScalarView()
                damaged.append(contentsOf: text)
                do {
                    _ = try ChatTemplate(String(damaged), limits: limits).render(
                        messages: try #require(conversations.randomElement(using: &random)),
                        variables: ["tools": golden["tools"] ?? .null, "bos_token": "<s>", "xs": [3, 1, 2]])
                    rendered += 1
                } catch let error as VQAError {
                    #expect(!error.description.contains("\n"))
                    refused += 1
                }
            }
        }
        #expect(rendered > 100 && refused > 100)
    }

    @Test("messages may be anything that JSON can hold")
    func messages() throws {
        let template = try ChatTemplate("{% for m in messages %}{{ m.role }}:{{ m.content }};{% endfor %}")
        #expect(throws: VQAError.self) { try template.render(messages: []) }
        #expect(throws: VQAError.self) { try template.render(messages: "text") }
        #expect(try template.render(messages: [.null]) == ":;")
        #expect(try template.render(messages: [1, "x", [], true]) == ":;:;:;:;")
        #expect(
            try template.render(messages: [["role": .null, "content": [.null, 1.5]]]) == ":[None, 1.5];")
        var deep: JSON = 1
        for _ in 0..<500 { deep = [deep] }
        let error = #expect(throws: VQAError.self) { try template.render(messages: [["content": deep]]) }
        #expect(error?.description.contains("nested") == true)
    }
}
