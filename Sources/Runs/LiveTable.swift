import Support

/// Lines on standard error above the progress bar that are drawn over and over; nothing when it is no terminal.
public struct LiveTable {
    private let terminal: ProgressBar.Terminal
    private var drawn = 0
    private var lastDrawn = -Double.infinity

    /// Nothing is drawn yet.
    public init() { self.init(terminal: .standardError) }

    package init(terminal: ProgressBar.Terminal) { self.terminal = terminal }

    /// Whether anything is shown.
    public var isVisible: Bool { terminal.columns() != nil }

    /// Draws the lines in the place of those before, at most four times a second.
    public mutating func update(_ lines: @autoclosure () -> [String]) {
        guard let columns = terminal.columns() else { return }
        let now = terminal.time()
        guard now - lastDrawn >= 0.25 else { return }
        lastDrawn = now
        let lines = lines()
        // Up to the first of the lines before; the cursor is in the bar's line below them.
        var text = drawn > 0 ? "\r\u{1B}[\(drawn)A" : "\r"
        for line in lines { text += "\u{1B}[K" + String(oneLine(line).prefix(max(1, columns - 1))) + "\n" }
        drawn = lines.count
        terminal.write(text)
    }
}
