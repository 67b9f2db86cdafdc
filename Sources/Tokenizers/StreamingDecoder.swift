/// Turns ids into text while they arrive one by one, as generation makes them.
///
/// It gives complete text only: never a part of a character, and never text that a later id would change. The texts
/// together are what ``Tokenizer/decode(_:skipSpecialTokens:)`` makes of all ids, unless a run of byte tokens turns out
/// to be no UTF-8 after a part of it was given.
///
/// ```swift
/// var stream = StreamingDecoder(tokenizer)
/// for id in ids { print(try stream.append(id), terminator: "") }
/// print(try stream.finish())
/// ```
public struct StreamingDecoder: Sendable {
    /// Ids that may wait for the end of a character, which has at most four bytes.
    private static let mostPending = 32

    private let tokenizer: Tokenizer
    private let skipsSpecialTokens: Bool
    /// The ids whose text was given last, which what follows may depend on, and the new ones.
    private var ids: [Int] = []
    /// How many of `ids` were given, and their text.
    private var givenCount = 0
    private var given: [UInt8] = []

    /// A stream of a new text.
    public init(_ tokenizer: Tokenizer, skipSpecialTokens: Bool = true) {
        self.tokenizer = tokenizer
        skipsSpecialTokens = skipSpecialTokens
    }

    /// Adds the next id and returns the text that is complete with it, which may be empty.
    ///
    /// - Throws: `VQAError` when the id is negative.
    public mutating func append(_ id: Int) throws -> String {
        ids.append(id)
        let text = Array(try tokenizer.decode(ids, skipSpecialTokens: skipsSpecialTokens).utf8)
        guard text.count > given.count else { return "" }
        // U+FFFD at the end: bytes are missing. They do not come when they have not for so long.
        let mayGoOn = ids.count - givenCount < Self.mostPending
        if mayGoOn, text.suffix(3).elementsEqual([0xEF, 0xBF, 0xBD]) { return "" }
        return try give(text)
    }

    /// Returns what is left at the end of the text: bytes that make no character become U+FFFD.
    public mutating func finish() throws -> String {
        let text = Array(try tokenizer.decode(ids, skipSpecialTokens: skipsSpecialTokens).utf8)
        guard text.count > given.count else { return "" }
        return try give(text)
    }

    private mutating func give(_ text: [UInt8]) throws -> String {
        let new = String(decoding: text[given.count...], as: UTF8.self)
        ids.removeFirst(givenCount)
        givenCount = ids.count
        given = Array(try tokenizer.decode(ids, skipSpecialTokens: skipsSpecialTokens).utf8)
        return new
    }
}
