import Backbones
import Checkpoints
import Support
import Testing
import Torch

/// A model that looks its logits up: the row of a table that a hash of the last three tokens names.
///
/// Legend: R rows of the session, V vocabulary.
final class TableSession: GenerationSession {
    private let table: Tensor
    private var histories: [[Int]]
    private(set) var isStarted = false
    /// Rows of the session at each step.
    private(set) var rowsFed: [Int] = []
    /// Every token that was fed.
    private(set) var tokensFed: Set<Int> = []
    /// Called at each step.
    var onStep: () throws -> Void = {}

    init(_ table: Tensor, _ prompts: [[Int]]) {
        self.table = table
        histories = prompts
    }

    var rows: Int { histories.count }

    func start() throws -> Tensor {
        #expect(!isStarted, "a session is started once")
        isStarted = true
        return try logits()
    }

    func step(_ tokens: [Int]) throws -> Tensor {
        try onStep()
        #expect(tokens.count == rows)
        rowsFed.append(rows)
        tokensFed.formUnion(tokens)
        for (row, token) in tokens.enumerated() { histories[row].append(token) }
        return try logits()
    }

    func reorder(_ order: [Int]) throws { histories = order.map { histories[$0] } }

    private func logits() throws -> Tensor {
        let entries = histories.map { history in
            history.suffix(3).reduce(17) { ($0 * 31 + $1 + 1) % table.shape[0] }
        }
        return try table.selected(0, indices: Tensor(entries))
    }
}

/// Generation against transformers; made by Tools/goldens/generation.py.
@Suite(.serialized) struct GenerationGoldenTests {
    struct Case {
        let name: String
        let prompts: [[Int]]
        let embedded: Int
        let options: GenerationOptions
        let sequences: [[Int]]
        let scores: [Double]?

        init(_ json: JSON) throws {
            func lists(_ key: String) -> [[Int]] {
                (json[key]?.array ?? []).map { ($0.array ?? []).compactMap(\.integer) }
            }
            name = try #require(json["name"]?.string)
            prompts = lists("prompts")
            embedded = try #require(json["embedded"]?.integer)
            options = try GenerationOptions(#require(json["options"]), source: name)
            sequences = lists("sequences")
            scores = json["scores"]?.array?.compactMap(\.double)
        }
    }

    static func fixture(_ name: String) -> String {
        let tests = #filePath.split(separator: "/").dropLast(2).joined(separator: "/")
        return "/\(tests)/Fixtures/Generation/\(name)"
    }

    static func table() throws -> Tensor {
        try #require(Checkpoint(opening: fixture("table.safetensors")).tensors()["table"])
    }

    static func file() throws -> JSON { try JSON(contentsOf: fixture("cases.json")) }

    static func cases() throws -> [Case] { try #require(file()["cases"]?.array).map(Case.init) }

    static func oneCase(_ name: String) throws -> Case {
        try #require(cases().first { $0.name == name }, "no case is called \(name)")
    }

    /// The text of each token.
    static let pieces = (try? file()["pieces"]?.array?.compactMap(\.string)) ?? []

    static func decode(_ ids: [Int]) -> String { ids.map { pieces[$0] }.joined() }

    static func run(_ one: Case, _ options: GenerationOptions) throws -> [GeneratedSequence] {
        try generate(
            TableSession(table(), one.prompts), prompt: one.prompts, options: options, embedded: one.embedded,
            decode: decode)
    }

    @Test("every case of the reference: tokens exact, scores to 1e-5", arguments: [false, true])
    func reference(_ keepsFinishedRows: Bool) throws {
        let cases = try Self.cases()
        #expect(cases.count >= 50)
        for one in cases {
            var options = one.options
            options.keepsFinishedRows = keepsFinishedRows
            let found = try Self.run(one, options)
            #expect(found.map(\.ids) == one.sequences, "\(one.name)")
            let copies = one.options.returnSequences
            #expect(found.map(\.prompt) == one.sequences.indices.map { $0 / copies }, "\(one.name)")
            if let scores = one.scores {
                #expect(scores.count == found.count, "\(one.name)")
                for (sequence, wanted) in zip(found, scores) {
                    let score = Double(try #require(sequence.score))
                    #expect(abs(score - wanted) <= 1e-5 * max(1, abs(wanted)), "\(one.name)")
                }
            } else {
                #expect(found.allSatisfy { $0.score == nil }, "\(one.name)")
            }
        }
    }

    @Test("finish reasons say what happened") func reasons() throws {
        for one in try Self.cases() {
            for result in try Self.run(one, one.options) {
                let ends = result.ids.last.map(one.options.eosIDs.contains) ?? false
                #expect((result.reason == .eos) == ends, "\(one.name)")
                if result.reason == .stopString {
                    let text = Self.decode(one.prompts[result.prompt] + result.ids)
                    #expect(one.options.stopStrings.contains { text.contains($0) }, "\(one.name)")
                }
                #expect(result.reason != .cancelled, "\(one.name)")
            }
        }
        let stops = try Self.run(Self.oneCase("stop greedy"), Self.oneCase("stop greedy").options)
        #expect(stops.map(\.reason).contains(.stopString))
    }

    @Test("a prompt's result does not depend on the batch") func batches() throws {
        for one in try Self.cases()
        where Set(one.prompts.map(\.count)).count == 1 || one.options.maxLength == nil {
            // min_length counts the longest prompt of the batch, as the reference does.
            guard one.options.minLength == 0 || Set(one.prompts.map(\.count)).count == 1 else { continue }
            let together = try Self.run(one, one.options)
            let apart = try one.prompts.flatMap { prompt in
                try generate(
                    TableSession(Self.table(), [prompt]), prompt: [prompt], options: one.options,
                    embedded: one.embedded, decode: Self.decode)
            }
            #expect(together.map(\.ids) == apart.map(\.ids), "\(one.name)")
            #expect(together.map(\.score) == apart.map(\.score), "\(one.name)")
        }
    }

    @Test("LAVIS's short answers: a prompt of embeddings counts as no tokens") func shortAnswers() throws {
        // transformers counts the 7 embedded positions in min_length, so that 1 forbids nothing …
        let plain = try Self.oneCase("beams from nothing, short answers")
        #expect(try Self.run(plain, plain.options).map(\.ids) == [[2], [2]])
        // … LAVIS counts none: min_length 1 is a token before the end.
        let wanted = try Self.oneCase("beams from nothing, one token at least")
        var options = GenerationOptions()
        options.beams = 5
        options.lengthPenalty = -1
        options.minLength = 1
        options.maxLength = 10
        options.eosIDs = [2]
        let found = try generate(TableSession(Self.table(), [[], []]), prompt: [[], []], options: options)
        #expect(found.map(\.ids) == wanted.sequences)
        #expect(found.allSatisfy { $0.ids.count > 1 })
    }

    @Test("filtered scores equal the reference's exactly") func filters() throws {
        let tensors = try Checkpoint(opening: Self.fixture("filters.safetensors")).tensors()
        let flat = try #require(tensors["sequences"]).integers()
        let sequences = (0..<4).map { Array(flat[($0 * 9)..<($0 * 9 + 9)]) }
        let settings = try #require(Self.file()["filters"]?.array)
        #expect(settings.count == 13)
        for (index, setting) in settings.enumerated() {
            let options = try GenerationOptions(setting, source: "filters")
            let processors = LogitsProcessors(options, try GenerationLength(options, prompt: 5))
            for name in ["logits", "tied"] {
                var scores = try #require(tensors[name])
                if options.beams > 1 { scores = try scores.logSoftmax(1) }
                let found = try processors(scores, sequences, newTokens: 4).floats()
                let wanted = try #require(tensors["\(index).\(name)"]).floats()
                // log-softmax may differ in the last bit between processors.
                let tolerance: Float = options.beams > 1 ? 1e-5 : 0
                func same(_ a: [Float], _ b: [Float]) -> Bool {
                    a.count == b.count && zip(a, b).allSatisfy { $0 == $1 || abs($0 - $1) <= tolerance }
                }
                if name == "logits" { #expect(same(found, wanted), "\(setting.text())") }
                // Which of several equal scores falls below the limit of top-p is left open by the reference: its
                // sort is not stable. How many do is not.
                for row in 0..<4 {
                    let part = (row * 37)..<(row * 37 + 37)
                    #expect(
                        same(found[part].sorted(), wanted[part].sorted()), "\(setting.text()) \(name) \(row)")
                }
            }
        }
    }

    @Test("rows that have ended leave the session, or are fed padding") func finishedRows() throws {
        let one = try Self.oneCase("greedy")
        let session = TableSession(try Self.table(), one.prompts)
        _ = try generate(session, prompt: one.prompts, options: one.options)
        #expect(session.rowsFed.first == 4 && session.rowsFed.last == 3)
        #expect(!session.tokensFed.contains(0) && !session.tokensFed.contains(2))
        var options = one.options
        options.keepsFinishedRows = true
        let whole = TableSession(try Self.table(), one.prompts)
        _ = try generate(whole, prompt: one.prompts, options: options)
        #expect(whole.rowsFed.allSatisfy { $0 == 4 } && whole.tokensFed.contains(0))
        let beams = try Self.oneCase("beams first full, short")
        let beamed = TableSession(try Self.table(), beams.prompts)
        _ = try generate(beamed, prompt: beams.prompts, options: beams.options)
        #expect(beamed.rowsFed.first == 20 && beamed.rowsFed.last ?? 20 <= 20)
    }
}
