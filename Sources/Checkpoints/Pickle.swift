import Support

/// A value of a pickle. Containers are numbers into the arrays of their ``Unpickler``: nesting and cycles
/// then cost no recursion, not even when they are freed.
enum PickleValue {
    case none
    case bool(Bool)
    case integer(Int)
    case float(Double)
    case text(String)
    /// A value that is kept for listing only: an integer beyond 64 bits, a device, an element type.
    case other(String)
    case tuple(Int)
    case list(Int)
    case dictionary(Int)
    case global(PickleGlobal)
    case storage(Int)
    case tensor(Int)
}

/// A key of a dictionary with its value.
typealias PicklePair = (key: PickleValue, value: PickleValue)

/// The names a pickle may mention. Each stands for a constant or for a few lines of our own: no code is
/// looked up.
enum PickleGlobal: Equatable {
    case orderedDictionary
    case rebuildTensor
    case rebuildParameter
    case size
    case device
    case storageClass(ElementType)
    case elementType(ElementType)

    init?(module: String, name: String) {
        switch (module, name) {
        case ("collections", "OrderedDict"): self = .orderedDictionary
        case ("torch._utils", "_rebuild_tensor_v2"): self = .rebuildTensor
        case ("torch._utils", "_rebuild_parameter"): self = .rebuildParameter
        case ("torch", "Size"): self = .size
        case ("torch", "device"): self = .device
        case ("torch", _):
            if let type = ElementType(torchStorageClass: name) {
                self = .storageClass(type)
            } else if let type = ElementType(rawValue: name) {
                self = .elementType(type)
            } else {
                return nil
            }
        default: return nil
        }
    }
}

/// A block of numbers that tensors of a pickle are windows of; its bytes lie elsewhere in the file.
struct PickleStorage {
    let key: String
    let elementType: ElementType
    let elementCount: Int
}

/// A window of a storage, as the pickle claims it: nothing of it is checked against the bytes yet.
struct PickleTensor {
    let storage: Int
    let offset: Int
    let shape: [Int]
    let strides: [Int]
}

/// Reads the pickles of `torch.save` and only those: a list of allowed opcodes and names, anything else is
/// refused by name, and nothing is ever executed.
///
/// Opcodes: `Lib/pickletools.py` of CPython (protocol 2). Names and arguments: `torch/_utils.py` and
/// `torch/serialization.py` of PyTorch 2.13. Work and memory are bounded by the number of bytes and by
/// ``valueLimit``.
struct Unpickler {
    /// Most values one pickle may push; a tensor takes about 25.
    static let valueLimit = 1_000_000
    /// Most tensors of one file.
    static let tensorLimit = 100_000
    private static let dimensionLimit = 32
    private static let nameLimit = 200

    private var reader: ByteReader
    private var stack: [PickleValue] = []
    /// Heights of the stack at which marks were set.
    private var marks: [Int] = []
    private var memo: [Int: PickleValue] = [:]
    private var pushed = 0
    private var protocolVersion = 0
    private var storageNumbers: [String: Int] = [:]

    /// Tuples, and lists: their elements.
    private(set) var sequences: [[PickleValue]] = []
    /// Dictionaries: their pairs in order; a key may occur again.
    private(set) var dictionaries: [[PicklePair]] = []
    private(set) var storages: [PickleStorage] = []
    private(set) var tensors: [PickleTensor] = []

    /// Number of bytes of the file that are read when the pickle ends.
    var offset: Int { reader.offset }

    /// Prepares to read the pickle that begins at `range.lowerBound`.
    init(_ bytes: UnsafeRawBufferPointer, in range: Range<Int>, source: String) {
        reader = ByteReader(bytes, in: range, source: source)
    }

    func failure(_ why: String, remedy: String? = nil) -> VQAError { reader.failure(why, remedy: remedy) }

    /// Reads to the end of the pickle and returns its value.
    mutating func read() throws -> PickleValue {
        while true {
            let opcode = try reader.byte()
            if opcode == UInt8(ascii: ".") {
                let value = try pop()
                guard stack.isEmpty, marks.isEmpty else {
                    throw failure("values are left at the end of the pickle")
                }
                return value
            }
            guard try constant(opcode) || structure(opcode) || memory(opcode) || construction(opcode) else {
                throw refusal(of: opcode)
            }
        }
    }

    private func refusal(of opcode: UInt8) -> VQAError {
        let name = pickleOpcodeName(opcode) ?? "without name"
        let number = String(opcode, radix: 16, uppercase: true)
        return failure(
            "refused pickle opcode \(name) (0x\(number), in a pickle of protocol \(protocolVersion)); "
                + "only tensors saved with PyTorch's protocol 2 are read", remedy: Self.remedy)
    }

    private static let remedy =
        "nothing of it was run; if you trust the file, load it in PyTorch and save its state_dict as safetensors"

    // MARK: Opcodes

    /// Opcodes that push one value that stands in the pickle.
    private mutating func constant(_ opcode: UInt8) throws -> Bool {
        switch opcode {
        case UInt8(ascii: "N"): try push(.none)
        case 0x88: try push(.bool(true))
        case 0x89: try push(.bool(false))
        case UInt8(ascii: "J"): try push(.integer(Int(reader.integer(Int32.self))))
        case UInt8(ascii: "K"): try push(.integer(Int(reader.byte())))
        case UInt8(ascii: "M"): try push(.integer(Int(reader.integer(UInt16.self))))
        case 0x8A: try push(longInteger())
        case UInt8(ascii: "G"):
            // The only number of the format that is big-endian.
            try push(.float(Double(bitPattern: reader.integer(UInt64.self).byteSwapped)))
        case UInt8(ascii: "X"): try push(.text(reader.text(Int(reader.integer(UInt32.self)))))
        case UInt8(ascii: "U"): try push(.text(reader.text(Int(reader.byte()))))
        default: return false
        }
        return true
    }

    /// LONG1: up to 255 bytes of two's complement.
    private mutating func longInteger() throws -> PickleValue {
        let range = try reader.take(Int(try reader.byte()))
        guard range.count <= 8 else { return .other("an integer of \(range.count) bytes") }
        let negative = reader.bytes[range].last.map { $0 >= 0x80 } ?? false
        var value: UInt64 = negative ? .max : 0
        for byte in reader.bytes[range].reversed() { value = value << 8 | UInt64(byte) }
        return .integer(Int(Int64(bitPattern: value)))
    }

    /// Opcodes that build tuples, lists and dictionaries.
    private mutating func structure(_ opcode: UInt8) throws -> Bool {
        switch opcode {
        case UInt8(ascii: "("):
            guard marks.count < Self.valueLimit else { throw failure("too many marks") }
            marks.append(stack.count)
        case UInt8(ascii: ")"): try pushTuple([])
        case UInt8(ascii: "t"): try pushTuple(popToMark())
        case 0x85, 0x86, 0x87: try pushTuple(popLast(Int(opcode) - 0x84))
        case UInt8(ascii: "]"):
            sequences.append([])
            try push(.list(sequences.count - 1))
        case UInt8(ascii: "a"): try appendToList(popLast(1))
        case UInt8(ascii: "e"): try appendToList(popToMark())
        case UInt8(ascii: "}"): try pushDictionary([])
        case UInt8(ascii: "s"): try setItems(popLast(2))
        case UInt8(ascii: "u"): try setItems(popToMark())
        default: return false
        }
        return true
    }

    /// Opcodes that keep values for later use, and the frame of the pickle.
    private mutating func memory(_ opcode: UInt8) throws -> Bool {
        switch opcode {
        case 0x80: protocolVersion = Int(try reader.byte())
        case UInt8(ascii: "q"): memo[Int(try reader.byte())] = try top()
        case UInt8(ascii: "r"): memo[Int(try reader.integer(UInt32.self))] = try top()
        case UInt8(ascii: "h"): try recall(Int(reader.byte()))
        case UInt8(ascii: "j"): try recall(Int(reader.integer(UInt32.self)))
        default: return false
        }
        return true
    }

    /// Opcodes that name and build things; in Python these run code.
    private mutating func construction(_ opcode: UInt8) throws -> Bool {
        switch opcode {
        case UInt8(ascii: "c"):
            let module = try reader.line(limit: Self.nameLimit)
            let name = try reader.line(limit: Self.nameLimit)
            guard let global = PickleGlobal(module: module, name: name) else {
                throw failure(
                    "refused pickle global \(shortened(module)).\(shortened(name))", remedy: Self.remedy)
            }
            try push(.global(global))
        case UInt8(ascii: "Q"): try push(storage(named: pop()))
        case UInt8(ascii: "R"):
            let arguments = try pop()
            let callee = try pop()
            try push(build(callee, from: arguments))
        case UInt8(ascii: "b"):
            // The state of a state_dict is `_metadata`: version numbers of modules. Nothing else may have a
            // state.
            _ = try pop()
            guard case .dictionary = try top() else {
                throw failure("refused a state (BUILD) for no dictionary")
            }
        default: return false
        }
        return true
    }

    // MARK: Stack

    private mutating func push(_ value: PickleValue) throws {
        try count(1)
        stack.append(value)
    }

    /// Takes note of values that are about to be made.
    private mutating func count(_ values: Int) throws {
        pushed += values
        guard pushed <= Self.valueLimit else {
            throw failure("the pickle holds more than \(Self.valueLimit) values")
        }
    }

    /// Values below the last mark are out of reach.
    private var height: Int { stack.count - (marks.last ?? 0) }

    private func top() throws -> PickleValue {
        guard height > 0, let value = stack.last else {
            throw failure("the pickle uses a value it has not pushed")
        }
        return value
    }

    private mutating func pop() throws -> PickleValue {
        let value = try top()
        stack.removeLast()
        return value
    }

    private mutating func popLast(_ count: Int) throws -> [PickleValue] {
        guard height >= count else { throw failure("the pickle uses a value it has not pushed") }
        defer { stack.removeLast(count) }
        return Array(stack.suffix(count))
    }

    private mutating func popToMark() throws -> [PickleValue] {
        guard let mark = marks.popLast() else { throw failure("the pickle uses a mark it has not set") }
        defer { stack.removeLast(stack.count - mark) }
        return Array(stack[mark...])
    }

    private mutating func recall(_ number: Int) throws {
        guard let value = memo[number] else {
            throw failure("the pickle recalls value \(number), which it has not kept")
        }
        try push(value)
    }

    private mutating func pushTuple(_ elements: [PickleValue]) throws {
        sequences.append(elements)
        try push(.tuple(sequences.count - 1))
    }

    private mutating func pushDictionary(_ pairs: [PicklePair]) throws {
        dictionaries.append(pairs)
        try push(.dictionary(dictionaries.count - 1))
    }

    private mutating func appendToList(_ elements: [PickleValue]) throws {
        guard case .list(let number) = try top() else { throw failure("the pickle appends to no list") }
        sequences[number] += elements
    }

    private mutating func setItems(_ items: [PickleValue]) throws {
        guard case .dictionary(let number) = try top() else {
            throw failure("the pickle sets an item of no dictionary")
        }
        guard items.count % 2 == 0 else { throw failure("the pickle sets a key without a value") }
        for i in stride(from: 0, to: items.count, by: 2) {
            dictionaries[number].append((items[i], items[i + 1]))
        }
    }

    // MARK: Building

    /// What a call of `callee` would give.
    private mutating func build(_ callee: PickleValue, from arguments: PickleValue) throws -> PickleValue {
        guard case .global(let global) = callee, case .tuple(let number) = arguments else {
            throw failure("refused a call (REDUCE) of something that is no allowed name")
        }
        let arguments = sequences[number]
        switch (global, arguments.count) {
        case (.orderedDictionary, 0...1):
            let items = if let list = arguments.first { try pairs(list) } else { [] as [PicklePair] }
            dictionaries.append(items)
            return .dictionary(dictionaries.count - 1)
        case (.rebuildTensor, 6...7): return try tensor(arguments)
        case (.rebuildParameter, 3):
            guard case .tensor = arguments[0] else { throw failure("a parameter that is made of no tensor") }
            return arguments[0]
        case (.size, 1):
            guard case .tuple = arguments[0] else { throw failure("a size that is made of no tuple") }
            return arguments[0]
        case (.device, 1...2): return .other("a device")
        default: throw failure("refused a call of \(global) with \(arguments.count) arguments")
        }
    }

    /// The pairs of a list of lists or tuples of two, the form OrderedDict took in Python 2.
    private mutating func pairs(_ value: PickleValue) throws -> [PicklePair] {
        guard case .list(let number) = value else { throw failure("an OrderedDict that is made of no list") }
        // One list may be called upon many times, each time for new pairs.
        try count(sequences[number].count)
        return try sequences[number].map { item in
            switch item {
            case .list(let pair), .tuple(let pair):
                guard sequences[pair].count == 2 else { break }
                return (sequences[pair][0], sequences[pair][1])
            default: break
            }
            throw failure("an OrderedDict that is made of no pairs")
        }
    }

    /// A storage from its persistent id: ("storage", class, key, location, count) and, in legacy files, None
    /// or the description of a window.
    private mutating func storage(named value: PickleValue) throws -> PickleValue {
        guard case .tuple(let number) = value, 5...6 ~= sequences[number].count,
            case .text("storage") = sequences[number][0],
            case .global(.storageClass(let type)) = sequences[number][1],
            case .text(let key) = sequences[number][2],
            case .integer(let count) = sequences[number][4]
        else { throw failure("refused a persistent id that does not describe a storage") }
        switch sequences[number].dropFirst(5).first ?? .none {
        case PickleValue.none: break
        default:
            throw failure("windows of storages (PyTorch before 0.4) are not supported", remedy: Self.remedy)
        }
        if let known = storageNumbers[key] {
            guard storages[known].elementType == type, storages[known].elementCount == count else {
                throw failure("the storage \(shortened(key)) is described in two ways")
            }
            return .storage(known)
        }
        storageNumbers[key] = storages.count
        storages.append(PickleStorage(key: key, elementType: type, elementCount: count))
        return .storage(storages.count - 1)
    }

    /// `_rebuild_tensor_v2(storage, offset, size, stride, requires_grad, hooks[, metadata])`.
    private mutating func tensor(_ arguments: [PickleValue]) throws -> PickleValue {
        guard case .storage(let storage) = arguments[0], case .integer(let offset) = arguments[1] else {
            throw failure("a tensor that is made of no storage")
        }
        let shape = try integers(arguments[2])
        let strides = try integers(arguments[3])
        guard offset >= 0, shape.count == strides.count, (shape + strides).allSatisfy({ $0 >= 0 }) else {
            throw failure(
                "a tensor with an impossible shape \(describe(shape)) or strides \(describe(strides))")
        }
        if arguments.count == 7 {
            // Lazy negation and conjugation would change the numbers.
            switch arguments[6] {
            case .none: break
            case .dictionary(let number) where dictionaries[number].isEmpty: break
            default: throw failure("refused a tensor with lazy operations", remedy: Self.remedy)
            }
        }
        guard tensors.count < Self.tensorLimit else {
            throw failure("the pickle holds more than \(Self.tensorLimit) tensors")
        }
        tensors.append(PickleTensor(storage: storage, offset: offset, shape: shape, strides: strides))
        return .tensor(tensors.count - 1)
    }

    private func integers(_ value: PickleValue) throws -> [Int] {
        guard case .tuple(let number) = value, sequences[number].count <= Self.dimensionLimit else {
            throw failure("a tensor whose size is no tuple of at most \(Self.dimensionLimit) numbers")
        }
        return try sequences[number].map { element in
            guard case .integer(let integer) = element else {
                throw failure("a tensor whose size is no number")
            }
            return integer
        }
    }
}
