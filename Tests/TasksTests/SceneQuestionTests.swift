import Foundation
import Support
import Tasks
import Testing

@Suite("Made-up scenes: questions")
struct SceneQuestionTests {
    /// The types whose answers are balanced by construction, and how many answers each has.
    private let answerCounts = [
        "count": 4, "existence": 2, "number": 2, "size": 2, "position": 2, "query color": 8, "query shape": 8,
        "query size": 2, "query texture": 4, "verification": 2,
    ]

    @Test("A text alone answers no better than chance, in every type and split")
    func balance() throws {
        try withScenes(.vqav2, SceneOptions(seed: 11, images: 640, size: 64)) { folder, manifest in
            #expect(manifest.types("train") == answerCounts.keys.sorted())
            for (split, _) in manifest.images {
                for type in manifest.types(split) {
                    let figures = try #require(manifest.figures(split, type: type))
                    let chance = try #require(answerCounts[type].map { 100 / Double($0) })
                    #expect(figures.questionOnly == chance && figures.chance == chance, "\(split) \(type)")
                    let answers = manifest.answers(split, type: type)
                    #expect(answers.values.reduce(0, +) == figures.questions)
                }
            }
            // Once more from the files: each text has each of its answers equally often.
            for split in ["train", "val"] {
                let data = try VQAv2().load(folder, split: split)
                for (text, samples) in Dictionary(grouping: data.samples, by: \.question) {
                    let counts = Dictionary(grouping: samples, by: { $0.answer ?? "" }).mapValues(\.count)
                    #expect(Set(counts.values).count == 1 && counts.count >= 2, "\(text): \(counts)")
                }
            }
            // What training knows about a text does not help either.
            let figures = try #require(manifest.figures("val"))
            let prior = try #require(figures.priorOfTraining)
            #expect(prior <= figures.chance + 0.01)
            let train = try VQAv2().load(folder, split: "train")
            let val = try VQAv2().load(folder, split: "val")
            let predictions = try PriorBaseline(train: train).perQuestion(val)
            let right = zip(predictions, val.samples).count { $0.answer == $1.answer }
            #expect(100 * Double(right) / Double(val.samples.count) <= figures.chance + 2)
        }
    }

    @Test("Splits of any size stay balanced", arguments: [6, 7, 13, 17, 31])
    func oddCounts(images: Int) throws {
        let options = SceneOptions(
            seed: images, images: images, size: 64, splits: SceneSplits(train: 40, val: 30, test: 30))
        try withScenes(.table, options) { folder, manifest in
            #expect(manifest.images.map(\.count).reduce(0, +) == images)
            for (split, count) in manifest.images {
                let figures = try #require(manifest.figures(split))
                #expect(figures.questionOnly == figures.chance)
                let data = try Table().load(folder, split: split)
                // One image of an odd number is left out of each question.
                #expect(data.samples.count == figures.questions)
                #expect(figures.questions >= 5 * (count - count % 2) / 2)
            }
        }
    }

    @Test("A split with a small share has two images at least")
    func smallShares() throws {
        for (train, val, test) in [(1, 49, 50), (0, 99, 1), (98, 1, 1), (0, 0, 100)] {
            let splits = SceneSplits(train: train, val: val, test: test)
            try withScenes(.table, SceneOptions(images: 7, size: 64, splits: splits)) { _, manifest in
                #expect(manifest.images.count == [train, val, test].count { $0 > 0 })
                #expect(manifest.images.allSatisfy { $0.count >= 2 && manifest.figures($0.split) != nil })
                #expect(manifest.images.reduce(0) { $0 + $1.count } == 7)
            }
        }
    }

    @Test("The answers are true of the scenes")
    func truth() throws {
        let options = SceneOptions(
            seed: 23, images: 160, size: 64, splits: SceneSplits(train: 100, val: 0, test: 0), questions: 8)
        try withScenes(.gqa, options) { folder, _ in
            let graphs = try JSON(contentsOf: "\(folder)/train_sceneGraphs.json")
            var checked: [String: Int] = [:]
            for (_, question) in try JSON(contentsOf: "\(folder)/train_balanced_questions.json").members.map({
                $0.map { ($0.key, $0.value) }
            }) ?? [] {
                let image = try #require(question["imageId"]?.string)
                let scene = Witness(try #require(graphs[image]))
                let text = try #require(question["question"]?.string)
                let (type, answer) = try #require(scene.answer(text), "\(text)")
                #expect(answer == question["answer"]?.string, "\(image): \(text)")
                checked[type, default: 0] += 1
            }
            #expect(checked.keys.sorted() == ["exist", "position", "query", "size", "verify"])
            #expect(checked.values.allSatisfy { $0 >= 80 })
        }
    }

    @Test("No image and no scene is in two splits")
    func splits() throws {
        try withScenes(.vqav2, SceneOptions(seed: 4, images: 300, size: 64)) { folder, _ in
            let images = files(below: folder).filter { $0.hasSuffix(".jpg") }
            #expect(images.count == 300)
            #expect(try Set(images.map { try SHA256.hexadecimal(ofFile: "\(folder)/\($0)") }).count == 300)
            let train = try VQAv2().load(folder, split: "train")
            let val = try VQAv2().load(folder, split: "val")
            #expect(Set(train.samples.map(\.imageID)).isDisjoint(with: val.samples.map(\.imageID)))
            #expect(train.imagesShared(with: val) == 0)
            #expect(
                Set((train.samples + val.samples).map(\.id)).count == train.samples.count + val.samples.count)
        }
    }
}

/// A reader of scene graphs and GQA questions that shares nothing with the generator.
private struct Witness {
    private struct Thing {
        var words: [String]
        var x: Int
        var y: Int
        var isLarge: Bool
        var attributes: [String]
    }
    private let things: [Thing]

    init(_ graph: JSON) {
        things = (graph["objects"]?.members ?? []).map { member in
            let object = member.value
            func number(_ key: String) -> Int { object[key]?.integer ?? 0 }
            let attributes = object["attributes"]?.array?.compactMap(\.string) ?? []
            return Thing(
                words: attributes + [object["name"]?.string ?? "", "object"],
                x: 2 * number("x") + number("w"), y: 2 * number("y") + number("h"),
                isLarge: attributes.contains("large"), attributes: attributes)
        }
    }

    private func find(_ words: some Sequence<Substring>) -> [Thing] {
        things.filter { thing in words.allSatisfy { thing.words.contains(String($0)) } }
    }

    /// The kind of a question and its answer; nil when it cannot be answered.
    func answer(_ text: String) -> (String, String)? {
        let words = text.dropLast().split(separator: " ")
        func yes(_ value: Bool) -> String { value ? "yes" : "no" }
        func only(_ words: some Sequence<Substring>) -> Thing? {
            let found = find(words)
            return found.count == 1 ? found[0] : nil
        }
        if text.hasPrefix("Is there a") { return ("exist", yes(!find(words.dropFirst(3)).isEmpty)) }
        if text.hasPrefix("What texture") {
            return only(words.dropFirst(4).dropLast()).map { ("query", $0.attributes[1]) }
        }
        if text.hasPrefix("What") {
            guard let thing = only(words.dropFirst(4)) else { return nil }
            switch words[1] {
            case "size": return ("query", thing.attributes[0])
            case "color": return ("query", thing.attributes[2])
            default: return ("query", thing.words[3])
            }
        }
        let parts = text.dropLast().components(separatedBy: " the ")
        if let than = words.firstIndex(of: "than") {
            guard let one = only(words[2..<than - 1]), let other = only(words[(than + 2)...]) else {
                return nil
            }
            let isLarger = one.isLarge && !other.isLarge
            return ("size", yes(words[than - 1] == "larger" ? isLarger : !one.isLarge && other.isLarge))
        }
        if let side = words.firstIndex(where: { ["left", "right", "above", "below"].contains($0) }) {
            let isBeside = words[side] == "left" || words[side] == "right"
            guard let one = only(words[2..<(isBeside ? side - 2 : side)]),
                let other = only(words[(isBeside ? side + 3 : side + 2)...])
            else { return nil }
            switch words[side] {
            case "left": return ("position", yes(one.x < other.x))
            case "right": return ("position", yes(one.x > other.x))
            case "above": return ("position", yes(one.y < other.y))
            default: return ("position", yes(one.y > other.y))
            }
        }
        guard parts.count == 2, let value = words.last else { return nil }
        let nouns = words.dropFirst(2).dropLast().filter { $0 != "a" && $0 != "an" }
        return only(nouns).map { ("verify", yes($0.words.contains(String(value)))) }
    }
}
