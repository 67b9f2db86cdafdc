import Checkpoints
import Support
import Testing

/// GGUF files made to harm: each is refused with one line, and none asks for more memory than it has bytes.
@Suite struct GGUFAttackTests {
    /// Builds GGUF files, rightly or wrongly.
    struct Builder {
        var magic = "GGUF"
        var version: UInt32 = 3
        var keys: [[UInt8]] = []
        var entries: [[UInt8]] = []
        var claimedKeys: UInt64?
        var claimedTensors: UInt64?
        var alignment = 32

        static func text(_ text: String) -> [UInt8] { little(UInt64(text.utf8.count)) + Array(text.utf8) }

        static func key(_ name: String, type: UInt32, _ value: [UInt8]) -> [UInt8] {
            text(name) + little(type) + value
        }

        static func list(_ type: UInt32, count: UInt64, _ elements: [UInt8] = []) -> [UInt8] {
            little(type) + little(count) + elements
        }

        static func tensor(_ name: String, _ dimensions: [UInt64], type: UInt32 = 0, offset: UInt64 = 0)
            -> [UInt8]
        {
            text(name) + little(UInt32(dimensions.count)) + dimensions.flatMap { little($0) } + little(type)
                + little(offset)
        }

        func bytes(data: Int = 0) -> [UInt8] {
            var bytes = Array(magic.utf8) + little(version) + little(claimedTensors ?? UInt64(entries.count))
            bytes += little(claimedKeys ?? UInt64(keys.count)) + keys.flatMap { $0 } + entries.flatMap { $0 }
            if data > 0 {
                bytes += [UInt8](repeating: 0, count: (alignment - bytes.count % alignment) % alignment)
            }
            return bytes + [UInt8](repeating: 1, count: data)
        }
    }

    private func refusal(_ bytes: [UInt8]) throws -> String {
        let scratch = try Scratch()
        let path = try scratch.write(bytes, as: "attack.gguf")
        return withExtendedLifetime(scratch) {
            let text = message { _ = try GGUFFile(opening: path) }
            #expect(message { _ = try GGUFModel(opening: path) } == text)
            return text
        }
    }

    private func refusal(keys: [[UInt8]] = [], tensors: [[UInt8]] = [], data: Int = 0) throws -> String {
        var builder = Builder()
        builder.keys = keys
        builder.entries = tensors
        return try refusal(builder.bytes(data: data))
    }

    private func opened(keys: [[UInt8]] = [], tensors: [[UInt8]] = [], data: Int = 0) throws -> GGUFFile {
        var builder = Builder()
        builder.keys = keys
        builder.entries = tensors
        let scratch = try Scratch()
        return try GGUFFile(opening: scratch.write(builder.bytes(data: data), as: "fine.gguf"))
    }

    // MARK: Header

    @Test func otherVersionsAndByteOrdersAreNamed() throws {
        #expect(try refusal(Builder(magic: "GGML").bytes()).contains("does not begin with \"GGUF\""))
        #expect(try refusal(Builder(version: 1).bytes()).contains("version 1; versions 2 and 3 are read"))
        #expect(try refusal(Builder(version: 4).bytes()).contains("version 4"))
        #expect(try refusal(Builder(version: 3 << 24).bytes()).contains("big-endian"))
        #expect(try refusal(Array("GGUF".utf8)).contains("truncated"))
        #expect(try opened().tensors.isEmpty)
    }

    @Test func claimedCountsAreHeldAgainstTheBytes() throws {
        for count in [1, 1000, 1 << 32, 1 << 60, UInt64.max] {
            #expect(try refusal(Builder(claimedKeys: count).bytes()).utf8.count < 400)
            #expect(try refusal(Builder(claimedTensors: count).bytes()).utf8.count < 400)
            #expect(try refusal(Builder(claimedKeys: count, claimedTensors: count).bytes()).utf8.count < 400)
        }
    }

    // MARK: Metadata

    @Test func hugeListsInSmallFilesAreRefused() throws {
        for type in UInt32(0)...12 {
            for count in [100, 1 << 30, 1 << 62, UInt64.max] as [UInt64] {
                let list = Builder.list(type, count: count, [UInt8](repeating: 0, count: 90))
                let text = try refusal(keys: [Builder.key("tokens", type: 9, list)])
                #expect(text.contains("a list claims") || text.contains("truncated"), "\(type) \(count)")
            }
        }
        #expect(
            try refusal(keys: [Builder.key("x", type: 9, Builder.list(13, count: 0))]).contains(
                "unknown type 13"))
    }

    @Test func listsInListsAreBounded() throws {
        var deep = Builder.list(0, count: 0)
        for _ in 0..<1000 { deep = Builder.list(9, count: 1, deep) }
        #expect(try refusal(keys: [Builder.key("deep", type: 9, deep)]).contains("nested deeper than 8"))
        let inner = (0..<100_001).flatMap { _ in Builder.list(0, count: 0) }
        let wide = Builder.list(9, count: 100_001, inner)
        #expect(try refusal(keys: [Builder.key("wide", type: 9, wide)]).contains("more than 100000 lists"))
        let fine = Builder.list(
            9, count: 2, Builder.list(0, count: 2, [7, 8]) + Builder.list(8, count: 1, Builder.text("é")))
        let file = try opened(keys: [Builder.key("nested", type: 9, fine)])
        let array = try #require(try file.metadata.array("nested"))
        #expect(array.nested.count == 2 && array.nested[0].count == 2 && array.nested[1].string(at: 0) == "é")
        #expect(message { _ = try file.metadata.integers("nested") }.contains("expected integers"))
    }

    @Test func textsAndTruthValuesMustBeSound() throws {
        #expect(try refusal(keys: [Builder.key("a", type: 8, little(UInt64(99)))]).contains("truncated"))
        #expect(try refusal(keys: [Builder.key("a", type: 8, little(UInt64.max))]).contains("a text claims"))
        #expect(
            try refusal(keys: [Builder.key("a", type: 8, little(UInt64(1)) + [0xFF])]).contains("not UTF-8"))
        #expect(
            try refusal(keys: [little(UInt64(1)) + [0xC3] + little(UInt32(0)) + [0]]).contains("not UTF-8"))
        #expect(try refusal(keys: [Builder.key("", type: 0, [1])]).contains("an empty key"))
        #expect(try refusal(keys: [Builder.key("a", type: 7, [2])]).contains("a truth value is 2"))
        #expect(
            try refusal(keys: [Builder.key("a", type: 9, Builder.list(7, count: 2, [1, 3]))]).contains(
                "a truth value is 3"))
        let twice = Builder.key("a", type: 0, [1])
        #expect(try refusal(keys: [twice, twice]).contains("the key a appears twice"))
        let list = Builder.list(8, count: 1, little(UInt64(2)) + [0xFF, 0xFE])
        let file = try opened(keys: [Builder.key("broken", type: 9, list)])
        #expect(message { _ = try file.metadata.strings("broken") }.contains("number 0 is not UTF-8"))
        #expect(try file.metadata.array("broken")?.string(at: 0) == nil)
    }

    @Test func alignmentMustBeAPowerOfTwo() throws {
        for value in [0, 3, 24, 1 << 21, UInt32.max] {
            let key = Builder.key("general.alignment", type: 4, little(value))
            #expect(try refusal(keys: [key]).contains("general.alignment is \(value)"))
        }
        let text = Builder.key("general.alignment", type: 8, Builder.text("32"))
        #expect(try refusal(keys: [text]).contains("expected an integer"))
        var builder = Builder(alignment: 64)
        builder.keys = [Builder.key("general.alignment", type: 4, little(UInt32(64)))]
        builder.entries = [Builder.tensor("a", [3])]
        let scratch = try Scratch()
        let file = try GGUFFile(opening: scratch.write(builder.bytes(data: 12), as: "x"))
        #expect(file.alignment == 64)
        #expect(try file.tensor(named: "a").withBytes { Array($0) } == [UInt8](repeating: 1, count: 12))
    }

    // MARK: Tensors

    @Test func tensorsMustLieInTheFile() throws {
        let tensor = Builder.tensor("a", [5, 2])
        #expect(try opened(tensors: [tensor], data: 40).tensor(named: "a").shape == [2, 5])
        #expect(try refusal(tensors: [tensor], data: 39).contains("tensor a: truncated: it takes 40 bytes"))
        #expect(try refusal(tensors: [tensor]).contains("truncated"))
        #expect(
            try refusal(tensors: [Builder.tensor("a", [5], offset: 64)], data: 64).contains(
                "at byte 64 of the data"))
        for offset in [1, 16, 33] as [UInt64] {
            #expect(
                try refusal(tensors: [Builder.tensor("a", [1], offset: offset)], data: 99).contains(
                    "no multiple of 32"))
        }
        #expect(
            try refusal(tensors: [Builder.tensor("a", [5], offset: .max - 31)], data: 64).contains(
                "claims to start"))
        #expect(
            try refusal(tensors: [Builder.tensor("a", [5], offset: 1 << 62)], data: 64).contains("truncated"))
    }

    @Test func tensorsDoNotOverlapAndHaveOneName() throws {
        let first = Builder.tensor("a", [9])
        #expect(
            try refusal(tensors: [first, Builder.tensor("b", [1], offset: 32)], data: 96).contains(
                "tensor b: it overlaps the tensor a"))
        #expect(try refusal(tensors: [first, Builder.tensor("b", [1])], data: 96).contains("overlaps"))
        #expect(
            try refusal(tensors: [first, Builder.tensor("a", [1], offset: 64)], data: 96).contains(
                "the name appears twice"))
        #expect(
            try opened(tensors: [first, Builder.tensor("b", [1], offset: 64)], data: 96).tensors.count == 2)
        let empty = Builder.tensor("b", [0, 7])
        #expect(try opened(tensors: [first, empty], data: 36).tensor(named: "b").floats().isEmpty)
    }

    @Test func impossibleShapesAreRefused() throws {
        for shape in [[1 << 62, 4], [1 << 32, 1 << 32], [0, 1 << 62, 1 << 62], [1 << 61]] as [[UInt64]] {
            #expect(
                try refusal(tensors: [Builder.tensor("a", shape)], data: 64).contains("not a possible size"))
        }
        #expect(try refusal(tensors: [Builder.tensor("a", [.max])], data: 64).contains("a dimension claims"))
        #expect(
            try refusal(tensors: [Builder.tensor("a", [1, 1, 1, 1, 1])], data: 64).contains("5 dimensions"))
        #expect(try refusal(tensors: [Builder.tensor("a", [33], type: 2)], data: 64).contains("[33] of Q4_0"))
        #expect(try refusal(tensors: [Builder.tensor("a", [], type: 2)], data: 64).contains("of Q4_0"))
        #expect(
            try opened(tensors: [Builder.tensor("a", [])], data: 4).tensor(named: "a").floats().count == 1)
        for type in [4, 5, 9, 31, 99, UInt32.max] {
            #expect(
                try refusal(tensors: [Builder.tensor("a", [256], type: type)], data: 999).contains(
                    "the ggml type \(type) is not known"))
        }
    }

    @Test func typesThatCannotBeReadAreListedButRefused() throws {
        let file = try opened(tensors: [Builder.tensor("a", [256], type: 23)], data: 136)
        let tensor = try file.tensor(named: "a")
        #expect(tensor.type == .iq4_XS && tensor.elementCount == 256)
        for read in [{ _ = try tensor.floats() }, { _ = try tensor.blocks() }, { _ = try tensor.view() }] {
            let text = message(of: read)
            #expect(text.contains("numbers of type IQ4_XS cannot be read; convert the model to one of Q4_0"))
        }
        #expect(try Checkpoint(opening: fixture("gguf/types.gguf")).names.count == 18)
    }

    @Test func everyTruncationOfARealFileIsRefused() throws {
        let scratch = try Scratch()
        let whole = try readFile(fixture("gguf/types.gguf"), limit: 1 << 20)
        let front = Set(stride(from: 0, to: 3000, by: 5)).union(stride(from: 3000, to: whole.count, by: 197))
            .union([whole.count - 1])
        // The writer pads the last tensor: without its padding the file is still whole.
        let file = try GGUFFile(opening: fixture("gguf/types.gguf"))
        let last = try #require(file.tensors.last)
        let padding = (32 - last.bytes.count % 32) % 32
        for length in front where length < whole.count - padding {
            let path = try scratch.write(Array(whole[..<length]), as: "cut.gguf")
            #expect(message { _ = try GGUFFile(opening: path) }.utf8.count < 400, "\(length)")
        }
    }

    // MARK: Models

    /// A model's file with one key or tensor changed.
    private func model(
        _ changes: [String: [UInt8]?], tensors: [[UInt8]]? = nil, embedding: [UInt64] = [8, 3]
    ) throws -> String {
        var keys: [String: [UInt8]] = [
            "general.architecture": Builder.key("general.architecture", type: 8, Builder.text("llama"))
        ]
        let sizes = [
            "block_count": 1, "context_length": 9, "embedding_length": 8, "feed_forward_length": 5,
            "attention.head_count": 2,
        ]
        for (name, value) in sizes {
            keys["llama.\(name)"] = Builder.key("llama.\(name)", type: 4, little(UInt32(value)))
        }
        let epsilon = "llama.attention.layer_norm_rms_epsilon"
        keys[epsilon] = Builder.key(epsilon, type: 6, little(Float(1e-5).bitPattern))
        for (name, value) in changes { keys[name] = value }
        var builder = Builder()
        builder.keys = keys.sorted { $0.key < $1.key }.map(\.value)
        builder.entries = [Builder.tensor("token_embd.weight", embedding)] + (tensors ?? [])
        let scratch = try Scratch()
        let path = try scratch.write(builder.bytes(data: 4096), as: "model.gguf")
        do { _ = try GGUFModel(opening: path) } catch { return "\(error)" }
        return "fine"
    }

    @Test func settingsThatNoModelHasAreRefused() throws {
        #expect(try model([:]) == "fine")
        func integer(_ name: String, _ value: UInt32) -> [String: [UInt8]?] {
            ["llama.\(name)": Builder.key("llama.\(name)", type: 4, little(value))]
        }
        for name in ["block_count", "context_length", "embedding_length", "attention.head_count"] {
            #expect(
                try model(["llama.\(name)": nil as [UInt8]?]).contains("llama.\(name) is missing"), "\(name)")
            #expect(try model(integer(name, 0)).contains("llama.\(name) is 0"), "\(name)")
        }
        #expect(
            try model(["general.architecture": nil as [UInt8]?]).contains("general.architecture is missing"))
        #expect(try model(integer("attention.head_count", .max)).contains("head_count is 4294967295"))
        #expect(try model(integer("attention.head_count", 3)).contains("3 heads do not divide the width 8"))
        #expect(try model(integer("expert_count", 4)).contains("expert_count is not 0"))
        #expect(try model(integer("rope.dimension_count", 2)).contains("rope.dimension_count is 2"))
        #expect(try model(integer("embedding_length", 16)).contains("token_embd.weight has the shape [3, 8]"))
        let scaling = Builder.key("llama.rope.scaling.type", type: 8, Builder.text("longrope"))
        #expect(try model(["llama.rope.scaling.type": scaling]).contains("the rotary scaling \"longrope\""))
        let tokens = Builder.list(8, count: 4, (0..<4).flatMap { _ in Builder.text("t") })
        let list = Builder.key("tokenizer.ggml.tokens", type: 9, tokens)
        #expect(try model(["tokenizer.ggml.tokens": list]).contains("4 tokens, but the embedding has 3 rows"))
    }

    @Test func tensorsThatNoModelHasAreRefused() throws {
        func tensor(_ name: String, _ shape: [UInt64] = [8]) -> [[UInt8]] {
            [Builder.tensor(name, shape, offset: 128)]
        }
        #expect(try model([:], tensors: tensor("blk.0.attn_norm.weight")) == "fine")
        for name in [
            "blk.1.attn_norm.weight", "blk.-1.attn_norm.weight", "blk.00.attn_norm.weight", "blk.0.attn_norm",
            "blk.0.other.weight", "x", "blk.0.attn_norm.weight.x", "blk..attn_norm.weight",
        ] {
            #expect(try model([:], tensors: tensor(name)).contains("has no such tensor"), "\(name)")
        }
        #expect(try model([:], tensors: tensor("blk.0.attn_q.weight", [8, 8])) == "fine")
        #expect(
            try model([:], tensors: tensor("blk.0.attn_q.weight", [8, 6])).contains("6 rows are not 2 heads"))
        #expect(
            try model([:], tensors: tensor("blk.0.attn_k.weight", [0, 0])).contains("0 rows are not 2 heads"))
        #expect(
            try model([:], tensors: tensor("rope_freqs.weight", [2])).contains("is not one divisor")
                || model([:], tensors: tensor("rope_freqs.weight", [2])).contains("Llama 3's rule"))
        #expect(try model([:], tensors: tensor("rope_freqs.weight", [3])).contains("is not one divisor"))
    }
}
