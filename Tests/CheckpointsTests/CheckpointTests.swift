import Checkpoints
import Support
import Testing

/// Folders, indexes, and files that are no checkpoints.
@Suite struct CheckpointTests {
    private func write(_ names: [String], to path: String) throws {
        let bytes = [UInt8](repeating: 7, count: 4)
        try bytes.withUnsafeBytes { bytes in
            try writeSafetensors(
                names.map {
                    try SafetensorsEntry(name: $0, elementType: .uint8, shape: [2, 2], bytes: bytes)
                }, to: path)
        }
    }

    // MARK: Shards

    private func index(_ map: String, metadata: String = #"{"total_size": 8}"#) -> [UInt8] {
        Array(#"{"metadata": \#(metadata), "weight_map": {\#(map)}}"#.utf8)
    }

    private func shards(_ map: String, first: [String] = ["a", "b"], second: [String] = ["c"]) throws -> (
        Scratch, String
    ) {
        let scratch = try Scratch()
        try write(first, to: scratch.path("1.safetensors"))
        try write(second, to: scratch.path("2.safetensors"))
        return (scratch, try scratch.write(index(map), as: "model.safetensors.index.json"))
    }

    private let wholeMap = #""a": "1.safetensors", "b": "1.safetensors", "c": "2.safetensors""#

    @Test func anIndexJoinsItsFiles() throws {
        let (scratch, path) = try shards(wholeMap)
        for opened in [path, scratch.folder] {
            let checkpoint = try Checkpoint(opening: opened)
            #expect(checkpoint.names == ["a", "b", "c"] && checkpoint.totalBytes == 12)
            #expect(
                checkpoint.format.description == "index of 2 files"
                    && checkpoint.metadata == ["total_size": "8"])
            #expect(checkpoint.info(named: "c")?.file == "\(scratch.folder)/2.safetensors")
            #expect(try checkpoint.tensor(named: "c").contents == [7, 7, 7, 7])
        }
    }

    private func refusal(_ map: String, first: [String] = ["a", "b"], second: [String] = ["c"]) throws
        -> String
    {
        let (scratch, path) = try shards(map, first: first, second: second)
        return withExtendedLifetime(scratch) { message { _ = try Checkpoint(opening: path) } }
    }

    @Test func anIndexAndItsFilesMustAgree() throws {
        #expect(try refusal(wholeMap, second: ["d"]).contains("tensor d: the index"))
        #expect(
            try refusal(wholeMap, second: []).contains(
                "tensor c: the index places it in 2.safetensors, which does not"))
        #expect(try refusal(wholeMap, second: ["a"]).contains("does not place it there"))
        #expect(try refusal(wholeMap, first: ["a", "b", "c"]).contains("does not place it there"))
        #expect(try refusal(#""a": "1.safetensors", "c": "2.safetensors""#).contains("tensor b: the index"))
        #expect(
            try refusal(wholeMap + #", "d": "3.safetensors""#).contains(
                "the file 3.safetensors is missing; fetch all 3 files"))
        #expect(try refusal(wholeMap + #", "a": "1.safetensors""#).contains("the tensor a appears twice"))
        #expect(try refusal(#""a": 1"#).contains("expected a string"))
    }

    @Test func anIndexStaysInsideItsFolder() throws {
        for name in ["/etc/passwd", "../1.safetensors", "x/../../1.safetensors", "..", ""] {
            #expect(try refusal(#""a": "\#(name)""#).contains("leads out of the folder"))
        }
        #expect(try refusal(#""a": "model.safetensors.index.json""#).contains("a JSON text, not weights"))
        #expect(try refusal(#""a": "1.safetensors\u0000x""#).contains("leads out of the folder"))
    }

    @Test func aTextWithoutAMapIsNoIndex() throws {
        let scratch = try Scratch()
        let path = try scratch.write(Array(#"{"architectures": ["Bert"]}"#.utf8), as: "config.json")
        #expect(message { _ = try Checkpoint(opening: path) }.contains("without a weight_map"))
        let twice = try scratch.write(Array(#"{"weight_map": {}, "weight_map": {}}"#.utf8), as: "config.json")
        #expect(message { _ = try Checkpoint(opening: twice) }.contains("\"weight_map\" appears twice"))
        let deep = try scratch.write(
            Array((#"{"metadata": {"a": "# + String(repeating: "[", count: 100_000)).utf8), as: "x")
        #expect(message { _ = try Checkpoint(opening: deep) }.contains("nested deeper"))
    }

    // MARK: Folders

    @Test func theUsualFilesAreFoundInTheUsualOrder() throws {
        let scratch = try Scratch()
        #expect(
            message { _ = try Checkpoint(opening: scratch.folder) }.contains(
                "holds no weights; put one of these there: model.safetensors"))
        let torch = try readFile(fixture("single.pt"), limit: 1 << 20)
        for name in ["adapter_model.bin", "pytorch_model.bin"] {
            _ = try scratch.write(torch, as: name)
            #expect(try Checkpoint(opening: scratch.folder).path.hasSuffix("/\(name)"))
        }
        for name in ["adapter_model.safetensors", "model.safetensors"] {
            try write([name], to: scratch.path(name))
            #expect(try Checkpoint(opening: scratch.folder).names == [name])
        }
    }

    // MARK: Other files

    private func sniffed(_ bytes: [UInt8], as name: String = "weights.safetensors") throws -> String {
        let scratch = try Scratch()
        let path = try scratch.write(bytes, as: name)
        return message { _ = try Checkpoint(opening: path) }
    }

    @Test func filesThatAreNoCheckpointsAreNamed() throws {
        let pointer = "version https://git-lfs.github.com/spec/v1\noid sha256:00\nsize 438\n"
        #expect(
            try sniffed(Array(pointer.utf8)).contains("it looks like a git-lfs pointer; run git lfs pull"))
        #expect(try sniffed(Array("\n <!DOCTYPE html><html>".utf8)).contains("it is a web page, not weights"))
        #expect(try sniffed(Array("<HTML><body>".utf8)).contains("web page"))
        #expect(try sniffed([]).contains("the file is empty"))
        #expect(try sniffed(Array("GGUF".utf8) + little(UInt32(3))).contains("truncated"))
        #expect(try sniffed([0x08, 0x07, 0x12, 0x07] + Array("pytorch1234567".utf8)).contains("ONNX"))
        #expect(try sniffed([1, 2, 3], as: "model.onnx").contains("ONNX"))
        #expect(try sniffed([0x89, 0x48, 0x44, 0x46, 0x0D]).contains("HDF5"))
        #expect(try sniffed([0x93] + Array("NUMPY".utf8)).contains("NumPy"))
        #expect(try sniffed([0x1F, 0x8B, 8]).contains("compressed file; decompress"))
        #expect(
            try sniffed([0x80, 4, 0x4E, 0x2E], as: "x.pt").contains("a pickle that torch.save did not write"))
        let tar =
            [UInt8](repeating: 0x61, count: 257) + Array("ustar".utf8) + [UInt8](repeating: 0, count: 250)
        #expect(try sniffed(tar, as: "x.pt").contains("tar archive"))
        #expect(
            try sniffed(Array("hello there".utf8), as: "x.bin").contains("none of safetensors, PyTorch zip"))
        #expect(try sniffed(Array("hello there".utf8)).contains("its header claims"))
        #expect(message { _ = try Checkpoint(opening: "/nonexistent/model") }.contains("No such file"))
    }

    @Test func theContentDecidesNotTheName() throws {
        let scratch = try Scratch()
        for (source, name) in [("single.pt", "a.safetensors"), ("types.safetensors", "pytorch_model.bin")] {
            let path = try scratch.write(readFile(fixture(source), limit: 1 << 20), as: name)
            #expect(try !Checkpoint(opening: path).names.isEmpty)
        }
        #expect(try FileKind.sniff(fixture("single.pt")) == .torchZip)
        #expect(try FileKind.sniff(fixture("single.legacy.pt")) == .torchLegacy)
        #expect(try FileKind.sniff(fixture("types.safetensors")) == .safetensors)
        #expect(try FileKind.sniff(fixture("expected.json")) == .json)
    }

    // MARK: Strict loading

    private func match(_ expected: [(String, [Int])], remap: (String) -> String? = { $0 }) throws
        -> StrictMatch
    {
        let (scratch, path) = try shards(wholeMap)
        return try withExtendedLifetime(scratch) {
            try StrictMatch(
                expected: expected.map { StrictMatch.Expected($0.0, $0.1) }, in: Checkpoint(opening: path),
                remap: remap)
        }
    }

    @Test func aCompleteMatchNamesEveryTensor() throws {
        let same = try match([("a", [2, 2]), ("b", [2, 2]), ("c", [2, 2])])
        try same.check()
        #expect(same.names == ["a": "a", "b": "b", "c": "c"])
        let remapped = try match([("x.a", [2, 2]), ("x.b", [2, 2])]) { $0 == "c" ? nil : "x.\($0)" }
        try remapped.check()
        #expect(remapped.names == ["x.a": "a", "x.b": "b"])
    }

    @Test func everyDifferenceIsInOneLine() throws {
        let wrong = try match([("a", [2, 2]), ("b", [4]), ("d", [3, 1])])
        let text = message { try wrong.check() }
        #expect(text.contains("index.json: 1 missing key (d expected [3, 1], found nothing)"))
        #expect(text.contains("1 misshapen key (b expected [4], found [2, 2] in "))
        #expect(
            text.contains("1 unused key (c expected nothing, found [2, 2] in ")
                && text.contains("/2.safetensors)"))
        let many = try match((0..<20).map { ("k\($0)", [1]) })
        #expect(message { try many.check() }.contains("20 missing keys (k0 expected [1], found nothing, k1"))
        #expect(message { try many.check() }.contains("k4 expected [1], found nothing, and 15 more)"))
    }

    @Test func twoTensorsForOneParameterAreRefused() {
        #expect(
            message { _ = try match([("a", [2, 2])]) { _ in "a" } }.contains(
                "a and b are both the parameter a"))
    }
}
