import Support

/// Where a column of a row group lies.
struct ParquetChunk {
    let codec: ParquetCodec
    /// The number of entries: values and nulls.
    let count: Int
    let range: Range<Int>
}

/// Goes through the entries of a column in one row group, page by page: one page and its dictionary are in memory.
final class ParquetColumn {
    /// The levels of an entry.
    typealias Entry = (repetition: Int, definition: Int)

    let leaf: ParquetLeaf
    private let file: MappedFile
    private let chunk: ParquetChunk
    private let allowance: ParquetAllowance
    private var position: Int
    /// The entries that no page has had yet, and those left in the page.
    private var left: Int
    private var inPage = 0
    private var entry: Entry?
    private var repetitions: ParquetRuns?
    private var definitions: ParquetRuns?
    private var values: (any ParquetDecoder)?
    private var dictionary: [ParquetValue]?

    init(_ leaf: ParquetLeaf, _ chunk: ParquetChunk, of file: MappedFile, allowance: ParquetAllowance) {
        self.leaf = leaf
        self.file = file
        self.chunk = chunk
        self.allowance = allowance
        position = chunk.range.lowerBound
        left = chunk.count
    }

    // MARK: Entries

    /// The levels of the next entry; nil behind the last one.
    func peek() throws -> Entry? {
        if let entry { return entry }
        while inPage == 0 {
            if left == 0 { return nil }
            try openPage()
        }
        let next = (
            try level(&repetitions, limit: leaf.repetition), try level(&definitions, limit: leaf.definition)
        )
        inPage -= 1
        entry = next
        return next
    }

    private func level(_ levels: inout ParquetRuns?, limit: Int) throws -> Int {
        guard let level = try levels?.next() else { return limit }
        guard level <= limit else {
            throw ParquetFile.failure("a level is above \(limit), the highest of the column")
        }
        return level
    }

    /// The definition level of the next entry, which must be there.
    func definition() throws -> Int {
        guard let entry = try peek() else {
            throw ParquetFile.failure("the column has fewer entries than its row group has rows")
        }
        return entry.definition
    }

    /// Steps over an entry without value, whose definition level must be this one.
    func skip(definition level: Int) throws {
        guard try definition() == level else {
            throw ParquetFile.failure("the columns of a structure do not agree on what is null")
        }
        entry = nil
    }

    /// The value of the next entry, which must have one.
    func take() throws -> ParquetValue {
        guard try definition() == leaf.definition, let value = try values?.next() else {
            throw ParquetFile.failure("the columns of a structure do not agree on what is null")
        }
        entry = nil
        if case .bytes(let bytes) = value { try allowance.spend(bytes.count) }
        return value
    }

    // MARK: Pages

    private func openPage() throws {
        // Lets go of the page before the next one is unpacked.
        (repetitions, definitions, values) = (nil, nil, nil)
        guard position < chunk.range.upperBound else {
            throw ParquetFile.failure("the column has fewer pages than entries")
        }
        let page = try ParquetPage(file, position..<chunk.range.upperBound, leaf: leaf)
        position = page.content.upperBound
        switch page.kind {
        case .dictionary: try readDictionary(page)
        case .first: try openFirst(page)
        case .second(let repetitions, let definitions, let isCompressed):
            try openSecond(page, repetitions, definitions, isCompressed)
        case .other: break
        }
    }

    private func take(_ page: ParquetPage) throws {
        guard page.count <= left else {
            throw ParquetFile.failure("the column's pages have more entries than it says")
        }
        left -= page.count
        inPage = page.count
    }

    /// A page of the first version: both levels with their lengths, then the values, compressed as a whole.
    private func openFirst(_ page: ParquetPage) throws {
        try take(page)
        let memory = try chunk.codec.unpacked(file, page.content, size: page.size)
        var rest = 0..<memory.bytes.count
        if leaf.repetition > 0 {
            repetitions = levels(memory, try lengthPrefixed(memory, &rest), leaf.repetition)
        }
        if leaf.definition > 0 {
            definitions = levels(memory, try lengthPrefixed(memory, &rest), leaf.definition)
        }
        values = try decoder(
            encoding: page.encoding, leaf: leaf, memory: memory, range: rest, dictionary: dictionary)
    }

    /// A page of the second version: the levels, whose lengths are in the header, stand before the values.
    private func openSecond(
        _ page: ParquetPage, _ repetitionSize: Int, _ definitionSize: Int, _ isCompressed: Bool
    ) throws {
        try take(page)
        let split = page.content.lowerBound + repetitionSize
        let start = split + definitionSize
        let head = ParquetMemory(file, page.content.lowerBound..<start)
        if leaf.repetition > 0 { repetitions = levels(head, 0..<repetitionSize, leaf.repetition) }
        if leaf.definition > 0 {
            definitions = levels(
                head, repetitionSize..<(repetitionSize + definitionSize), leaf.definition)
        }
        let codec = isCompressed ? chunk.codec : .none
        let memory = try codec.unpacked(
            file, start..<page.content.upperBound, size: page.size - repetitionSize - definitionSize)
        values = try decoder(
            encoding: page.encoding, leaf: leaf, memory: memory, range: 0..<memory.bytes.count,
            dictionary: dictionary)
    }

    private func levels(_ memory: ParquetMemory, _ range: Range<Int>, _ highest: Int) -> ParquetRuns {
        ParquetRuns(memory, range, width: Int.bitWidth - highest.leadingZeroBitCount)
    }

    private func readDictionary(_ page: ParquetPage) throws {
        guard dictionary == nil, left == chunk.count else {
            throw ParquetFile.failure("a dictionary stands where none may be")
        }
        guard page.encoding == 0 || page.encoding == 2, leaf.type != .boolean else {
            throw ParquetFile.failure(
                "a dictionary in the encoding number \(page.encoding) is not supported",
                "write the file again without dictionaries")
        }
        let memory = try chunk.codec.unpacked(file, page.content, size: page.size)
        // Each value takes a byte or more.
        guard page.count <= memory.bytes.count else {
            throw ParquetFile.failure("a dictionary has fewer values than it says")
        }
        var plain = PlainDecoder(leaf, memory, 0..<memory.bytes.count)
        try allowance.spend(page.count * ParquetAllowance.value)
        dictionary = try (0..<page.count).map { _ in try plain.next() }
    }
}
