import Support

/// What a GGUF file says beside its tensors: values by key, such as `llama.block_count`.
///
/// Arrays stay in the mapped file; a list of 150,000 tokens becomes Swift strings only when it is asked for.
/// Asking for a missing key gives nil, asking for a key of another kind throws.
public struct GGUFMetadata: Sendable {
    /// All keys in the order of the file.
    public private(set) var keys: [String] = []
    private var values: [String: GGUFValue] = [:]
    private let path: String

    init(path: String) { self.path = path }

    /// Adds a value; false when the key is there already.
    mutating func add(_ key: String, _ value: GGUFValue) -> Bool {
        guard values.updateValue(value, forKey: key) == nil else { return false }
        keys.append(key)
        return true
    }

    /// The value as it is stored; nil when there is none.
    public subscript(_ key: String) -> GGUFValue? { values[key] }

    /// A text.
    public func string(_ key: String) throws -> String? {
        try find(key, "a text") { if case .string(let value) = $0 { value } else { nil } }
    }

    /// An integer of any width.
    public func integer(_ key: String) throws -> Int? {
        try find(key, "an integer of 63 bits") { if case .integer(let value) = $0 { value } else { nil } }
    }

    /// A floating-point number, or an integer.
    public func double(_ key: String) throws -> Double? {
        try find(key, "a number") {
            switch $0 {
            case .double(let value): value
            case .integer(let value): Double(value)
            default: nil
            }
        }
    }

    /// A truth value.
    public func bool(_ key: String) throws -> Bool? {
        try find(key, "a truth value") { if case .bool(let value) = $0 { value } else { nil } }
    }

    /// A list of any kind, in place.
    public func array(_ key: String) throws -> GGUFArray? {
        try find(key, "a list") { if case .array(let value) = $0 { value } else { nil } }
    }

    /// A list of texts. Throws when one is not UTF-8.
    public func strings(_ key: String) throws -> [String]? { try list(key) { try $0.strings() } }

    /// A list of integers of any width, or of truth values as 0 and 1.
    public func integers(_ key: String) throws -> [Int]? { try list(key) { try $0.integers() } }

    /// A list of floating-point numbers, as float32.
    public func floats(_ key: String) throws -> [Float]? { try list(key) { try $0.floats() } }

    /// All texts by key; numbers and lists are left out.
    func texts() -> [String: String] {
        values.compactMapValues { if case .string(let value) = $0 { value } else { nil } }
    }

    private func find<Value>(_ key: String, _ kind: String, _ read: (GGUFValue) -> Value?) throws -> Value? {
        guard let value = values[key] else { return nil }
        if let read = read(value) { return read }
        throw failure(key, "expected \(kind), found \(value.kind)")
    }

    private func list<Value>(_ key: String, _ read: (GGUFArray) throws -> Value) throws -> Value? {
        guard let array = try array(key) else { return nil }
        do { return try read(array) } catch {
            throw failure(key, (error as? GGUFArray.Mismatch)?.why ?? "\(error)")
        }
    }

    private func failure(_ key: String, _ why: String) -> VQAError {
        VQAError("cannot read the checkpoint", at: "\(path), key \(shortened(key))", because: why)
    }
}

/// One value of the metadata.
public enum GGUFValue: Sendable {
    /// Of 8 to 64 bits, signed or not.
    case integer(Int)
    /// An unsigned integer above 2^63.
    case large(UInt64)
    /// A float32, widened, or a float64.
    case double(Double)
    case bool(Bool)
    case string(String)
    case array(GGUFArray)

    /// For messages.
    var kind: String {
        switch self {
        case .integer(let value): "the integer \(value)"
        case .large(let value): "the integer \(value)"
        case .double(let value): "the number \(value)"
        case .bool(let value): "\(value)"
        case .string(let value): "the text \"\(shortened(value))\""
        case .array(let value): "a list of \(value.count)"
        }
    }
}

/// The type of a metadata value, with the codes of the format.
enum GGUFValueType: UInt32, Sendable {
    case uint8 = 0
    case int8, uint16, int16, uint32, int32, float32, bool, string, array, uint64, int64, float64

    /// Bytes of one value; nil for texts and arrays, whose size varies.
    var size: Int? {
        switch self {
        case .uint8, .int8, .bool: 1
        case .uint16, .int16: 2
        case .uint32, .int32, .float32: 4
        case .uint64, .int64, .float64: 8
        case .string, .array: nil
        }
    }
}

/// A list in the metadata. It holds on to the mapped file and reads its elements when they are asked for.
public struct GGUFArray: Sendable {
    /// Number of elements.
    public let count: Int
    /// The elements of a list of lists; empty for every other list.
    public let nested: [GGUFArray]
    let type: GGUFValueType
    /// Where the elements lie, their length fields included.
    let range: Range<Int>
    /// For texts: where each one begins, after its length.
    let starts: [Int]
    let file: MappedFile

    /// Why the elements cannot be given as asked.
    struct Mismatch: Error { let why: String }

    /// True for a list of texts.
    public var holdsStrings: Bool { type == .string }

    /// The bytes of the text at `index`, which are UTF-8 in a sound file; nil when this is no list of texts or has no
    /// such index. Calls `body` while the file stays mapped.
    public func withBytes<Result>(ofTextAt index: Int, _ body: (UnsafeRawBufferPointer) throws -> Result)
        rethrows -> Result?
    {
        guard starts.indices.contains(index) else { return nil }
        return try withExtendedLifetime(file) {
            try body(UnsafeRawBufferPointer(rebasing: file.bytes[textRange(index)]))
        }
    }

    /// The text at `index`; nil when there is none or it is not UTF-8.
    public func string(at index: Int) -> String? {
        withBytes(ofTextAt: index) { String(validating: $0, as: UTF8.self) } ?? nil
    }

    private func textRange(_ index: Int) -> Range<Int> {
        // The next text's length field stands between.
        starts[index]..<(index + 1 < starts.count ? starts[index + 1] - 8 : range.upperBound)
    }

    func strings() throws -> [String] {
        guard holdsStrings || count == 0 else {
            throw Mismatch(why: "expected texts, found a list of \(type)")
        }
        var result: [String] = []
        result.reserveCapacity(count)
        for index in 0..<starts.count {
            guard let text = string(at: index) else {
                throw Mismatch(why: "the text with number \(index) is not UTF-8")
            }
            result.append(text)
        }
        return result
    }

    func integers() throws -> [Int] {
        switch type {
        case .uint8, .bool: return elements(UInt8.self).map(Int.init)
        case .int8: return elements(Int8.self).map(Int.init)
        case .uint16: return elements(UInt16.self).map(Int.init)
        case .int16: return elements(Int16.self).map(Int.init)
        case .uint32: return elements(UInt32.self).map(Int.init)
        case .int32: return elements(Int32.self).map(Int.init)
        case .int64: return elements(Int64.self).map(Int.init)
        case .uint64:
            let values = elements(UInt64.self).compactMap { Int(exactly: $0) }
            guard values.count == count else { throw Mismatch(why: "an integer exceeds 63 bits") }
            return values
        case .float32, .float64, .string, .array:
            guard count == 0 else { throw Mismatch(why: "expected integers, found a list of \(type)") }
            return []
        }
    }

    func floats() throws -> [Float] {
        switch type {
        case .float32: return elements(UInt32.self).map { Float(bitPattern: $0) }
        case .float64: return elements(UInt64.self).map { Float(Double(bitPattern: $0)) }
        default:
            guard count == 0 else { throw Mismatch(why: "expected numbers, found a list of \(type)") }
            return []
        }
    }

    private func elements<Number: FixedWidthInteger & BitwiseCopyable>(_: Number.Type) -> [Number] {
        withExtendedLifetime(file) {
            (0..<count).map {
                let offset = range.lowerBound + $0 * MemoryLayout<Number>.size
                return Number(littleEndian: file.bytes.loadUnaligned(fromByteOffset: offset, as: Number.self))
            }
        }
    }
}
