import Runs
import Tasks

/// Scores as a table for people; programs read the JSON.
public func scoreTable(_ scores: Scores) -> [String] {
    var lines = [
        "\(scores.metric) on \(scores.task)" + (scores.split.isEmpty ? "" : ", \(scores.split)"),
        "\(decimal(scores.overall, 2)) % (95 %: \(decimal(scores.low, 2)) to \(decimal(scores.high, 2)))",
        "\(counted(scores.count, "question")) about \(counted(scores.clusters, "image"))"
            + (scores.missing > 0 ? ", \(grouped(scores.missing)) of them without a prediction" : ""),
    ]
    let nameWidth = scores.figures.map(\.name.count).max() ?? 0
    for figure in scores.figures {
        var line = "  \(figure.name.padded(to: nameWidth))  \(decimal(figure.value, 4))"
        if let low = figure.low, let high = figure.high {
            line += " (95 %: \(decimal(low, 4)) to \(decimal(high, 4)))"
        }
        lines.append(line)
    }
    lines += scores.remarks
    if !scores.unexpected.isEmpty {
        let first = scores.unexpected.prefix(5).map(\.text).joined(separator: ", ")
        lines.append(
            "\(counted(scores.unexpected.count, "answer")) of another form than the measure expects: questions \(first)"
                + (scores.unexpected.count > 5 ? ", …" : ""))
    }
    for group in scores.groups where !group.percentages.isEmpty {
        lines += ["", group.name.replacing("_", with: " ")]
        let rows = group.percentages.sorted { left, right in
            let (first, second) = (group.counts[left.key] ?? 0, group.counts[right.key] ?? 0)
            return (second, left.key) < (first, right.key)
        }
        let width = rows.map(\.key.count).max() ?? 0
        for (label, percentage) in rows {
            let number = decimal(percentage, 2)
            let count = grouped(group.counts[label] ?? 0)
            lines.append(
                "  \(label.padded(to: width))  \(number.aligned(to: 6)) %  \(count.aligned(to: 9)) questions")
        }
    }
    return lines
}

extension String {
    /// With spaces in front, up to `width` characters.
    func aligned(to width: Int) -> String { String(repeating: " ", count: max(0, width - count)) + self }
}
