import Support

/// A tensor of a GGUF file: what it is and where its blocks lie.
///
/// `owner` keeps the bytes alive (the mapped file, or a copy with other rows), so a tensor may outlive its
/// ``GGUFFile``. Read them with ``withBytes(_:)``.
public struct GGUFTensor: @unchecked Sendable {
    /// The name in the file, or the Hugging Face name when a ``GGUFModel`` gave the tensor.
    public let name: String
    /// How the numbers are stored.
    public let type: GGMLType
    /// The sizes of the dimensions, outermost first: [out, in] for a linear layer.
    public let shape: [Int]
    /// The file, for errors.
    public let file: String
    /// All blocks, row after row; valid while `owner` lives.
    public let bytes: UnsafeRawBufferPointer
    /// Holds the memory of `bytes`.
    public let owner: any AnyObject & Sendable

    init(
        name: String, type: GGMLType, shape: [Int], file: String, bytes: UnsafeRawBufferPointer,
        owner: any AnyObject & Sendable
    ) {
        self.name = name
        self.type = type
        self.shape = shape
        self.file = file
        self.bytes = bytes
        self.owner = owner
    }

    /// The product of the shape.
    public var elementCount: Int { bytes.count / type.blockBytes * type.blockSize }

    /// The type its numbers have when they are read: its own, or float32 when it is quantised.
    public var elementType: ElementType { type.elementType ?? .float32 }

    /// Name, shape and ``elementType``, as a ``Checkpoint`` lists it.
    public func info() throws -> TensorInfo {
        try TensorInfo(name: name, elementType: elementType, shape: shape, file: file)
    }

    /// Calls `body` with the bytes and keeps them alive meanwhile.
    public func withBytes<Result>(_ body: (UnsafeRawBufferPointer) throws -> Result) rethrows -> Result {
        try withExtendedLifetime(owner) { try body(bytes) }
    }

    // MARK: Numbers

    /// All numbers as float32, row by row. Equal to ggml's dequantisation bit for bit; 64-bit types are rounded.
    public func floats() throws -> [Float] {
        try checkReadable()
        return [Float](unsafeUninitializedCapacity: elementCount) { buffer, filled in
            if let base = buffer.baseAddress { fill(base) }
            filled = elementCount
        }
    }

    /// The numbers in ``elementType``: in place when the type is plain, otherwise dequantised.
    public func view() throws -> TensorView {
        let info = try info()
        guard type.isQuantised else { return TensorView(info: info, bytes: bytes, owner: owner) }
        try checkReadable()
        let copy = try OwnedBytes(count: info.byteCount, for: info)
        if let base = copy.bytes.assumingMemoryBound(to: Float.self).baseAddress, info.byteCount > 0 {
            fill(base)
        }
        return TensorView(info: info, bytes: UnsafeRawBufferPointer(copy.bytes), owner: copy)
    }

    private func fill(_ target: UnsafeMutablePointer<Float>) {
        withBytes { bytes in
            if let format = type.format {
                format.dequantise(bytes, to: target)
            } else if let plain = type.elementType {
                readFloats(bytes, plain, from: 0, count: elementCount, into: target)
            }
        }
    }

    private func checkReadable() throws {
        guard type.isQuantised, type.format == nil else { return }
        throw TensorInfo.failure(
            name, in: file, because: "numbers of type \(type) cannot be read",
            remedy: "convert the model to one of "
                + GGMLType.allCases.filter { $0.format != nil }.map(\.description).joined(separator: ", "))
    }

    // MARK: Blocks

    /// The quantised numbers with their scales and minima, for kernels that compute with them. Throws for types that
    /// are not quantised.
    public func blocks() throws -> QuantisedBlocks {
        try checkReadable()
        guard let format = type.format else {
            throw TensorInfo.failure(name, in: file, because: "\(type) is not quantised")
        }
        return withBytes { QuantisedBlocks($0, shape: shape, format) }
    }

    // MARK: Rows

    /// The same tensor under another name and, when `order` is given, with its rows in another order: row i is row
    /// `order[i]` of this one. The blocks are copied, not their numbers. `order` holds each index below `shape[0]`.
    func renamed(_ name: String, rows order: [Int]? = nil) throws -> GGUFTensor {
        guard let order, let rows = shape.first, rows > 0, !bytes.isEmpty else {
            return GGUFTensor(name: name, type: type, shape: shape, file: file, bytes: bytes, owner: owner)
        }
        guard order.count == rows, bytes.count % rows == 0, order.allSatisfy({ 0..<rows ~= $0 }) else {
            throw TensorInfo.failure(self.name, in: file, because: "its \(rows) rows cannot be put in order")
        }
        let rowBytes = bytes.count / rows
        let copy = try OwnedBytes(count: bytes.count, for: info())
        withBytes { bytes in
            for (row, source) in order.enumerated() {
                UnsafeMutableRawBufferPointer(rebasing: copy.bytes[row * rowBytes..<(row + 1) * rowBytes])
                    .copyMemory(
                        from: UnsafeRawBufferPointer(
                            rebasing: bytes[source * rowBytes..<(source + 1) * rowBytes]))
            }
        }
        return GGUFTensor(
            name: name, type: type, shape: shape, file: file, bytes: UnsafeRawBufferPointer(copy.bytes),
            owner: copy)
    }
}

/// A quantised weight taken apart: number j of row i is w = scale · q + minimum, computed in float32 in this order,
/// where scale and minimum are those of group j / ``groupSize`` of row i. That is equal to the dequantised numbers
/// bit for bit (without ``minima`` there is nothing to add: a zero keeps its sign). A fused multiply-add gives the
/// same, since scale · q is exact in float32.
public struct QuantisedBlocks: Sendable {
    /// The sizes of the dimensions: [out, in] for a linear layer.
    public let shape: [Int]
    /// Numbers that share a scale: 32, or 16 for Q2_K, Q3_K and Q6_K. Divides the innermost dimension.
    public let groupSize: Int
    /// Bits that a value needs.
    public let bits: Int
    /// The numbers q as [out, in]. With minima from 0 up, without them signed: −8…7 for Q4_0, −16…15 for Q5_0,
    /// −32…31 for Q6_K, −4…3 for Q3_K, −128…127 for Q8_0.
    public let values: [Int8]
    /// As [out, in / groupSize]. They may be negative.
    public let scales: [Float]
    /// As [out, in / groupSize]; nil when all are 0: Q4_0, Q5_0, Q8_0, Q3_K and Q6_K.
    public let minima: [Float]?

    /// Takes apart `bytes`, which hold whole blocks and fit `shape`.
    init(_ bytes: UnsafeRawBufferPointer, shape: [Int], _ format: any BlockFormat.Type) {
        let count = bytes.count / format.bytes * format.size
        let groups = count / format.group
        var values = [Int8](repeating: 0, count: count)
        var scales = [Float](repeating: 0, count: groups)
        var minima = [Float](repeating: 0, count: format.hasMinima ? groups : 0)
        values.withUnsafeMutableBufferPointer { values in
            scales.withUnsafeMutableBufferPointer { scales in
                minima.withUnsafeMutableBufferPointer { minima in
                    guard let values = values.baseAddress, let scales = scales.baseAddress else { return }
                    format.unpackAll(
                        bytes, values: values, scales: scales,
                        minima: format.hasMinima ? minima.baseAddress : nil)
                }
            }
        }
        self.shape = shape
        groupSize = format.group
        bits = format.bits
        self.values = values
        self.scales = scales
        self.minima = format.hasMinima ? minima : nil
    }
}
