import Support

#if canImport(Glibc)
    import Glibc
#else
    import Darwin
#endif

/// What a checkpoint says of one tensor, without its numbers.
public struct TensorInfo: Sendable, Equatable {
    /// The full key, such as `encoder.layer.0.output.dense.weight`.
    public let name: String
    /// The type of its numbers.
    public let elementType: ElementType
    /// The sizes of the dimensions; empty for a single number.
    public let shape: [Int]
    /// The file that holds the tensor.
    public let file: String
    /// The product of the shape.
    public let elementCount: Int
    /// `elementCount` times the size of an element.
    public let byteCount: Int

    /// Refuses a negative dimension, a size beyond 64 bits and more than 64 dimensions (as many as PyTorch
    /// takes).
    public init(name: String, elementType: ElementType, shape: [Int], file: String = "") throws {
        guard shape.count <= 64, let counts = byteCounts(of: shape, elementType) else {
            throw TensorInfo.failure(
                name, in: file,
                because: "the shape \(describe(shape)) of \(elementType) is not a possible size")
        }
        self.name = name
        self.elementType = elementType
        self.shape = shape
        self.file = file
        elementCount = counts.elements
        byteCount = counts.bytes
    }

    /// The same tensor under another name.
    func renamed(_ name: String) throws -> TensorInfo {
        try TensorInfo(name: name, elementType: elementType, shape: shape, file: file)
    }

    static func failure(_ name: String, in file: String, because why: String, remedy: String? = nil)
        -> VQAError
    {
        let place = file.isEmpty ? "tensor \(shortened(name))" : "\(file), tensor \(shortened(name))"
        return VQAError("cannot read the checkpoint", at: place, because: why, remedy: remedy)
    }
}

/// A tensor of a checkpoint: its numbers lie row-major and without gaps in `bytes`, little-endian.
///
/// `owner` keeps the bytes alive (a mapped file or a buffer), so a view may outlive its checkpoint. Read them
/// with ``withBytes(_:)``: Swift may free a view after its last mention, which can be before the last use of
/// `bytes`.
public struct TensorView: @unchecked Sendable {
    /// Name, type, shape and file.
    public let info: TensorInfo
    /// Exactly `info.byteCount` bytes, valid while `owner` lives. Their start need not be a multiple of the
    /// element size: see ``isAligned``.
    public let bytes: UnsafeRawBufferPointer
    /// Holds the memory of `bytes`.
    public let owner: any AnyObject & Sendable

    /// The full key.
    public var name: String { info.name }
    /// The type of its numbers.
    public var elementType: ElementType { info.elementType }
    /// The sizes of the dimensions; empty for a single number.
    public var shape: [Int] { info.shape }
    /// The product of the shape.
    public var elementCount: Int { info.elementCount }

    init(info: TensorInfo, bytes: UnsafeRawBufferPointer, owner: any AnyObject & Sendable) {
        self.info = info
        self.bytes = bytes
        self.owner = owner
    }

    /// Calls `body` with the bytes and keeps them alive meanwhile.
    public func withBytes<Result>(_ body: (UnsafeRawBufferPointer) throws -> Result) rethrows -> Result {
        try withExtendedLifetime(owner) { try body(bytes) }
    }

    /// True when the first byte lies at a multiple of the element size, as typed access needs.
    public var isAligned: Bool {
        Int(bitPattern: bytes.baseAddress) % elementType.byteCount == 0
    }

    /// This view when it is aligned, otherwise one on an aligned copy. Storages of legacy PyTorch files and
    /// of some safetensors files start anywhere.
    public func aligned() throws -> TensorView {
        guard !isAligned else { return self }
        let copy = try OwnedBytes(count: bytes.count, for: info)
        withBytes { copy.bytes.copyMemory(from: $0) }
        return TensorView(info: info, bytes: UnsafeRawBufferPointer(copy.bytes), owner: copy)
    }
}

/// A block of memory, aligned to 64 bytes, freed with the object.
final class OwnedBytes: @unchecked Sendable {
    let bytes: UnsafeMutableRawBufferPointer

    /// The caller has checked `count` against the size of the file.
    init(count: Int, for info: TensorInfo) throws {
        var memory: UnsafeMutableRawPointer?
        guard posix_memalign(&memory, 64, max(count, 1)) == 0, let memory else {
            throw VQAError(
                "cannot read the checkpoint", at: "\(info.file), tensor \(shortened(info.name))",
                because: "no memory for \(count) bytes", kind: .failure)
        }
        bytes = UnsafeMutableRawBufferPointer(start: memory, count: count)
    }

    deinit { free(bytes.baseAddress) }
}

/// The number of elements and bytes of a shape; nil when a dimension is negative or a product exceeds 63
/// bits. An empty tensor must be possible without its zeros too: strides are made of the other dimensions.
func byteCounts(of shape: [Int], _ type: ElementType) -> (elements: Int, bytes: Int)? {
    guard shape.allSatisfy({ $0 >= 0 }) else { return nil }
    var elements = 1
    for dimension in shape where dimension > 0 {
        let (product, overflow) = elements.multipliedReportingOverflow(by: dimension)
        guard !overflow else { return nil }
        elements = product
    }
    let (bytes, overflow) = elements.multipliedReportingOverflow(by: type.byteCount)
    guard !overflow else { return nil }
    return shape.contains(0) ? (0, 0) : (elements, bytes)
}

/// A shape for messages: `[2, 3]`, cut after 8 dimensions.
func describe(_ shape: [Int]) -> String {
    let shown = shape.prefix(8).map(String.init).joined(separator: ", ")
    return shape.count > 8 ? "[\(shown), … \(shape.count) dimensions]" : "[\(shown)]"
}

/// A name from a file for messages: at most 120 characters.
func shortened(_ name: String) -> String {
    name.utf8.count <= 120 ? name : String(name.prefix(100)) + "…"
}
