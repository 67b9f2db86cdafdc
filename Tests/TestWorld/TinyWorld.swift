import Backbones
import Checkpoints
import Images
import Support
import Torch

#if canImport(Glibc)
    import Glibc
#else
    import Darwin
#endif

/// An empty folder of a test's own.
package struct ScratchFolder {
    package let path: String

    package init() throws {
        var template = Array("\(environment("TMPDIR") ?? "/tmp")/vqa-training-XXXXXX".utf8CString)
        let made = template.withUnsafeMutableBufferPointer { $0.baseAddress.flatMap { mkdtemp($0) } != nil }
        guard made else { throw VQAError("cannot make a folder", because: systemReason()) }
        path = String(decoding: template.dropLast().map { UInt8(bitPattern: $0) }, as: UTF8.self)
    }

    package func remove() { try? removeFolder(path) }
}

/// A folder with a tiny BERT, a tiny CLIP and a table of questions about small coloured images: everything a run needs,
/// made in moments.
package struct TinyWorld {
    package let folder: String
    package static let colors: [(name: String, rgb: (UInt8, UInt8, UInt8))] = [
        ("red", (220, 30, 30)), ("green", (30, 200, 40)), ("blue", (40, 40, 220)),
    ]

    package init(images: Int = 24) throws {
        folder = try ScratchFolder().path
        try writeLanguageModel()
        try writeDecoder()
        try writeT5()
        try writeVisionModel()
        try writeData(images)
    }

    package func remove() { try? removeFolder(folder) }

    private func writeLanguageModel() throws {
        let path = folder + "/bert"
        try makeFolder(path)
        let words = [
            "[PAD]", "[UNK]", "[CLS]", "[SEP]", "[MASK]", "what", "color", "is", "it", "?", "red", "green",
            "blue",
            "there", "a", "shape", "the", "image", "in",
        ]
        let config: JSON = [
            "model_type": "bert", "vocab_size": .integer(words.count), "hidden_size": 24,
            "num_hidden_layers": 3,
            "num_attention_heads": 3, "intermediate_size": 40, "max_position_embeddings": 24,
        ]
        try writeFile(config.text(), to: path + "/config.json")
        try writeFile(words.joined(separator: "\n") + "\n", to: path + "/vocab.txt")
        try writeFile(
            #"{"tokenizer_class": "BertTokenizer", "do_lower_case": true}"#,
            to: path + "/tokenizer_config.json")
        var configuration = try BERTConfiguration(config, source: "test")
        configuration.hasPooler = false
        var bert = try BERT(configuration)
        try bert.initialize(seed: 5)
        // Random maps of the usual deviation pass almost nothing on; these let a frozen layer mix its tokens.
        try bert.forEachParameter { slot, tensor in
            if slot.key.contains("dense.weight") || slot.key.contains(".self.") { tensor = try tensor * 8 }
        }
        try writeTensors(bert.parameters(), to: path + "/model.safetensors")
    }

    private static let words = [
        "<pad>", "</s>", "<unk>", "what", "color", "is", "it", "?", "red", "green", "blue", "there", "a",
        "shape",
        "the", "image", "in", "yes", "no", "question", "answer", ":",
    ]

    /// Whole words, and the end put behind where `ends` says so.
    ///
    /// - Parameter special: how many of the words are special: padding, end, unknown, and beginning.
    private func writeTokenizer(
        _ path: String, ends: Bool, words: [String] = TinyWorld.words, special count: Int = 3,
        lowercase: Bool = true
    ) throws {
        let special: [JSON] = words.prefix(count).enumerated().map { id, text in
            [
                "id": .integer(id), "content": .string(text), "single_word": false, "lstrip": false,
                "rstrip": false, "normalized": false, "special": true,
            ]
        }
        let end: JSON = [
            "type": "TemplateProcessing",
            "single": [
                ["Sequence": ["id": "A", "type_id": 0]], ["SpecialToken": ["id": "</s>", "type_id": 0]],
            ],
            "pair": [
                ["Sequence": ["id": "A", "type_id": 0]], ["Sequence": ["id": "B", "type_id": 0]],
                ["SpecialToken": ["id": "</s>", "type_id": 0]],
            ],
            "special_tokens": ["</s>": ["id": "</s>", "ids": [1], "tokens": ["</s>"]]],
        ]
        let tokenizer: JSON = [
            "version": "1.0", "truncation": .null, "padding": .null, "added_tokens": .array(special),
            "normalizer": [
                "type": "BertNormalizer", "clean_text": true, "handle_chinese_chars": true,
                "strip_accents": .null, "lowercase": .bool(lowercase),
            ], "pre_tokenizer": ["type": "BertPreTokenizer"], "post_processor": ends ? end : .null,
            "decoder": ["type": "WordPiece", "prefix": "##", "cleanup": true],
            "model": [
                "type": "WordPiece", "unk_token": "<unk>", "continuing_subword_prefix": "##",
                "max_input_chars_per_word": 100,
                "vocab": .object(words.enumerated().map { .init($1, .integer($0)) }),
            ],
        ]
        try writeFile(tokenizer.text(), to: path + "/tokenizer.json")
        var names: JSON = [
            "tokenizer_class": "PreTrainedTokenizerFast", "eos_token": "</s>", "pad_token": "<pad>",
            "unk_token": "<unk>",
        ]
        if count > 3 { names = .object((names.members ?? []) + [.init("bos_token", .string(words[3]))]) }
        try writeFile(names.text(), to: path + "/tokenizer_config.json")
    }

    /// A ScienceQA of one question, which color a picture has, and a LLaMA that knows its words: `scienceqa` and
    /// `llama-scienceqa`.
    package func writeScienceQA(problems count: Int = 24) throws {
        let words = [
            "<pad>", "</s>", "<unk>", "<s>", "Image", ":", "N", "/", "A", "B", "C", "Question", "Which",
            "color", "?", "Context", "Options", "(", ")", "red", "green", "blue", "Response", "The",
            "answer", "is", ".",
        ]
        let model = folder + "/llama-scienceqa"
        try makeFolder(model)
        let config: JSON = [
            "model_type": "llama", "vocab_size": .integer(words.count), "hidden_size": 32,
            "num_hidden_layers": 3, "num_attention_heads": 4, "intermediate_size": 40,
            "max_position_embeddings": 256, "bos_token_id": 3, "eos_token_id": 1, "pad_token_id": 0,
        ]
        try writeFile(config.text(), to: model + "/config.json")
        try writeTokenizer(model, ends: false, words: words, special: 4, lowercase: false)
        var decoder = try Decoder(DecoderConfiguration(config, source: "test"))
        try decoder.initialize(seed: 12)
        try decoder.forEachParameter { slot, tensor in
            if slot.key.contains("_proj.weight") { tensor = try tensor * 8 }
        }
        try writeTensors(decoder.parameters(), to: model + "/model.safetensors")

        let data = folder + "/scienceqa"
        var (problems, splits): ([JSON.Member], [String: [JSON]]) = ([], [:])
        for index in 0..<count {
            let split = index % 4 == 3 ? "test" : index % 4 == 2 ? "val" : "train"
            let color = index % 3
            if index % 6 != 5 {
                let place = "\(data)/images/\(split)/\(index)"
                try makeFolder(place)
                let rgb = TinyWorld.colors[color].rgb
                let pixels = (0..<16 * 16).flatMap { _ in [rgb.0, rgb.1, rgb.2] }
                try Image(width: 16, height: 16, pixels: pixels).writePNG(to: place + "/image.png")
            }
            problems.append(
                .init(
                    "\(index)",
                    [
                        "question": "Which color?", "choices": ["red", "green", "blue"],
                        "answer": .integer(index % 6 != 5 ? color : 0), "hint": "",
                        "image": index % 6 != 5 ? "image.png" : .null, "grade": "grade2",
                        "subject": "natural science", "topic": "color", "category": "color",
                        "skill": "color", "lecture": "", "solution": "", "split": .string(split),
                    ]))
            splits[split, default: []].append(.string("\(index)"))
        }
        try makeFolder(data)
        try writeFile(JSON.object(problems).text(), to: data + "/problems.json")
        try writeFile(
            JSON.object(splits.sorted { $0.key < $1.key }.map { .init($0.key, .array($0.value)) }).text(),
            to: data + "/pid_splits.json")
    }

    /// The configuration of a run on it.
    package var scienceQAYaml: String {
        """
        name: tiny-scienceqa
        method: dvp-scienceqa
        data_root: \(folder)/scienceqa
        language_model: \(folder)/llama-scienceqa
        vision_model: \(folder)/clip
        prompt_format: QCM-A
        class_token_interval: 1
        num_heads: 4
        prompt_width: 16
        insert_layer: 1
        max_new_tokens: 8
        batch_size: 6
        max_epoch: 2
        learning_rate: 0.01
        checkpoint_every: 2
        precision: float32
        threads: 1
        """
    }

    private func writeDecoder() throws {
        let path = folder + "/llama"
        try makeFolder(path)
        let config: JSON = [
            "model_type": "llama", "vocab_size": .integer(TinyWorld.words.count), "hidden_size": 32,
            "num_hidden_layers": 3, "num_attention_heads": 4, "num_key_value_heads": 2,
            "intermediate_size": 40, "max_position_embeddings": 64, "eos_token_id": 1, "pad_token_id": 0,
            "tie_word_embeddings": true,
        ]
        try writeFile(config.text(), to: path + "/config.json")
        try writeTokenizer(path, ends: false)
        var decoder = try Decoder(DecoderConfiguration(config, source: "test"))
        try decoder.initialize(seed: 7)
        try decoder.forEachParameter { slot, tensor in
            if slot.key.contains("_proj.weight") { tensor = try tensor * 8 }
        }
        try writeTensors(decoder.parameters(), to: path + "/model.safetensors")
    }

    private func writeT5() throws {
        let path = folder + "/t5"
        try makeFolder(path)
        let config: JSON = [
            "model_type": "t5", "vocab_size": .integer(TinyWorld.words.count), "d_model": 24, "d_kv": 6,
            "d_ff": 40, "num_layers": 2, "num_decoder_layers": 3, "num_heads": 3,
            "relative_attention_num_buckets": 8, "eos_token_id": 1, "pad_token_id": 0,
            "decoder_start_token_id": 0, "tie_word_embeddings": true,
        ]
        try writeFile(config.text(), to: path + "/config.json")
        try writeTokenizer(path, ends: true)
        var model = try T5(T5Configuration(config, source: "test"))
        try model.initialize(seed: 8)
        try writeTensors(model.parameters(), to: path + "/model.safetensors")
    }

    private func writeVisionModel() throws {
        let path = folder + "/clip"
        try makeFolder(path)
        let config: JSON = [
            "model_type": "clip_vision_model", "hidden_size": 20, "num_hidden_layers": 2,
            "num_attention_heads": 2,
            "intermediate_size": 30, "image_size": 16, "patch_size": 8, "projection_dim": 6,
            "hidden_act": "quick_gelu",
        ]
        try writeFile(config.text(), to: path + "/config.json")
        try writeFile(
            #"{"image_processor_type": "CLIPImageProcessor", "size": {"shortest_edge": 16}, "crop_size": 16, "image_mean": [0.5, 0.5, 0.5], "image_std": [0.5, 0.5, 0.5]}"#,
            to: path + "/preprocessor_config.json")
        var tower = try CLIPVision(CLIPVisionConfiguration(config, source: "test"))
        try tower.initialize(seed: 6)
        try writeTensors(tower.parameters(), to: path + "/model.safetensors")
    }

    private func writeData(_ images: Int) throws {
        let path = folder + "/data"
        try makeFolder(path)
        var rows = ["image,question,answer,split"]
        var random = CounterRandom(seed: 9, purpose: "tiny world")
        for index in 0..<images {
            let color = TinyWorld.colors[index % 3]
            let pixels = (0..<20 * 20).flatMap { _ in
                [color.rgb.0, color.rgb.1, color.rgb.2].map {
                    UInt8(clamping: Int($0) + Int.random(in: -15...15, using: &random))
                }
            }
            try Image(width: 20, height: 20, pixels: pixels).writePNG(to: "\(path)/\(index).png")
            let split = index % 4 == 3 ? "test" : "train"
            rows.append("\(index).png,what color is it?,\(color.name),\(split)")
            for other in TinyWorld.colors {
                rows.append(
                    "\(index).png,is there a \(other.name) shape in the image?,\(other.name == color.name ? "yes" : "no"),\(split)"
                )
            }
        }
        try writeFile(rows.joined(separator: "\n") + "\n", to: path + "/data.csv")
    }

    /// The configuration of a run on it.
    package var yaml: String {
        """
        name: tiny
        task: table
        data_root: \(folder)/data
        language_model: \(folder)/bert
        vision_model: \(folder)/clip
        cache_dir: \(folder)/cache
        insert_layer: 1
        num_heads: 3
        batch_size: 8
        max_epoch: 2
        learning_rate: 0.01
        answer_min_count: 1
        checkpoint_every: 5
        precision: float32
        threads: 1
        """
    }
}

/// Removes a folder with what is in it.
func removeFolder(_ path: String) throws {
    guard let stream = opendir(path) else { return }
    while let entry = readdir(stream) {
        let name = withUnsafePointer(to: &entry.pointee.d_name) {
            $0.withMemoryRebound(to: CChar.self, capacity: 256) { String(cString: $0) }
        }
        if name == "." || name == ".." { continue }
        let inner = "\(path)/\(name)"
        // A link to a folder is unlinked, not followed.
        if unlink(inner) != 0, isFolder(inner) { try removeFolder(inner) }
    }
    closedir(stream)
    rmdir(path)
}
