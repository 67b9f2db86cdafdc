import Images
import Support
import Testing

/// The pictures of Tools/goldens/processors.py: ramps that wrap around, with noise.
private func noise(width: Int, height: Int, seed: Int) throws -> Image {
    var pixels: [UInt8] = []
    pixels.reserveCapacity(width * height * 3)
    let start = UInt32(truncatingIfNeeded: seed &* 3_266_489_917)
    for y in 0..<UInt32(height) {
        for x in 0..<UInt32(width) {
            for c in 0..<UInt32(3) {
                var mixed = x &* 374_761_393 &+ y &* 668_265_263 &+ c &* 2_246_822_519 &+ start
                mixed = (mixed ^ (mixed >> 13)) &* 1_274_126_177
                pixels.append(UInt8(truncatingIfNeeded: x &* 2 &+ y &* 3 &+ c &* 40 &+ (mixed >> 26)))
            }
        }
    }
    return try Image(width: width, height: height, pixels: pixels)
}

private func picture(_ item: JSON, _ processor: ImageProcessor) throws -> Image {
    if let file = item.string {
        return try Image(contentsOf: fixture("decode/\(file)"), transparency: processor.transparency)
    }
    let numbers = (item.array ?? []).compactMap(\.integer)
    try #require(numbers.count == 3)
    return try noise(width: numbers[0], height: numbers[1], seed: numbers[2])
}

private func hash(_ values: [Float]) -> String {
    var hash = SHA256()
    values.withUnsafeBytes { hash.add($0) }
    return hash.hexadecimal()
}

private func hash(bytes: [UInt8]) -> String {
    var hash = SHA256()
    bytes.withUnsafeBytes { hash.add($0) }
    return hash.hexadecimal()
}

/// The JSON with steps after the integer ones turned off.
private func withoutScaling(_ settings: JSON) -> JSON {
    let kept = (settings.members ?? []).filter { $0.key != "do_rescale" && $0.key != "do_normalize" }
    return .object(kept + [JSON.Member("do_rescale", false), JSON.Member("do_normalize", false)])
}

/// Checks a few values within 1e-6, and all of them by their hash.
private func expect(_ values: [Float], _ golden: JSON, _ name: String) throws {
    for sample in golden["samples"]?.array ?? [] {
        let place = try #require(sample.array?.first?.integer)
        let expected = try #require(sample.array?.last?.double)
        #expect(abs(Double(values[place]) - expected) <= 1e-6, "\(name) at \(place)")
    }
    #expect(hash(values) == golden["values"]?.string, "\(name)")
}

private func processor(_ text: String) throws -> ImageProcessor {
    try ImageProcessor(JSON(parsing: Array(text.utf8), source: "test"), source: "test")
}

@Suite struct BatchTests {
    @Test("batches at real sizes are transformers' to the bit, before and after normalising")
    func golden() throws {
        let cases = try JSON(contentsOf: fixture("batches/cases.json")).array ?? []
        #expect(cases.count == 31)
        for golden in cases {
            let name = try #require(golden["name"]?.string)
            let settings = try #require(golden["settings"])
            let processor = try ImageProcessor(settings, source: name)
            let prompts = try #require(golden["prompts"]?.array).map { prompt in
                try (prompt.array ?? []).map { try picture($0, processor) }
            }
            let plain = try processor.process(prompts)
            #expect(plain.counts == golden["counts"]?.array?.compactMap(\.integer), "\(name)")
            #expect(plain.shape[0] == plain.counts.reduce(0, +) && plain.sizes.count == plain.shape[0])
            // Idefics2's own batch has equally many images for each prompt.
            let isNested = golden["mask"]?.string != nil
            let batch = isNested ? try plain.padded() : plain
            try #require(batch.shape == golden["shape"]?.array?.compactMap(\.integer), "\(name)")
            try expect(batch.pixelValues, golden, name)
            if isNested {
                let mask = batch.pixelAttentionMask.map { $0 ? 1 : 0 } as [UInt8]
                #expect(hash(bytes: mask) == golden["mask"]?.string, "\(name)")
            }
            let integers = try ImageProcessor(withoutScaling(settings), source: name).process(prompts)
            let bytes = try (isNested ? integers.padded() : integers).pixelValues.map { UInt8($0) }
            #expect(hash(bytes: bytes) == golden["bytes"]?.string, "\(name)")
        }
    }

    @Test("the transforms of LAVIS, LLaVA and DVP are those of their releases to the bit")
    func presets() throws {
        let presets: [String: ImageProcessor] = [
            "lavis": .lavis(), "lavis crop": .lavis(crops: true), "dvp": .dvpClip,
            "dvp scienceqa": .dvpScienceQA(), "llava": .llava(), "llava pad": .llava().paddingToSquare(),
        ]
        let cases = try JSON(contentsOf: fixture("batches/presets.json")).array ?? []
        #expect(cases.count == 48)
        for golden in cases {
            let name = try #require(golden["preset"]?.string)
            let processor = try #require(presets[name])
            let image = try #require(golden["image"])
            let found = try processor.pixelValues(of: picture(image, processor))
            try #require(found.shape == golden["shape"]?.array?.compactMap(\.integer))
            try expect(found.values, golden, "\(name) \(image)")
        }
        #expect(Set(presets.values.map(\.fingerprint)).count == presets.count)
    }

    /// The numbers of appendix E of the SQ-LLaVA specification.
    @Test("LLaVA's padding gives the specification's numbers")
    func llavaPadding() throws {
        let source = try image(5, 3) { x, y, c in (5 * y + x) * [10, 37, 91][c] }
        let square = try source.paddedToSquare(background: Image.Color(red: 122, green: 116, blue: 104))
        let small = try square.resized(width: 3, height: 3, filter: .bicubic)
        let planes = (0..<3).map { c in (0..<9).map { Int(small.pixels[$0 * 3 + c]) } }
        #expect(planes[0] == [70, 77, 83, 49, 66, 83, 118, 124, 131])
        #expect(planes[1] == [70, 95, 125, 146, 92, 82, 124, 154, 108])
        #expect(planes[2] == [73, 114, 85, 120, 127, 133, 141, 111, 152])
        let large = try square.resized(width: 8, height: 8, filter: .bicubic)
        let row = (0..<8).map { Int(large.pixels[(3 * 8 + $0) * 3]) }
        #expect(row == [28, 32, 40, 46, 52, 59, 67, 71])
    }

    @Test("files are processed as their images are, splits and empty prompts counted")
    func files() throws {
        let splitting = try processor(
            """
            {"image_processor_type": "Idefics2ImageProcessor", "do_image_splitting": true,
             "size": {"shortest_edge": 7, "longest_edge": 40}}
            """)
        let paths = [["wide", "alpha"], [], ["needle"]].map { $0.map { fixture("processors/\($0).png") } }
        let images = try paths.map { try $0.map { try Image(contentsOf: $0, transparency: .overWhite) } }
        let batch = try splitting.process(files: paths)
        #expect(batch == (try splitting.process(images)))
        #expect(batch.counts == [10, 0, 5] && batch.shape[0] == 15 && batch.hasPadding)
        let nested = try batch.padded()
        #expect(nested.counts == [10, 10, 10] && nested.shape == [30] + batch.shape[1...])
        let size = batch.shape[1...].reduce(1, *)
        #expect(Array(nested.pixelValues[..<(10 * size)]) == Array(batch.pixelValues[..<(10 * size)]))
        #expect(nested.pixelValues[(10 * size)..<(20 * size)].allSatisfy { $0 == 0 })
        let mask = nested.pixelAttentionMask
        #expect(mask.count == 30 * batch.shape[2] * batch.shape[3])
        #expect(mask[(mask.count / 3)..<(2 * mask.count / 3)].allSatisfy { !$0 })
        #expect(
            mask[..<(mask.count / 30)].filter { $0 }.count == batch.sizes[0].height * batch.sizes[0].width)
    }

    @Test("no images make an empty batch, and padded images of the processor's size")
    func empty() throws {
        let idefics = try processor(#"{"image_processor_type":"IdeficsImageProcessor","image_size":9}"#)
        let none = try idefics.process([[], []] as [[Image]])
        #expect(none.shape == [0, 3, 9, 9] && none.counts == [0, 0] && none.pixelValues.isEmpty)
        let padded = try none.padded()
        #expect(padded.shape == [2, 3, 9, 9] && padded.counts == [1, 1])
        #expect(padded.pixelValues == [Float](repeating: 0, count: 2 * 3 * 81))
        #expect(!padded.pixelAttentionMask.contains(true))
        #expect(throws: VQAError.self) { try none.padded(minimum: .max) }
        #expect(try idefics.process([] as [[Image]]).padded().shape == [0, 3, 9, 9])
    }

    @Test("images of different results need a processor that pads")
    func mixedSizes() throws {
        let text = #"{"image_processor_type":"SiglipImageProcessor","size":8"#
        let images = [[try image(8, 8) { x, _, _ in x }, try image(9, 16) { x, _, _ in x }]]
        let error = try #require(errorText { _ = try processor(text + "}").process(images) })
        #expect(error.contains("8×8") && error.contains("8×14") && error.contains("do_pad"), "\(error)")
        #expect(try processor(text + #","do_pad":true}"#).process(images).shape == [2, 3, 14, 8])
        let idefics2 = #"{"image_processor_type":"Idefics2ImageProcessor","do_pad":false}"#
        #expect(throws: VQAError.self) {
            try processor(idefics2).process([[images[0][0], image(5, 1000) { x, _, _ in x }]])
        }
    }

    @Test("errors of a batch name the file")
    func names() throws {
        let path = fixture("processors/wide.png")
        let clip = try processor(
            #"{"image_processor_type":"CLIPImageProcessor","size":9000,"do_center_crop":false}"#)
        let error = try #require(errorText { _ = try clip.process(files: [[path, path]]) })
        #expect(error.contains("wide.png") && !error.contains("\n"), "\(error)")
        let missing = errorText { _ = try clip.process(files: [["\(path).absent"]]) }
        #expect(missing?.contains("wide.png.absent") == true)
    }
}

@Suite struct RandomViewTests {
    @Test("views are torchvision's rectangles of the project's random numbers, and their values Pillow's")
    func golden() throws {
        let cases = try JSON(contentsOf: fixture("batches/views.json")).array ?? []
        #expect(cases.count == 21)
        var mirrored = 0
        for golden in cases {
            let width = try #require(golden["width"]?.integer)
            let height = try #require(golden["height"]?.integer)
            let keys = try #require(golden["keys"]?.array).compactMap(\.integer)
            let areas = try #require(golden["areas"]?.array).compactMap(\.double)
            let view = try RandomView(
                width: width, height: height, areas: areas[0]...areas[1], seed: keys[0], epoch: keys[1],
                sample: keys[2])
            let found = [view.x, view.y, view.width, view.height]
            try #require(found == golden["view"]?.array?.compactMap(\.integer), "\(golden)")
            #expect(view.isMirrored == golden["mirrored"]?.bool)
            mirrored += view.isMirrored ? 1 : 0
            let source = try noise(width: width, height: height, seed: golden["pattern"]?.integer ?? -1)
            let values = try ImageProcessor.lavis(size: 56).pixelValues(of: source, seen: view).values
            #expect(hash(values) == golden["values"]?.string, "\(golden)")
        }
        #expect(mirrored > 3 && mirrored < 18)
    }

    @Test("a view depends on seed, epoch and sample, and on nothing before")
    func keys() throws {
        func view(_ seed: Int, _ epoch: Int, _ sample: Int) throws -> RandomView {
            try RandomView(width: 640, height: 480, seed: seed, epoch: epoch, sample: sample)
        }
        #expect(try view(1, 2, 3) == view(1, 2, 3))
        let others = [try view(1, 2, 3), try view(2, 2, 3), try view(1, 3, 3), try view(1, 2, 4)]
        #expect(Set(others.map { "\($0)" }).count == 4)
        for sample in 0..<500 {
            let seen = try view(7, 0, sample)
            #expect(seen.x >= 0 && seen.y >= 0 && seen.x + seen.width <= 640 && seen.y + seen.height <= 480)
            #expect(seen.width * seen.height >= 640 * 480 / 2 - 640)
        }
    }

    @Test("a mirrored view in a canvas is mirrored where the image lies")
    func mirroredCanvas() throws {
        let views = try (0..<20).map {
            try RandomView(width: 3, height: 2, areas: 1...1, seed: 5, epoch: 0, sample: $0)
        }
        let view = try #require(views.first { $0.isMirrored && $0.width == 3 && $0.height == 2 })
        let plain = try processor(
            #"{"image_processor_type":"ViTImageProcessor","do_resize":false,"do_rescale":false,"do_normalize":false}"#
        )
        var values = [Float](repeating: 9, count: 3 * 3 * 4)
        let source = try image(3, 2) { x, y, c in 1 + x + 10 * y + 100 * c }
        try values.withUnsafeMutableBufferPointer {
            try plain.write(source, seen: view, into: $0, canvas: (3, 4))
        }
        #expect(values[..<12] == [3, 2, 1, 0, 13, 12, 11, 0, 0, 0, 0, 0])
        #expect(values[24...] == [203, 202, 201, 0, 213, 212, 211, 0, 0, 0, 0, 0])
    }

    @Test("a view of nothing or outside the image is an error")
    func refused() throws {
        for (width, height, areas) in [
            (0, 5, 0.5...1.0), (5, .max, 0.5...1), (5, 5, 0...1), (5, 5, 0.5...1.5),
        ] {
            #expect(throws: VQAError.self) {
                try RandomView(width: width, height: height, areas: areas, seed: 1, epoch: 0, sample: 0)
            }
        }
        let view = try RandomView(width: 50, height: 50, areas: 1...1, seed: 1, epoch: 0, sample: 0)
        let small = try image(4, 4) { x, _, _ in x }
        #expect(throws: VQAError.self) {
            try ImageProcessor.lavis(size: 8).pixelValues(of: small, seen: view)
        }
    }
}
