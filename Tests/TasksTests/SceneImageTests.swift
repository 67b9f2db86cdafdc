import Foundation
import Support
import Tasks
import Testing

@Suite("Made-up scenes: images")
struct SceneImageTests {
    @Test("The same options give the same bytes on every machine")
    func pinned() throws {
        try withScenes(.vqav2, SceneOptions(seed: 7, images: 40, size: 64)) { folder, _ in
            let found = try hash(of: folder)
            #expect(found == "9a5b3cc6ca15b51da3882f54f0ee3f57603f4602db0b3fac40c0c978195bb538")
        }
        try withScenes(.vlicl, SceneOptions(seed: 7, images: 60, size: 65)) { folder, _ in
            let found = try hash(of: folder)
            #expect(found == "8fec823efc5c9013397f5395bc3ec41bab711e9d59e770be6a276f8689c76653")
        }
    }

    @Test("Another seed gives other scenes")
    func seeds() throws {
        let splits = SceneSplits(train: 100, val: 0, test: 0)
        let hashes = try [1, 2].map { seed in
            try withScenes(.coco, SceneOptions(seed: seed, images: 8, splits: splits)) { folder, _ in
                try hash(of: "\(folder)/train2017")
            }
        }
        #expect(hashes[0] != hashes[1])
    }

    @Test("Files are whole PNGs with right checksums, in every size", arguments: [64, 97, 448])
    func png(size: Int) throws {
        try withScenes(.llava, SceneOptions(seed: 3, images: 6, size: size)) { folder, _ in
            let images = files(below: folder).filter { $0.hasSuffix(".png") }
            #expect(images.count == 6)
            for image in images {
                let picture = try readPNG("\(folder)/\(image)")
                #expect(picture.side == size)
                #expect(
                    Set(stride(from: 0, to: picture.pixels.count, by: 3).map { picture.pixels[$0] }).count > 3
                )
            }
        }
    }

    @Test("Every object lies in its box in its colour, and nothing lies elsewhere")
    func boxes() throws {
        let options = SceneOptions(
            seed: 5, images: 24, size: 128, splits: SceneSplits(train: 100, val: 0, test: 0))
        let colors: [String: [Int]] = [
            "red": [214, 39, 40], "orange": [245, 130, 20], "yellow": [238, 205, 10], "green": [30, 140, 50],
            "cyan": [20, 190, 200], "blue": [35, 70, 210], "purple": [140, 50, 170], "black": [25, 25, 25],
        ]
        try withScenes(.gqa, options) { folder, _ in
            for graph in try JSON(contentsOf: "\(folder)/train_sceneGraphs.json").members ?? [] {
                let picture = try readPNG("\(folder)/images/\(graph.key).jpg")
                var covered = Set<Int>()
                let background = picture.pixel(0, 127).map(Int.init)
                for object in graph.value["objects"]?.members ?? [] {
                    func length(_ key: String) throws -> Int { try #require(object.value[key]?.integer) }
                    let (x, y, w, h) = (try length("x"), try length("y"), try length("w"), try length("h"))
                    let attributes = object.value["attributes"]?.array?.compactMap(\.string) ?? []
                    let color = try #require(attributes.last.flatMap { colors[$0] })
                    var hits = 0
                    // Corners reach out of the box a little.
                    for row in max(0, y - 3)..<min(128, y + h + 4) {
                        for column in max(0, x - 3)..<min(128, x + w + 4) {
                            covered.insert(row * 128 + column)
                            if picture.pixel(column, row).map(Int.init) == color { hits += 1 }
                        }
                    }
                    // The leanest are small dotted stars.
                    #expect(hits >= 6, "\(graph.key) \(attributes) \(object.value["name"] ?? .null)")
                    #expect(attributes[0] == "large" ? w >= 27 : w <= 18)
                }
                for index in 0..<128 * 128 where !covered.contains(index) {
                    #expect(picture.pixel(index % 128, index / 128).map(Int.init) == background)
                }
            }
        }
    }

    @Test("The table of angles is right to one unit in 65,536")
    func angles() {
        for degrees in -360...720 {
            let angle = Double(degrees) * .pi / 180
            #expect(abs(Double(SceneAngles.cosine(degrees)) - cos(angle) * 65536) <= 1)
            #expect(abs(Double(SceneAngles.sine(degrees)) - sin(angle) * 65536) <= 1)
        }
    }

    @Test("Options out of range are refused")
    func options() {
        func refusal(_ options: SceneOptions) -> String { message { _ = try SceneGenerator(options) } }
        #expect(refusal(SceneOptions(size: 63)) == "cannot make scenes: size 63: it must be 64 to 448 pixels")
        #expect(refusal(SceneOptions(images: 5)).contains("images 5: it must be 6 to 10000000"))
        #expect(
            refusal(SceneOptions(splits: SceneSplits(train: 80, val: 10, test: 5))).contains("splits 80,10,5")
        )
        #expect(refusal(SceneOptions(splits: SceneSplits(train: .max, val: 1, test: 1))).contains("splits"))
        #expect(refusal(SceneOptions(objects: 0...8)).contains("objects 0-8"))
        #expect(refusal(SceneOptions(objects: 1...3)).contains("objects 1-3"))
        #expect(refusal(SceneOptions(questions: 13)).contains("questions 13"))
        #expect(message { _ = try SceneFormat.named("vqav3") }.contains("did you mean 'vqav2'?"))
        #expect((try? SceneFormat.named("VL-ICL")) == .vlicl)
    }

    @Test("A folder with other content is refused; an unfinished one is finished")
    func folders() throws {
        try withFile("mine", named: "notes.txt") { path in
            let folder = (path as NSString).deletingLastPathComponent
            let refusal = message {
                try SceneGenerator(SceneOptions(images: 8)).write(format: .coco, to: folder)
            }
            #expect(refusal.contains("it is not empty and has no scenes.json"))
            #expect(files(below: folder) == ["notes.txt"])
        }
        let options = SceneOptions(seed: 1, images: 12, size: 64)
        try withScenes(.aokvqa, options) { folder, manifest in
            let whole = try hash(of: folder)
            #expect(manifest.json["complete"] == true)
            try FileManager.default.removeItem(atPath: "\(folder)/aokvqa_v1p0_val.json")
            try writeFile("half", to: "\(folder)/train2017/000000000001.jpg")
            try SceneGenerator(options).write(format: .aokvqa, to: folder)
            #expect(try hash(of: folder) == whole)
            let other = SceneOptions(seed: 2, images: 12, size: 64)
            let refusal = message { try SceneGenerator(other).write(format: .aokvqa, to: folder) }
            #expect(refusal.contains("it holds scenes of other options"))
            #expect(try hash(of: folder) == whole)
        }
    }
}
