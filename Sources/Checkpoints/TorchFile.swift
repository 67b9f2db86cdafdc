import Support

/// Reader of what `torch.save` writes: a zip archive (PyTorch 1.6 and newer) or the older stream of pickles.
///
/// Only tensors are read, see ``Unpickler``. Numbers are used in place where they lie in order; transposed
/// and expanded tensors are copied when they are asked for.
struct TorchFile {
    let records: [TensorRecord]
    let skipped: SkippedValues

    /// Longest pickle read: it holds names and shapes, no numbers.
    private static let pickleLimit = 64 << 20

    // MARK: Zip

    init(zip file: MappedFile) throws {
        let directory = try ZipDirectory(file)
        let entries = directory.entries
        let folder = try Self.folder(of: entries, file: file)
        guard entries["\(folder)/constants.pkl"] == nil else {
            throw Self.failure(
                file, "it is a TorchScript archive, a program",
                "save the module's state_dict in PyTorch as safetensors")
        }
        if let name = directory.compressed.min() {
            throw Self.failure(
                file, "the zip entry \(shortened(name)) is compressed; PyTorch stores entries as they are",
                "save it again with torch.save")
        }
        if let range = entries["\(folder)/byteorder"], !file.bytes[range].elementsEqual("little".utf8) {
            throw Self.failure(
                file, "its numbers are not little-endian", "save it again on a little-endian machine")
        }
        guard let pickle = entries["\(folder)/data.pkl"], pickle.count <= Self.pickleLimit else {
            throw Self.failure(file, "its data.pkl is longer than \(Self.pickleLimit) bytes")
        }
        var unpickler = Unpickler(file.bytes, in: pickle, source: file.path)
        let value = try unpickler.read()
        guard unpickler.offset == pickle.upperBound else {
            throw unpickler.failure("bytes follow the pickle")
        }
        var data: [Range<Int>] = []
        for storage in unpickler.storages {
            guard let range = entries["\(folder)/data/\(storage.key)"] else {
                throw Self.failure(file, "the storage data/\(shortened(storage.key)) is missing")
            }
            data.append(range)
        }
        try self.init(value, unpickler, data: data, file: file)
    }

    /// The one folder at the top of the archive; PyTorch names it after the file it first wrote.
    private static func folder(of entries: [String: Range<Int>], file: MappedFile) throws -> String {
        let folders = entries.keys.compactMap { name -> Substring? in
            let parts = name.split(separator: "/", maxSplits: 1, omittingEmptySubsequences: false)
            return parts.count == 2 && parts[1] == "data.pkl" ? parts[0] : nil
        }
        guard let folder = folders.first, folders.count == 1 else {
            throw failure(
                file, "it is a zip archive that torch.save did not write (no single stored data.pkl)")
        }
        return String(folder)
    }

    // MARK: Legacy

    /// Five parts follow each other: pickles of the magic number, of the protocol number, of facts of the
    /// machine and of the object itself, then a pickle of the storages' keys, then the storages in that
    /// order, each as a 64-bit count and its numbers.
    init(legacy file: MappedFile) throws {
        let start = FileKind.legacyMagic.count
        var version = try Unpickler(file.bytes, in: Self.pickleRange(file, from: start), source: file.path)
        guard case .integer(1001) = try version.read() else {
            throw version.failure("the legacy format has another version than 1001")
        }
        var machine = try Unpickler(
            file.bytes, in: Self.pickleRange(file, from: version.offset), source: file.path)
        try Self.checkMachine(machine.read(), machine)
        var object = try Unpickler(
            file.bytes, in: Self.pickleRange(file, from: machine.offset), source: file.path)
        let value = try object.read()
        var keys = try Unpickler(
            file.bytes, in: Self.pickleRange(file, from: object.offset), source: file.path)
        let order = try keys.read()
        let data = try Self.placeStorages(order, keys, object, file: file)
        try self.init(value, object, data: data, file: file)
    }

    private static func pickleRange(_ file: MappedFile, from start: Int) throws -> Range<Int> {
        start..<min(file.count, start + pickleLimit)
    }

    private static func checkMachine(_ value: PickleValue, _ unpickler: Unpickler) throws {
        guard case .dictionary(let number) = value else {
            throw unpickler.failure("expected the facts of the machine")
        }
        for case (.text("little_endian"), .bool(false)) in unpickler.dictionaries[number] {
            throw unpickler.failure(
                "its numbers are not little-endian", remedy: "save it again on another machine")
        }
    }

    /// Where the bytes of each storage of `object` lie.
    private static func placeStorages(
        _ order: PickleValue, _ keys: Unpickler, _ object: Unpickler, file: MappedFile
    ) throws -> [Range<Int>] {
        guard case .list(let number) = order else { throw keys.failure("expected the list of storages") }
        let numbers = Dictionary(uniqueKeysWithValues: object.storages.enumerated().map { ($1.key, $0) })
        var data: [Range<Int>?] = Array(repeating: nil, count: object.storages.count)
        var reader = ByteReader(file.bytes, in: keys.offset..<file.count, source: file.path)
        for key in keys.sequences[number] {
            guard case .text(let key) = key, let storage = numbers[key], data[storage] == nil else {
                throw keys.failure("the list of storages names one twice or one that no tensor uses")
            }
            let expected = object.storages[storage]
            guard try reader.integer(Int64.self) == Int64(expected.elementCount) else {
                throw reader.failure(
                    "the storage \(shortened(key)) does not have the \(expected.elementCount) numbers it should"
                )
            }
            let (bytes, overflow) = expected.elementCount.multipliedReportingOverflow(
                by: expected.elementType.byteCount)
            guard !overflow, bytes >= 0, bytes <= reader.remaining else {
                throw reader.failure(
                    "truncated: the storage \(shortened(key)) of \(expected.elementCount) \(expected.elementType) "
                        + "does not fit the \(reader.remaining) bytes left", remedy: "fetch it again")
            }
            data[storage] = try reader.take(bytes)
        }
        guard reader.remaining == 0 else {
            throw reader.failure("\(reader.remaining) bytes follow the last storage")
        }
        return try data.enumerated().map { index, range in
            guard let range else {
                throw keys.failure("the storage \(shortened(object.storages[index].key)) is missing")
            }
            return range
        }
    }

    // MARK: Tensors

    private init(_ value: PickleValue, _ unpickler: Unpickler, data: [Range<Int>], file: MappedFile) throws {
        for (storage, range) in zip(unpickler.storages, data) {
            let (bytes, overflow) = storage.elementCount.multipliedReportingOverflow(
                by: storage.elementType.byteCount)
            guard !overflow, bytes == range.count else {
                throw Self.failure(
                    file,
                    "the storage \(shortened(storage.key)) should hold \(storage.elementCount) "
                        + "\(storage.elementType), it has \(range.count) bytes")
            }
        }
        let flat = try TorchFlattening(value, of: unpickler)
        skipped = flat.skipped
        // Copies of transposed tensors take as much memory as the file; a small file cannot ask for much
        // more.
        var copyBudget = 2 * file.count + (64 << 20)
        records = try flat.tensors.map { name, number in
            let tensor = unpickler.tensors[number]
            let storage = unpickler.storages[tensor.storage]
            let info = try TensorInfo(
                name: name, elementType: storage.elementType, shape: tensor.shape, file: file.path)
            let layout = try Self.layout(tensor, info, storage, data: data[tensor.storage])
            if case .strided = layout {
                guard info.byteCount <= copyBudget else {
                    throw TensorInfo.failure(
                        name, in: file.path, because: "expanded tensors take more memory than the file")
                }
                copyBudget -= info.byteCount
            }
            return TensorRecord(info: info, file: file, layout: layout)
        }
    }

    /// Checks that all elements lie within the storage.
    private static func layout(
        _ tensor: PickleTensor, _ info: TensorInfo, _ storage: PickleStorage, data: Range<Int>
    ) throws -> TensorRecord.Layout {
        guard info.elementCount > 0 else { return .contiguous(data.lowerBound..<data.lowerBound) }
        // The last element has the largest number of all, since strides are not negative.
        var last = tensor.offset
        for (dimension, stride) in zip(tensor.shape, tensor.strides) where last < storage.elementCount {
            let (step, overflow) = (dimension - 1).multipliedReportingOverflow(by: stride)
            let (sum, sumOverflow) = last.addingReportingOverflow(step)
            last = overflow || sumOverflow ? .max : sum
        }
        guard last < storage.elementCount else {
            throw TensorInfo.failure(
                info.name, in: info.file,
                because: "\(describe(info.shape)) with strides \(describe(tensor.strides)) "
                    + "from element \(tensor.offset) reaches beyond its storage of \(storage.elementCount)")
        }
        guard isRowMajor(tensor) else {
            // The stride of a dimension of size 1 is never walked and may be anything.
            let strides = zip(tensor.shape, tensor.strides).map { $0 == 1 ? 0 : $1 }
            return .strided(storage: data, offset: tensor.offset, strides: strides)
        }
        let start = data.lowerBound + tensor.offset * info.elementType.byteCount
        return .contiguous(start..<start + info.byteCount)
    }

    /// True when the elements follow each other in order. Strides of dimensions of size 1 do not matter.
    private static func isRowMajor(_ tensor: PickleTensor) -> Bool {
        var expected = 1
        for (dimension, stride) in zip(tensor.shape, tensor.strides).reversed() where dimension != 1 {
            guard stride == expected else { return false }
            expected *= dimension
        }
        return true
    }

    private static func failure(_ file: MappedFile, _ why: String, _ remedy: String? = nil) -> VQAError {
        VQAError("cannot read the checkpoint", at: file.path, because: why, remedy: remedy)
    }
}
