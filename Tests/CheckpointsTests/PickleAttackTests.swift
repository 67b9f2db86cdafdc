import Checkpoints
import Support
import Testing

/// Hostile pickles: each is refused with a line that says why, and nothing of it is run.
@Suite struct PickleAttackTests {
    private func open(_ body: [UInt8], storages: [[UInt8]] = [[UInt8](repeating: 0, count: 16)]) throws {
        let scratch = try Scratch()
        try readAll(scratch.write(P.archive(body, storages: storages), as: "attack.pt"))
    }

    private func refusal(_ body: [UInt8], sourceLocation: SourceLocation = #_sourceLocation) -> String {
        message(of: { try open(body) }, sourceLocation: sourceLocation)
    }

    private let tensor = P.tensor(P.storage(count: 4), shape: [2, 2], strides: [2, 1])

    @Test func theBuilderMakesReadableFiles() throws {
        #expect(throws: Never.self) { try open(P.dictionary(P.text("a"), tensor)) }
    }

    @Test(arguments: [
        ("os", "system"), ("posix", "system"), ("nt", "system"), ("builtins", "eval"),
        ("__builtin__", "exec"),
        ("builtins", "getattr"), ("subprocess", "Popen"), ("numpy.core.multiarray", "scalar"),
        ("numpy", "dtype"),
        ("torch", "load"), ("torch", "FloatStorage.__init__"), ("torch", "QInt8Storage"),
        ("torch", "ComplexFloatStorage"),
        ("torch.storage", "UntypedStorage"), ("torch._utils", "_rebuild_tensor_v3"),
        ("torch._utils", "_rebuild_qtensor"),
        ("torch._tensor", "_rebuild_from_type_v2"), ("torch", "uint16"), ("argparse", "Namespace"),
        ("collections", "OrderedDict.popitem"), ("torch._utils", "importlib.import_module"),
    ]) func aNameOutsideTheListIsRefusedByName(module: String, name: String) {
        let call = P.global(module, name) + P.tuple(P.text("touch pwned")) + P.reduce
        #expect(refusal(P.dictionary(P.text("a"), call)).contains("refused pickle global \(module).\(name)"))
        // Also where it would never be called.
        #expect(
            refusal(P.global(module, name) + [0x30] + tensor).contains(
                "refused pickle global \(module).\(name)"))
    }

    /// Every opcode of protocols 0 to 5 that is not on the list.
    static let refusedOpcodes: [(UInt8, String)] = [
        (0x30, "POP"), (0x31, "POP_MARK"), (0x32, "DUP"), (0x42, "BINBYTES"), (0x43, "SHORT_BINBYTES"),
        (0x46, "FLOAT"),
        (0x49, "INT"), (0x4C, "LONG"), (0x50, "PERSID"), (0x53, "STRING"), (0x54, "BINSTRING"),
        (0x56, "UNICODE"),
        (0x64, "DICT"), (0x67, "GET"), (0x69, "INST"), (0x6C, "LIST"), (0x6F, "OBJ"), (0x70, "PUT"),
        (0x81, "NEWOBJ"),
        (0x82, "EXT1"), (0x83, "EXT2"), (0x84, "EXT4"), (0x8B, "LONG4"), (0x8C, "SHORT_BINUNICODE"),
        (0x8D, "BINUNICODE8"), (0x8E, "BINBYTES8"), (0x8F, "EMPTY_SET"), (0x90, "ADDITEMS"),
        (0x91, "FROZENSET"),
        (0x92, "NEWOBJ_EX"), (0x93, "STACK_GLOBAL"), (0x94, "MEMOIZE"), (0x95, "FRAME"), (0x96, "BYTEARRAY8"),
        (0x97, "NEXT_BUFFER"), (0x98, "READONLY_BUFFER"),
    ]

    @Test(arguments: refusedOpcodes) func anOpcodeOutsideTheListIsRefusedByName(opcode: UInt8, name: String) {
        let text = refusal(P.text("os") + P.text("system") + [opcode] + [UInt8](repeating: 0, count: 16))
        #expect(text.contains("refused pickle opcode \(name) (0x") && text.contains("protocol 2"))
    }

    @Test func bytesThatAreNoOpcodesAreRefused() {
        for byte: UInt8 in [0x00, 0x01, 0x7F, 0x99, 0xFF] {
            #expect(refusal([byte]).contains("refused pickle opcode without name"))
        }
    }

    @Test func valuesThatWereNeverPushedKeptOrMarked() {
        #expect(
            refusal([0x6A] + little(UInt32.max)).contains("recalls value 4294967295, which it has not kept"))
        #expect(refusal([0x68, 0]).contains("recalls value 0"))
        #expect(refusal([0x72] + little(UInt32.max)).contains("has not pushed"))
        #expect(refusal([0x74]).contains("a mark it has not set"))
        #expect(refusal([0x86]).contains("has not pushed"))
        #expect(refusal([0x28, 0x52]).contains("has not pushed"))
        #expect(refusal(P.none + [0x28, 0x85]).contains("has not pushed"))
        #expect(refusal(P.none + P.none).contains("values are left"))
        #expect(refusal([0x28] + P.none).contains("values are left"))
        #expect(refusal([]).contains("has not pushed"))
    }

    @Test func opcodesOnValuesOfTheWrongSort() {
        #expect(refusal(P.none + P.none + [0x61]).contains("appends to no list"))
        #expect(refusal(P.none + P.none + P.none + [0x73]).contains("of no dictionary"))
        #expect(refusal([0x7D, 0x28] + P.none + [0x75]).contains("a key without a value"))
        #expect(refusal(P.none + P.none + [0x62]).contains("refused a state (BUILD)"))
        #expect(refusal(P.none + [0x29] + P.reduce).contains("refused a call (REDUCE)"))
        #expect(refusal(P.global("torch", "FloatStorage") + [0x29] + P.reduce).contains("refused a call of"))
        #expect(
            refusal(P.global("torch._utils", "_rebuild_tensor_v2") + [0x29] + P.reduce).contains(
                "0 arguments"))
        #expect(
            refusal(P.global("collections", "OrderedDict") + P.tuple(P.text("ab")) + P.reduce).contains(
                "made of no list"))
        #expect(refusal(P.text("storage") + [0x51]).contains("refused a persistent id"))
        #expect(
            refusal(P.tuple(P.text("module"), P.none, P.none, P.none, P.none) + [0x51]).contains(
                "persistent id"))
        #expect(refusal(P.dictionary([0x29], tensor)).contains("neither a text nor an integer"))
        #expect(refusal(P.integer(3)).contains("neither a dictionary nor a tensor"))
    }

    @Test func textsAndLinesWithoutEnd() {
        #expect(
            refusal([0x58] + little(UInt32.max) + [0x61]).contains(
                "truncated: expected 4294967295 more bytes"))
        #expect(refusal([0x58] + little(UInt32(2)) + [0xFF, 0xFE]).contains("not UTF-8"))
        #expect(refusal(Array("cos".utf8)).contains("a line without end"))
        let long = String(repeating: "a", count: 5000)
        #expect(refusal(P.global(long, "b")).contains("a line without end"))
        #expect(refusal([0x8A, 255, 1]).contains("truncated"))
    }

    // MARK: Bombs

    @Test func deepNestingIsRefusedWithoutRecursion() {
        let depth = 500_000
        let lists = [UInt8](repeating: 0x5D, count: depth) + [UInt8](repeating: 0x61, count: depth - 1)
        #expect(refusal(lists).contains("nested deeper than"))
        #expect(refusal([0x29] + [UInt8](repeating: 0x85, count: depth)).contains("nested deeper than"))
        let marks = [UInt8](repeating: 0x28, count: depth) + [UInt8](repeating: 0x74, count: depth)
        #expect(refusal(marks).contains("nested deeper than"))
        #expect(refusal([UInt8](repeating: 0x28, count: 1_000_001)).contains("too many marks"))
    }

    @Test func aListThatHoldsItselfIsRefused() {
        let cycle: [UInt8] = [0x5D, 0x71, 0, 0x28, 0x68, 0, 0x68, 0, 0x65]
        #expect(refusal(cycle).contains("nested deeper than"))
    }

    @Test func listsThatDoubleAreRefused() {
        // Each list holds the one before twice: 2^30 values from 200 bytes.
        var bomb: [UInt8] = [0x5D] + P.none + [0x61, 0x71, 0]
        for level in 1...30 {
            bomb += [0x5D, 0x28, 0x68, UInt8(level - 1), 0x68, UInt8(level - 1), 0x65, 0x71, UInt8(level)]
        }
        // All lists lie on the stack: gather them so that one value is left.
        #expect(refusal([0x28] + bomb + [0x74]).contains("more than 500000 values"))
    }

    @Test func moreValuesThanTheLimitAreRefused() {
        #expect(
            refusal([0x28] + [UInt8](repeating: 0x4E, count: 1_000_001) + [0x74]).contains(
                "more than 1000000 values"))
        // One list of pairs, copied by every call.
        var bomb = P.tuple([0x29], [0x29]) + [0x71, 0]
        bomb += [0x5D, 0x28] + (0..<50_000).flatMap { _ in [0x68, 0] as [UInt8] } + [0x65, 0x85, 0x71, 1]
        bomb += (0..<100_000).flatMap { _ in P.global("collections", "OrderedDict") + [0x68, 1, 0x52] }
        #expect(refusal([0x28] + bomb + [0x74]).contains("more than 1000000 values"))
    }

    @Test func aTreeOfSharedBranchesIsWalkedOnce() throws {
        // 100,000 entries that all hold one list of 100,000 numbers, beside the wrapper of the only tensor.
        let list: [UInt8] = [0x5D, 0x71, 0, 0x28] + [UInt8](repeating: 0x4E, count: 100_000) + [0x65]
        let inner = P.text("state_dict") + P.dictionary(P.text("w"), tensor)
        let entries: [[UInt8]] = (0..<100_000).map { P.integer($0) + [0x68, 0] }
        let whole = P.dictionary(P.text("list"), list, inner, Array(entries.joined()))
        #expect(throws: Never.self) { try open(whole) }
    }

    @Test func longNamesAreRefused() {
        let name = P.text(String(repeating: "n", count: 600))
        #expect(refusal(P.dictionary(name, P.dictionary(name, tensor))).contains("longer than 1024 bytes"))
    }

    // MARK: Tensors

    private func refusedTensor(_ offset: Int64, _ shape: [Int64], _ strides: [Int64], count: Int64 = 4)
        -> String
    {
        refusal(P.tensor(P.storage(count: count), offset: offset, shape: shape, strides: strides))
    }

    @Test func windowsThatReachBeyondTheirStorage() {
        #expect(refusedTensor(0, [5], [1]).contains("reaches beyond its storage of 4"))
        #expect(refusedTensor(4, [1], [1]).contains("reaches beyond"))
        #expect(refusedTensor(0, [2, 2], [3, 1]).contains("reaches beyond"))
        #expect(refusedTensor(.max, [1], [1]).contains("reaches beyond"))
        #expect(refusedTensor(1, [2], [.max]).contains("reaches beyond"))
        #expect(refusedTensor(0, [3, 3], [.max / 2, .max / 2]).contains("reaches beyond"))
        #expect(refusedTensor(-1, [1], [1]).contains("impossible"))
        #expect(refusedTensor(0, [-1], [1]).contains("impossible"))
        #expect(refusedTensor(0, [2], [-1]).contains("impossible"))
        #expect(refusedTensor(0, [2], []).contains("impossible"))
        #expect(refusedTensor(0, [.max, .max], [0, 0]).contains("not a possible size"))
    }

    @Test func expandedTensorsThatWouldFillTheMemory() {
        #expect(refusedTensor(0, [1 << 40], [0]).contains("more memory than the file"))
        #expect(refusedTensor(0, [1 << 20, 1 << 20], [0, 1], count: 4).contains("reaches beyond"))
        let one = P.tensor(P.storage(count: 4), shape: [4_000_000], strides: [0])
        let many = (0..<10).flatMap { P.text("t\($0)") + one }
        #expect(refusal(P.dictionary(many)).contains("more memory than the file"))
    }

    @Test func theStrideOfASingleElementMayBeAnything() throws {
        #expect(throws: Never.self) {
            try open(
                P.tensor(P.storage(count: 4), shape: [1, 2, 1, 2, 1], strides: [.max, 1, .max, 2, .max]))
        }
        #expect(throws: Never.self) {
            try open(P.tensor(P.storage(count: 4), shape: [0, 1 << 40], strides: [.max, .max]))
        }
    }

    @Test func storagesOfAnotherSizeOrType() throws {
        #expect(refusedTensor(0, [2], [1], count: 5).contains("should hold 5 float32, it has 16 bytes"))
        #expect(refusedTensor(0, [2], [1], count: -1).contains("should hold -1"))
        #expect(refusedTensor(0, [2], [1], count: .max).contains("should hold"))
        let other = P.tensor(P.storage(count: 2, type: "LongStorage"), shape: [2], strides: [1])
        #expect(
            refusal(P.dictionary(P.text("a"), tensor, P.text("b"), other)).contains("described in two ways"))
        let missing = P.tensor(P.storage("7", count: 4), shape: [2], strides: [1])
        #expect(refusal(missing).contains("the storage data/7 is missing"))
        let outside = P.tensor(P.storage("../data.pkl", count: 4), shape: [2], strides: [1])
        #expect(refusal(outside).contains("is missing"))
    }

    @Test func lazyOperationsAndStrangeArgumentsAreRefused() {
        let storage = P.storage(count: 4)
        let negated = P.tensor(storage, shape: [2], strides: [1], more: P.dictionary(P.text("neg"), [0x88]))
        #expect(refusal(negated).contains("lazy operations"))
        let extra = P.tensor(storage, shape: [2], strides: [1], more: P.none + P.none)
        #expect(refusal(extra).contains("with 8 arguments"))
        let parameter =
            P.global("torch._utils", "_rebuild_parameter") + P.tuple(P.none, [0x88], [0x7D]) + P.reduce
        #expect(refusal(parameter).contains("made of no tensor"))
        #expect(
            refusedTensor(0, Array(repeating: 1, count: 33), Array(repeating: 1, count: 33)).contains(
                "at most 32"))
    }

    @Test func namesThatMeetAreRefused() {
        #expect(
            refusal(P.dictionary(P.text("a"), tensor, P.text("a"), tensor)).contains(
                "two tensors have the name a"))
        let inner = P.dictionary(P.text("b"), tensor)
        #expect(
            refusal(P.dictionary(P.text("a.b"), tensor, P.text("a"), inner)).contains(
                "two tensors have the name a.b"))
        #expect(
            refusal(P.dictionary(P.text("1"), tensor, P.integer(1), tensor)).contains(
                "two tensors have the name 1"))
    }

    // MARK: Wrappers

    private func names(_ body: [UInt8]) throws -> [String] {
        let scratch = try Scratch()
        let path = try scratch.write(
            P.archive(body, storages: [[UInt8](repeating: 0, count: 16)]), as: "wrapped.pt")
        return try Checkpoint(opening: path).names
    }

    @Test func aWrapperIsStrippedOnlyWhenItHoldsAllTensors() throws {
        let inner = P.dictionary(P.text("w"), tensor)
        #expect(try names(P.dictionary(P.text("state_dict"), inner, P.text("epoch"), P.integer(1))) == ["w"])
        #expect(try names(P.dictionary(P.text("model"), P.dictionary(P.text("state_dict"), inner))) == ["w"])
        #expect(
            try names(P.dictionary(P.text("model"), inner, P.text("ema"), inner)) == ["ema.w", "model.w"])
        #expect(
            try names(P.dictionary(P.text("model"), inner, P.text("net"), inner)) == ["model.w", "net.w"])
        #expect(try names(P.dictionary(P.text("encoder"), inner)) == ["encoder.w"])
        #expect(try names(P.dictionary(P.text("model.w"), tensor)) == ["model.w"])
        #expect(try names(P.dictionary(P.text("model"), P.dictionary(), P.text("x"), tensor)) == ["x"])
    }
}
