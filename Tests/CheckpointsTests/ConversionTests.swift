import Checkpoints
import Support
import Testing
import Torch

/// Weights of any format become safetensors; adapters are added to their base.
@Suite struct ConversionTests {
    /// A folder that conversions may fill, removed with all in it.
    private func withFolder(_ body: (Scratch, String) throws -> Void) throws {
        let scratch = try Scratch()
        let folder = scratch.folder + "/out"
        try makeFolder(folder)
        defer { withExtendedLifetime(scratch) { removeFolder(folder) } }
        try body(scratch, folder)
    }

    // MARK: Types

    @Test func everyTensorKeepsItsBytesUnlessAskedOtherwise() throws {
        try withFolder { _, folder in
            let source = try readAll(fixture("types.pt"))
            let summary = try convertCheckpoint(from: fixture("types.pt"), to: folder)
            #expect(summary.files == ["\(folder)/model.safetensors"] && summary.tensorCount == source.count)
            #expect(try readAll(folder) == source)
            let copy = try Checkpoint(opening: folder)
            #expect(
                copy.infos.map(\.elementType)
                    == (try Checkpoint(opening: fixture("types.pt"))).infos.map(\.elementType))
            #expect(copy.metadata == ["format": "pt"] && copy.totalBytes == summary.byteCount)
        }
    }

    @Test(arguments: [ConversionType.float32, .bfloat16, .float16])
    func floatingPointNumbersBecomeTheTypeThatPyTorchMakes(type: ConversionType) throws {
        try withFolder { _, folder in
            let source = try Checkpoint(opening: fixture("types.safetensors"))
            try convertCheckpoint(from: fixture("types.safetensors"), to: folder, type: type)
            let converted = try Checkpoint(opening: folder)
            for name in source.names {
                let (before, after) = (try source.tensor(named: name), try converted.tensor(named: name))
                guard before.elementType.dtype.isFloatingPoint else {
                    #expect(after.elementType == before.elementType && after.contents == before.contents)
                    continue
                }
                #expect(after.elementType.rawValue == type.rawValue)
                #expect(try after.contents == before.tensor().to(after.elementType.dtype).bytes(), "\(name)")
            }
        }
    }

    @Test func whatStandsBesideTheWeightsComesAlongUnlessItIsThere() throws {
        try withFolder { scratch, folder in
            let source = scratch.folder + "/in"
            try makeFolder(source)
            try makeFolder(source + "/inner.json")
            defer {
                removeFolder(source + "/inner.json")
                removeFolder(source)
            }
            try convertCheckpoint(from: fixture("types.safetensors"), to: source)
            for (name, text) in [
                ("config.json", #"{"torch_dtype": "float32", "hidden_size": 4}"#), ("tokenizer.model", "a"),
                ("merges.txt", "b"), ("other.bin.index.json", "{}"), ("notes.md", "c"),
                ("chat_template.jinja", "d"),
            ] { try writeFile(text, to: "\(source)/\(name)") }
            try writeFile("mine", to: "\(folder)/merges.txt")
            let summary = try convertCheckpoint(from: source, to: folder, type: .float16)
            let names = ["model.safetensors", "chat_template.jinja", "config.json", "tokenizer.model"]
            #expect(summary.files == names.map { "\(folder)/\($0)" })
            #expect(try listFolder(folder) == (names + ["merges.txt"]).sorted())
            let config = try JSON(contentsOf: folder + "/config.json")
            #expect(config == ["torch_dtype": "float16", "hidden_size": 4])
            #expect(try readFile(folder + "/merges.txt", limit: 9) == Array("mine".utf8))
        }
    }

    /// Numbers where rounding, subnormal numbers, zeros and infinities meet, beside random ones.
    private func numbers() -> [Float] {
        var random = CounterRandom(seed: 3, sample: 0, purpose: "numbers")
        var numbers: [Float] = [
            0, -0.0, .infinity, -.infinity, 65_504, 65_519, 6e-8, 2.9e-8, 3e-8, 6.1e-5,
            Float(bitPattern: 70_000),
        ]
        for exponent in 0x6500..<0x7800 {
            for low: UInt32 in [0, 0x0FFF, 0x1000, 0x1001, 0x3000, 0x7FFF, 0x8000, 0x8001] {
                numbers.append(Float(bitPattern: UInt32(exponent) << 15 | low))
            }
        }
        for _ in 0..<20_000 {
            let number = Float(bitPattern: UInt32.random(in: 0 ... .max, using: &random))
            if !number.isNaN, number.isInfinite || number.magnitude < 65_000 { numbers.append(number) }
        }
        return numbers.filter { $0.magnitude < 65_520 || $0.isInfinite }
    }

    private func write(_ numbers: [Float], to path: String) throws {
        try numbers.withUnsafeBytes { bytes in
            try writeSafetensors(
                [SafetensorsEntry(name: "a", elementType: .float32, shape: [numbers.count], bytes: bytes)],
                to: path)
        }
    }

    @Test func roundingIsThatOfPyTorchForEveryKindOfNumber() throws {
        try withFolder { scratch, folder in
            let numbers = numbers()
            let path = scratch.path("numbers.safetensors")
            try write(numbers, to: path)
            for (type, dtype) in [(ConversionType.float16, DType.float16), (.bfloat16, .bfloat16)] {
                let target = scratch.path("\(dtype).safetensors")
                try convertCheckpoint(from: path, to: target, type: type)
                let narrow = try Checkpoint(opening: target).tensor(named: "a")
                #expect(try narrow.contents == Tensor(numbers).to(dtype).bytes())
                // And back: exact.
                let back = scratch.path("back.safetensors")
                try convertCheckpoint(from: target, to: back, type: .float32)
                #expect(try readAll(back)["a"] == narrow.tensor().to(.float32).bytes())
            }
        }
    }

    @Test func numbersThatBecomeInfiniteAreRefused() throws {
        try withFolder { scratch, folder in
            let path = scratch.path("large.safetensors")
            try write([1, 70_000], to: path)
            #expect(
                message { try convertCheckpoint(from: path, to: folder, type: .float16) }.contains(
                    "tensor a: a number is too large for float16; convert to bfloat16 or float32"))
            #expect(!fileExists("\(folder)/model.safetensors"))
            try convertCheckpoint(from: path, to: folder, type: .bfloat16)
        }
    }

    // MARK: Files

    @Test func partsHaveAnIndexAndHoldEveryTensor() throws {
        try withFolder { _, folder in
            var seen: [ConversionProgress] = []
            let source = fixture("gguf/llama.gguf")
            let summary = try convertCheckpoint(
                from: source, to: folder, shardBytes: 60_000, progress: { seen.append($0) })
            let parts = summary.files.filter { $0.hasSuffix(".safetensors") }
            #expect(
                parts.count > 3 && parts.first == "\(folder)/model-00001-of-0000\(parts.count).safetensors")
            #expect(summary.files.last == "\(folder)/model.safetensors.index.json")
            let model = try GGUFModel(opening: source)
            let converted = try Checkpoint(opening: folder)
            #expect(
                converted.format == .sharded(files: parts.count) && converted.names == model.checkpoint.names)
            for name in converted.names {
                #expect(
                    try converted.tensor(named: name).contents
                        == model.checkpoint.tensor(named: name).contents)
            }
            for part in parts {
                let file = try Checkpoint(opening: part)
                #expect(file.totalBytes <= 60_000 || file.names.count == 1)
            }
            #expect(converted.metadata["total_size"] == "\(summary.byteCount)")
            #expect(try JSON(contentsOf: "\(folder)/config.json")["hidden_size"] == 64)
            #expect(seen.count == summary.tensorCount && seen.map(\.done) == Array(0..<seen.count))
            #expect(seen.allSatisfy { $0.tensorCount == seen.count && $0.byteCount == summary.byteCount })
            #expect(
                message { try convertCheckpoint(from: source, to: folder) }.contains(
                    "holds model.safetensors.index"))
        }
    }

    @Test func aConversionThatStopsLeavesNoWeights() throws {
        try withFolder { _, folder in
            let source = fixture("gguf/llama.gguf")
            struct Stop: Error {}
            for limit in [nil, 60_000] {
                #expect(throws: Stop.self) {
                    try convertCheckpoint(
                        from: source, to: folder, shardBytes: limit,
                        progress: { if $0.done == 17 { throw Stop() } })
                }
                #expect(names(in: folder).isEmpty)
            }
        }
    }

    @Test func tensorsAreRenamedAndLeftOut() throws {
        try withFolder { scratch, folder in
            let path = scratch.path("renamed.safetensors")
            try convertCheckpoint(
                from: fixture("types.pt"), to: path,
                rename: { $0.contains("int") ? nil : "new.\($0.split(separator: ".")[1])" })
            let names = try Checkpoint(opening: path).names
            #expect(
                names.contains("new.float32")
                    && !names.contains { $0.contains("int") || $0.contains("layer") })
            func refusal(_ rename: (String) -> String?, shardBytes: Int? = nil, to target: String) -> String {
                message {
                    try convertCheckpoint(
                        from: fixture("types.pt"), to: target, shardBytes: shardBytes, rename: rename)
                }
            }
            #expect(refusal({ _ in "a" }, to: folder).contains("two tensors are named a"))
            #expect(refusal({ _ in nil }, to: folder).contains("no tensor is left"))
            #expect(refusal({ $0 }, shardBytes: 9, to: path).contains("parts go into a folder"))
            #expect(refusal({ $0 }, shardBytes: 0, to: folder).contains("a part of 0 bytes"))
        }
    }

    // MARK: LoRA

    private func adapter(_ name: String) -> String { fixture("lora/\(name)") }

    @Test(arguments: ["patterns", "transposed", "bias", "bfloat16"])
    func aMergedAdapterIsWhatPeftMerges(name: String) throws {
        try withFolder { _, folder in
            let base = "\(adapter(name))/base.safetensors"
            try mergeAdapter(adapter(name), into: base, to: folder)
            let (ours, theirs) = (
                try Checkpoint(opening: folder),
                try Checkpoint(opening: "\(adapter(name))/merged.safetensors")
            )
            #expect(ours.names == theirs.names && ours.infos.map(\.shape) == theirs.infos.map(\.shape))
            let before = try Checkpoint(opening: base)
            var changed = 0
            for key in ours.names {
                let (a, b) = (try ours.tensor(named: key), try theirs.tensor(named: key))
                #expect(a.elementType == b.elementType)
                let (mine, golden) = (try a.tensor().floats(), try b.tensor().floats())
                let unit: Float = a.elementType == .bfloat16 ? 1 / 128 : 2e-6
                #expect(zip(mine, golden).allSatisfy { abs($0 - $1) <= unit * max(1, abs($1)) }, "\(key)")
                if try before.tensor(named: key).contents != a.contents { changed += 1 }
            }
            #expect(try changed == LoRAAdapter(opening: adapter(name)).names.count && changed >= 4)
        }
    }

    /// The adapter in a folder of its own, with its configuration's text changed and, when given, other tensors.
    private func refusal(
        _ name: String, _ change: (String, String)? = nil, keys: ((String) -> String?)? = nil,
        base: String? = nil
    ) throws -> String {
        var text = ""
        try withFolder { _, folder in
            var config = String(
                decoding: try readFile("\(adapter(name))/adapter_config.json", limit: 1 << 20), as: UTF8.self)
            if let change {
                let parts = config.split(separator: change.0, maxSplits: 1, omittingEmptySubsequences: false)
                try #require(parts.count == 2, "\(change.0) does not occur")
                config = parts[0] + change.1 + parts[1]
            }
            try writeFile(config, to: "\(folder)/adapter_config.json")
            try convertCheckpoint(
                from: "\(adapter(name))/adapter_model.safetensors", to: "\(folder)/adapter_model.safetensors",
                rename: keys ?? { $0 })
            text = message {
                try mergeAdapter(
                    folder, into: base ?? "\(adapter(name))/base.safetensors",
                    to: "\(folder)/merged.safetensors")
            }
            #expect(!fileExists("\(folder)/merged.safetensors"))
        }
        return text
    }

    @Test func whatIsNoPlainLoRAIsRefusedByName() throws {
        #expect(try refusal("dora").contains("use_dora is set: DoRA cannot be merged"))
        #expect(
            try refusal("dora", (#""use_dora": true"#, #""use_dora": false"#)).contains("belongs to DoRA"))
        #expect(try refusal("patterns", (#""LORA""#, #""IA3""#)).contains("peft_type is IA3"))
        #expect(
            try refusal("patterns", (#""init_lora_weights": true"#, #""init_lora_weights": "pissa""#))
                .contains(
                    "init_lora_weights is pissa, which changed the base model"))
        #expect(
            try refusal("patterns", (#""layer_replication": null"#, #""layer_replication": [[0, 2]]"#))
                .contains(
                    "layer replication cannot be merged"))
        #expect(
            try refusal("patterns", (#""layers.0.up": 2"#, #""layers.[01].up": 2"#)).contains(
                "rank_pattern has \"layers.[01].up\""))
    }

    @Test func everyTensorOfAnAdapterNeedsItsBase() throws {
        let up = "base_model.model.layers.0.up.lora_B.weight"
        #expect(
            try refusal(
                "bfloat16",
                keys: { $0.contains("layers.0.up") ? "base_model.model.other.\($0.suffix(13))" : $0 }
            )
            .contains("tensor base_model.model.other.lora_A.weight: the base model"))
        #expect(
            try refusal("patterns", keys: { $0.hasSuffix("head.bias") ? "base_model.model.x.bias" : $0 })
                .contains("tensor base_model.model.x.bias: the base model"))
        #expect(
            try refusal("bfloat16", keys: { $0 == up ? nil : $0 }).contains(
                "lora_B of layers.0.up.weight, is missing"))
        #expect(
            try refusal("bfloat16", keys: { $0 == up ? "x" : $0 }).contains(
                "does not begin with base_model.model."))
        #expect(
            try refusal("bfloat16", keys: { $0 == up ? "base_model.model.a.lora_C" : $0 }).contains(
                "no part of LoRA"))
        #expect(try refusal("bfloat16", (#""r": 3"#, #""r": 4"#)).contains("expected 4 rows, the rank"))
        #expect(try refusal("bfloat16", (#""r": 3"#, #""r": 0"#)).contains("the rank is 0"))
        #expect(try refusal("bfloat16", (#""r": 3"#, #""r": "3""#)).contains("r or lora_alpha is no number"))
        #expect(
            try refusal("bfloat16", base: "\(adapter("transposed"))/base.safetensors").contains(
                "does not fit [14, 10] of layers.0.down.weight"))
        #expect(
            try refusal("bfloat16", (#""fan_in_fan_out": false"#, #""fan_in_fan_out": true"#)).contains(
                "does not fit"))
        #expect(
            message { _ = try LoRAAdapter(opening: fixture("gguf")) }.contains("adapter_config.json"))
    }

    @Test func anAdapterNamesWhatItChanges() throws {
        let adapter = try LoRAAdapter(opening: adapter("patterns"))
        #expect(
            adapter.names == [
                "head.bias", "head.weight", "layers.0.down.weight", "layers.0.up.weight",
                "layers.1.down.weight",
                "layers.1.up.weight", "patches.weight", "tokens.weight",
            ])
        #expect(!adapter.isTransposed)
    }
}
