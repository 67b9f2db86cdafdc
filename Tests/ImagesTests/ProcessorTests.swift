import Images
import Support
import Testing

private func processor(_ text: String) throws -> ImageProcessor {
    try ImageProcessor(JSON(parsing: Array(text.utf8), source: "test"), source: "test")
}

/// CLIP's resize and crop to 4×4, whose values are the bytes.
private let clipBytes = """
    {"image_processor_type": "CLIPImageProcessor", "size": 4, "crop_size": 4,
     "do_rescale": false, "do_normalize": false}
    """

/// Little-endian floats of a golden file.
private func floats(_ name: String) throws -> [Float] {
    let bytes = try fixtureBytes(name)
    return bytes.withUnsafeBytes { raw in
        (0..<(raw.count / 4)).map {
            Float(
                bitPattern: UInt32(littleEndian: raw.loadUnaligned(fromByteOffset: $0 * 4, as: UInt32.self)))
        }
    }
}

@Suite struct ProcessorTests {
    @Test("processors agree with transformers")
    func golden() throws {
        let cases = try JSON(contentsOf: fixture("processors/cases.json")).array ?? []
        #expect(cases.count == 18)
        for item in cases {
            let name = try #require(item["name"]?.string)
            let source = fixture("processors/\(name).json")
            let processor = try ImageProcessor(JSON(contentsOf: source), source: source)
            let file = fixture("processors/\(try #require(item["image"]?.string))")
            let found = try processor.pixelValues(ofFile: file)
            #expect(found.shape == item["shape"]?.array?.compactMap(\.integer), "\(name)")
            let expected = try floats("processors/\(name).f32")
            try #require(expected.count == found.values.count)
            let off = zip(found.values, expected).map { abs($0 - $1) }.max() ?? 0
            #expect(off <= 1e-6, "\(name): \(off)")
        }
    }

    /// The numbers of section 4.7 of the DVP specification.
    @Test("the DVP processing gives the specification's numbers")
    func dvp() throws {
        let source = try image(10, 7) { x, y, c in 30 * x + 17 * y + 50 * c }
        let resized = try source.resized(width: 5, height: 4, filter: .bicubic)
        let cropped = try resized.cropped(x: 0, y: 0, width: 4, height: 4)
        let red = stride(from: 0, to: 48, by: 3).map { Int(cropped.pixels[$0]) }
        #expect(red == [23, 81, 143, 203, 51, 109, 177, 183, 83, 141, 209, 111, 111, 172, 213, 51])
        #expect((0..<4).map { Int(cropped.pixels[$0 * 3 + 2]) } == [123, 189, 179, 50])

        let processor = ImageProcessor.dvpClip(size: 4)
        let output = try processor.pixelValues(of: source)
        #expect(output.shape == [3, 4, 4])
        for (value, expected) in zip([0, 16, 32].map { output.values[$0] }, [-1.4565, -0.65653, 0.26885]) {
            #expect(abs(Double(value) - expected) < 1e-4)
        }
        #expect(abs(Double(output.values.reduce(0, +)) - 11.2581) < 1e-3)
    }

    @Test("the DVP crop rounds half a pixel to the even side, and transformers rounds it down")
    func cropOffsets() throws {
        // The shorter side stays 4: only the crop acts. Widths 5, 7 and 9 leave 0.5, 1.5 and 2.5.
        for (width, even, down) in [(5, 0, 0), (7, 2, 1), (9, 2, 2), (6, 1, 1)] {
            let source = try image(width, 4) { x, _, _ in x }
            #expect(try processor(clipBytes).pixelValues(of: source).values[0] == Float(down), "\(width)")
            let value = try ImageProcessor.dvpClip(size: 4).pixelValues(of: source).values[0]
            let expected = (Float(even) / 255 - Float(0.48145466)) / Float(0.26862954)
            #expect(value == expected, "\(width)")
        }
    }

    @Test("EfficientNet-Lite subtracts 127 and divides by 128")
    func efficientNet() throws {
        let source = try image(4, 4) { x, y, c in x * 60 + y * 4 + c }
        let output = try ImageProcessor.efficientNetLite(size: 4).pixelValues(of: source)
        #expect(output.values[0] == -127.0 / 128 && output.values[17] == Float(61 - 127) / 128)
        let larger = try ImageProcessor.efficientNetLite(size: 6).pixelValues(of: source)
        let resized = try source.resized(width: 6, height: 6, filter: .bicubic)
        #expect(larger.shape == [3, 6, 6])
        #expect(larger.values[36] == (Float(resized.pixels[1]) - 127) / 128)
    }

    @Test("a batch is filled in place, and a canvas is zero beyond the image")
    func canvas() throws {
        let source = try image(3, 2) { x, y, c in 50 * x + 20 * y + c }
        let plain = try processor(#"{"image_processor_type":"ViTImageProcessor","do_resize":false}"#)
        let values = try plain.pixelValues(of: source).values
        var batch = [Float](repeating: 9, count: 2 * 3 * 4 * 5)
        try batch.withUnsafeMutableBufferPointer {
            try plain.write(source, into: UnsafeMutableBufferPointer(rebasing: $0[60...]), canvas: (4, 5))
        }
        #expect(batch[..<60].allSatisfy { $0 == 9 })
        for c in 0..<3 {
            for y in 0..<4 {
                for x in 0..<5 {
                    let expected = x < 3 && y < 2 ? values[c * 6 + y * 3 + x] : 0
                    #expect(batch[60 + c * 20 + y * 5 + x] == expected)
                }
            }
        }
        batch.withUnsafeMutableBufferPointer { all in
            #expect(throws: VQAError.self) { try plain.write(source, into: all) }
            #expect(throws: VQAError.self) {
                try plain.write(source, into: UnsafeMutableBufferPointer(rebasing: all[..<6]), canvas: (1, 2))
            }
        }
    }

    @Test("Idefics2 splits an image into four quarters and itself")
    func parts() throws {
        var splitting = try processor(
            #"{"image_processor_type":"Idefics2ImageProcessor","do_image_splitting":true}"#)
        let source = try image(5, 3) { x, y, _ in 10 * y + x }
        let parts = try splitting.parts(of: source)
        #expect(parts.map(\.width) == [2, 3, 2, 3, 5] && parts.map(\.height) == [1, 1, 2, 2, 3])
        #expect(parts[3].pixels[0] == 12)
        splitting.splitsImages = false
        #expect(try splitting.parts(of: source) == [source])
    }

    @Test("padding to a square uses the mean colour of the checkpoint")
    func padding() throws {
        let clip = try processor(clipBytes)
        let output = try clip.paddingToSquare().pixelValues(of: image(4, 2) { _, _, _ in 200 })
        #expect([0, 16, 32].map { output.values[$0] } == [122, 116, 104])
        #expect(clip.fingerprint != clip.paddingToSquare().fingerprint)
    }

    @Test("older and faster class names are the same processor")
    func names() throws {
        for text in [
            #"{"feature_extractor_type":"CLIPFeatureExtractor"}"#,
            #"{"image_processor_type":"CLIPImageProcessorFast"}"#,
            #"{"image_processor_type":"CLIPImageProcessor","size":224,"do_center_crop":null}"#,
        ] {
            let found = try processor(text)
            #expect(found.name == "CLIPImageProcessor")
            #expect(try found.outputSize(width: 640, height: 480) == (224, 224))
        }
        #expect(
            try processor(#"{"image_processor_type":"SiglipImageProcessor","size":100}"#).outputSize(
                width: 640, height: 480) == (100, 133))
    }

    @Test(
        "settings that cannot be followed are errors that name the key",
        arguments: [
            (#"{"image_processor_type":"DPTImageProcessor"}"#, "DPTImageProcessor is not supported"),
            (#"{"image_processor_type":"ClipImageProcesor"}"#, "did you mean CLIPImageProcessor"),
            (#"{"size":224}"#, "the key is missing"),
            (#"[1]"#, "expected an object"),
            (#"{"image_processor_type":"CLIPImageProcessor","size":0}"#, "size"),
            (#"{"image_processor_type":"CLIPImageProcessor","size":1e300}"#, "size"),
            (#"{"image_processor_type":"CLIPImageProcessor","size":{"longest_edge":9}}"#, "longest_edge"),
            (#"{"image_processor_type":"CLIPImageProcessor","size":{"height":9}}"#, "height"),
            (#"{"image_processor_type":"CLIPImageProcessor","crop_size":{"height":9}}"#, "crop_size"),
            (#"{"image_processor_type":"CLIPImageProcessor","crop_size":-4}"#, "crop_size"),
            (#"{"image_processor_type":"CLIPImageProcessor","resample":6}"#, "resample"),
            (#"{"image_processor_type":"CLIPImageProcessor","do_resize":1}"#, "do_resize"),
            (#"{"image_processor_type":"CLIPImageProcessor","image_mean":[1,2]}"#, "image_mean"),
            (#"{"image_processor_type":"CLIPImageProcessor","image_mean":[1,"a",2]}"#, "image_mean"),
            (#"{"image_processor_type":"CLIPImageProcessor","image_std":[1,0,2]}"#, "image_std"),
            (#"{"image_processor_type":"CLIPImageProcessor","rescale_factor":"x"}"#, "rescale_factor"),
            (#"{"image_processor_type":"CLIPImageProcessor","do_pad":true,"pad_size":9}"#, "pad_size"),
            (#"{"image_processor_type":"CLIPImageProcessor","do_pad":"no"}"#, "do_pad"),
            (#"{"image_processor_type":"CLIPImageProcessor","do_thumbnail":true}"#, "do_thumbnail"),
            (
                #"{"image_processor_type":"CLIPImageProcessor","do_image_splitting":true}"#,
                "do_image_splitting"
            ),
            (#"{"image_processor_type":"CLIPImageProcessor","resample":"bicubic"}"#, "resample"),
            (#"{"image_processor_type":"CLIPImageProcessor","resample":2.5}"#, "resample"),
            (#"{"image_processor_type":"CLIPImageProcessor","size":65536}"#, "size"),
            (#"{"image_processor_type":"CLIPImageProcessor","size":[224]}"#, "size"),
            (#"{"image_processor_type":"CLIPImageProcessor","size":"224"}"#, "size"),
            (#"{"image_processor_type":"CLIPImageProcessor","crop_size":[9,9,9]}"#, "crop_size"),
            (
                #"{"image_processor_type":"IdeficsImageProcessor","image_size":99999999999999999999}"#,
                "image_size"
            ),
            (#"{"image_processor_type":"Idefics2ImageProcessor","size":378}"#, "shortest_edge"),
            (
                #"{"image_processor_type":"Idefics2ImageProcessor","size":{"shortest_edge":9}}"#,
                "longest_edge"
            ),
            (#"{"image_processor_type":"BlipImageProcessor","do_center_crop":true}"#, "crop_size"),
        ])
    func refused(text: String, words: String) throws {
        let error = try #require(errorText { _ = try processor(text) })
        #expect(error.contains(words) && error.contains("test"), "\(error)")
    }

    @Test("an elongated image is cropped without making the rest, and absurd results are refused")
    func elongated() throws {
        let needle = try image(1, 65_535) { _, y, _ in y >> 8 }
        let clip = try ImageProcessor.dvpClip.pixelValues(of: needle)
        #expect(clip.shape == [3, 224, 224])
        let siglip = try processor(#"{"image_processor_type":"SiglipImageProcessor","size":9000}"#)
        #expect(throws: VQAError.self) { try siglip.pixelValues(of: needle) }
        #expect(throws: VQAError.self) { try ImageProcessor.dvpClip(size: 0).pixelValues(of: needle) }
        #expect(throws: VQAError.self) {
            try ImageProcessor.efficientNetLite(size: .max).pixelValues(of: needle)
        }
    }

    @Test("absurd sizes and elongated images end in an error or a result of the right size")
    func absurd() throws {
        let needle = try image(1, 5000) { _, y, _ in y }
        for (text, words) in [
            (#""CLIPImageProcessor","size":65535,"crop_size":65535"#, "pixels"),
            (#""CLIPImageProcessor","size":600,"do_center_crop":false"#, "600×3000000"),
            (#""Idefics2ImageProcessor","size":{"shortest_edge":65535,"longest_edge":65535}"#, "pixels"),
            (#""Idefics2ImageProcessor","do_image_splitting":true"#, "do_image_splitting"),
        ] {
            let found = try processor(#"{"image_processor_type":"# + text + "}")
            let error = try #require(errorText { _ = try found.process([[needle]]) }, "\(text)")
            #expect(error.contains(words) && !error.contains("\n"), "\(error)")
        }
        for (text, shape) in [
            (#""CLIPImageProcessor""#, [1, 3, 224, 224]),
            (#""LlavaImageProcessor","do_pad":true"#, [1, 3, 224, 224]),
            (#""BlipImageProcessor""#, [1, 3, 384, 384]), (#""IdeficsImageProcessor""#, [1, 3, 224, 224]),
            (#""Idefics2ImageProcessor""#, [1, 3, 980, 378]), (#""SiglipImageProcessor""#, [1, 3, 224, 224]),
        ] {
            let found = try processor(#"{"image_processor_type":"# + text + "}")
            #expect(try found.process([[needle]]).shape == shape)
        }
        let longer = try image(1, 10_001) { _, y, _ in y }
        let error = try #require(
            errorText { _ = try ImageProcessor.llava().paddingToSquare().process([[longer]]) })
        #expect(error.contains("square") && error.contains("pixels"), "\(error)")
    }

    @Test("settings of any kind give values or one line, never a crash")
    func randomSettings() throws {
        let classes = ["CLIP", "Llava", "Siglip", "Blip", "ViT", "DeiT", "Bit", "Idefics", "Idefics2"]
        let flags = [
            "do_resize", "do_center_crop", "do_rescale", "do_normalize", "do_pad", "do_image_splitting",
        ]
        let numbers = ["resample", "rescale_factor", "image_mean", "image_std", "image_size", "pad_size"]
        let values: [JSON] = [
            0, -1, 1, 2, 7, 65_535, 65_536, .integer(.max), .integer(.min), 0.5, 1e300, -1e-300, .null, true,
            false,
            "x", [], [3, 4], [1, 2, 3], [0.5, 0.5, "x"], [:], ["height": 3, "width": 65_535], ["height": 4],
            ["shortest_edge": 6], ["shortest_edge": 9, "longest_edge": 4], ["longest_edge": 65_535],
            ["shortest_edge": 1, "longest_edge": 65_535], ["height": .null, "width": 2, "shortest_edge": 3],
        ]
        let images = try [(1, 1), (3, 5), (1, 90), (70, 2)].map { try image($0, $1) { x, y, c in x + y + c } }
        var outcomes = (read: 0, refused: 0)
        for round in 0..<400 {
            var random = CounterRandom(seed: 5, sample: round, purpose: "settings")
            let name = classes[Int.random(in: 0..<classes.count, using: &random)]
            var members = [JSON.Member("image_processor_type", .string("\(name)ImageProcessor"))]
            for _ in 0..<Int.random(in: 1...3, using: &random) {
                let keys = [["size", "crop_size"], flags, numbers][Int.random(in: 0..<3, using: &random)]
                let key = keys[Int.random(in: 0..<keys.count, using: &random)]
                members.append(JSON.Member(key, values[Int.random(in: 0..<values.count, using: &random)]))
            }
            let error = errorText {
                let processor = try ImageProcessor(.object(members), source: "test")
                for image in images {
                    let batch = try processor.process([[image], []])
                    #expect(batch.shape.reduce(1, *) == batch.pixelValues.count)
                }
                outcomes.read += 1
            }
            if let error {
                outcomes.refused += 1
                #expect(error.hasPrefix("cannot ") && !error.contains("\n"), "\(error)")
            }
        }
        #expect(outcomes.read > 20 && outcomes.refused > 20, "\(outcomes)")
    }
}
