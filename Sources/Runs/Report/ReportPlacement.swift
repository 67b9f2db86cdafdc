import Support

extension ReportContent.Placement {
    /// Accuracy by layer, the policy along the search, and the numbers.
    func html() -> String {
        let bars = layers.map {
            barRow(
                name: "K = \($0.number)", percent: $0.percent, style: $0.number == chosen ? "main" : "")
        }
        return """
            <section class="card"><h2>Where the prompt enters</h2>
            <p class="details">\(escaped(verdict))</p>
            <h3>Held-out accuracy by insertion layer</h3>
            <div class="bars">\(bars.joined())</div>
            \(policyChart)<details><summary>The bandit's numbers</summary>\(table)</details></section>

            """
    }

    private var table: String {
        func number(_ value: Double?, _ digits: Int) -> String { value.map { decimal($0, digits) } ?? "–" }
        let rows = layers.map { layer in
            let cells = [
                "\(layer.number)", decimal(layer.preference, 4), decimal(layer.probability, 4),
                grouped(layer.pulls), number(layer.reward, 2), number(layer.margin, 2),
                percentText(layer.percent),
            ]
            let style = layer.number == chosen ? " class=\"chosen\"" : ""
            return "<tr\(style)>" + cells.map { "<td>\(escaped($0))</td>" }.joined() + "</tr>"
        }
        let heads = ["K", "α", "π", "pulls", "reward", "± 95 %", "held-out %"].map { "<th>\($0)</th>" }
        return
            "<table class=\"numbers\"><tr>\(heads.joined())</tr>\n\(rows.joined(separator: "\n"))</table>\n"
    }

    /// One line a layer, the chosen one strong.
    private var policyChart: String {
        guard let first = history.first, let last = history.last, history.count >= 2, last.step > first.step
        else { return "" }
        let highest = max(0.01, history.flatMap(\.policy).max() ?? 0)
        let span = Double(last.step - first.step)
        let lines = layers.enumerated().map { index, layer -> String in
            let points = history.compactMap { point -> String? in
                guard point.policy.indices.contains(index) else { return nil }
                let x = 1000 * Double(point.step - first.step) / span
                let y = 1000 - 950 * point.policy[index] / highest
                return "\(decimal(x, 1)),\(decimal(y, 1))"
            }
            let style = layer.number == chosen ? "smooth" : "raw"
            return "<polyline class=\"\(style)\" points=\"\(points.joined(separator: " "))\"/>"
        }
        // The chosen one last, so that it lies on top.
        let ordered = lines.filter { $0.contains("\"raw\"") } + lines.filter { $0.contains("\"smooth\"") }
        return """
            <h3>Policy along the search</h3>
            <div class="chart"><div class="left"><span style="bottom:95%">\(decimal(highest, 2))</span>\
            <span style="bottom:0%">0</span></div>\
            <svg viewBox="0 0 1000 1000" preserveAspectRatio="none" role="img" \
            aria-label="Probability of each layer by step">\(ordered.joined())</svg>\
            <div class="below"><span style="left:0%">\(grouped(first.step))</span>\
            <span style="left:100%">\(grouped(last.step))</span></div></div>
            <p class="legend"><span class="key smooth"></span>the chosen layer \
            <span class="key raw"></span>the others</p>

            """
    }
}
