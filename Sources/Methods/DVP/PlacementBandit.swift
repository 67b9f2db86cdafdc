import Support

#if canImport(Glibc)
    import Glibc
#else
    import Darwin
#endif

/// The k-armed bandit that finds the insertion layer (KAB-APP): a preference for each layer, a policy that is their
/// softmax, and updates by how much better than the others a drawn layer answers.
///
/// Specification of DVP, 3. Arms are numbered from 0 in the order of their layers.
public struct PlacementBandit: Sendable, Equatable {
    /// How preferences follow rewards.
    public enum Rule: String, Sendable, CaseIterable {
        /// As released: only the drawn arm moves, by reward · π(1 − π).
        case diagonal
        /// The gradient of the expected reward: the drawn arm moves by reward · (1 − π), every other by −reward · its π.
        case full
    }

    /// The layers to choose from, in rising order.
    public let layers: [Int]
    /// How preferences follow rewards.
    public let rule: Rule
    /// The factor before every update: 0.005 with scores in percent.
    public let stepSize: Double
    /// Preferences α.
    public private(set) var preferences: [Double]
    /// How often each arm was drawn.
    public private(set) var pulls: [Int]
    /// Rounds so far.
    public private(set) var rounds = 0
    /// Sums of rewards and of their squares, by arm.
    private var sums: [(reward: Double, square: Double)]

    /// All arms equal.
    public init(layers: [Int], rule: Rule = .diagonal, stepSize: Double = 0.005) {
        self.layers = layers.sorted()
        self.rule = rule
        self.stepSize = stepSize
        preferences = Array(repeating: 0, count: layers.count)
        pulls = Array(repeating: 0, count: layers.count)
        sums = Array(repeating: (0, 0), count: layers.count)
    }

    /// The same with other preferences.
    public func replacing(preferences: [Double]) -> PlacementBandit {
        var copy = self
        if preferences.count == copy.preferences.count { copy.preferences = preferences }
        return copy
    }

    /// π, the softmax of the preferences.
    public var probabilities: [Double] {
        let highest = preferences.max() ?? 0
        let weights = preferences.map { exp($0 - highest) }
        let total = weights.reduce(0, +)
        return weights.map { $0 / total }
    }

    /// The preferred layer; of equal ones the lowest.
    public var best: Int {
        let arm = preferences.indices.max { (preferences[$0], $1) < (preferences[$1], $0) }
        return arm.map { layers[$0] } ?? 0
    }

    /// Arms drawn from π, with repeats.
    public func draw(_ count: Int, using random: inout CounterRandom) -> [Int] {
        let policy = probabilities
        return (0..<count).map { _ in
            var left = Double.random(in: 0..<1, using: &random)
            for (arm, share) in policy.enumerated() {
                left -= share
                if left < 0 { return arm }
            }
            return policy.count - 1
        }
    }

    /// What one round showed.
    public struct Round: Sendable, Equatable {
        /// The mean score.
        public let meanScore: Double
        /// The greatest advantage over the mean.
        public let maxReward: Double
        /// Mean of −log π over the draws: how undecided the policy still is.
        public let policyLoss: Double
    }

    /// Learns from the scores, in percent, of the arms drawn in one round. The reward of a draw is its score less the mean.
    public mutating func update(_ draws: [Int], scores: [Double]) -> Round {
        let policy = probabilities
        let count = Double(max(1, min(draws.count, scores.count)))
        let mean = scores.reduce(0, +) / count
        var best = 0.0
        var loss = 0.0
        for (arm, score) in zip(draws, scores) where preferences.indices.contains(arm) {
            let reward = score - mean
            best = max(best, reward)
            loss -= log(policy[arm]) / count
            pulls[arm] += 1
            sums[arm].reward += reward
            sums[arm].square += reward * reward
            switch rule {
            case .diagonal:
                preferences[arm] += stepSize * reward * policy[arm] * (1 - policy[arm])
            case .full:
                for other in preferences.indices {
                    preferences[other] += stepSize * reward * ((other == arm ? 1 : 0) - policy[other])
                }
            }
        }
        rounds += 1
        return Round(meanScore: mean, maxReward: best, policyLoss: loss)
    }

    // MARK: What is known of the arms

    /// One arm as it stands.
    public struct Arm: Sendable, Equatable {
        /// The layer.
        public let layer: Int
        /// α
        public let preference: Double
        /// π
        public let probability: Double
        /// How often it was drawn.
        public let pulls: Int
        /// Its mean reward in points of the score; nil when it was never drawn.
        public let reward: Double?
        /// Half of the 95 % interval of that mean; nil for fewer than two draws.
        public let margin: Double?
    }

    /// The arms, the most preferred first; of equal ones the lowest.
    public var ranking: [Arm] {
        arms.sorted { ($1.preference, $0.layer) < ($0.preference, $1.layer) }
    }

    /// The arms in the order of the layers.
    public var arms: [Arm] {
        let policy = probabilities
        return preferences.indices.map { arm in
            let count = Double(pulls[arm])
            let mean = pulls[arm] > 0 ? sums[arm].reward / count : nil
            let margin = mean.flatMap { mean in
                pulls[arm] > 1
                    ? 1.96 * (max(0, sums[arm].square / count - mean * mean) / (count - 1)).squareRoot() : nil
            }
            return Arm(
                layer: layers[arm], preference: preferences[arm], probability: policy[arm], pulls: pulls[arm],
                reward: mean, margin: margin)
        }
    }

    /// How likely the best arm's mean reward is above the second's, by the normal approximation; nil while either has
    /// fewer than two draws, or there is only one arm.
    public var confidence: Double? {
        let top = ranking.prefix(2)
        guard top.count == 2, let a = top[0].reward, let b = top[1].reward, let ma = top[0].margin,
            let mb = top[1].margin
        else { return nil }
        let deviation = (ma * ma + mb * mb).squareRoot() / 1.96
        guard deviation > 0 else { return a == b ? 0.5 : a > b ? 1 : 0 }
        return 0.5 * erfc(-(a - b) / deviation / 2.0.squareRoot())
    }

    // MARK: Files

    /// Everything, to go on exactly.
    public var json: JSON {
        [
            "layers": .array(layers.map { .integer($0) }), "rule": .string(rule.rawValue),
            "step_size": .number(stepSize), "rounds": .integer(rounds),
            "preferences": .array(preferences.map { .number($0) }),
            "pulls": .array(pulls.map { .integer($0) }),
            "rewards": .array(sums.map { .number($0.reward) }),
            "squares": .array(sums.map { .number($0.square) }),
        ]
    }

    /// Goes on from ``json`` of a bandit with the same arms and rule.
    public mutating func restore(_ json: JSON, source: String) throws {
        func numbers(_ key: String) throws -> [Double] {
            guard let list = json[key]?.array?.compactMap(\.double), list.count == preferences.count,
                list.allSatisfy(\.isFinite)
            else {
                throw VQAError(
                    "cannot resume the search", at: source, because: "'\(key)' is not a number for each layer"
                )
            }
            return list
        }
        let (rewards, squares) = (try numbers("rewards"), try numbers("squares"))
        guard json["layers"]?.array?.map(\.integer) == layers, json["rule"]?.string == rule.rawValue,
            let rounds = json["rounds"]?.integer,
            let pulls = json["pulls"]?.array?.compactMap(\.integer), pulls.count == preferences.count
        else {
            throw VQAError(
                "cannot resume the search", at: source,
                because: "it was made by another rule, for other layers, or is damaged")
        }
        preferences = try numbers("preferences")
        self.pulls = pulls
        self.rounds = rounds
        sums = zip(rewards, squares).map { ($0, $1) }
    }

    /// Equal in all that matters for going on.
    public static func == (a: PlacementBandit, b: PlacementBandit) -> Bool { a.json == b.json }
}
