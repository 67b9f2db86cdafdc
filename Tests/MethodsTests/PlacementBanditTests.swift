import Methods
import Support
import Testing

/// DVP's specification, section 3 and invariant 8 of 9.2.
@Suite struct PlacementBanditTests {
    static let draws = [0, 2, 2, 1, 0]
    static let scores: [Double] = [50, 60, 61, 40, 52]

    @Test("the specification's worked examples") func examples() {
        var bandit = PlacementBandit(layers: Array(0..<4))
        let round = bandit.update(Self.draws, scores: Self.scores)
        #expect(abs(round.meanScore - 52.6) < 1e-12)
        for (found, wanted) in zip(bandit.preferences, [-0.003, -0.0118125, 0.0148125, 0]) {
            #expect(abs(found - wanted) < 1e-12)
        }
        bandit = PlacementBandit(layers: Array(0..<4)).replacing(preferences: [0.2, -0.1, 0, 0.4])
        for (found, wanted) in zip(bandit.probabilities, [0.264484, 0.195934, 0.216541, 0.323041]) {
            #expect(abs(found - wanted) < 1e-6)
        }
        _ = bandit.update(Self.draws, scores: Self.scores)
        for (found, wanted) in zip(bandit.preferences, [0.196887487, -0.109925276, 0.013402425, 0.4]) {
            #expect(abs(found - wanted) < 1e-9)
        }
    }

    @Test("adding a constant to all preferences changes nothing") func shift() {
        var a = PlacementBandit(layers: Array(0..<3)).replacing(preferences: [0.1, 0.5, -0.2])
        var b = PlacementBandit(layers: Array(0..<3)).replacing(preferences: [7.1, 7.5, 6.8])
        _ = a.update([0, 1, 2], scores: [10, 20, 30])
        _ = b.update([0, 1, 2], scores: [10, 20, 30])
        for (x, y) in zip(a.preferences, b.preferences) { #expect(abs(x + 7 - y) < 1e-9) }
    }

    @Test("equal scores teach nothing", arguments: PlacementBandit.Rule.allCases)
    func equalScores(_ rule: PlacementBandit.Rule) {
        var bandit = PlacementBandit(layers: Array(0..<3), rule: rule)
        let round = bandit.update([2, 0, 1], scores: [40, 40, 40])
        #expect(bandit.preferences == [0, 0, 0] && round.maxReward == 0)
    }

    @Test("the full rule keeps the sum of the preferences") func fullRule() {
        var bandit = PlacementBandit(layers: Array(0..<4), rule: .full).replacing(preferences: [
            0.3, 0, -0.1, 0.2,
        ])
        _ = bandit.update(Self.draws, scores: Self.scores)
        #expect(abs(bandit.preferences.reduce(0, +) - 0.4) < 1e-12)
        #expect(bandit.preferences[2] > -0.1 && bandit.preferences[1] < 0)
    }

    @Test("it finds the best of 12 arms within 500 rounds", arguments: PlacementBandit.Rule.allCases)
    func finds(_ rule: PlacementBandit.Rule) {
        for seed in 0..<8 {
            var bandit = PlacementBandit(layers: Array(0..<12), rule: rule)
            for round in 0..<500 {
                var random = CounterRandom(seed: seed, sample: round, purpose: "bandit test")
                let draws = bandit.draw(5, using: &random)
                let shared = Double.random(in: -3...3, using: &random)
                _ = bandit.update(
                    draws,
                    scores: draws.map {
                        50 + shared + ($0 == 7 ? 2 : 0) + Double.random(in: -0.5...0.5, using: &random)
                    })
            }
            #expect(bandit.best == 7)
            #expect((bandit.confidence ?? 0) > 0.95)
            #expect(bandit.pulls.reduce(0, +) == 2500)
        }
    }

    @Test("of equal arms the lowest is preferred, and draws follow the policy") func draws() {
        let bandit = PlacementBandit(layers: Array(0..<3)).replacing(preferences: [0, 1, 1])
        #expect(bandit.best == 1)
        var random = CounterRandom(seed: 1, purpose: "bandit draws")
        let draws = bandit.draw(20_000, using: &random)
        for (arm, share) in bandit.probabilities.enumerated() {
            let found = Double(draws.count { $0 == arm }) / 20_000
            #expect(abs(found - share) < 0.02)
        }
    }

    @Test("what is saved goes on exactly; other files are refused") func files() throws {
        var bandit = PlacementBandit(layers: Array(0..<4))
        _ = bandit.update(Self.draws, scores: Self.scores)
        var copy = PlacementBandit(layers: Array(0..<4))
        try copy.restore(JSON(parsing: Array(bandit.json.text().utf8), source: "test"), source: "test")
        #expect(copy == bandit && copy.ranking == bandit.ranking)
        var other = PlacementBandit(layers: Array(0..<5))
        #expect(throws: VQAError.self) { try other.restore(bandit.json, source: "test") }
        var full = PlacementBandit(layers: Array(0..<4), rule: .full)
        #expect(throws: VQAError.self) { try full.restore(bandit.json, source: "test") }
        #expect(throws: VQAError.self) { try copy.restore(["preferences": [1, 2]], source: "test") }
    }
}
