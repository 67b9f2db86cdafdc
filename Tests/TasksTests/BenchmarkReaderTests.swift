import Foundation
import Support
import Tasks
import Testing

/// Small files in the official layouts, made up.
enum Official {
    static let aokvqa = """
        [{"split": "val", "image_id": 461751, "question_id": "22jbM6gDxdaMaunuzgrsBB", "question": "What is it?",
        "choices": ["pick", "food", "stick", "cigar"], "correct_choice_idx": 3, "direct_answers": ["cigar", "cigar",
        "smoke", "it's", "cigar", "pipe", "pipe", "red, blue", "food", "food"], "difficult_direct_answer": false,
        "rationales": ["r1", "r2", "r3"]},
        {"split": "val", "image_id": 12, "question_id": "b", "question": "Why?", "choices": ["x", "y", "z", "x"],
        "correct_choice_idx": 1, "direct_answers": ["y", "y", "y", "y", "y", "y", "y", "y", "y", "y"],
        "difficult_direct_answer": true, "rationales": []}]
        """
    static let subQuestions = """
        [{"question_id": "b", "image_id": "000000000012", "more": 1, "sub_qa": [{"sub_question": "What?",
        "tag_answer": "cat"}, {"sub_question": "Who?", "tag_answer": "dog"}]}]
        """
    static let gqa = """
        {"1": {"semantic": [{"operation": "select", "dependencies": [], "argument": "board (0)"},
        {"operation": "relate", "dependencies": [0], "argument": "_,above,s (12)"},
        {"operation": "query", "dependencies": [1], "argument": "name"}], "entailed": ["1", "3", "4"],
        "equivalent": ["1"], "question": "What is above it?", "imageId": "n5", "isBalanced": true,
        "groups": {"global": "thing", "local": "x"}, "answer": "picture",
        "types": {"detailed": "relS", "semantic": "rel", "structural": "query"}},
        "2": {"semantic": [{"operation": "exist", "dependencies": [], "argument": "?"}], "entailed": [],
        "question": "Is it red?", "imageId": "6", "isBalanced": true, "groups": {"global": null, "local": "y"},
        "answer": "yes", "types": {"detailed": "existC", "semantic": "obj", "structural": "verify"}},
        "3": {"question": "Is there a picture?", "imageId": "n5", "isBalanced": false, "answer": "yes",
        "types": {"detailed": "exist", "semantic": "obj", "structural": "verify"}, "groups": {"global": null}},
        "4": {"question": "Is it big?", "imageId": "n5", "isBalanced": false, "answer": "no",
        "types": {"detailed": "exist", "semantic": "obj", "structural": "verify"}, "groups": {"global": null}},
        "5": {"semantic": [], "question": "What colour?", "imageId": "6", "isBalanced": true, "answer": "chair",
        "entailed": ["5"], "groups": {"global": "thing"},
        "types": {"detailed": "twoCommon", "semantic": "attr", "structural": "query"}}}
        """
    static let gqaChoices = """
        {"1": {"valid": ["picture", "book"], "plausible": ["picture"]}, "2": {"valid": ["yes", "no"],
        "plausible": ["yes"]}, "5": {"valid": ["x"], "plausible": ["x"]}, "99": {"valid": [], "plausible": []}}
        """
    static let visualGenome = """
        [{"id": 4, "qas": [{"a_objects": [], "question": "What is on it?", "image_id": 4, "qa_id": 987,
        "answer": "Sail boats.", "q_objects": []}, {"question": "Where?", "image_id": 4, "qa_id": 988,
        "answer": "In a room."}]}, {"id": 7, "qas": []}]
        """
    static let vizWiz = """
        [{"image": "V_0.jpg", "question": "What is this?", "answers": [{"answer": "unanswerable",
        "answer_confidence": "yes"}, {"answer": "unanswerable", "answer_confidence": "maybe"}, {"answer": "cup",
        "answer_confidence": "no"}], "answer_type": "unanswerable", "answerable": 0},
        {"image": "V_1.jpg", "question": "", "answers": [{"answer": "Don’t", "answer_confidence": "yes"},
        {"answer": "don’t", "answer_confidence": "yes"}, {"answer": "don’t", "answer_confidence": "yes"},
        {"answer": "don’t", "answer_confidence": "yes"}, {"answer": "don’t", "answer_confidence": "yes"}],
        "answer_type": "other", "answerable": 1}]
        """
    static let textVQA = """
        {"dataset_type": "val", "data": [{"question": "What Brand?", "image_id": "ab", "image_width": 5,
        "answers": ["nokia", "nokia", "Nokia", "the nokia", "dakota", "dakota", "x", "x", "x", "x"],
        "question_id": 34602, "question_tokens": ["what"], "set_name": "val"},
        {"question": "what year?", "image_id": "ab", "answers": ["1,000", "1000", "1000", "1000", "1000", "1000",
        "1000", "1000", "1000", "1000"], "question_id": 34603}]}
        """
    static let textVQAFound =
        #"{"data": [{"image_id": "ab", "ocr_tokens": ["NOKIA", "50"], "ocr_info": []}]}"#
    static let textVQALLaVA = """
        {"question_id": "ab", "image": "ab.jpg", "text": "what year?\\nReference OCR token: N, 5\\nAnswer now."}
        {"question_id": "ab", "image": "ab.jpg", "text": "What brand?\\nAnswer now."}

        """
    static let okvqaQuestions = """
        {"data_subtype": "val2014", "questions": [{"image_id": 297147, "question": "What sport?", "question_id": 2971475}]}
        """
    static let okvqaAnnotations = """
        {"annotations": [{"image_id": 297147, "answer_type": "other", "question_type": "four", "question_id": 2971475,
        "answers": [{"answer_id": 1, "raw_answer": "racing", "answer_confidence": "yes", "answer": "race"},
        {"answer_id": 2, "raw_answer": "racing", "answer": "race"}, {"answer_id": 3, "raw_answer": "dogs", "answer": "dog"},
        {"answer_id": 4, "raw_answer": "race", "answer": "race"}, {"answer_id": 5, "raw_answer": "r", "answer": "race"}],
        "confidence": 3}]}
        """
}

@Suite("Readers of the benchmarks")
struct BenchmarkReaderTests {
    private func load(_ task: any VQATask, _ text: String, images: String? = nil, split: String? = nil) throws
        -> TaskData
    {
        try withFile(text) { try task.load(TaskFiles(questions: $0, images: images), split: split) }
    }

    @Test("A-OKVQA gives options, rationales and the mark for difficult questions, in each of its settings")
    func aokvqa() throws {
        let direct = try load(AOKVQA(.directAnswer), Official.aokvqa, images: "coco", split: "val")
        #expect(direct.samples[0].answer == "cigar" && direct.samples[0].answers.count == 10)
        #expect(direct.samples[0].images == ["coco/val2017/000000461751.jpg"])
        #expect(direct.samples[0].choices == nil)
        #expect(direct.samples[0].rationales == ["r1", "r2", "r3"])
        #expect(direct.samples.map { $0.labels["difficult_direct_answer"] } == ["false", "true"])
        let choice = try load(AOKVQA(.multipleChoice), Official.aokvqa)
        #expect(choice.samples[0].choices == ["pick", "food", "stick", "cigar"])
        #expect(choice.samples[0].correctChoice == 3 && choice.samples[0].answer == "cigar")
        #expect(try load(AOKVQA(.released), Official.aokvqa, split: "train").samples.isEmpty)
        let files = try AOKVQA(.directAnswer).files(in: "d", split: "test")
        #expect(files.questions == "d/aokvqa_v1p0_test.json" && files.images == "d/test2017")
    }

    @Test("Q&A Prompts' sub-questions and tags are found by question and padded image")
    func subQuestions() throws {
        let data = try load(AOKVQA(.directAnswer), Official.aokvqa)
        try withFile(Official.subQuestions) { path in
            let found = try AOKVQASubQuestions(contentsOf: path)
            #expect(found[data.samples[1]]?.map(\.answer) == ["cat", "dog"])
            #expect(found[data.samples[0]] == nil && found.count == 1)
        }
        let again = Official.subQuestions.dropLast() + ", " + Official.subQuestions.dropFirst()
        let twice = try withFile(String(again)) { path in
            message { _ = try AOKVQASubQuestions(contentsOf: path) }
        }
        #expect(twice.contains("record 2: the question b has an entry already"))
        for text in [
            #"[{"image_id": 12, "tags": "cat | red dog"}]"#, #"{"000000000012": ["cat", "red dog"]}"#,
        ] {
            try withFile(text) { path in
                let tags = try AOKVQATags(contentsOf: path)
                #expect(tags[data.samples[1]] == ["cat", "red dog"])
                #expect(tags[data.samples[0]] == nil && tags.count == 1)
            }
        }
    }

    @Test("GQA gives types, groups, steps and what a question entails")
    func gqa() throws {
        let data = try load(GQA(), Official.gqa, images: "images")
        #expect(data.samples.map(\.id.text) == ["1", "2", "3", "4", "5"])
        let first = data.samples[0]
        #expect(first.images == ["images/n5.jpg"] && first.answers == ["picture"])
        #expect(first.questionType == "query" && first.answerType == "open")
        #expect(
            first.labels == [
                "balanced": "true", "semantic": "rel", "detailed": "relS", "group": "thing", "steps": "2",
            ])
        #expect(data.samples[1].labels["steps"] == "0" && data.samples[1].labels["group"] == nil)
        let details = try #require(data.details as? GQADetails)
        #expect(details.entailed[first.id]?.map(\.text) == ["1", "3", "4"])
        #expect(details.equivalent[first.id]?.map(\.text) == ["1"])
    }

    @Test("GQA's training set may be a folder of numbered files")
    func gqaFolder() throws {
        try withFolder { folder in
            try makeFolder("\(folder)/train_all_questions")
            for number in 0..<3 {
                try writeFile(
                    #"{"\#(number)": {"question": "q", "imageId": "1", "answer": "a"}}"#,
                    to: "\(folder)/train_all_questions/train_all_questions_\(number).json")
            }
            #expect(try GQA().load(folder, split: "train-all").samples.map(\.id.text) == ["0", "1", "2"])
        }
    }

    @Test(
        "GQA and Visual Genome read real records with their photographs",
        .enabled(if: hasAllennlp, "no shared data"))
    func realRecords() throws {
        for file in ["questions.json", "question_dir/questions0.json", "question_dir/questions1.json"] {
            let gqa = try GQA().load(
                TaskFiles(
                    questions: "\(allennlpFolder)/gqa/\(file)", images: "\(allennlpFolder)/images/gqa"),
                split: nil)
            #expect(gqa.samples.count == 1 && gqa.samples.allSatisfy { fileExists($0.images[0]) })
            #expect(gqa.samples.allSatisfy { $0.labels["steps"] != nil && $0.answers.count == 1 })
        }
        let genome = try VisualGenome().load(
            TaskFiles(
                questions: "\(allennlpFolder)/vgqa/question_answers.json",
                images: "\(allennlpFolder)/images/vgqa"),
            split: nil)
        #expect(genome.samples.count == 8)
        #expect(genome.samples[0].answers == ["Sailboats."] && genome.samples[0].questionType == "what")
    }

    @Test("Visual Genome's lists of an image become questions; an image lies in one of two folders")
    func visualGenome() throws {
        try withFolder { folder in
            try makeFolder("\(folder)/VG_100K_2")
            try writeFile("x", to: "\(folder)/VG_100K_2/4.jpg")
            try writeFile(Official.visualGenome, to: "\(folder)/question_answers.json")
            let data = try VisualGenome().load(folder, split: "all")
            #expect(data.samples.map(\.id.json) == [987, 988])
            #expect(data.samples[1].images == ["\(folder)/VG_100K_2/4.jpg"])
            let parts = try ["train", "val"].map { try VisualGenome().load(folder, split: $0).samples.count }
            #expect(parts.reduce(0, +) == 2 && parts.contains(0))
        }
    }

    @Test("VizWiz names a question by its image and keeps the annotators' confidence")
    func vizWiz() throws {
        let data = try load(VizWiz(), Official.vizWiz, images: "val")
        #expect(data.samples[0].id.text == "V_0.jpg" && data.samples[0].images == ["val/V_0.jpg"])
        #expect(data.samples[0].answers == ["unanswerable", "unanswerable", "cup"])
        #expect(data.samples.map { $0.labels["answerable"] } == ["no", "yes"])
        let confidences = try #require(data.details as? VizWiz.Confidences)
        #expect(confidences.byQuestion[data.samples[0].id] == ["yes", "maybe", "no"])
        #expect(data.notes.contains { $0.contains("the question V_1.jpg is empty") })
        let test = try load(VizWiz(), #"[{"image": "a.jpg", "question": "q"}]"#)
        #expect(test.samples[0].answers.isEmpty)
    }

    @Test("TextVQA takes the text found in the images from its own file, or LLaVA's questions")
    func textVQA() throws {
        try withFolder { folder in
            let (official, found, llava) = ("\(folder)/q.json", "\(folder)/o.json", "\(folder)/l.jsonl")
            try writeFile(Official.textVQA, to: official)
            try writeFile(Official.textVQAFound, to: found)
            try writeFile(Official.textVQALLaVA, to: llava)
            let data = try TextVQA().load(
                TaskFiles(questions: official, images: "i", extra: found), split: "val")
            #expect(data.samples[0].context == "NOKIA, 50" && data.samples[0].images == ["i/ab.jpg"])
            #expect(
                TextVQA().prompt(for: data.samples[0])
                    == "What Brand?\nReference OCR token: NOKIA, 50\nAnswer the question using a single word or phrase."
            )
            let asked = try TextVQA().load(
                TaskFiles(questions: llava, annotations: official, images: "i"), split: nil)
            #expect(asked.samples.map(\.id.json) == [34603, 34602])
            #expect(asked.samples.map(\.context) == ["N, 5", nil])
            let alone = message { _ = try TextVQA().load(TaskFiles(questions: llava), split: nil) }
            #expect(alone.contains("TextVQA_0.5.1_val.json") || alone.contains("expected the end"))
        }
    }

    @Test("OK-VQA names its knowledge categories and images")
    func okvqa() throws {
        try withFolder { folder in
            try writeFile(
                Official.okvqaQuestions, to: "\(folder)/OpenEnded_mscoco_val2014_questions.json")
            try writeFile(Official.okvqaAnnotations, to: "\(folder)/mscoco_val2014_annotations.json")
            let data = try OKVQA().load(folder, split: "val")
            #expect(data.samples[0].questionType == "sports and recreation")
            #expect(data.samples[0].images == ["\(folder)/val2014/COCO_val2014_000000297147.jpg"])
            #expect(data.samples[0].answers == ["race", "race", "dog", "race", "race"])
        }
    }

    @Test("every documented fault is one line with its record")
    func faults() throws {
        let cases: [(any VQATask, String, String)] = [
            (AOKVQA(.directAnswer), #"[{"question_id": "a"}]"#, "record 1: the question a has no image_id"),
            (
                AOKVQA(.multipleChoice),
                #"[{"question_id": "a", "image_id": 1, "question": "q", "choices": ["x"], "correct_choice_idx": 1}]"#,
                "correct_choice_idx 1 of the question a is outside its 1 choices"
            ),
            (
                AOKVQA(.directAnswer),
                #"[{"question_id": "a", "image_id": 1, "question": "q", "choices": ["x"], "correct_choice_idx": 1e99}]"#,
                "a 64-bit integer, not 1e99"
            ),
            (
                AOKVQA(.directAnswer),
                Official.aokvqa.replacingOccurrences(of: "\"b\"", with: "\"22jbM6gDxdaMaunuzgrsBB\""),
                "record 2: the question id 22jbM6gDxdaMaunuzgrsBB was used in record 1"
            ),
            (GQA(), #"{"1": {"question": "q"}}"#, "record 1: the question 1 has no imageId"),
            (GQA(), #"{"1": []}"#, "the question 1 is not an object"),
            (GQA(), #"{"1": {"question": "q", "imageId": "../x", "answer": "a"}}"#, "out of the folder"),
            (GQA(), #"[1]"#, "expected an object"),
            (VisualGenome(), #"[{"id": 1}]"#, "record 1: the record has no list 'qas'"),
            (
                VisualGenome(), #"[{"id": 1, "qas": [{"qa_id": 2, "question": "q"}]}]"#,
                "the question 2 has no answer"
            ),
            (VizWiz(), #"[{"question": "q"}]"#, "record 1: the record has no image"),
            (VizWiz(), #"[{"image": "/etc/x", "question": "q"}]"#, "out of the folder"),
            (
                VizWiz(), #"[{"image": "a", "question": "q", "answerable": 7}]"#,
                "answerable is 7, neither 0 nor 1"
            ),
            (
                VizWiz(), #"[{"image": "a", "question": "q", "answers": [{"answer_confidence": "yes"}]}]"#,
                "an entry of answers has no key 'answer'"
            ),
            (TextVQA(), #"{"data": [{"question_id": 1, "image_id": "a"}]}"#, "the record 1 has no question"),
            (TextVQA(), #"{}"#, "there is no key 'data'"),
            (TextVQA(), #"{"data": [{"question_id": 1, "image_id""#, "byte 39"),
        ]
        for (task, text, expected) in cases {
            let found = message { _ = try load(task, text, images: "img") }
            #expect(found.contains(expected), "\(found)")
            #expect(!found.contains("\n"))
        }
    }

    @Test("the prompts are those of the benchmarks' users")
    func prompts() throws {
        let short = "Answer the question using a single word or phrase."
        let plain = sample(1, ["a"], question: "Why?")
        var withOptions = plain
        withOptions.choices = ["a b", "c"]
        #expect(GQA().prompt(for: plain) == "Why?\n\(short)")
        #expect(OKVQA().prompt(for: plain) == "Question: Why? Short answer:")
        #expect(
            VizWiz().prompt(for: plain)
                == "Why?\nWhen the provided information is insufficient, respond with 'Unanswerable'.\n\(short)"
        )
        #expect(AOKVQA(.directAnswer).prompt(for: plain) == "Question: Why?\nShort answer:")
        #expect(
            AOKVQA(.released).prompt(for: withOptions)
                == "Question: Why?\nPossible options: a b, c\nShort answer:")
        #expect(TextVQA().prompt(for: plain) == "Why?\n\(short)")
        #expect(VisualGenome().prompt(for: plain) == "Question: Why? Short answer:")
    }

    @Test("answers are cleaned as the benchmarks' conversions do")
    func cleaning() {
        var options = sample(1, ["b"])
        options.choices = ["red car", "bus", "Train", "red"]
        func choice(_ text: String) -> String {
            AOKVQA(.multipleChoice).answer(fromGenerated: text, for: options)
        }
        #expect(GQA().answer(fromGenerated: "\nYes...\nNo", for: options) == "yes")
        #expect(OKVQA().answer(fromGenerated: "Race cars, fast Question: x", for: options) == "race cars")
        #expect(OKVQA().answer(fromGenerated: "Surfing.Question", for: options) == "surfing")
        for (text, expected) in [
            ("B", "bus"), ("(c)", "Train"), ("A: red car", "red car"), ("the bus.", "bus"), ("D.", "red"),
            ("train", "Train"), ("red car", "red car"), ("a bus or a train", "a bus or a train"), ("E", "e"),
            ("", ""),
        ] {
            #expect(choice(text) == expected, "\(text)")
        }
        #expect(chosenOption(in: "x", of: []) == nil)
    }
}
