import Checkpoints
import Support
import Testing

#if canImport(Glibc)
    import Glibc
#endif

@Suite struct SafetensorsTests {
    @Test func writtenFilesReadBackEqual() throws {
        let scratch = try Scratch()
        for round in 0..<60 {
            var random = CounterRandom(seed: 1, sample: round, purpose: "round trip")
            let tensors = try (0..<Int.random(in: 0...12, using: &random)).map { index in
                try randomTensor("t\(index).é\"\\\n/\(round)", &random)
            }
            let metadata = Bool.random(using: &random) ? ["format": "pt", "a\"b": "line\nbreak é"] : [:]
            let path = scratch.path("round.safetensors")
            try write(tensors, metadata: metadata, to: path)
            let checkpoint = try Checkpoint(opening: path)
            #expect(checkpoint.metadata == metadata)
            #expect(checkpoint.names == tensors.map(\.info.name).sorted())
            for (info, bytes) in tensors {
                let view = try checkpoint.tensor(named: info.name)
                #expect(view.shape == info.shape && view.elementType == info.elementType)
                #expect(view.contents == bytes && view.isAligned)
            }
        }
    }

    /// A type, a shape of up to 4 dimensions, zeros among them, and bytes that fit.
    private func randomTensor(_ name: String, _ random: inout CounterRandom) throws -> (
        info: TensorInfo, bytes: [UInt8]
    ) {
        let type = ElementType.allCases.randomElement(using: &random) ?? .float32
        let shape = (0..<Int.random(in: 0...4, using: &random)).map { _ in
            Int.random(in: 0...5, using: &random)
        }
        let info = try TensorInfo(name: name, elementType: type, shape: shape)
        let highest: UInt8 = type == .bool ? 1 : .max
        return (info, (0..<info.byteCount).map { _ in UInt8.random(in: 0...highest, using: &random) })
    }

    private func write(
        _ tensors: [(info: TensorInfo, bytes: [UInt8])], metadata: [String: String] = [:], to path: String
    ) throws {
        let table = Dictionary(uniqueKeysWithValues: tensors.map { ($0.info.name, $0.bytes) })
        var writer = try SafetensorsWriter(path, tensors: tensors.map(\.info), metadata: metadata)
        for info in writer.order { try (table[info.name] ?? []).withUnsafeBytes { try writer.write($0) } }
        try writer.commit()
    }

    @Test func ourFileEqualsTheReferenceLibrarysByteForByte() throws {
        let scratch = try Scratch()
        let path = scratch.path("copy.safetensors")
        let original = try Checkpoint(opening: fixture("types.safetensors"))
        let entries = try original.names.map { name in
            let view = try original.tensor(named: name)
            return try SafetensorsEntry(
                name: name, elementType: view.elementType, shape: view.shape, bytes: view.bytes)
        }
        try withExtendedLifetime(original) {
            try writeSafetensors(entries, metadata: original.metadata, to: path)
        }
        #expect(try readFile(path, limit: 1 << 20) == readFile(fixture("types.safetensors"), limit: 1 << 20))
    }

    #if os(Linux)
        /// Bytes of files that this process has in memory.
        private func residentFileBytes() throws -> Int {
            // Files of /proc have no size, so they cannot be mapped.
            let descriptor = open("/proc/self/statm", O_RDONLY)
            defer { close(descriptor) }
            var text = [UInt8](repeating: 0, count: 200)
            let count = read(descriptor, &text, text.count)
            let fields = String(decoding: text.prefix(max(0, count)), as: UTF8.self).split(separator: " ")
            return try #require(fields.count > 2 ? Int(fields[2]) : nil) * Int(sysconf(Int32(_SC_PAGESIZE)))
        }

        @Test func aTensorLetsGoOfItsPagesOfTheFile() throws {
            let (scratch, size) = (try Scratch(), 32 << 20)
            let infos = try ["a", "b", "c", "d"].map {
                try TensorInfo(name: $0, elementType: .uint8, shape: [size])
            }
            let path = scratch.path("large.safetensors")
            var writer = try SafetensorsWriter(path, tensors: infos)
            let bytes = [UInt8](repeating: 7, count: size)
            for _ in infos { try bytes.withUnsafeBytes { try writer.write($0) } }
            try writer.commit()
            let checkpoint = try Checkpoint(opening: path)
            let before = try residentFileBytes()
            for name in checkpoint.names {
                let view = try checkpoint.tensor(named: name)
                #expect(
                    view.withBytes { bytes in
                        stride(from: 0, to: bytes.count, by: 4096).allSatisfy { bytes[$0] == 7 }
                    })
            }
            // Of 128 MB that were read, not even one tensor stays.
            #expect(try residentFileBytes() - before < size / 2)
            #expect(try checkpoint.tensor(named: "b").withBytes { $0.first == 7 && $0.last == 7 })
        }
    #endif

    @Test func dataThatStartAnywhereAreReadAndCanBeAligned() throws {
        let scratch = try Scratch()
        let header =
            #"{"a":{"dtype":"U8","shape":[1],"data_offsets":[0,1]},"b":{"dtype":"I64","shape":[2],"data_offsets":[1,17]}}"#
        for padding in 0..<8 {
            let text = header + String(repeating: " ", count: padding)
            let path = try scratch.write(
                safetensors(text, data: [9] + little(-3) + little(7)), as: "odd.safetensors")
            let view = try Checkpoint(opening: path).tensor(named: "b")
            #expect(view.contents == little(-3) + little(7))
            let aligned = try view.aligned()
            #expect(aligned.isAligned && aligned.contents == view.contents && aligned.info == view.info)
        }
    }

    @Test func nothingAppearsBeforeTheCommit() throws {
        let scratch = try Scratch()
        let path = scratch.path("half.safetensors")
        let info = try TensorInfo(name: "a", elementType: .int8, shape: [3])
        func half() throws {
            var writer = try SafetensorsWriter(
                path, tensors: [info, try TensorInfo(name: "b", elementType: .int8, shape: [1])])
            try [UInt8](repeating: 1, count: 3).withUnsafeBytes { try writer.write($0) }
            try writer.commit()
        }
        #expect(message(of: half).contains("1 of 2 tensors were given"))
        #expect(!fileExists(path))
    }

    @Test func theWriterRefusesWhatCannotBeRead() throws {
        let scratch = try Scratch()
        let path = scratch.path("wrong.safetensors")
        let info = try TensorInfo(name: "a", elementType: .int16, shape: [3])
        func start(_ tensors: [TensorInfo]) throws { _ = try SafetensorsWriter(path, tensors: tensors) }
        #expect(message { try start([info, info]) }.contains("given twice"))
        let reserved = try TensorInfo(name: "__metadata__", elementType: .int8, shape: [])
        #expect(message { try start([reserved]) }.contains("reserved"))
        let entry = [UInt8](repeating: 0, count: 5).withUnsafeBytes { bytes in
            message {
                let entry = try SafetensorsEntry(name: "a", elementType: .int16, shape: [3], bytes: bytes)
                try writeSafetensors([entry], to: path)
            }
        }
        #expect(entry.contains("[3] of int16 takes 6 bytes, 5 were given"))
        #expect(
            message { _ = try TensorInfo(name: "a", elementType: .int8, shape: [-1]) }.contains(
                "not a possible size"))
        #expect(
            message { _ = try TensorInfo(name: "a", elementType: .int8, shape: [1 << 62, 4]) }.contains(
                "possible"))
        #expect(
            message { _ = try TensorInfo(name: "a", elementType: .int64, shape: [0, 1 << 62]) }.contains(
                "possible"))
        #expect(!fileExists(path))
    }
}

/// The attack list of the reference library, and some more: each file is refused with a line that says why.
@Suite struct SafetensorsAttackTests {
    private func refusal(_ bytes: [UInt8]) throws -> String {
        let scratch = try Scratch()
        let path = try scratch.write(bytes, as: "attack.safetensors")
        return message { try readAll(path) }
    }

    /// One tensor "a" with these fields.
    private func one(_ dtype: String, _ shape: String, _ offsets: String, data: Int) -> [UInt8] {
        safetensors(
            #"{"a":{"dtype":"\#(dtype)","shape":\#(shape),"data_offsets":\#(offsets)}}"#,
            data: [UInt8](repeating: 0, count: data))
    }

    @Test func aHeaderLongerThanTheFileOrTheLimit() throws {
        #expect(
            try refusal(little(UInt64(100)) + Array("{}".utf8)).contains(
                "truncated: expected at least 108 bytes, found 10"))
        #expect(try refusal(little(UInt64.max) + Array("{}".utf8)).contains("more than the limit"))
        #expect(try refusal(little(UInt64(25_000_001)) + Array("{}".utf8)).contains("limit of 25000000"))
        #expect(try refusal([1, 2, 3]).contains("found 3"))
        #expect(try refusal([]).contains("the file is empty"))
        #expect(try refusal(little(UInt64(0))).contains("does not begin with '{'"))
    }

    @Test func offsetsOutOfOrderOrOutOfTheFile() throws {
        #expect(try refusal(one("F32", "[2]", "[8,0]", data: 8)).contains("run backwards"))
        #expect(try refusal(one("F32", "[2]", "[-8,0]", data: 8)).contains("negative"))
        #expect(try refusal(one("F32", "[2]", "[0,8]", data: 4)).contains("truncated: expected"))
        #expect(try refusal(one("F32", "[2]", "[0,8,16]", data: 8)).contains("two data_offsets"))
        #expect(try refusal(one("F32", "[2]", "[0.0,8]", data: 8)).contains("64-bit integer"))
        #expect(
            try refusal(one("F32", "[2]", "[0,18446744073709551615]", data: 8)).contains("64-bit integer"))
        #expect(
            try refusal(one("U8", "[9223372036854775807]", "[0,9223372036854775807]", data: 8)).contains(
                "truncated"))
    }

    @Test func sizesThatDoNotFitTheRange() throws {
        #expect(try refusal(one("F32", "[3]", "[0,8]", data: 8)).contains("do not hold [3] of float32"))
        #expect(try refusal(one("F32", "[]", "[0,8]", data: 8)).contains("takes 4 bytes"))
        #expect(
            try refusal(one("F32", "[4294967296,4294967296]", "[0,8]", data: 8)).contains(
                "not a possible size"))
        #expect(
            try refusal(one("F32", "[4611686018427387905]", "[0,4]", data: 4)).contains("not a possible size")
        )
        #expect(try refusal(one("F32", "[-2]", "[0,8]", data: 8)).contains("negative"))
        #expect(
            try refusal(one("F8_E4M3", "[8]", "[0,8]", data: 8)).contains("the type F8_E4M3 is not supported")
        )
    }

    private func two(_ first: String, _ second: String, data: Int) -> [UInt8] {
        safetensors(
            #"{"a":{"dtype":"U8","shape":[4],"data_offsets":\#(first)},"b":{"dtype":"U8","shape":[4],"data_offsets":\#(second)}}"#,
            data: [UInt8](repeating: 0, count: data))
    }

    @Test func overlapsHolesAndTrailingBytes() throws {
        #expect(try refusal(two("[0,4]", "[0,4]", data: 4)).contains("overlap"))
        #expect(try refusal(two("[0,4]", "[2,6]", data: 6)).contains("overlap"))
        #expect(try refusal(two("[0,4]", "[5,9]", data: 9)).contains("leave a hole after byte 4"))
        #expect(try refusal(two("[1,5]", "[5,9]", data: 9)).contains("leave a hole after byte 0"))
        #expect(try refusal(two("[0,4]", "[4,8]", data: 9)).contains("1 bytes follow the last tensor"))
        #expect(try refusal(safetensors("{}", data: [0])).contains("1 bytes follow"))
    }

    @Test func headersThatAreNotTheFormat() throws {
        let entry = #"{"dtype":"U8","shape":[0],"data_offsets":[0,0]}"#
        #expect(try refusal(safetensors(#"{"a":\#(entry),"a":\#(entry)}"#)).contains("the key appears twice"))
        #expect(
            try refusal(safetensors(#"{"a":\#(entry),"\u0061":\#(entry)}"#)).contains("the key appears twice")
        )
        #expect(
            try refusal(safetensors(#"{"a":{"dtype":"U8","dtype":"I8"}}"#)).contains(
                "field \"dtype\" appears twice"))
        #expect(
            try refusal(safetensors(#"{"a":{"dtype":"U8","offsets":[0,0]}}"#)).contains(
                "not part of the format"))
        #expect(try refusal(safetensors(#"{"a":{"dtype":"U8","shape":[0]}}"#)).contains("missing"))
        #expect(try refusal(safetensors(#"{"__metadata__":{"a":1}}"#)).contains("expected a string"))
        #expect(try refusal(safetensors(#"{"__metadata__":{"a":"","a":""}}"#)).contains("appears twice"))
        #expect(try refusal(safetensors(#"{"__metadata__":{},"__metadata__":{}}"#)).contains("appears twice"))
        #expect(try refusal(safetensors("{} {}")).contains("expected the end"))
        #expect(try refusal(safetensors("{")).contains("the text ends"))
        #expect(
            try refusal(safetensors("{\"a\":" + String(repeating: "[", count: 100_000))).contains(
                "expected an object"))
        let nested = "{\"a\":{\"shape\":" + String(repeating: "[", count: 100_000) + "}}"
        #expect(try refusal(safetensors(nested)).contains("cannot read the JSON"))
        let broken = little(UInt64(6)) + [0x7B, 0x22, 0xFF, 0xFE, 0x22, 0x7D]
        #expect(try refusal(broken).contains("not UTF-8"))
    }

    @Test func aFileCutAtAnyByteIsRefused() throws {
        let scratch = try Scratch()
        let whole = try readFile(fixture("types.safetensors"), limit: 1 << 20)
        for length in 0..<whole.count {
            let path = try scratch.write(Array(whole[..<length]), as: "cut.safetensors")
            #expect(throws: VQAError.self) { try readAll(path) }
        }
        let path = try scratch.write(Array(whole.dropLast()), as: "cut.safetensors")
        #expect(
            message { try readAll(path) }.contains(
                "truncated: expected \(whole.count) bytes, found \(whole.count - 1)"))
    }

    @Test func aBoolThatIsNeitherZeroNorOne() throws {
        let bytes = safetensors(#"{"a":{"dtype":"BOOL","shape":[2],"data_offsets":[0,2]}}"#, data: [1, 2])
        #expect(try refusal(bytes).contains("a bool is neither 0 nor 1"))
    }
}
