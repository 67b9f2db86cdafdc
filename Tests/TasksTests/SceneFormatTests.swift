import Foundation
import Support
import Tasks
import Testing

@Suite("Made-up scenes: formats")
struct SceneFormatTests {
    private let options = SceneOptions(seed: 9, images: 80, size: 64)

    private func strings(_ json: JSON?) -> [String] { json?.array?.compactMap(\.string) ?? [] }

    @Test("VQA v2 is read back with ten answers and its images; pairs have one text and two answers")
    func vqav2() throws {
        try withScenes(.vqav2, options) { folder, manifest in
            let train = try VQAv2().load(folder, split: "train")
            #expect(train.notes == [])
            #expect(train.samples.count == manifest.figures("train")?.questions)
            for sample in train.samples {
                #expect(sample.answers.count == 10 && sample.images.allSatisfy(fileExists))
                #expect(sample.answers.count { $0 == sample.answer } >= 7)
                #expect(sample.questionType != nil && sample.questionType != "none of the above")
            }
            #expect(Set(train.samples.compactMap(\.answerType)) == ["yes/no", "number", "other"])
            #expect(try VQAv2().load(folder, split: "test").samples.allSatisfy { $0.answers.isEmpty })
            let byID = Dictionary(uniqueKeysWithValues: train.samples.map { ($0.id.text, $0) })
            let pairs =
                try JSON(contentsOf: "\(folder)/v2_mscoco_train2014_complementary_pairs.json").array ?? []
            #expect(pairs.count == train.samples.count / 2)
            for pair in pairs {
                let two = pair.array?.compactMap { $0.integer.flatMap { byID[String($0)] } } ?? []
                try #require(two.count == 2)
                #expect(two[0].question == two[1].question && two[0].answer != two[1].answer)
                #expect(two[0].imageID != two[1].imageID)
            }
        }
    }

    @Test("A-OKVQA has four choices, ten answers, three reasons; the test file hides them")
    func aokvqa() throws {
        try withScenes(.aokvqa, options) { folder, _ in
            let records = try JSON(contentsOf: "\(folder)/aokvqa_v1p0_train.json").array ?? []
            #expect(records.count > 300)
            var places: [Int: Int] = [:]
            for record in records {
                let choices = strings(record["choices"])
                let correct = try #require(record["correct_choice_idx"]?.integer)
                #expect(choices.count == 4 && Set(choices).count == 4)
                #expect(mostFrequent(strings(record["direct_answers"])) == choices[correct])
                #expect(strings(record["direct_answers"]).count == 10)
                #expect(Set(strings(record["rationales"])).count == 3)
                #expect(record["question_id"]?.string?.count == 22)
                #expect(record["difficult_direct_answer"] == false && record["split"] == "train")
                let image = String(try #require(record["image_id"]?.integer))
                let digits = String(repeating: "0", count: 12 - image.count) + image
                #expect(fileExists("\(folder)/train2017/\(digits).jpg"))
                places[correct, default: 0] += 1
            }
            #expect(places.count == 4 && places.values.allSatisfy { $0 > records.count / 6 })
            #expect(Set(records.compactMap { $0["question_id"]?.string }).count == records.count)
            let hidden = try JSON(contentsOf: "\(folder)/aokvqa_v1p0_test.json").array ?? []
            let known = try JSON(contentsOf: "\(folder)/aokvqa_v1p0_test_answers.json").array ?? []
            #expect(hidden.count == known.count && !hidden.isEmpty)
            for (one, other) in zip(hidden, known) {
                #expect(one["question_id"] == other["question_id"])
                #expect(
                    one["direct_answers"] == nil && one["correct_choice_idx"] == nil
                        && one["rationales"] == nil)
            }
        }
    }

    @Test("GQA has every key, equivalents that answer alike, and scene graphs with ids that exist")
    func gqa() throws {
        try withScenes(.gqa, options) { folder, _ in
            let questions = try JSON(contentsOf: "\(folder)/train_balanced_questions.json")
            let graphs = try JSON(contentsOf: "\(folder)/train_sceneGraphs.json")
            var answers: [String: String] = [:]
            for member in questions.members ?? [] { answers[member.key] = member.value["answer"]?.string }
            var twins = 0
            for member in questions.members ?? [] {
                let keys = member.value.members?.map(\.key) ?? []
                #expect(
                    keys.sorted() == [
                        "annotations", "answer", "entailed", "equivalent", "fullAnswer", "groups", "imageId",
                        "isBalanced", "question", "semantic", "semanticStr", "types",
                    ])
                let equivalent = strings(member.value["equivalent"])
                #expect(equivalent.contains(member.key))
                for other in equivalent { #expect(answers[other] == answers[member.key]) }
                twins += equivalent.count - 1
                #expect(fileExists("\(folder)/images/\(member.value["imageId"]?.string ?? "").jpg"))
                let graph = graphs[member.value["imageId"]?.string ?? ""]
                for mention in member.value["annotations"]?["question"]?.members ?? [] {
                    let object = try #require(graph?["objects"]?[mention.value.string ?? ""])
                    let words =
                        member.value["question"]?.string?.split { !$0.isLetter }.map(String.init) ?? []
                    let word = words[try #require(Int(mention.key))]
                    #expect(word == "object" || word == object["name"]?.string)
                }
                let steps = member.value["semantic"]?.array ?? []
                #expect(steps.count >= 2)
                for (index, step) in steps.enumerated() {
                    #expect(step["dependencies"]?.array?.allSatisfy { ($0.integer ?? .max) < index } == true)
                }
            }
            #expect(twins >= 100)
            #expect(fileExists("\(folder)/testdev_balanced_questions.json"))
            #expect(!fileExists("\(folder)/testdev_sceneGraphs.json"))
        }
    }

    @Test("LLaVA dialogues take turns, show the image first and end with a description")
    func llava() throws {
        try withScenes(.llava, options) { folder, _ in
            for split in ["train", "val", "test"] {
                let records = try JSON(contentsOf: "\(folder)/llava_\(split).json").array ?? []
                #expect(records.count == (split == "train" ? 64 : 8))
                for record in records {
                    let turns = record["conversations"]?.array ?? []
                    #expect(turns.count >= 10 && turns.count % 2 == 0)
                    for (index, turn) in turns.enumerated() {
                        #expect(turn["from"] == (index % 2 == 0 ? "human" : "gpt"))
                        #expect(turn["value"]?.string?.hasPrefix("<image>\n") == (index == 0))
                    }
                    #expect(turns.last?["value"]?.string?.hasPrefix("The picture has a ") == true)
                    #expect(fileExists("\(folder)/\(record["image"]?.string ?? "")"))
                }
            }
        }
    }

    @Test("COCO has five captions for every image")
    func coco() throws {
        try withScenes(.coco, options) { folder, _ in
            let file = try JSON(contentsOf: "\(folder)/annotations/captions_train2017.json")
            let images = file["images"]?.array ?? []
            let annotations = file["annotations"]?.array ?? []
            #expect(images.count == 64 && annotations.count == 320)
            #expect(images.allSatisfy { fileExists("\(folder)/train2017/\($0["file_name"]?.string ?? "")") })
            #expect(Set(annotations.compactMap { $0["id"]?.integer }).count == 320)
            let grouped = Dictionary(grouping: annotations) { $0["image_id"]?.integer ?? 0 }
            #expect(Set(grouped.keys) == Set(images.compactMap { $0["id"]?.integer }))
            for captions in grouped.values {
                #expect(Set(captions.compactMap { $0["caption"]?.string }).count == 5)
                #expect(captions.allSatisfy { $0["caption"]?.string?.hasSuffix(".") == true })
            }
        }
    }

    @Test("easy-VQA is read back; each text has yes and no, or every answer, equally often")
    func easyVQA() throws {
        try withScenes(.easyVQA, SceneOptions(seed: 2, images: 83, size: 64)) { folder, manifest in
            let train = try EasyVQA().load(folder, split: "train")
            #expect(train.answerList?.count == 18)
            #expect(train.samples.allSatisfy { $0.images.allSatisfy(fileExists) })
            #expect(try EasyVQA().load(folder, split: "test").samples.count > 40)
            for (text, samples) in Dictionary(grouping: train.samples, by: \.question) {
                let counts = Dictionary(grouping: samples, by: { $0.answer ?? "" }).mapValues(\.count)
                #expect(Set(counts.values).count == 1, "\(text): \(counts)")
                #expect(counts.count == (text.hasPrefix("what") ? 8 : 2))
            }
            #expect(
                Set(train.samples.compactMap(\.questionType)) == [
                    "color", "shape", "is there the color", "is there the shape", "is there not the color",
                    "is there not the shape",
                ])
            #expect(manifest.images.map(\.split) == ["train", "test"])
        }
    }

    @Test("A table is read back with answers, choices and reasons")
    func table() throws {
        try withScenes(.table, options) { folder, manifest in
            let data = try Table().load(folder, split: "train")
            #expect(data.samples.count == manifest.figures("train")?.questions && data.notes == [])
            for sample in data.samples {
                #expect(sample.answers.count == 10 && sample.choices?.contains(sample.answer ?? "") == true)
                #expect(sample.rationale?.hasSuffix(".") == true && sample.images.allSatisfy(fileExists))
            }
        }
    }

    @Test("VL-ICL: names with five images each, balanced counts, operators on digits that support has not")
    func vlicl() throws {
        try withScenes(.vlicl, SceneOptions(seed: 6, images: 320, size: 64)) { folder, manifest in
            func records(_ name: String) throws -> [JSON] {
                try JSON(contentsOf: "\(folder)/\(name).json").array ?? []
            }
            for query in try records("open_mi/query") {
                let classes = strings(query["classes"])
                #expect(Set(classes).count == 5 && classes.contains(query["answer"]?.string ?? ""))
                #expect(query["support"]?.members?.map(\.key) == classes)
                for member in query["support"]?.members ?? [] {
                    let images = strings(member.value["images"])
                    #expect(images.count == 5 && images.allSatisfy { fileExists("\(folder)/\($0)") })
                }
            }
            #expect(try records("open_mi/support").count == 25 * records("open_mi/query").count)
            #expect(try records("clevr/support").count == 128 && records("clevr/query").count == 32)
            for part in ["support", "query"] {
                let counts = Dictionary(grouping: try records("clevr/\(part)")) {
                    $0["question"]?.string ?? ""
                }
                for (text, group) in counts {
                    let answers = Dictionary(grouping: group, by: { $0["answer"]?.integer ?? -1 }).mapValues(
                        \.count)
                    #expect(
                        answers.keys.sorted() == [0, 1, 2, 3] && Set(answers.values).count == 1, "\(text)")
                }
            }
            let (support, query) = (
                try records("operator_induction/support"), try records("operator_induction/query")
            )
            #expect(support.count == 80 && query.count == 60)
            for record in support + query {
                let image = try #require(strings(record["image"]).first)
                #expect(fileExists("\(folder)/\(image)"))
                let digits = image.split { !$0.isNumber }.compactMap { Int($0) }
                let results: [JSON] = [
                    .integer(digits[0] + digits[1]), .integer(digits[0] - digits[1]),
                    .integer(digits[0] * digits[1]),
                ]
                if let sign = record["operator"]?.string, let position = ["+", "-", "x"].firstIndex(of: sign)
                {
                    #expect(record["answer"] == results[position])
                } else {
                    #expect(record["answer"] == .array(results))
                }
            }
            func names(_ records: [JSON]) -> Set<Substring> {
                Set(records.flatMap { strings($0["image"]).compactMap { $0.split(separator: "/").last } })
            }
            #expect(names(support).isDisjoint(with: names(query)))
            #expect(manifest.types("query") == ["clevr", "open_mi", "operator_induction"])
        }
    }

    @Test("The manifest tells options, counts and the baseline of the text alone")
    func manifest() throws {
        try withScenes(.vqav2, options) { folder, manifest in
            let file = try JSON(contentsOf: "\(folder)/scenes.json")
            #expect(file == (try JSON(parsing: Array(manifest.json.text().utf8), source: "manifest")))
            #expect(file["format"] == "vqav2" && file["options"]?["seed"] == 9)
            let count = file["splits"]?["train"]?["types"]?["count"]
            #expect(count?["chance"]?.double == 25 && count?["question_only"]?.double == 25)
            let answers = count?["answers"]?.members?.compactMap(\.value.integer) ?? []
            #expect(answers.reduce(0, +) == count?["questions"]?.integer)
            #expect(manifest.lines.contains { $0.contains("question only") })
            #expect(manifest.lines.first == "train: 64 images")
        }
    }
}
