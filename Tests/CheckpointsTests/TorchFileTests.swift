import Checkpoints
import Support
import Testing

/// The containers around the pickles: zip archives and the legacy stream.
@Suite struct TorchFileTests {
    private static let pickle: [UInt8] =
        [0x80, 2] + P.tensor(P.storage(count: 4), shape: [2, 2], strides: [2, 1]) + [0x2E]
    private static let data = [UInt8](1...16)

    private func archive(_ change: (inout ZipBuilder) -> Void = { _ in }) -> ZipBuilder {
        var zip = ZipBuilder()
        zip.add("archive/data.pkl", Self.pickle)
        zip.add("archive/data/0", Self.data)
        change(&zip)
        return zip
    }

    private func refusal(_ bytes: [UInt8]) throws -> String {
        let scratch = try Scratch()
        let path = try scratch.write(bytes, as: "attack.pt")
        return message { try readAll(path) }
    }

    @Test func plainAndWideArchivesRead() throws {
        let scratch = try Scratch()
        var wide = ZipBuilder()
        wide.add("x/data.pkl", Self.pickle, wide: true)
        wide.add("x/data/0", Self.data, wide: true)
        for bytes in [
            archive().finished(), archive().finished(wide: true), wide.finished(), wide.finished(wide: true),
        ] {
            #expect(try readAll(scratch.write(bytes, as: "good.pt")) == ["tensor": Self.data])
        }
        let commented = archive().finished(comment: "PK\u{5}\u{6} a comment")
        #expect(try readAll(scratch.write(commented, as: "good.pt")) == ["tensor": Self.data])
    }

    @Test func entriesThatAreNotPlainAreRefused() throws {
        #expect(
            try refusal(archive { $0.add("archive/z", [1], method: 8) }.finished()).contains(
                "archive/z is compressed"))
        #expect(
            try refusal(archive { $0.add("archive/z", [1], flags: 1) }.finished()).contains("is encrypted"))
        #expect(
            try refusal(archive { $0.add("archive/data/0", [1]) }.finished()).contains(
                "archive/data/0 appears twice"))
        #expect(
            try refusal(archive { $0.add("z", [1], localName: "y") }.finished()).contains(
                "another name in its own header"))
        #expect(try refusal(archive { $0.add("z", [1], start: 0) }.finished()).contains("another name"))
        #expect(
            try refusal(archive { $0.add("z", [1], start: 5) }.finished()).contains(
                "expected the header of the zip entry z"))
        #expect(
            try refusal(archive { $0.add("z", [1], start: 1 << 30) }.finished()).contains(
                "begins outside the file"))
        #expect(
            try refusal(archive { $0.add("z", [1], size: 0xFFFF_FFF0) }.finished()).contains(
                "does not fit the file"))
        #expect(
            try refusal(archive { $0.add("z", [1], size: 2) }.finished()).contains("does not fit the file"))
        let overlap = archive { zip in
            zip.add("z", [1], size: 50)
            zip.add("y", [UInt8](repeating: 0, count: 60))
        }
        #expect(try refusal(overlap.finished()).contains("overlaps another"))
    }

    @Test func directoriesThatLieAreRefused() throws {
        #expect(try refusal(archive().finished(count: 1)).contains("bytes follow the last entry"))
        #expect(try refusal(archive().finished(count: 3)).contains("announces 3 entries"))
        #expect(try refusal(archive().finished(count: 60_000)).contains("announces 60000 entries"))
        #expect(try refusal(archive().finished(wide: true, count: .max)).contains("announces"))
        #expect(
            try refusal(archive().finished(commentSize: 1)).contains(
                "zip directory that ends such a file is missing"))
        #expect(try refusal(archive().finished() + [0]).contains("is missing"))
        #expect(try refusal(Array(archive().finished().dropLast())).contains("truncated"))
    }

    @Test func archivesOfOtherProgramsAreNamed() throws {
        var zip = ZipBuilder()
        zip.add("weights.npy", [1, 2])
        #expect(try refusal(zip.finished()).contains("torch.save did not write"))
        #expect(
            try refusal(archive { $0.add("other/data.pkl", Self.pickle) }.finished()).contains(
                "no single stored data.pkl"))
        // A TorchScript archive: constants, and code that is compressed.
        let script = archive { zip in
            zip.add("archive/code/__torch__.py", [1], method: 8)
            zip.add("archive/constants.pkl", [1])
        }
        #expect(try refusal(script.finished()).contains("TorchScript"))
        #expect(try refusal(P.archive([0x7D], byteOrder: "big")).contains("not little-endian"))
        var trailing = ZipBuilder()
        trailing.add("archive/data.pkl", Self.pickle + [0])
        #expect(try refusal(trailing.finished()).contains("bytes follow the pickle"))
    }

    @Test(arguments: ["wrapped.pt", "wrapped.legacy.pt", "views.legacy.pt", "list.pt"])
    func aFileCutAtAnyByteIsRefused(name: String) throws {
        let scratch = try Scratch()
        let whole = try readFile(fixture(name), limit: 1 << 20)
        for length in 0..<whole.count {
            let path = try scratch.write(Array(whole[..<length]), as: "cut.pt")
            #expect(throws: VQAError.self, "\(length) bytes") { try readAll(path) }
        }
    }

    // MARK: Legacy

    private func legacy(
        version: [UInt8] = [0x4D] + little(UInt16(1001)), littleEndian: UInt8 = 0x88,
        keys: [UInt8] = P.text("0"),
        counts: [Int64] = [4], more: [UInt8] = [], object: [UInt8]? = nil
    ) -> [UInt8] {
        func pickle(_ body: [UInt8]) -> [UInt8] { [0x80, 2] + body + [0x2E] }
        let storage =
            P.tuple(
                P.text("storage"), P.global("torch", "FloatStorage"), P.text("0"), P.text("cpu"),
                P.integer(4), P.none) + [0x51]
        let magic: [UInt8] = [0x8A, 10, 0x6C, 0xFC, 0x9C, 0x46, 0xF9, 0x20, 0x6A, 0xA8, 0x50, 0x19]
        return pickle(magic) + pickle(version)
            + pickle(P.dictionary(P.text("little_endian"), [littleEndian]))
            + pickle(object ?? P.tensor(storage, shape: [4], strides: [1]))
            + pickle([0x5D, 0x28] + keys + [0x65]) + counts.flatMap { little($0) + Self.data } + more
    }

    @Test func theLegacyStreamIsChecked() throws {
        let scratch = try Scratch()
        #expect(try readAll(scratch.write(legacy(), as: "legacy.pth")) == ["tensor": Self.data])
        #expect(try refusal(legacy(version: P.integer(1002))).contains("another version than 1001"))
        #expect(try refusal(legacy(littleEndian: 0x89)).contains("not little-endian"))
        #expect(try refusal(legacy(keys: P.text("1"))).contains("one that no tensor uses"))
        #expect(try refusal(legacy(keys: P.text("0") + P.text("0"))).contains("names one twice"))
        #expect(try refusal(legacy(keys: [], counts: [])).contains("the storage 0 is missing"))
        #expect(try refusal(legacy(counts: [5])).contains("does not have the 4 numbers"))
        #expect(try refusal(legacy(counts: [-1])).contains("does not have the 4 numbers"))
        #expect(try refusal(legacy(counts: [])).contains("truncated"))
        #expect(try refusal(legacy(more: [0])).contains("1 bytes follow the last storage"))
        let window =
            P.tuple(
                P.text("storage"), P.global("torch", "FloatStorage"), P.text("0"), P.text("cpu"),
                P.integer(4),
                P.tuple(P.text("1"), P.integer(0), P.integer(4))) + [0x51]
        #expect(
            try refusal(legacy(object: P.tensor(window, shape: [4], strides: [1]))).contains(
                "windows of storages"))
    }

    @Test func aLegacyStorageThatClaimsTooMuchIsTruncated() throws {
        let storage =
            P.tuple(
                P.text("storage"), P.global("torch", "FloatStorage"), P.text("0"), P.text("cpu"),
                P.long(.max / 4), P.none) + [0x51]
        let object = P.tensor(storage, shape: [4], strides: [1])
        #expect(try refusal(legacy(counts: [.max / 4], object: object)).contains("truncated: the storage 0"))
    }
}
