import Foundation
import Support
import Tasks
import Testing

@Suite("Validation of data")
struct ValidationTests {
    private struct Broken: Error, CustomStringConvertible { let description = "no image" }

    @Test("finds every fault of official files, each with its place")
    func official() throws {
        try withFolder { folder in
            try writeFile(
                """
                {"questions": [
                {"question_id": 1, "image_id": 1, "question": "fine?"},
                {"question_id": 1, "image_id": 1, "question": "again?"},
                {"question_id": 2, "image_id": 2, "question": ""},
                {"question_id": true, "image_id": 2, "question": "q"},
                {"question_id": 3, "image_id": 3, "question": "q"},
                {"question_id": 4, "image_id": 1, "question": "q"}
                ]}
                """, to: "\(folder)/q.json")
            try writeFile(
                """
                {"annotations": [
                {"question_id": 1, "answer_type": "other", "answers": [{"answer": ""}]},
                {"question_id": 2, "answers": [{"answer": "x"}]},
                {"question_id": 2, "answers": [{"answer": "x"}]},
                {"question_id": 3, "answers": [{"answer": 5}]},
                {"question_id": 9, "answers": [{"answer": "x"}]}
                ]}
                """, to: "\(folder)/a.json")
            for image in [1, 2] {
                try writeFile("\(image)", to: "\(folder)/COCO_train2014_00000000000\(image).jpg")
            }
            var tried: [String] = []
            let report = validate(
                VQAv2(),
                files: TaskFiles(
                    questions: "\(folder)/q.json", annotations: "\(folder)/a.json", images: folder),
                split: nil
            ) { path in
                tried.append(path)
                if path.hasSuffix("2.jpg") { throw Broken() }
            }
            #expect(tried.count == 2)
            #expect(report.isFatal)
            #expect(report.questions == 4)
            #expect(report.images == 3)
            #expect(report.decoded == 1)
            #expect(
                report.log.counts == [
                    .duplicateID: 2, .badRecord: 2, .questionWithoutAnnotation: 2,
                    .annotationWithoutQuestion: 1,
                    .missingImage: 1, .undecodableImage: 1, .emptyQuestion: 1, .emptyAnswer: 1,
                ])
            let lines = report.lines.joined(separator: "\n")
            for expected in [
                "error: \(folder)/q.json, record 2: the question id 1 was used in record 1",
                "warning: \(folder)/q.json, record 3: the question 2 is empty",
                "record 4: the question_id is neither a number nor a string",
                "error: \(folder)/a.json, record 3: the question 2 was annotated in record 2",
                "record 4: the answer is not a string",
                "warning: \(folder)/a.json, record 5: there is no question with the id 9",
                "error: \(folder)/q.json, record 6: the question 4 has no annotation in",
                "record 5: there is no image \(folder)/COCO_train2014_000000000003.jpg",
                "record 3: the image \(folder)/COCO_train2014_000000000002.jpg does not decode: no image",
                "4 questions about 3 images, 1 of them decoded", "11 problems, some of them fatal",
            ] {
                #expect(lines.contains(expected), "\(expected)")
            }
            #expect(report.json["fatal"] == true)
            #expect(report.json["problem_counts"]?["bad_record"] == 2)
        }
    }

    @Test("goes on behind a faulty row of a table, and counts what is usable")
    func table() throws {
        let text =
            "image,question,answer,split\na.png,q,x,train\n"
            + "b.png,\"q\"x,y,train\nc.png,q\nd.png,q,z,tset\ne.png,,z,test\n"
        try withFile(text) { path in
            let report = validate(Table(), files: TaskFiles(questions: path), split: nil)
            #expect(report.log.counts == [.badRecord: 2, .unknownSplit: 1, .emptyQuestion: 1])
            #expect(report.questions == 2)
            #expect(report.lines.contains { $0.contains("line 3: text after a closing quote") })
            #expect(report.lines.contains { $0.contains("line 4: it has 2 fields, the header has 4") })
            #expect(report.lines.contains { $0.contains("line 5: the split 'tset'") })
        }
    }

    @Test("a file that cannot be read at all is one fatal problem; good data have none")
    func extremes() throws {
        let absent = validate(VQAv2(), files: TaskFiles(questions: "/nowhere/q.json"), split: nil)
        #expect(absent.isFatal)
        #expect(absent.log.counts == [.unreadableFile: 1])
        try withFile(#"[["is there a circle?", "no", 3]]"#) { path in
            let good = validate(EasyVQA(), files: TaskFiles(questions: path), split: nil)
            #expect(!good.isFatal)
            #expect(good.lines.last == "no problems")
            #expect(good.lines.contains("per_question_type: is there the shape 1"))
        }
    }

    @Test("keeps at most 10,000 problems in memory and counts the others")
    func manyProblems() throws {
        let rows = (0..<12_000).map { #"["q", "no", \#($0)]"# }.joined(separator: ",")
        try withFile("[\(rows)]") { path in
            let report = validate(
                EasyVQA(), files: TaskFiles(questions: path, images: "/nowhere"), split: nil)
            #expect(report.log.problems.count == 10_000)
            #expect(report.log.counts == [.missingImage: 12_000])
            #expect(report.lines.contains("… and 2000 more"))
        }
    }
}
