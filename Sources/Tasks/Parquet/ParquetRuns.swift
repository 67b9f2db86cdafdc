import Support

/// `width` bits from the bit `offset` on, the lowest first. The caller has seen to it that they are there.
func littleEndianBits(_ bytes: UnsafeRawBufferPointer, at offset: Int, width: Int) -> UInt64 {
    var result: UInt64 = 0
    var filled = 0
    while filled < width {
        let (byte, shift) = (offset + filled).quotientAndRemainder(dividingBy: 8)
        let count = min(8 - shift, width - filled)
        result |= UInt64(bytes[byte] >> UInt8(shift) & UInt8(0xFF >> (8 - count))) << UInt64(filled)
        filled += count
    }
    return result
}

/// Levels, truth values and positions in a dictionary: runs of one value, and groups of eight packed ones (parquet-format,
/// «RLE/bit-packing hybrid»). Read one after the other, so that a long run takes no memory.
struct ParquetRuns {
    private let memory: ParquetMemory
    private var position: Int
    private let end: Int
    private let width: Int
    private var left = 0
    private var value = 0
    /// The place of the next packed value, in bits; nil in a run of one value.
    private var packed: Int?

    /// Reads values of `width` bits (at most 32) from a part of a page.
    init(_ memory: ParquetMemory, _ range: Range<Int>, width: Int) {
        self.memory = memory
        position = range.lowerBound
        end = range.upperBound
        self.width = width
    }

    /// The next value.
    mutating func next() throws -> Int {
        while left == 0 { try startRun() }
        left -= 1
        guard let place = packed else { return value }
        packed = place + width
        return Int(littleEndianBits(memory.bytes, at: place, width: width))
    }

    private mutating func startRun() throws {
        guard let head = littleEndianVariable(memory.bytes, &position, end: end), head <= UInt32.max else {
            throw ParquetFile.failure("a page has fewer levels or values than it says")
        }
        let count = Int(head >> 1)
        if head & 1 == 1 {
            packed = 8 * position
            let size = min(count * width, end - position)
            position += size
            // Some writers leave out the unused end of the last group.
            left = width == 0 ? count * 8 : min(count * 8, size * 8 / width)
        } else {
            packed = nil
            let size = (width + 7) / 8
            guard size <= end - position else {
                throw ParquetFile.failure("a page has fewer levels or values than it says")
            }
            value = Int(littleEndianBits(memory.bytes, at: 8 * position, width: 8 * size))
            position += size
            left = count
        }
    }
}

/// Integers as differences to the one before, in blocks that have a least difference and in them small blocks of one width
/// (parquet-format, «DELTA_BINARY_PACKED»).
struct ParquetDeltas {
    private let memory: ParquetMemory
    private let end: Int
    private let blockSize: Int
    private let smallCount: Int
    private let total: Int
    private var position: Int
    private var returned = 0
    private var value: Int64
    private var least: Int64 = 0
    /// Where the widths of the block stand, and the number of values of the block that were read.
    private var widths = 0
    private var inBlock: Int
    /// The small block: where its bits begin, and how many a value has.
    private var bits = 0
    private var width = 0

    private static var damaged: VQAError { ParquetFile.failure("a page of differences is damaged") }

    /// Reads from a part of a page.
    init(_ memory: ParquetMemory, _ range: Range<Int>) throws {
        var position = range.lowerBound
        func number(limit: UInt64) throws -> UInt64 {
            guard let value = littleEndianVariable(memory.bytes, &position, end: range.upperBound),
                value <= limit
            else { throw Self.damaged }
            return value
        }
        blockSize = Int(try number(limit: 1 << 20))
        smallCount = Int(try number(limit: 1 << 15))
        total = Int(try number(limit: UInt64(Int32.max)))
        value = zigzag(try number(limit: .max))
        guard blockSize > 0, smallCount > 0, blockSize % (32 * smallCount) == 0 else { throw Self.damaged }
        self.memory = memory
        self.position = position
        end = range.upperBound
        inBlock = blockSize
    }

    private var smallSize: Int { blockSize / smallCount }

    private mutating func startBlock() throws {
        guard let number = littleEndianVariable(memory.bytes, &position, end: end),
            smallCount <= end - position
        else { throw Self.damaged }
        least = zigzag(number)
        widths = position
        position += smallCount
        inBlock = 0
    }

    private mutating func startSmallBlock() throws {
        width = Int(memory.bytes[widths + inBlock / smallSize])
        guard width <= 64, smallSize / 8 * width <= end - position else { throw Self.damaged }
        bits = 8 * position
        position += smallSize / 8 * width
    }

    /// The next integer; the sum runs over like that of the writer.
    mutating func next() throws -> Int64 {
        guard returned < total else { throw ParquetFile.failure("a page has fewer values than it says") }
        defer { returned += 1 }
        if returned == 0 { return value }
        if inBlock == blockSize { try startBlock() }
        let inSmall = inBlock % smallSize
        if inSmall == 0 { try startSmallBlock() }
        let difference = littleEndianBits(memory.bytes, at: bits + inSmall * width, width: width)
        inBlock += 1
        value = value &+ least &+ Int64(bitPattern: difference)
        return value
    }

    /// Where the numbers end, without reading them.
    func endOfNumbers() throws -> Int {
        var rest = self
        var left = total - 1
        while left > 0 {
            try rest.startBlock()
            while left > 0, rest.inBlock < blockSize {
                try rest.startSmallBlock()
                rest.inBlock += smallSize
                left -= smallSize
            }
        }
        return rest.position
    }
}
