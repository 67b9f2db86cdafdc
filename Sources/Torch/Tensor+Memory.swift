import CTorch

// Creation, transfer to and from Swift values.
extension Tensor {
    /// A tensor filled with one value.
    public convenience init(
        full value: Double, _ shape: [Int], _ dtype: DType = .float32, on device: Device = .cpu
    ) throws(TorchError) {
        self.init(
            adopting: try Tensor.handle { torch, out in
                withSizes(shape) {
                    torch.pointee.full(
                        $0, $1, value, dtype.rawValue, device.code.kind, device.code.index, out)
                }
            })
    }

    /// Every element 0.
    public static func zeros(
        _ shape: [Int], _ dtype: DType = .float32, on device: Device = .cpu
    ) throws(TorchError) -> Tensor { try Tensor(full: 0, shape, dtype, on: device) }

    /// Every element 1.
    public static func ones(
        _ shape: [Int], _ dtype: DType = .float32, on device: Device = .cpu
    ) throws(TorchError) -> Tensor { try Tensor(full: 1, shape, dtype, on: device) }

    /// A tensor whose content is undefined (or has no content, on the meta device).
    public static func empty(
        _ shape: [Int], _ dtype: DType = .float32, on device: Device = .cpu
    ) throws(TorchError) -> Tensor {
        try make(()) { torch, out in
            withSizes(shape) {
                torch.pointee.empty($0, $1, dtype.rawValue, device.code.kind, device.code.index, out)
            }
        }
    }

    /// `start`, `start + step`, … below `end`.
    public static func arange(
        _ start: Double = 0, _ end: Double, step: Double = 1, _ dtype: DType = .int64
    ) throws(TorchError) -> Tensor {
        try make(()) { torch, out in torch.pointee.arange(start, end, step, dtype.rawValue, out) }
    }

    /// A copy of `values` with the given shape; without one, a vector.
    public convenience init(_ values: [Float], _ shape: [Int]? = nil) throws(TorchError) {
        self.init(adopting: try Tensor.copy(values, shape, .float32))
    }

    /// A float64 copy of `values`.
    public convenience init(_ values: [Double], _ shape: [Int]? = nil) throws(TorchError) {
        self.init(adopting: try Tensor.copy(values, shape, .float64))
    }

    /// An int64 copy of `values`.
    public convenience init(_ values: [Int], _ shape: [Int]? = nil) throws(TorchError) {
        self.init(adopting: try Tensor.copy(values.map(Int64.init), shape, .int64))
    }

    /// A copy of `values` as truth values, one byte each.
    public convenience init(_ values: [Bool], _ shape: [Int]? = nil) throws(TorchError) {
        self.init(adopting: try Tensor.copy(values.map { $0 ? 1 : 0 } as [UInt8], shape, .bool))
    }

    /// A copy of raw little-endian memory.
    public convenience init(
        copying bytes: UnsafeRawBufferPointer, _ shape: [Int], _ dtype: DType
    ) throws(TorchError) {
        self.init(
            adopting: try Tensor.handle { torch, out in
                withSizes(shape) {
                    torch.pointee.from_memory(
                        bytes.baseAddress, Int64(bytes.count), $0, $1, dtype.rawValue, out)
                }
            })
    }

    /// A view of mapped, read-only memory: nothing is copied, `owner` lives as long as the tensor's storage
    /// does. Writing to such a tensor faults; it is for frozen weights.
    public convenience init(
        mapping bytes: UnsafeRawBufferPointer, _ shape: [Int], _ dtype: DType, owner: AnyObject
    ) throws(TorchError) {
        self.init(
            adopting: try Tensor.handle { torch, out in
                withSizes(shape) {
                    torch.pointee.from_mapped(
                        bytes.baseAddress, Int64(bytes.count), $0, $1, dtype.rawValue,
                        Unmanaged.passRetained(owner).toOpaque(),
                        { Unmanaged<AnyObject>.fromOpaque($0).release() }, out)
                }
            })
    }

    private static func copy<Element: BitwiseCopyable>(
        _ values: [Element], _ shape: [Int]?, _ dtype: DType
    ) throws(TorchError) -> CTTensor {
        try handle { torch, out in
            values.withUnsafeBytes { bytes in
                withSizes(shape ?? [values.count]) {
                    torch.pointee.from_memory(
                        bytes.baseAddress, Int64(bytes.count), $0, $1, dtype.rawValue, out)
                }
            }
        }
    }

    private static func handle(
        _ body: (UnsafePointer<CTTable>, UnsafeMutablePointer<CTTensor?>) -> Int32
    ) throws(TorchError) -> CTTensor {
        let torch = try engine()
        var result: CTTensor?
        guard body(torch, &result) == 0, let result else { throw TorchError.last(torch) }
        return result
    }

    // MARK: Out to Swift

    /// The one value of a tensor with one element.
    public func item() throws(TorchError) -> Double {
        var value = 0.0
        try Tensor.run(self) { $0.pointee.item(handle, &value) }
        return value
    }

    /// The one value of an integer tensor with one element.
    public func integerItem() throws(TorchError) -> Int {
        var value: Int64 = 0
        try Tensor.run(self) { $0.pointee.item_integer(handle, &value) }
        return Int(value)
    }

    /// All elements, row by row, converted to Float.
    public func floats() throws(TorchError) -> [Float] { try to(.float32).elements(Float.self) }

    /// All elements, row by row, converted to Double.
    public func doubles() throws(TorchError) -> [Double] { try to(.float64).elements(Double.self) }

    /// All elements, row by row, converted to Int.
    public func integers() throws(TorchError) -> [Int] { try to(.int64).elements(Int64.self).map(Int.init) }

    /// The raw bytes, row by row, in the tensor's own element type.
    public func bytes() throws(TorchError) -> [UInt8] { try elements(UInt8.self) }

    /// The memory of all elements, row by row, as values of `Element`.
    private func elements<Element: BitwiseCopyable>(_: Element.Type) throws(TorchError) -> [Element] {
        guard device != .meta else {
            throw TorchError(
                .notImplemented, operation: "elements", message: "a tensor on the meta device has no values")
        }
        // An expanded tensor may have more elements than there is memory; libtorch says so with an error.
        let source = isContiguous ? self : try contiguous()
        let torch = try engine()
        let total = source.count * source.dtype.size
        var status: Int32 = 0
        let result = [Element](unsafeUninitializedCapacity: total / MemoryLayout<Element>.size) {
            buffer, filled in
            guard total > 0, let base = UnsafeMutableRawBufferPointer(buffer).baseAddress else { return }
            status = withExtendedLifetime(source) {
                torch.pointee.copy_to_memory(source.handle, base, Int64(total))
            }
            if status == 0 { filled = total / MemoryLayout<Element>.size }
        }
        try check(status, torch)
        return result
    }

    /// Calls `body` with the memory of a contiguous tensor on the CPU.
    public func withMutableBytes<Result>(
        _ body: (UnsafeMutableRawBufferPointer) throws -> Result
    ) throws -> Result {
        var pointer: UnsafeMutableRawPointer?
        try Tensor.run(self) { $0.pointee.data(handle, &pointer) }
        return try withExtendedLifetime(self) {
            try body(UnsafeMutableRawBufferPointer(start: pointer, count: count * dtype.size))
        }
    }

    // MARK: Copies

    /// This tensor in another element type; itself when it has that type already.
    public func to(_ dtype: DType) throws(TorchError) -> Tensor {
        try self.dtype == dtype ? self : to(dtype, device)
    }

    /// This tensor on another device; itself when it lies there already.
    public func to(_ device: Device) throws(TorchError) -> Tensor {
        try self.device == device ? self : to(dtype, device)
    }

    private func to(_ dtype: DType, _ device: Device) throws(TorchError) -> Tensor {
        try .make(self) {
            $0.pointee.to(handle, dtype.rawValue, device.code.kind, device.code.index, false, $1)
        }
    }

    /// A tensor with memory of its own.
    public func clone() throws(TorchError) -> Tensor { try .make(self) { $0.pointee.clone(handle, $1) } }

    /// The same elements row by row, without gaps; itself when they lie so already.
    public func contiguous() throws(TorchError) -> Tensor {
        try .make(self) { $0.pointee.contiguous(handle, $1) }
    }

    // MARK: In place, for optimisers and caches; not recorded for gradients under `withoutGradients`

    /// Overwrites the elements with those of `source`, which has the same shape.
    public func copy(from source: Tensor) throws(TorchError) {
        try Tensor.run((self, source)) { $0.pointee.copy_into(handle, source.handle) }
    }

    /// Adds `scale` × `other`.
    public func add(_ other: Tensor, scale: Double = 1) throws(TorchError) {
        try Tensor.run((self, other)) { $0.pointee.add_into(handle, other.handle, scale) }
    }

    /// Multiplies every element by `factor`.
    public func scale(by factor: Double) throws(TorchError) {
        try Tensor.run(self) { $0.pointee.scale_in_place(handle, factor) }
    }

    /// Overwrites every element with `value`.
    public func fill(_ value: Double) throws(TorchError) {
        try Tensor.run(self) { $0.pointee.fill(handle, value) }
    }
}
