import Backbones
import Support
import Testing
import Torch

/// What is random: reproducible, independent of the batch, and of the right distribution.
@Suite(.serialized) struct GenerationSamplingTests {
    static let prompts = [[4, 9, 13, 22], [30, 7, 5], [8, 8, 19, 27, 33, 6]]

    static func options(_ change: (inout GenerationOptions) -> Void = { _ in }) -> GenerationOptions {
        var options = GenerationOptions()
        options.doSample = true
        options.maxNewTokens = 15
        options.eosIDs = [2]
        options.seed = 3
        change(&options)
        return options
    }

    static func run(
        _ prompts: [[Int]], _ options: GenerationOptions, numbers: [Int]? = nil
    ) throws -> [[Int]] {
        try generate(
            TableSession(GenerationGoldenTests.table(), prompts), prompt: prompts, options: options,
            numbers: numbers
        ).map(\.ids)
    }

    @Test("draws repeat with the seed and differ without", arguments: [1, 3])
    func seeds(_ beams: Int) throws {
        let options = Self.options { $0.beams = beams }
        let first = try Self.run(Self.prompts, options)
        #expect(try first == Self.run(Self.prompts, options))
        #expect(try first != Self.run(Self.prompts, Self.options { ($0.beams, $0.seed) = (beams, 4) }))
    }

    @Test("draws depend on the prompt's number, not on the batch", arguments: [1, 3], [1, 2])
    func batches(_ beams: Int, _ copies: Int) throws {
        let options = Self.options { ($0.beams, $0.returnSequences) = (beams, copies) }
        let together = try Self.run(Self.prompts, options, numbers: [7, 8, 9])
        let apart = try (0..<3).flatMap { try Self.run([Self.prompts[$0]], options, numbers: [7 + $0]) }
        #expect(together == apart)
        #expect(together.count == 3 * copies)
        var kept = options
        kept.keepsFinishedRows = true
        #expect(try Self.run(Self.prompts, kept, numbers: [7, 8, 9]) == together)
        // The same prompt under two numbers, or as two sequences, is drawn for twice.
        let twice = try Self.run([Self.prompts[0], Self.prompts[0]], options)
        #expect(twice[0] != twice[copies])
    }

    @Test("the first draw of many follows the filtered distribution") func distribution() throws {
        let prompt = [4, 9, 13]
        let options = Self.options { ($0.maxNewTokens, $0.temperature, $0.topK, $0.topP) = (1, 1.6, 9, 0.9) }
        let count = 6000
        let drawn = try Self.run(Array(repeating: prompt, count: count), options).compactMap(\.first)
        let logits = try TableSession(GenerationGoldenTests.table(), [prompt]).start()
        let processors = LogitsProcessors(options, try GenerationLength(options, prompt: 3))
        let wanted = try processors(logits, [prompt], newTokens: 0).softmax(1).doubles()
        #expect(wanted.filter { $0 > 0 }.count > 3)
        var square = 0.0
        for (token, probability) in wanted.enumerated() {
            let found = Double(drawn.filter { $0 == token }.count)
            if probability == 0 {
                #expect(found == 0, "token \(token) was filtered out")
            } else {
                let expected = probability * Double(count)
                square += (found - expected) * (found - expected) / expected
            }
        }
        // χ² of at most 8 degrees of freedom exceeds 26.1 once in a thousand.
        #expect(square < 26.1)
    }

    @Test("beams are drawn without replacement in the right proportion") func beamDistribution() throws {
        // One step of two beams: four different tokens, of which the better of the first two is the result.
        let prompt = [4, 9, 13]
        let options = Self.options { ($0.maxNewTokens, $0.beams, $0.returnSequences) = (1, 2, 2) }
        let count = 4000
        let prompts = Array(repeating: prompt, count: count)
        let results = try generate(
            TableSession(GenerationGoldenTests.table(), prompts), prompt: prompts, options: options)
        let p = try TableSession(GenerationGoldenTests.table(), [prompt]).start().softmax(1).doubles()
        for index in 0..<count {
            let pair = results[(2 * index)...(2 * index + 1)].compactMap(\.ids.first)
            #expect(pair.count == 2 && pair[0] != pair[1])
            #expect(p[pair[0]] >= p[pair[1]])
        }
        // A token is among the first two with probability p + Σ q p / (1 − q).
        for token in p.indices where p[token] > 0.02 {
            let wanted = p.indices.filter { $0 != token }.reduce(p[token]) {
                $0 + p[$1] * p[token] / (1 - p[$1])
            }
            let found = Double(results.filter { $0.ids.first == token }.count) / Double(count)
            let deviation = (wanted * (1 - wanted) / Double(count)).squareRoot()
            #expect(abs(found - wanted) < 4 * deviation + 0.002, "token \(token)")
        }
    }

    @Test("a low temperature is greedy search") func cold() throws {
        let greedy = Self.options { ($0.doSample, $0.temperature) = (false, 1) }
        #expect(
            try Self.run(Self.prompts, greedy)
                == Self.run(Self.prompts, Self.options { $0.temperature = 1e-4 }))
        #expect(try Self.run(Self.prompts, greedy) == Self.run(Self.prompts, Self.options { $0.topK = 1 }))
    }
}
