import Support

#if canImport(Glibc)
    import Glibc
#else
    import Darwin
#endif

/// A progress bar on standard error: bar, steps, rate, time left and loss on one line that is drawn over and over.
///
/// It is drawn only when standard error is a terminal. Otherwise nothing is printed, or a short line now and then
/// when an interval is given.
public struct ProgressBar {
    private let label: String
    private let total: Int
    private let plainInterval: Double?
    private let terminal: Terminal

    private var step: Int
    private var loss: Double?
    /// Steps a second, smoothed over about fifteen seconds; nil until a step was timed.
    private var rate: Double?
    private var timed: (step: Int, time: Double)
    private var lastDrawn = -Double.infinity
    private var isVisible = false

    /// What the bar needs of its surroundings; replaced in tests.
    package struct Terminal {
        /// The width in columns, or nil when there is no terminal.
        var columns: () -> Int?
        var time: () -> Double
        var write: (String) -> Void
        /// Whether block characters can be shown.
        var isUnicode: Bool

        package init(
            columns: @escaping () -> Int?, time: @escaping () -> Double, write: @escaping (String) -> Void,
            isUnicode: Bool
        ) {
            self.columns = columns
            self.time = time
            self.write = write
            self.isUnicode = isUnicode
        }
    }

    /// - Parameters:
    ///   - label: a word before the bar, such as `train`.
    ///   - total: the number of steps at the end.
    ///   - startingAt: the steps done before, when a run goes on.
    ///   - plainInterval: seconds between lines when there is no terminal; nil prints nothing.
    public init(label: String, total: Int, startingAt: Int = 0, plainInterval: Double? = nil) {
        self.init(
            label: label, total: total, startingAt: startingAt, plainInterval: plainInterval,
            terminal: .standardError)
    }

    package init(label: String, total: Int, startingAt: Int, plainInterval: Double?, terminal: Terminal) {
        self.label = oneLine(label)
        self.total = max(0, total)
        self.plainInterval = plainInterval
        self.terminal = terminal
        step = startingAt
        timed = (startingAt, terminal.time())
        if plainInterval != nil, terminal.columns() == nil { lastDrawn = timed.time }
    }

    // MARK: Use

    /// Tells the steps done so far; draws at most ten times a second.
    public mutating func update(step: Int, loss: Double? = nil) {
        let now = terminal.time()
        self.step = step
        self.loss = loss ?? self.loss
        measure(now)
        if let columns = terminal.columns() {
            guard now - lastDrawn >= 0.1 || step == total else { return }
            lastDrawn = now
            isVisible = true
            terminal.write("\r\u{1B}[K" + line(columns: columns))
        } else if let plainInterval, now - lastDrawn >= plainInterval {
            lastDrawn = now
            terminal.write(plainLine + "\n")
        }
    }

    /// Writes a line above the bar, or just the line when there is no bar.
    public mutating func say(_ text: String) {
        clear()
        terminal.write(oneLine(text) + "\n")
    }

    /// Takes the bar away, leaving an empty line start for what comes next. Safe to call more than once.
    public mutating func finish() { clear() }

    private mutating func clear() {
        if isVisible { terminal.write("\r\u{1B}[K") }
        isVisible = false
        lastDrawn = terminal.columns() == nil ? lastDrawn : -.infinity
    }

    private mutating func measure(_ now: Double) {
        let (steps, seconds) = (step - timed.step, now - timed.time)
        guard steps > 0, seconds > 0 else { return }
        let current = Double(steps) / seconds
        let weight = 1 - exp(-seconds / 15)
        rate = rate.map { $0 + weight * (current - $0) } ?? current
        timed = (step, now)
    }

    // MARK: Drawing

    /// The parts after the bar, most important first.
    private var facts: [String] {
        var facts = ["\(step)/\(total)"]
        if let rate {
            facts.append(rate >= 1 ? "\(decimal(rate, 1)) step/s" : "\(decimal(1 / rate, 1)) s/step")
            facts.append("ETA \(durationText(Double(max(0, total - step)) / rate))")
        }
        if let loss { facts.append("loss \(decimal(loss, 4))") }
        return facts
    }

    private var plainLine: String { ([label] + facts).joined(separator: "  ") }

    /// The line for a terminal of `columns`; never longer than one column less, so that it does not wrap.
    package func line(columns: Int) -> String {
        let width = max(0, columns - 1)
        let share = total > 0 ? min(1, max(0, Double(step) / Double(total))) : 1
        let percent = "\(Int(share * 100))%"
        let head = "\(label) \(String(repeating: " ", count: 4 - percent.count))\(percent)"
        var shown = facts
        let room = { (facts: [String]) in width - head.count - facts.reduce(0) { $0 + $1.count + 2 } }
        // The loss goes last when the window is narrow, before it the time left.
        while shown.count > 1, room(shown) < 8 { shown.remove(at: shown.count - 1) }
        let cells = min(40, room(shown))
        let bar = cells >= 3 ? " " + self.bar(share: share, cells: cells) + " " : "  "
        return String((head + bar + shown.joined(separator: "  ")).prefix(width))
    }

    private func bar(share: Double, cells: Int) -> String {
        guard terminal.isUnicode else {
            let full = Int(share * Double(cells))
            return String(repeating: "#", count: full) + String(repeating: ".", count: cells - full)
        }
        let eighths = Int(share * Double(cells) * 8)
        let parts = ["", "▏", "▎", "▍", "▌", "▋", "▊", "▉"]
        let text = String(repeating: "█", count: eighths / 8) + parts[eighths % 8]
        return text + String(repeating: "░", count: cells - text.count)
    }
}

extension ProgressBar.Terminal {
    /// Standard error, with the width asked anew each time because windows are resized.
    static var standardError: Self {
        let isTerminal = isatty(2) == 1 && variable("TERM") != "dumb"
        let locale = (variable("LC_ALL") ?? variable("LC_CTYPE") ?? variable("LANG") ?? "").lowercased()
        return Self(
            columns: {
                guard isTerminal else { return nil }
                var size = winsize()
                guard ioctl(2, UInt(TIOCGWINSZ), &size) == 0, size.ws_col > 0 else { return 80 }
                return Int(size.ws_col)
            },
            time: steadyTime,
            write: { text in
                // A closed standard error must not stop the run.
                try? Array(text.utf8).withUnsafeBytes { try writeAll($0, to: 2, path: "standard error") }
            },
            isUnicode: locale.contains("utf-8") || locale.contains("utf8"))
    }

    private static func variable(_ name: String) -> String? {
        getenv(name).map { String(cString: $0) }.flatMap { $0.isEmpty ? nil : $0 }
    }
}
