import Support
import Tasks
import Testing

@Suite("Your own data: CSV and JSON lines")
struct TableTests {
    private func load(_ text: String, split: String? = nil, images: String? = nil) throws -> TaskData {
        try withFile(text) { try Table().load(TaskFiles(questions: $0, images: images), split: split) }
    }

    @Test(
        "reads CSV with quotes, doubled quotes, line breaks in fields, CR LF, a byte-order mark, empty lines")
    func csv() throws {
        let data = try load(
            "\u{FEFF}Image, question ,answer,note\r\n\r\n"
                + "a.jpg,\"Say \"\"hi\"\", please\nnow?\",yes,x\r\nb.jpg,q,,\r\n",
            images: "pics")
        #expect(data.samples.count == 2)
        #expect(data.samples[0].question == "Say \"hi\", please\nnow?")
        #expect(data.samples[0].images == ["pics/a.jpg"])
        #expect(data.samples[0].id.json == 1)
        #expect(data.samples[0].record == 3)
        #expect(data.samples[1].record == 5)
        #expect(data.samples[1].answers.isEmpty)
    }

    @Test("reads every column: several answers, choices and images, ids as numbers or names")
    func columns() throws {
        let data = try load(
            "question_id,image,question,answers,choices,rationale,question_type,answer_type\n"
                + "12,a.png|b.png,q,red | red|blue,red|blue,because,what,color\n007,c.png,q,,,,,\n")
        #expect(data.samples[0].id.json == 12)
        #expect(data.samples[0].imageID == "a.png|b.png")
        #expect(data.samples[0].answers == ["red", "red", "blue"])
        #expect(data.samples[0].answer == "red")
        #expect(data.samples[0].choices == ["red", "blue"])
        #expect(data.samples[0].rationale == "because")
        #expect(data.samples[0].answerType == "color")
        #expect(data.samples[1].id.json == "007")
    }

    @Test("reads JSON lines and a JSON list alike")
    func json() throws {
        let rows = [
            #"{"image": "a.png", "question": "q", "answer": "x", "unknown": {"a": [1]}, "split": null}"#,
            #"{"image": ["b.png", "c.png"], "question": "q", "answers": ["x", "y"], "question_id": "z"}"#,
        ]
        let lines = try load(rows.joined(separator: "\n\n") + "\n")
        let list = try load("[\(rows.joined(separator: ",\n"))]")
        #expect(lines.samples.map(\.id) == list.samples.map(\.id))
        #expect(lines.samples.map(\.answers) == [["x"], ["x", "y"]])
        #expect(lines.samples[1].imageID == "b.png|c.png")
        #expect(lines.samples[1].record == 3)
    }

    @Test("takes the rows of the split asked for, by its usual names, and all rows when none is asked for")
    func splits() throws {
        let text = "image,question,split\na,q,train\nb,q,validation\nc,q,Val\nd,q,test\ne,q,\n"
        #expect(try load(text, split: "val").samples.map(\.imageID) == ["b", "c", "e"])
        #expect(try load(text, split: "dev").samples.map(\.imageID) == ["b", "c", "e"])
        #expect(try load(text).samples.count == 5)
        #expect(
            message { _ = try load("image,question,split\na,q,tran\n", split: "train") }
                .contains("line 2: the split 'tran' is none of train, val, test; did you mean 'train'?"))
        #expect(
            message { _ = try load("image,question,split\na,q,train\n", split: "test") }
                .contains("none of its 1 rows is usable and in the split 'test'"))
    }

    @Test("finds the file of a split in a folder, with images beside it")
    func folders() throws {
        try withFolder { folder in
            try writeFile("image,question\na.png,q\n", to: "\(folder)/train.csv")
            try writeFile(#"{"image":"b.png","question":"q","split":"test"}"#, to: "\(folder)/data.jsonl")
            #expect(try Table().load(folder, split: "train").samples[0].images == ["\(folder)/a.png"])
            #expect(try Table().load(folder, split: "test").samples[0].images == ["\(folder)/b.png"])
            #expect(
                try Table().load("\(folder)/train.csv", split: "train").samples[0].images == [
                    "\(folder)/a.png"
                ])
        }
    }

    @Test("scores ten answers by VQA accuracy and one answer by exact match")
    func metrics() throws {
        let one = try load("image,question,answer\na,q,The Cat\n")
        #expect(
            try score([Prediction(" the cat ", to: one.samples[0])], on: one, task: Table()).overall == 100)
        let ten = try load("image,question,answers\na,q,cat|cat|cat|x|x|x|x|x|x|x\n")
        let scores = try score([Prediction("the cat", to: ten.samples[0])], on: ten, task: Table())
        #expect(scores.metric == "vqa-accuracy")
        #expect(scores.overall == 90)
    }

    @Test("says what is wrong and on which line")
    func faults() throws {
        let texts = [
            "": "it is empty",
            "image,answer\n": "there is no column 'question'",
            "imge,question\n": "rename 'imge'?",
            "image,question,image\n": "the column 'image' appears twice",
            "image,question\na,b,c\n": "line 2: it has 3 fields, the header has 2",
            "image,question\n\na,\"b\n": "line 3: the quote that opens here is never closed",
            "image,question\na,b\nc,d\"e\n": "line 3: a quote inside a field",
            "image,question\na,\"b\"c\n": "line 2: text after a closing quote",
            "image,question\n,b\n": "line 2: the image is empty",
            "image,question,question_id\na,b,1\na,b,1\n": "line 3: the question id 1 was used in line 2",
            "image,question\n../a,b\n": "line 2: it leads out of the folder",
            "{\"image\":\"a\",\"question\":\"q\"}\n{\"image\":\"a\"": "line 2, byte 12: expected ',' or '}'",
            "{\"image\":\"a\",\"question\":\"q\",\"answer\":2}": "line 1, byte 37: answer is not a string",
            "{\"image\":\"a\"}": "there is no question",
            "{\"question\":\"a\"}": "there is no image",
            "{\"image\":\"a\",\"question\":\"q\"} x": "expected the end of the text",
        ]
        for (text, expected) in texts {
            let found = message { _ = try load(text, images: "pics") }
            #expect(found.contains(expected), "\(found)")
        }
        let notUTF8 = Array("image,question\na,".utf8) + [0xC3, 0x28]
        try withFile(notUTF8) { path in
            let found = message { _ = try Table().load(TaskFiles(questions: path), split: nil) }
            #expect(found.contains("line 2: a field that is not UTF-8; save the file as UTF-8"))
        }
    }
}
