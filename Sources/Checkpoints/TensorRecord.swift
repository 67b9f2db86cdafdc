import Support

/// A tensor of an open checkpoint: what it is, and where its numbers lie.
struct TensorRecord: Sendable {
    let info: TensorInfo
    let file: MappedFile
    let layout: Layout

    enum Layout: Sendable {
        /// The numbers lie in order in this part of the file.
        case contiguous(Range<Int>)
        /// The numbers are picked out of `storage`, a part of the file: element [i, j, …] is number
        /// `offset` + i·strides[0] + j·strides[1] + … of it.
        case strided(storage: Range<Int>, offset: Int, strides: [Int])
        /// Blocks of a GGUF file, dequantised when they are asked for. With `rows`, the row order is put right first:
        /// see ``GGUFModel``.
        case gguf(GGUFTensor, rows: RowOrder?)
    }

    func renamed(_ name: String) throws -> TensorRecord {
        TensorRecord(info: try info.renamed(name), file: file, layout: layout)
    }

    /// The numbers: in place when they lie in order, otherwise copied.
    func view() throws -> TensorView {
        let view: TensorView
        switch layout {
        case .contiguous(let range):
            let bytes = UnsafeRawBufferPointer(rebasing: file.bytes[range])
            view = TensorView(info: info, bytes: bytes, owner: MappedPart(file, range))
        case .strided(let storage, let offset, let strides):
            let copy = try OwnedBytes(count: info.byteCount, for: info)
            let source = UnsafeRawBufferPointer(rebasing: file.bytes[storage])
            gather(
                source, offset: offset, shape: info.shape, strides: strides, info.elementType,
                into: copy.bytes)
            view = TensorView(info: info, bytes: UnsafeRawBufferPointer(copy.bytes), owner: copy)
        case .gguf(let tensor, let rows):
            let numbers = try tensor.renamed(info.name, rows: rows?.indices).view()
            view = TensorView(info: info, bytes: numbers.bytes, owner: numbers.owner)
        }
        guard info.elementType != .bool || view.withBytes({ $0.allSatisfy { $0 <= 1 } }) else {
            throw TensorInfo.failure(info.name, in: info.file, because: "a bool is neither 0 nor 1")
        }
        return view
    }
}

/// A part of a mapped file. With the last use of its bytes their memory goes, so that a model which is converted one weight
/// after the other is never in memory twice.
private final class MappedPart: Sendable {
    private let file: MappedFile
    private let range: Range<Int>

    init(_ file: MappedFile, _ range: Range<Int>) { (self.file, self.range) = (file, range) }

    deinit { file.release(range) }
}

/// Copies a strided tensor into row-major order. The caller has checked that all elements lie in `source` and
/// fit `target`.
private func gather(
    _ source: UnsafeRawBufferPointer, offset: Int, shape: [Int], strides: [Int], _ type: ElementType,
    into target: UnsafeMutableRawBufferPointer
) {
    switch type.byteCount {
    case 8: gather(source, offset, shape, strides, as: UInt64.self, into: target)
    case 4: gather(source, offset, shape, strides, as: UInt32.self, into: target)
    case 2: gather(source, offset, shape, strides, as: UInt16.self, into: target)
    default: gather(source, offset, shape, strides, as: UInt8.self, into: target)
    }
}

private func gather<Element: BitwiseCopyable>(
    _ source: UnsafeRawBufferPointer, _ offset: Int, _ shape: [Int], _ strides: [Int], as: Element.Type,
    into target: UnsafeMutableRawBufferPointer
) {
    guard let length = shape.last, let stride = strides.last, !shape.contains(0) else { return }
    let size = MemoryLayout<Element>.size
    var index = [Int](repeating: 0, count: shape.count - 1)
    var start = offset
    var written = 0
    while true {
        for i in 0..<length {
            let value = source.loadUnaligned(fromByteOffset: (start + i * stride) * size, as: Element.self)
            target.storeBytes(of: value, toByteOffset: written, as: Element.self)
            written += size
        }
        // Step the outer dimensions like the wheels of a counter, the last one fastest.
        var axis = index.count - 1
        while axis >= 0 {
            index[axis] += 1
            start += strides[axis]
            if index[axis] < shape[axis] { break }
            start -= shape[axis] * strides[axis]
            index[axis] = 0
            axis -= 1
        }
        if axis < 0 { return }
    }
}
