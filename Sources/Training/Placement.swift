import Methods
import Runs
import Support

/// What a search found of the insertion layer.
public struct Placement: Sendable {
    /// The chosen layer.
    public let layer: Int
    /// The layers, the most preferred first.
    public let ranking: [PlacementBandit.Arm]
    /// How likely the first is better than the second; nil when not known.
    public let confidence: Double?
    /// Score on the held-out questions with the prompt at each layer, in percent, all trained together.
    public let percentByLayer: [Int: Double]
    /// Questions that those scores are of.
    public let questions: Int
    /// The policy at some of the steps, in the order of the layers.
    public let history: [(step: Int, policy: [Double])]
}

extension Placement {
    /// How sure the choice is, in words.
    public var verdict: String {
        let certainty =
            confidence.map {
                "K = \(layer) is better than the second with a probability of \(decimal($0, 3))"
            }
            ?? "too few draws to say how sure the choice is"
        let spread = (percentByLayer.values.max() ?? 0) - (percentByLayer.values.min() ?? 0)
        return "\(certainty); the held-out scores of the layers lie \(decimal(spread, 2)) points apart"
    }

    /// For the page.
    var reported: ReportContent.Placement {
        ReportContent.Placement(
            chosen: layer,
            layers: ranking.sorted { $0.layer < $1.layer }.map {
                .init(
                    number: $0.layer, preference: $0.preference, probability: $0.probability,
                    pulls: $0.pulls, reward: $0.reward, margin: $0.margin,
                    percent: percentByLayer[$0.layer] ?? 0)
            }, history: history, verdict: verdict)
    }

    /// The layers, the most preferred first, as lines of a table.
    public static func table(_ arms: [PlacementBandit.Arm], percent: [Int: Double]? = nil) -> [String] {
        func column(_ text: String, _ width: Int) -> String {
            String(repeating: " ", count: max(0, width - text.count)) + text
        }
        let head =
            ["K", "alpha", "pi", "pulls", "reward", "+- 95 %"] + (percent == nil ? [] : ["held out %"])
        let rows = arms.map { arm in
            [
                "\(arm.layer)", decimal(arm.preference, 4), decimal(arm.probability, 4), "\(arm.pulls)",
                arm.reward.map { decimal($0, 2) } ?? "-", arm.margin.map { decimal($0, 2) } ?? "-",
            ] + (percent.map { [$0[arm.layer].map { decimal($0, 2) } ?? "-"] } ?? [])
        }
        return ([head] + rows).map { cells in
            zip(cells, [4, 9, 8, 7, 9, 9, 11]).map(column).joined()
        }
    }

    /// `search.json`: the choice, and all that it rests on.
    public var json: JSON {
        [
            "insert_layer": .integer(layer),
            "confidence": confidence.map { .number($0) } ?? .null,
            "held_out_questions": .integer(questions),
            "ranking": .array(
                ranking.map { arm in
                    [
                        "layer": .integer(arm.layer), "alpha": .number(arm.preference),
                        "pi": .number(arm.probability), "pulls": .integer(arm.pulls),
                        "reward": arm.reward.map { .number($0) } ?? .null,
                        "margin": arm.margin.map { .number($0) } ?? .null,
                        "held_out_percent": percentByLayer[arm.layer].map { .number($0) } ?? .null,
                    ]
                }),
        ]
    }
}
