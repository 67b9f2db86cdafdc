import Support

/// The bytes of a page: a part of the mapped file, or memory of its own. Values point into it and keep it alive.
package final class ParquetMemory {
    let bytes: UnsafeRawBufferPointer
    private let file: MappedFile?
    private let range: Range<Int>

    /// A part of the file. Its memory goes back to the system at the end, so that a file that was read costs none.
    init(_ file: MappedFile, _ range: Range<Int>) {
        self.file = file
        self.range = range
        bytes = UnsafeRawBufferPointer(rebasing: file.bytes[range])
    }

    /// New memory of `count` bytes, which `fill` writes.
    init(count: Int, _ fill: (UnsafeMutableRawBufferPointer) throws -> Void) throws {
        let memory = UnsafeMutableRawBufferPointer.allocate(byteCount: count, alignment: 8)
        do {
            try fill(memory)
        } catch {
            memory.deallocate()
            throw error
        }
        file = nil
        range = 0..<0
        bytes = UnsafeRawBufferPointer(memory)
    }

    deinit {
        if let file {
            file.release(range)
        } else {
            bytes.deallocate()
        }
    }
}

/// A text or binary value, where it lies in its page.
package struct ParquetBytes {
    let memory: ParquetMemory
    let range: Range<Int>

    /// The number of bytes.
    package var count: Int { range.count }

    /// Runs `body` with the bytes, which must not leave it.
    package func withBytes<Result>(_ body: (UnsafeRawBufferPointer) throws -> Result) rethrows -> Result {
        try withExtendedLifetime(memory) {
            try body(UnsafeRawBufferPointer(rebasing: memory.bytes[range]))
        }
    }

    /// The text, nil when it is not UTF-8.
    package var text: String? { withBytes { String(validating: $0, as: UTF8.self) } }
}

/// A value of a row. Dates, times and decimal numbers are the integers or bytes that they are stored as.
package enum ParquetValue {
    case null
    case boolean(Bool)
    case integer(Int64)
    case number(Double)
    case bytes(ParquetBytes)
    case list([ParquetValue])
    case structure(ParquetRecord)

    /// A text; nil when it is anything else.
    package var text: String? {
        guard case .bytes(let bytes) = self else { return nil }
        return bytes.text
    }
}

/// A row, or a structure in one: values by name.
package struct ParquetRecord {
    /// The names, in the order of the file.
    package let names: [String]
    /// The values in the same order.
    package let values: [ParquetValue]

    /// The value of the first column with this name, nil when there is none.
    package subscript(name: String) -> ParquetValue? {
        names.firstIndex(of: name).map { values[$0] }
    }
}

/// What may still come out of a file: a few bytes can stand for any number of equal values, and a reader of a hostile file
/// would fill its memory with them.
final class ParquetAllowance {
    private var left: Int

    /// The cost of a value beside its bytes.
    static let value = 16

    /// An allowance for a file of so many bytes.
    init(fileSize: Int) {
        let (times, overflow) = fileSize.multipliedReportingOverflow(by: 256)
        left = overflow ? .max : times.addingReportingOverflow(64 << 20).overflow ? .max : times + 64 << 20
    }

    /// Takes `count` away.
    func spend(_ count: Int) throws {
        guard count <= left else {
            throw ParquetFile.failure(
                "its values take more than 256 times the bytes of the file",
                "if the file is to be trusted, write it again without dictionaries")
        }
        left -= count
    }
}
