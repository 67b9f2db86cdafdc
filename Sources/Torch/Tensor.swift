import CTorch

/// The element type of a tensor.
public enum DType: Int32, Sendable, CaseIterable {
    case float32 = 0
    case float16 = 1
    case bfloat16 = 2
    case float64 = 3
    case int64 = 4
    case int32 = 5
    case int16 = 6
    case int8 = 7
    case uint8 = 8
    case bool = 9

    /// Bytes of one element.
    public var size: Int {
        switch self {
        case .float64, .int64: 8
        case .float32, .int32: 4
        case .float16, .bfloat16, .int16: 2
        case .int8, .uint8, .bool: 1
        }
    }

    /// True for the types that can carry gradients.
    public var isFloatingPoint: Bool {
        switch self {
        case .float32, .float16, .bfloat16, .float64: true
        default: false
        }
    }
}

/// Where a tensor lies.
public enum Device: Sendable, Equatable, CustomStringConvertible {
    case cpu
    case cuda(Int)
    case mps
    /// A shape without memory: a module is built on it and filled when its checkpoint is read.
    case meta

    var code: (kind: Int32, index: Int32) {
        switch self {
        case .cpu: (Int32(CT_CPU), 0)
        case .cuda(let index): (Int32(CT_CUDA), Int32(clamping: index))
        case .meta: (Int32(CT_META), 0)
        case .mps: (Int32(CT_MPS), 0)
        }
    }

    /// As PyTorch writes it: `cpu`, `cuda:0`, `mps`, `meta`.
    public var description: String {
        switch self {
        case .cpu: "cpu"
        case .cuda(let index): "cuda:\(index)"
        case .mps: "mps"
        case .meta: "meta"
        }
    }
}

/// A tensor of libtorch.
///
/// Owns one counted reference to the implementation and gives it back when Swift releases the object. Not
/// Sendable: all tensor work happens on one thread. Operations return new tensors that may share memory
/// exactly where PyTorch's do. Every operation throws ``TorchError`` when libtorch refuses it.
public final class Tensor {
    /// Valid while the object lives. Every use is inside `withExtendedLifetime`: Swift may release an object
    /// after its last use in the source, which can be before the call returns.
    let handle: CTTensor

    /// Takes over one counted reference.
    init(adopting handle: CTTensor) { self.handle = handle }

    deinit {
        // A tensor exists, hence libtorch is open.
        if let torch = try? engine() { torch.pointee.release(handle) }
    }

    // MARK: Facts

    /// The sizes, outermost first. A scalar has none.
    public var shape: [Int] {
        facts { torch in
            let count = Int(torch.pointee.dimensions(handle))
            return [Int64](unsafeUninitializedCapacity: count) { buffer, filled in
                if let base = buffer.baseAddress { torch.pointee.sizes(handle, base) }
                filled = count
            }.map(Int.init)
        } ?? []
    }

    /// Elements to step for one step along each dimension.
    public var strides: [Int] {
        facts { torch in
            let count = Int(torch.pointee.dimensions(handle))
            return [Int64](unsafeUninitializedCapacity: count) { buffer, filled in
                if let base = buffer.baseAddress { torch.pointee.strides(handle, base) }
                filled = count
            }.map(Int.init)
        } ?? []
    }

    /// Number of dimensions.
    public var rank: Int { facts { Int($0.pointee.dimensions(handle)) } ?? 0 }

    /// Number of elements.
    public var count: Int { facts { Int($0.pointee.count(handle)) } ?? 0 }

    /// The type of every element.
    public var dtype: DType { facts { DType(rawValue: $0.pointee.element_type(handle)) } ?? .float32 }

    /// Where its memory lies.
    public var device: Device {
        facts { torch in
            var kind: Int32 = 0
            var index: Int32 = 0
            torch.pointee.device(handle, &kind, &index)
            return switch kind {
            case Int32(CT_CUDA): .cuda(Int(index))
            case Int32(CT_META): .meta
            case Int32(CT_MPS): .mps
            default: .cpu
            }
        } ?? .cpu
    }

    /// True when the elements lie in memory row by row, without gaps.
    public var isContiguous: Bool { facts { $0.pointee.is_contiguous(handle) } ?? false }

    func facts<Result>(_ body: (UnsafePointer<CTTable>) -> Result?) -> Result? {
        guard let torch = try? engine() else { return nil }
        return withExtendedLifetime(self) { body(torch) }
    }

    // MARK: Making results

    /// Runs an operation that gives one tensor, while everything in `arguments` is kept alive.
    @inline(__always)
    static func make<Arguments>(
        _ arguments: Arguments,
        _ body: (UnsafePointer<CTTable>, UnsafeMutablePointer<CTTensor?>) -> Int32
    ) throws(TorchError) -> Tensor {
        let torch = try engine()
        var result: CTTensor?
        let status = withExtendedLifetime(arguments) { body(torch, &result) }
        guard status == 0, let result else { throw TorchError.last(torch) }
        return Tensor(adopting: result)
    }

    /// Runs an operation that gives nothing, while everything in `arguments` is kept alive.
    @inline(__always)
    static func run<Arguments>(
        _ arguments: Arguments, _ body: (UnsafePointer<CTTable>) -> Int32
    ) throws(TorchError) {
        let torch = try engine()
        try check(withExtendedLifetime(arguments) { body(torch) }, torch)
    }
}

extension Tensor: CustomStringConvertible {
    /// Shape, element type and, for small tensors, the values.
    public var description: String {
        let head = "Tensor(\(shape), \(dtype)"
        guard count <= 16, device != .meta, let values = try? doubles() else { return head + ")" }
        return head + ", " + values.map { String($0) }.joined(separator: " ") + ")"
    }
}

/// Calls `body` with the sizes as libtorch takes them.
@inline(__always)
func withSizes<Result>(_ sizes: [Int], _ body: (UnsafePointer<Int64>, Int32) -> Result) -> Result {
    withUnsafeTemporaryAllocation(of: Int64.self, capacity: max(1, sizes.count)) { buffer in
        for (index, size) in sizes.enumerated() { buffer.initializeElement(at: index, to: Int64(size)) }
        return body(UnsafePointer(buffer.baseAddress) ?? noSizes, Int32(clamping: sizes.count))
    }
}

/// Stands for the address of an empty list; never read.
nonisolated(unsafe) private let noSizes = UnsafePointer(UnsafeMutablePointer<Int64>.allocate(capacity: 1))

/// Calls `body` with the handles of `tensors`, which stay alive meanwhile. The list lies on the stack: an array would
/// cost more than a small operation.
@inline(__always)
func withHandles<Result>(_ tensors: [Tensor], _ body: (UnsafePointer<CTTensor>, Int32) -> Result) -> Result {
    withExtendedLifetime(tensors) {
        withUnsafeTemporaryAllocation(of: CTTensor.self, capacity: max(1, tensors.count)) { buffer in
            for index in tensors.indices { buffer.initializeElement(at: index, to: tensors[index].handle) }
            return body(UnsafePointer(buffer.baseAddress) ?? noHandles, Int32(clamping: tensors.count))
        }
    }
}

/// Stands for the address of an empty list; never read.
nonisolated(unsafe) private let noHandles = UnsafePointer(
    UnsafeMutablePointer<CTTensor>.allocate(capacity: 1))
