import Support

/// One tensor to be written: `bytes` are row-major, little-endian, and must live until the write is done.
public struct SafetensorsEntry {
    /// Name, type and shape.
    public let info: TensorInfo
    /// As many bytes as the shape takes.
    public let bytes: UnsafeRawBufferPointer

    /// Refuses an impossible shape.
    public init(name: String, elementType: ElementType, shape: [Int], bytes: UnsafeRawBufferPointer) throws {
        info = try TensorInfo(name: name, elementType: elementType, shape: shape)
        self.bytes = bytes
    }
}

/// Writes tensors as one safetensors file, which appears complete or not at all.
public func writeSafetensors(
    _ entries: [SafetensorsEntry], metadata: [String: String] = [:], to path: String
) throws {
    var writer = try SafetensorsWriter(path, tensors: entries.map(\.info), metadata: metadata)
    // The writer has checked that the names are unique.
    let bytes = Dictionary(entries.map { ($0.info.name, $0.bytes) }, uniquingKeysWith: { first, _ in first })
    for info in writer.order {
        if let bytes = bytes[info.name] { try writer.write(bytes) }
    }
    try writer.commit()
}

/// Writes a safetensors file tensor by tensor, so that a conversion holds only one of them in memory.
///
/// The layout is that of the reference library: wider types first, names in order within a type, header
/// padded with spaces to a multiple of 8; so every tensor is aligned, and equal tensors give equal files.
/// Nothing appears at the path before ``commit()``.
public struct SafetensorsWriter: ~Copyable {
    /// The order in which the numbers must be given.
    public let order: [TensorInfo]
    private let path: String
    private var file: AtomicFile
    private var written = 0

    /// Writes the header. Refuses a name given twice and the reserved name `__metadata__`.
    public init(_ path: String, tensors: [TensorInfo], metadata: [String: String] = [:]) throws {
        let order = tensors.sorted { first, second in
            let ranks = (rank(first.elementType), rank(second.elementType))
            if ranks.0 != ranks.1 { return ranks.0 < ranks.1 }
            return first.name.utf8.lexicographicallyPrecedes(second.name.utf8)
        }
        let header = try Self.header(order, metadata: metadata, path: path)
        var opened = try AtomicFile(path)
        try withUnsafeBytes(of: UInt64(header.utf8.count).littleEndian) { try opened.write($0) }
        try opened.write(header)
        self.path = path
        self.order = order
        file = opened
    }

    /// Writes the numbers of the next tensor of ``order``.
    public mutating func write(_ bytes: UnsafeRawBufferPointer) throws {
        guard written < order.count else {
            throw Self.failure(path, "more tensors were given than the \(order.count) announced")
        }
        let info = order[written]
        guard bytes.count == info.byteCount else {
            throw Self.failure(
                "\(path), tensor \(shortened(info.name))",
                "\(describe(info.shape)) of \(info.elementType) takes \(info.byteCount) bytes, \(bytes.count) were given"
            )
        }
        try file.write(bytes)
        written += 1
    }

    /// Puts the file in its place once all tensors are written.
    public consuming func commit() throws {
        guard written == order.count else {
            throw Self.failure(path, "\(written) of \(order.count) tensors were given")
        }
        try file.commit()
    }

    private static func header(_ order: [TensorInfo], metadata: [String: String], path: String) throws
        -> String
    {
        var members: [String] = []
        if !metadata.isEmpty {
            let texts = metadata.sorted { $0.key < $1.key }.map {
                JSON.quoted($0.key) + ":" + JSON.quoted($0.value)
            }
            members.append("\"__metadata__\":{" + texts.joined(separator: ",") + "}")
        }
        var names: Set<String> = []
        var position = 0
        for info in order {
            guard info.name != "__metadata__", names.insert(info.name).inserted else {
                throw failure(
                    "\(path), tensor \(shortened(info.name))", "the name is reserved or given twice")
            }
            let (end, overflow) = position.addingReportingOverflow(info.byteCount)
            guard !overflow else { throw failure(path, "the tensors are larger than 2^63 bytes") }
            let shape = info.shape.map(String.init).joined(separator: ",")
            members.append(
                JSON.quoted(info.name)
                    + ":{\"dtype\":\"\(info.elementType.safetensorsName)\",\"shape\":[\(shape)],"
                    + "\"data_offsets\":[\(position),\(end)]}")
            position = end
        }
        let text = "{" + members.joined(separator: ",") + "}"
        let padded = text + String(repeating: " ", count: (8 - text.utf8.count % 8) % 8)
        guard padded.utf8.count <= Safetensors.headerLimit else {
            throw failure(
                path,
                "the header takes \(padded.utf8.count) bytes, more than the limit of \(Safetensors.headerLimit)"
            )
        }
        return padded
    }

    private static func failure(_ place: String, _ why: String) -> VQAError {
        VQAError("cannot write the checkpoint", at: place, because: why)
    }
}

/// The place of a type in the reference library's order of writing.
private func rank(_ type: ElementType) -> Int {
    switch type {
    case .int64: 0
    case .float64: 1
    case .float32: 2
    case .int32: 3
    case .bfloat16: 4
    case .float16: 5
    case .int16: 6
    case .int8: 7
    case .uint8: 8
    case .bool: 9
    }
}
