import Support
import Tasks
import Testing

@Suite("Task registry")
struct RegistryTests {
    @Test("finds every family by its name and aliases, whatever the case, and no two share one")
    func names() throws {
        var seen: Set<String> = []
        for task in TaskRegistry.all {
            for name in [task.name] + task.about.aliases {
                #expect(try TaskRegistry.named(name.uppercased()).name == task.name)
                #expect(seen.insert(name).inserted, "\(name) is used twice")
            }
        }
    }

    @Test("suggests the nearest name for an unknown one")
    func unknown() {
        #expect(
            message { _ = try TaskRegistry.named("easy-vaq") }
                == "there is no such task: easy-vaq: the tasks are "
                + "\(TaskRegistry.all.map(\.name).joined(separator: ", ")); did you mean 'easy-vqa'?"
        )
    }

    @Test("suggests the nearest split for an unknown one")
    func unknownSplit() {
        let text = message { _ = try VQAv2().load("data", split: "tran") }
        #expect(text.contains("did you mean 'train'?"))
    }
}

@Suite("easy-VQA reader")
struct EasyVQATests {
    /// A package of 100 images with one question each, in a folder.
    private func withPackage<Result>(_ body: (String) throws -> Result) throws -> Result {
        try withFolder { folder in
            for part in ["train", "test"] {
                try makeFolder("\(folder)/data/\(part)/images")
                let records = (0..<100).map { #"["is there a circle?", "no", \#($0)]"# }
                try writeFile(
                    "[" + records.joined(separator: ",") + "]", to: "\(folder)/data/\(part)/questions.json")
            }
            try writeFile("circle\nyes\nno\n", to: "\(folder)/data/answers.txt")
            return try body(folder)
        }
    }

    @Test("reads questions, answers, images and the list of answers")
    func layout() throws {
        try withPackage { folder in
            let data = try EasyVQA().load(folder, split: "train")
            #expect(data.samples.count == 100)
            #expect(data.answerList == ["circle", "yes", "no"])
            let last = data.samples[99]
            #expect(last.id.json == 99)
            #expect(last.images == ["\(folder)/data/train/images/99.png"])
            #expect(last.answers == ["no"])
            #expect(last.answer == "no")
            #expect(try EasyVQA().load("\(folder)/data", split: "test").samples.count == 100)
        }
    }

    @Test("cuts train by image into val and the rest, always the same way")
    func validationSplit() throws {
        try withPackage { folder in
            let train = try EasyVQA().load(folder, split: "train")
            let val = try EasyVQA().load(folder, split: "val")
            let rest = try EasyVQA().load(folder, split: "train-without-val")
            #expect(val.imagesShared(with: rest) == 0)
            #expect(val.imagesShared(with: train) == val.samples.count)
            #expect(Set((val.samples + rest.samples).map(\.id)) == Set(train.samples.map(\.id)))
            #expect(val.samples.map(\.imageID).prefix(4) == ["9", "20", "65", "81"])
        }
    }

    @Test("tells question types by their wording")
    func types() throws {
        let expected = [
            "what color is the circle?": "color", "what is the color of the shape?": "color",
            "what shape is present?": "shape", "what is the red shape?": "shape",
            "is a red shape present?": "is there the color",
            "does the image contain a circle?": "is there the shape",
            "is no red shape present?": "is there not the color",
            "is there not a circle in the image?": "is there not the shape",
        ]
        for (question, type) in expected {
            try withFile(#"[["\#(question)", "x", 1]]"#) { path in
                let data = try EasyVQA().load(TaskFiles(questions: path), split: nil)
                #expect(data.samples.first?.questionType == type)
            }
        }
    }

    @Test("names the byte and the record of a faulty one")
    func faults() throws {
        let texts = [
            #"[["q", "yes"]]"#:
                "byte 13, record 1: a record is [question, answer, image id]; here is no image id",
            #"[["q", "yes", 1], ["q", 3, 1]]"#: "record 2: the answer is not a string",
            #"[["q", "yes", "x"]]"#: "record 1: expected a number",
            #"[["q", "yes", 99999999999999999999]]"#: "record 1: expected a 64-bit integer",
            #"[["q", "yes", 1, 2]]"#: "a record has three parts, here are more",
            #"[["q", "yes", 1]"#: "byte 16: expected ',' or ']', the text ends",
            #"{}"#: "expected an array, found '{'",
        ]
        for (text, expected) in texts {
            try withFile(text) { path in
                let found = message { _ = try EasyVQA().load(TaskFiles(questions: path), split: nil) }
                #expect(found.contains(expected), "\(found)")
            }
        }
    }

    @Test(
        "the package itself: 38,575 and 9,673 questions, 13 answers, priors of 67.0 % and 37.33 %",
        .enabled(if: hasEasyVQA, "the easy-vqa package is not set up"))
    func package() throws {
        let train = try EasyVQA().load(easyVQAFolder, split: "train")
        let test = try EasyVQA().load(easyVQAFolder, split: "test")
        #expect(train.samples.count == 38575)
        #expect(test.samples.count == 9673)
        #expect(train.answerList?.count == 13)
        #expect(train.samples.count { $0.answerType == "yes/no" } == 28407)
        #expect(test.samples.count { $0.answerType == "yes/no" } == 7136)
        let baseline = try PriorBaseline(train: train)
        #expect(try score(baseline.perQuestion(test), on: test, task: EasyVQA()).overall == 67.0)
        #expect(try score(baseline.global(test), on: test, task: EasyVQA()).overall == 37.33)
        #expect(
            !validate(EasyVQA(), files: try EasyVQA().files(in: easyVQAFolder, split: "test"), split: "test")
                .isFatal)
    }
}

@Suite("VQA v2 reader")
struct VQAv2Tests {
    @Test(
        "joins annotations in any order, and the first fault is that of the questions, then of the first record"
    )
    func order() throws {
        try withFolder { folder in
            let (questions, annotations) = ("\(folder)/q", "\(folder)/a")
            func question(_ id: Int) -> String {
                "{\"question_id\": \(id), \"image_id\": \(id / 3), \"question\": \"what?\"}"
            }
            func annotation(_ id: Int, _ more: String = "") -> String {
                "{\"question_id\": \(id), \"answers\": [{\"answer\": \"answer \(id)\"}]\(more)}"
            }
            func load(_ asked: [String], _ annotated: [String]) throws -> TaskData {
                try writeFile("{\"questions\": [\(asked.joined(separator: ","))]}", to: questions)
                try writeFile("{\"annotations\": [\(annotated.joined(separator: ","))]}", to: annotations)
                return try VQAv2().load(
                    TaskFiles(questions: questions, annotations: annotations, images: "i"), split: nil)
            }
            var random = CounterRandom(seed: 1, purpose: "test")
            let ids = Array(0..<500)
            for order in [ids, ids.reversed(), ids.shuffled(using: &random)] {
                let data = try load(ids.map(question), order.map { annotation($0) })
                #expect(data.samples.map(\.answers) == ids.map { ["answer \($0)"] })
                #expect(
                    data.samples.map(\.images)
                        == ids.map {
                            ["i/COCO_train2014_\(String(1_000_000_000_000 + $0 / 3).dropFirst()).jpg"]
                        })
            }
            func fault(_ asked: [String], _ annotated: [String]) -> String {
                message { _ = try load(asked, annotated) }
            }
            let two = [question(1), question(2)]
            #expect(fault(two + two, ["{}"]).contains("the question id 1 was used in record 1"))
            #expect(fault(two, [annotation(1), annotation(1), "{}"]).contains("was annotated in record 1"))
            #expect(fault(two, [annotation(1), "{}", annotation(1)]).contains("record 2"))
            #expect(fault(two, [annotation(2)]).contains("the question 1 has no annotation"))
            #expect(fault(two, [annotation(1), annotation(2), "]"]).contains("\(annotations), byte"))

            // All of them, when all are wanted.
            try writeFile("{\"questions\": [\((two + [question(3)]).joined(separator: ","))]}", to: questions)
            try writeFile(
                "{\"annotations\": [\([annotation(1), "{}", annotation(1), annotation(9), annotation(3)].joined(separator: ","))]}",
                to: annotations)
            let report = validate(
                VQAv2(), files: TaskFiles(questions: questions, annotations: annotations), split: nil)
            #expect(
                report.log.counts == [
                    .badRecord: 1, .duplicateID: 1, .annotationWithoutQuestion: 1,
                    .questionWithoutAnnotation: 1,
                ])
        }
    }

    @Test("joins questions and annotations, names COCO images, ignores what it does not know")
    func joins() throws {
        try withFolder { folder in
            try writeFile(
                #"{"info": {"x": [1, {}]}, "data_subtype": "test-dev2015", "questions": ["#
                    + #"{"image_id": 42, "question": "What?", "question_id": 7, "split": "x"}, "#
                    + #"{"question_id": "b", "image_id": 42, "question": "Why?"}]}"#, to: "\(folder)/q")
            try writeFile(
                #"{"annotations": [{"question_id": "b", "#
                    + #""answers": [{"answer": "a", "answer_id": 1}, {"answer": "c"}]}, "#
                    + #"{"question_id": 7, "question_type": "what", "answer_type": "other", "#
                    + #""multiple_choice_answer": "net", "answers": [{"answer": "x"}, {"answer": "net"}]}]}"#,
                to: "\(folder)/a")
            let files = TaskFiles(questions: "\(folder)/q", annotations: "\(folder)/a", images: "img")
            let data = try VQAv2().load(files, split: nil)
            #expect(data.samples.map(\.id.json) == [7, "b"])
            #expect(data.samples[0].images == ["img/COCO_test2015_000000000042.jpg"])
            #expect(data.samples[0].answer == "net")
            #expect(data.samples[0].questionType == "what")
            #expect(data.samples[1].answers == ["a", "c"])
            #expect(data.samples[1].answer == "a")
            #expect(data.notes.isEmpty)
        }
    }

    @Test("knows the official file names of each split")
    func files() throws {
        let dev = try VQAv2().files(in: "d", split: "test-dev")
        #expect(dev.questions == "d/v2_OpenEnded_mscoco_test-dev2015_questions.json")
        #expect(dev.annotations == nil)
        #expect(dev.images == "d/test2015")
        #expect(
            try VQAv2().files(in: "d", split: "val").annotations == "d/v2_mscoco_val2014_annotations.json")
    }

    @Test("says what is wrong and where")
    func faults() throws {
        func question(_ text: String) -> String { #"{"questions": [\#(text)]}"# }
        let good = #"{"question_id": 1, "image_id": 1, "question": "q"}"#
        let texts = [
            question(#"{"question_id": 1, "image_id": 1}"#): "record 1: the record 1 has no question",
            question(good + "," + good): "record 2: the question id 1 was used in record 1",
            question(#"{"question_id": 1.5, "image_id": 1, "question": "q"}"#): "64-bit integer, not 1.5",
            question(#"{"question_id": [1], "image_id": 1, "question": "q"}"#):
                "neither a number nor a string",
            question(#"{"question_id": 1, "image_id": "../../x", "question": "q"}"#):
                "it leads out of the folder",
            #"{"images": []}"#: "there is no key 'questions'",
        ]
        for (text, expected) in texts {
            try withFile(text) { path in
                let found = message {
                    _ = try VQAv2().load(TaskFiles(questions: path, images: "img"), split: nil)
                }
                #expect(found.contains(expected), "\(found)")
            }
        }
    }

    @Test("refuses compressed, UTF-16 and git-lfs files with the remedy")
    func wrongFiles() throws {
        let files: [([UInt8], String)] = [
            ([0x1F, 0x8B, 8, 0], "unpack it with gunzip"), ([0xFF, 0xFE, 0x7B, 0], "save it as UTF-8"),
            (Array("version https://git-lfs.github.com/spec/v1".utf8), "git lfs pull"),
            (
                Array(#"{"questions": [{"question": ""#.utf8) + [0xC3, 0x28] + Array(#""}]}"#.utf8),
                "not UTF-8"
            ),
        ]
        for (bytes, expected) in files {
            try withFile(bytes) { path in
                let found = message { _ = try VQAv2().load(TaskFiles(questions: path), split: nil) }
                #expect(found.contains(expected), "\(found)")
            }
        }
    }

    @Test(
        "reads the official sample records with their photographs",
        .enabled(if: hasAllennlp, "no shared data"))
    func officialRecords() throws {
        let folder = "\(allennlpFolder)/vqav2"
        let files = TaskFiles(
            questions: "\(folder)/questions.json", annotations: "\(folder)/annotations.json",
            images: "\(allennlpFolder)/images/vqav2")
        let data = try VQAv2().load(files, split: "train")
        #expect(data.samples.count == 3)
        #expect(data.samples.allSatisfy { $0.answers.count == 10 && fileExists($0.images[0]) })
        // Spec 5.2 of DVP: net 1.0, netting 0.3, mesh 0.9, «a net» is not in the vocabulary.
        let vocabulary = try AnswerVocabulary(["net", "mesh", "netting"], rule: .released)
        let targets = vocabulary.targets(for: data.samples[0])
        #expect(targets.first == AnswerVocabulary.Target(number: 0, score: 1))
    }
}

@Suite("Question ids")
struct QuestionIDTests {
    @Test("are equal when their texts are, and keep their kind")
    func equality() {
        for number in [0, 7, -7, 42, 262_148_000, Int.max, Int.min] {
            let (a, b) = (QuestionID(number), QuestionID(String(number)))
            #expect(a == b && a.hashValue == b.hashValue && a.text == b.text && a.text == "\(number)")
            #expect(a.json == .integer(number) && b.json == .string("\(number)"))
            #expect(a.isNumber && !b.isNumber)
        }
        let texts = [
            "007", "7", "+7", "-0", "0", "", " 7", "7 ", "7.0", "9223372036854775808", "\u{667}", "a", "7\0",
        ]
        for a in texts {
            #expect(QuestionID(a).text == a && QuestionID(a).json == .string(a))
            for b in texts { #expect((QuestionID(a) == QuestionID(b)) == (a == b), "\(a) \(b)") }
        }
    }
}
