import CTorch

// Shape and indexing. Views share memory as in PyTorch; a negative dimension counts from the end.
extension Tensor {
    /// The same elements in another shape; one size may be −1.
    public func reshaped(_ shape: [Int]) throws(TorchError) -> Tensor {
        try .make(self) { torch, out in withSizes(shape) { torch.pointee.reshape(handle, $0, $1, out) } }
    }

    /// Sizes of 1 repeated without copying; −1 keeps a size.
    public func expanded(_ shape: [Int]) throws(TorchError) -> Tensor {
        try .make(self) { torch, out in withSizes(shape) { torch.pointee.expand(handle, $0, $1, out) } }
    }

    /// The dimensions in another order, each named once.
    public func permuted(_ order: [Int]) throws(TorchError) -> Tensor {
        try .make(self) { torch, out in withSizes(order) { torch.pointee.permute(handle, $0, $1, out) } }
    }

    /// Two dimensions exchanged.
    public func transposed(_ first: Int, _ second: Int) throws(TorchError) -> Tensor {
        try .make(self) { $0.pointee.transpose(handle, Int64(first), Int64(second), $1) }
    }

    /// With a new dimension of size 1.
    public func unsqueezed(_ dimension: Int) throws(TorchError) -> Tensor {
        try .make(self) { $0.pointee.unsqueeze(handle, Int64(dimension), $1) }
    }

    /// Without the dimension, when its size is 1.
    public func squeezed(_ dimension: Int) throws(TorchError) -> Tensor {
        try .make(self) { $0.pointee.squeeze(handle, Int64(dimension), $1) }
    }

    /// Elements `start..<end` of a dimension, every `step`-th; bounds are cut to the size as in Python.
    public func sliced(_ dimension: Int, _ start: Int, _ end: Int = .max, step: Int = 1) throws(TorchError)
        -> Tensor
    {
        try .make(self) {
            $0.pointee.slice(handle, Int64(dimension), Int64(start), Int64(end), Int64(step), $1)
        }
    }

    /// One index of a dimension, which disappears.
    public func selected(_ dimension: Int, _ index: Int) throws(TorchError) -> Tensor {
        try .make(self) { $0.pointee.select(handle, Int64(dimension), Int64(index), $1) }
    }

    /// Joined along a dimension; the other sizes are equal. Throws on an empty list.
    public static func concatenated(_ parts: [Tensor], _ dimension: Int) throws(TorchError) -> Tensor {
        guard !parts.isEmpty else { throw empty("concatenate") }
        return try make(parts) { torch, out in
            withHandles(parts) { torch.pointee.concatenate($0, $1, Int64(dimension), out) }
        }
    }

    /// Joined along a new dimension; all shapes are equal. Throws on an empty list.
    public static func stacked(_ parts: [Tensor], _ dimension: Int = 0) throws(TorchError) -> Tensor {
        guard !parts.isEmpty else { throw empty("stack") }
        return try make(parts) { torch, out in
            withHandles(parts) { torch.pointee.stack($0, $1, Int64(dimension), out) }
        }
    }

    /// Each element of a dimension `count` times in a row.
    public func repeatedEach(_ count: Int, _ dimension: Int) throws(TorchError) -> Tensor {
        try .make(self) { $0.pointee.repeat_interleave(handle, Int64(count), Int64(dimension), $1) }
    }

    /// The whole tensor tiled.
    public func repeated(_ counts: [Int]) throws(TorchError) -> Tensor {
        try .make(self) { torch, out in withSizes(counts) { torch.pointee.repeat(handle, $0, $1, out) } }
    }

    /// The order of the elements reversed along each of `dimensions`; a copy.
    public func flipped(_ dimensions: [Int]) throws(TorchError) -> Tensor {
        try .make(self) { torch, out in withSizes(dimensions) { torch.pointee.flip(handle, $0, $1, out) } }
    }

    /// Shifted along a dimension, what leaves at one end enters at the other.
    public func rolled(_ shift: Int, _ dimension: Int) throws(TorchError) -> Tensor {
        try .make(self) { $0.pointee.roll(handle, Int64(shift), Int64(dimension), $1) }
    }

    /// Padded with `value`: amounts before and after, last dimension first, as PyTorch takes them.
    public func padded(_ amounts: [Int], _ value: Double = 0) throws(TorchError) -> Tensor {
        try .make(self) { torch, out in withSizes(amounts) { torch.pointee.pad(handle, $0, $1, value, out) } }
    }

    /// The elements on and above the diagonal, zero elsewhere.
    public func upperTriangle(_ diagonal: Int = 0) throws(TorchError) -> Tensor {
        try .make(self) { $0.pointee.triangle(handle, true, Int64(diagonal), $1) }
    }

    /// The elements on and below the diagonal, zero elsewhere.
    public func lowerTriangle(_ diagonal: Int = 0) throws(TorchError) -> Tensor {
        try .make(self) { $0.pointee.triangle(handle, false, Int64(diagonal), $1) }
    }

    // MARK: Indexing by tensors

    /// The given indices of one dimension.
    public func selected(_ dimension: Int, indices: Tensor) throws(TorchError) -> Tensor {
        try .make((self, indices)) { $0.pointee.index_select(handle, Int64(dimension), indices.handle, $1) }
    }

    /// Advanced indexing `self[i, j, …]`; nil stands for `:`.
    public func indexed(_ indices: [Tensor?]) throws(TorchError) -> Tensor {
        guard !indices.isEmpty else { throw Tensor.empty("index") }
        return try .make((self, indices)) { torch, out in
            indices.map { $0?.handle }.withUnsafeBufferPointer { buffer in
                buffer.baseAddress.map { torch.pointee.index(handle, $0, Int32(buffer.count), out) } ?? -1
            }
        }
    }

    /// A copy in which `self[i, j, …]` is replaced by, or with `accumulate` increased by, `values`.
    public func replacing(_ indices: [Tensor?], with values: Tensor, accumulate: Bool = false)
        throws(TorchError)
        -> Tensor
    {
        guard !indices.isEmpty else { throw Tensor.empty("index_put") }
        return try .make((self, indices, values)) { torch, out in
            indices.map { $0?.handle }.withUnsafeBufferPointer { buffer in
                buffer.baseAddress.map {
                    torch.pointee.index_put(handle, $0, Int32(buffer.count), values.handle, accumulate, out)
                } ?? -1
            }
        }
    }

    /// For every position of `indices` the element that it names along `dimension`; the shape of `indices`.
    public func gathered(_ dimension: Int, _ indices: Tensor) throws(TorchError) -> Tensor {
        try .make((self, indices)) { $0.pointee.gather(handle, Int64(dimension), indices.handle, $1) }
    }

    /// A copy in which the elements that `indices` name along `dimension` are replaced by those of `source`.
    public func scattered(_ dimension: Int, _ indices: Tensor, _ source: Tensor) throws(TorchError) -> Tensor
    {
        try .make((self, indices, source)) {
            $0.pointee.scatter(handle, Int64(dimension), indices.handle, source.handle, $1)
        }
    }

    /// A copy with the elements of `source` added to those that `indices` name along `dimension`.
    public func scatterAdded(_ dimension: Int, _ indices: Tensor, _ source: Tensor) throws(TorchError)
        -> Tensor
    {
        try .make((self, indices, source)) {
            $0.pointee.scatter_add(handle, Int64(dimension), indices.handle, source.handle, $1)
        }
    }

    /// The elements where `mask` is true, as a vector.
    public func selected(where mask: Tensor) throws(TorchError) -> Tensor {
        try .make((self, mask)) { $0.pointee.masked_select(handle, mask.handle, $1) }
    }

    /// The positions of the elements that are not zero, [count, rank].
    public func nonzero() throws(TorchError) -> Tensor { try .make(self) { $0.pointee.nonzero(handle, $1) } }

    private static func empty(_ operation: String) -> TorchError {
        TorchError(.shape, operation: operation, message: "the list of tensors is empty")
    }
}
