import Support

/// A row of a bar chart: name, bar with an optional interval, value.
///
/// The words are HTML and only the bar is SVG in percent, so that a narrow screen makes the bars shorter and not the
/// letters smaller.
func barRow(
    name: String, percent: Double, interval: ClosedRange<Double>? = nil, count: Int? = nil, style: String = ""
) -> String {
    let width = clampedPercent(percent)
    var bar = #"<rect class="track" width="100%" height="100%" rx="4"/>"#
    bar += #"<rect class="fill" width="\#(width)%" height="100%" rx="4"/>"#
    if let interval {
        let (low, high) = (clampedPercent(interval.lowerBound), clampedPercent(interval.upperBound))
        bar += #"<line class="whisker" x1="\#(low)%" x2="\#(high)%" y1="50%" y2="50%"/>"#
        for end in [low, high] {
            bar += #"<line class="whisker" x1="\#(end)%" x2="\#(end)%" y1="25%" y2="75%"/>"#
        }
    }
    let label = "\(name): \(percentText(percent)) %" + (count.map { ", n = \(grouped($0))" } ?? "")
    let note = count.map { #"<span class="n">n = \#(grouped($0))</span>"# } ?? ""
    return """
        <div class="bar \(style)"><span class="name" dir="auto">\(escaped(name))</span>\
        <svg role="img" aria-label="\(escaped(label))">\(bar)</svg>\
        <span class="value">\(percentText(percent)) %</span>\(note)</div>

        """
}

private func clampedPercent(_ value: Double) -> String {
    decimal(value.isFinite ? min(100, max(0, value)) : 0, 2)
}

/// The loss by step: every value faint, a smoothed line on top, axes with round numbers.
struct LossChart {
    private let points: [ReportContent.LossPoint]
    /// Exponential moving average of `points`, free of the pull of its start.
    private let smoothed: [Double]
    private let steps: ClosedRange<Double>
    private let heights: ClosedRange<Double>
    /// Values that were not finite.
    let omitted: Int

    /// Nil when there are fewer than two finite values.
    init?(_ all: [ReportContent.LossPoint]) {
        points = all.filter(\.loss.isFinite).sorted { $0.step < $1.step }
        omitted = all.count - points.count
        guard let first = points.first, let last = points.last, points.count >= 2, first.step < last.step
        else {
            return nil
        }
        smoothed = Self.smooth(points.map(\.loss))
        steps = Double(first.step)...Double(last.step)
        heights = Self.heights(points.map(\.loss), smoothed)
    }

    private static func smooth(_ values: [Double]) -> [Double] {
        // About one fiftieth of the run is averaged.
        let keep = 1 - 1 / max(1, Double(values.count) / 50)
        var (sum, weight) = (0.0, 0.0)
        return values.map { value in
            sum = keep * sum + (1 - keep) * value
            weight = keep * weight + (1 - keep)
            return sum / weight
        }
    }

    /// From 0 (or below) to the highest smoothed value, with room for all but the wildest single ones.
    private static func heights(_ values: [Double], _ smoothed: [Double]) -> ClosedRange<Double> {
        let sorted = values.sorted()
        let high = max(sorted[(sorted.count - 1) * 99 / 100], smoothed.max() ?? 0)
        let low = min(0, sorted[(sorted.count - 1) / 100], smoothed.min() ?? 0)
        guard high - low > 1e-12, high - low < .greatestFiniteMagnitude else { return low...(low + 1) }
        return low...(low + (high - low) * 1.05)
    }

    // MARK: Drawing

    func html() -> String {
        let vertical = roundMarks(heights, count: 5)
        let horizontal = roundMarks(steps, count: 5)
        var lines = ""
        for mark in vertical.values {
            let y = place(mark, in: heights)
            lines +=
                #"<line class="grid" x1="0" x2="1000" y1="\#(decimal(1000 - y, 1))" y2="\#(decimal(1000 - y, 1))"/>"#
        }
        let left = vertical.values.map {
            #"<span style="bottom:\#(decimal(place($0, in: heights) / 10, 2))%">\#(decimal($0, vertical.digits))</span>"#
        }
        let below = horizontal.values.filter { $0 == $0.rounded() }.map {
            #"<span style="left:\#(decimal(place($0, in: steps) / 10, 2))%">\#(grouped(Int(exactly: $0) ?? 0))</span>"#
        }
        let summary = "Loss from \(decimal(smoothed[0], 3)) to \(decimal(smoothed[smoothed.count - 1], 3))"
        return """
            <div class="chart"><div class="left">\(left.joined())</div>\
            <svg viewBox="0 0 1000 1000" preserveAspectRatio="none" role="img" aria-label="\(summary)">\(lines)\
            <polyline class="raw" points="\(path(rawSamples))"/>\
            <polyline class="smooth" points="\(path(smoothSamples))"/></svg>\
            <div class="below">\(below.joined())</div></div>
            <p class="legend"><span class="key smooth"></span>smoothed \
            <span class="key raw"></span>each step <span class="end">at the end \
            \(decimal(smoothed[smoothed.count - 1], 4))</span></p>

            """
    }

    private var bucket: Int { max(1, (points.count + 399) / 400) }

    /// At most about 800 points: the lowest and the highest of each bucket, in their order.
    private var rawSamples: [(Double, Double)] {
        stride(from: 0, to: points.count, by: bucket).flatMap { start -> [(Double, Double)] in
            let slice = points[start..<min(points.count, start + bucket)]
            guard let low = slice.min(by: { $0.loss < $1.loss }),
                let high = slice.max(by: { $0.loss < $1.loss })
            else { return [] }
            let pair = low.step <= high.step ? [low, high] : [high, low]
            return (slice.count == 1 ? [low] : pair).map { (Double($0.step), $0.loss) }
        }
    }

    private var smoothSamples: [(Double, Double)] {
        var indices = Array(stride(from: 0, to: points.count, by: bucket))
        if indices.last != points.count - 1 { indices.append(points.count - 1) }
        return indices.map { (Double(points[$0].step), smoothed[$0]) }
    }

    private func path(_ samples: [(Double, Double)]) -> String {
        samples.map { "\(decimal(place($0.0, in: steps), 1)),\(decimal(1000 - place($0.1, in: heights), 1))" }
            .joined(separator: " ")
    }

    /// 0 at the lower end of `range`, 1000 at the upper.
    private func place(_ value: Double, in range: ClosedRange<Double>) -> Double {
        let share = (value - range.lowerBound) / (range.upperBound - range.lowerBound)
        return 1000 * min(1, max(0, share))
    }
}

/// Round numbers (1, 2 or 5 times a power of ten apart) within `range`, about `count` of them, and the decimals to
/// print them with.
func roundMarks(_ range: ClosedRange<Double>, count: Int) -> (values: [Double], digits: Int) {
    let span = range.upperBound - range.lowerBound
    guard span > 0, span.isFinite, count > 0 else { return ([range.lowerBound], 0) }
    let rough = span / Double(count)
    var unit = 1.0
    var digits = 0
    while unit > rough, digits < 9 {
        unit /= 10
        digits += 1
    }
    while unit * 10 <= rough { unit *= 10 }
    let step = [1.0, 2, 5, 10].map { $0 * unit }.first { $0 >= rough } ?? 10 * unit
    // Ten times the unit needs one decimal less, and so does a whole number.
    let shown = step >= 10 * unit ? max(0, digits - 1) : digits
    let first = (range.lowerBound / step).rounded(.up)
    let last = (range.upperBound / step).rounded(.down)
    guard last >= first, last - first <= 100 else { return ([range.lowerBound], shown) }
    return (stride(from: first, through: last, by: 1).map { $0 * step }, shown)
}
