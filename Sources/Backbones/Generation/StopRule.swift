/// Decides whether a sequence ends with its last token.
struct StopRule {
    private let eos: Set<Int>
    private let maximumNew: Int
    private let stops: [[UInt8]]
    private let window: Int
    private let decode: ([Int]) throws -> String

    /// - Parameter decode: the text of tokens; called only when there are stop strings.
    init(_ options: GenerationOptions, maximumNew: Int, decode: @escaping ([Int]) throws -> String) {
        eos = Set(options.eosIDs)
        self.maximumNew = maximumNew
        stops = options.stopStrings.map { Array($0.utf8) }
        // A stop string spans at most as many tokens as it has bytes. One more keeps it away from the start of
        // the text, where decoders drop a space.
        window = (stops.map(\.count).max() ?? 0) + 1
        self.decode = decode
    }

    /// Why the sequence ends, nil when it goes on.
    ///
    /// - Parameters:
    ///   - prompt: the ids before the new tokens; a stop string may begin there, as in the reference.
    ///   - new: the new tokens, at least one.
    func reason(prompt: [Int], new: [Int]) throws -> FinishReason? {
        if let last = new.last, eos.contains(last) { return .eos }
        if !stops.isEmpty, try completesStopString(prompt, new) { return .stopString }
        return new.count >= maximumNew ? .length : nil
    }

    /// True when a stop string ends within the text that the last token added.
    private func completesStopString(_ prompt: [Int], _ new: [Int]) throws -> Bool {
        let missing = max(0, window - new.count)
        let tokens = Array(prompt.suffix(missing) + new.suffix(window))
        let text = Array(try decode(tokens).utf8)
        let before = Array(try decode(tokens.dropLast()).utf8)
        // Not the length of the earlier text: a token may complete a character that was cut in two.
        let old = zip(text, before).prefix { $0 == $1 }.count
        return stops.contains { stop in
            let first = max(0, old - stop.count + 1)
            guard first + stop.count <= text.count else { return false }
            return (first...(text.count - stop.count)).contains { text[$0..<($0 + stop.count)] == stop[...] }
        }
    }
}
