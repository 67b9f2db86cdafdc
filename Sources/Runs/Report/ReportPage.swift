import Support

extension ReportContent {
    /// The page: one file that loads nothing, runs no script and forbids both.
    public func html() -> String {
        let parts = [
            header, notesSection, lossSection, placement?.html() ?? "",
            barSection("By question type", questionTypes), barSection("By answer type", answerTypes),
            gallerySection, factsSection, commandSection, configurationSection,
        ]
        return """
            <!DOCTYPE html>
            <html lang="en">
            <head>
            <meta charset="utf-8">
            <meta name="viewport" content="width=device-width, initial-scale=1">
            <meta name="color-scheme" content="light dark">
            <meta http-equiv="Content-Security-Policy" \
            content="default-src 'none'; img-src data:; style-src 'unsafe-inline'">
            <title>\(escaped(title))</title>
            <style>\(reportStyle)</style>
            </head>
            <body>
            <main>
            \(parts.joined())</main>
            </body>
            </html>

            """
    }

    // MARK: Top

    private var header: String {
        let small = subtitle.isEmpty ? "" : "<p class=\"subtitle\">\(escaped(subtitle))</p>\n"
        let interval = headline.interval.map {
            "95 % interval \(percentText($0.lowerBound)) to \(percentText($0.upperBound))"
        }
        let count = headline.count.map { "\(grouped($0)) questions" }
        let details = [interval, count].compactMap(\.self).joined(separator: " · ")
        var bars = barRow(
            name: headline.name, percent: headline.percent, interval: headline.interval, style: "main")
        for score in baselines {
            bars += barRow(
                name: score.name, percent: score.percent, interval: score.interval, style: "baseline")
        }
        return """
            <header><h1>\(escaped(title))</h1>
            \(small)</header>
            <section class="card hero"><div class="score"><p class="label">\(escaped(headline.name))</p>
            <p class="number">\(percentText(headline.percent))<span>%</span></p>
            <p class="details">\(escaped(details))</p>\(comparison)</div>
            <div class="bars">\(bars)</div></section>

            """
    }

    /// How far the score is above or below the best baseline, in words.
    private var comparison: String {
        guard let best = baselines.max(by: { $0.percent < $1.percent }), best.percent.isFinite,
            headline.percent.isFinite
        else { return "" }
        let difference = headline.percent - best.percent
        let words =
            "\(percentText(abs(difference))) points \(difference < 0 ? "below" : "above") the best baseline (\(best.name))"
        return "<p class=\"comparison \(difference > 0 ? "good" : "bad")\">\(escaped(words))</p>"
    }

    private var notesSection: String {
        notes.map { "<p class=\"note\">\(escaped($0))</p>\n" }.joined()
    }

    // MARK: Charts

    private var lossSection: String {
        guard let chart = LossChart(loss) else { return "" }
        let warning =
            chart.omitted == 0
            ? ""
            : "<p class=\"note\">Not drawn: steps without a finite loss, \(grouped(chart.omitted)) of them.</p>\n"
        return "<section class=\"card\"><h2>Loss</h2>\n\(chart.html())\(warning)</section>\n"
    }

    private func barSection(_ heading: String, _ groups: [Group]) -> String {
        guard !groups.isEmpty else { return "" }
        let rows = groups.map { barRow(name: $0.name, percent: $0.percent, count: $0.count) }
        let shown = 20
        var body = rows.prefix(shown).joined()
        if rows.count > shown {
            body += "<details><summary>\(rows.count - shown) more</summary>\n"
            body += rows.dropFirst(shown).joined() + "</details>\n"
        }
        return "<section class=\"card\"><h2>\(heading)</h2>\n<div class=\"bars\">\(body)</div></section>\n"
    }

    // MARK: Examples

    /// Bytes of images that one page takes; later ones are left out so that a browser can open it.
    private static let imageBudget = 24 << 20

    private var gallerySection: String {
        guard !examples.isEmpty else { return "" }
        let right = examples.count { $0.isRight }
        let filters = [
            ("all", "All", examples.count), ("right", "Right", right),
            ("wrong", "Wrong", examples.count - right),
        ]
        var choices = ""
        for (index, (id, word, count)) in filters.enumerated() {
            choices += """
                <input type="radio" name="shown" id="show-\(id)"\(index == 0 ? " checked" : "")>\
                <label for="show-\(id)">\(word) <span>\(grouped(count))</span></label>

                """
        }
        var budget = Self.imageBudget
        var cards = ""
        for example in examples {
            let fits = (example.image?.count ?? 0) <= budget
            if fits { budget -= example.image?.count ?? 0 }
            cards += card(example, withImage: fits)
        }
        return """
            <section class="examples"><h2>Examples from the test set</h2>
            \(choices)<div class="gallery">
            \(cards)</div></section>

            """
    }

    private func card(_ example: Example, withImage: Bool) -> String {
        var picture = "<div class=\"missing\">no image</div>"
        if withImage, let bytes = example.image, let address = imageAddress(bytes) {
            let style = isTinyPNG(bytes) ? " class=\"tiny\"" : ""
            picture = "<img\(style) loading=\"lazy\" alt=\"\(escaped(example.question))\" src=\"\(address)\">"
        }
        let isPartial = example.score.map { $0 > 0.001 && $0 < 0.999 } ?? false
        let share = isPartial ? " · \(percentText(100 * (example.score ?? 0))) %" : ""
        let verdict = (example.isRight ? "✓ right" : "✗ wrong") + share
        let expected = example.expected.prefix(3).joined(separator: ", ")
        return """
            <article class="\(example.isRight ? "right" : "wrong")"><figure>\(picture)</figure><div class="text">
            <p class="verdict">\(verdict)</p><p class="question" dir="auto">\(escaped(example.question))</p>
            <dl><dt>Answer</dt><dd class="prediction" dir="auto">\(escaped(example.prediction))</dd>
            <dt>Expected</dt><dd dir="auto">\(escaped(expected))</dd></dl>
            \(candidateBars(example))</div></article>

            """
    }

    private func candidateBars(_ example: Example) -> String {
        guard !example.candidates.isEmpty else { return "" }
        let rows = example.candidates.prefix(5).map {
            barRow(name: $0.answer, percent: 100 * $0.probability, style: "candidate")
        }
        return "<div class=\"bars\">\(rows.joined())</div>"
    }

    // MARK: Bottom

    private var factsSection: String {
        guard !facts.isEmpty else { return "" }
        var groups: [String] = []
        for fact in facts where !groups.contains(fact.group) { groups.append(fact.group) }
        var body = ""
        for group in groups {
            let rows = facts.filter { $0.group == group }.map {
                "<div><dt>\(escaped($0.label))</dt><dd>\(escaped($0.value))</dd></div>"
            }
            body += "<div class=\"group\"><h3>\(escaped(group))</h3><dl>\(rows.joined())</dl></div>\n"
        }
        return "<section class=\"card\"><h2>The run</h2>\n<div class=\"facts\">\(body)</div></section>\n"
    }

    private var commandSection: String {
        let commands = [("Repeat this run", reproduceCommand), ("Ask it a question", askCommand)]
            .filter { !$0.1.isEmpty }
            .map { "<h3>\($0.0)</h3>\n<pre class=\"command\"><code>\(escaped($0.1))</code></pre>\n" }
        guard !commands.isEmpty else { return "" }
        return "<section class=\"card\"><h2>Use it</h2>\n\(commands.joined())</section>\n"
    }

    private var configurationSection: String {
        guard !configuration.isEmpty else { return "" }
        return """
            <details class="card"><summary>Configuration</summary>
            <pre><code>\(escaped(configuration))</code></pre></details>

            """
    }
}
