import Support
import Tasks
import Testing

@Suite("Answer normaliser")
struct NormaliserTests {
    @Test("gives the table of the DVP specification, section 5.4")
    func dvpTable() {
        let table = [
            "The 1,000 dogs.": "1000 dogs", "U.S.A.": "usa", "3.5": "3.5", "dont": "don't",
            "two cats": "2 cats",
            "a/b": "b", "t-shirt": "t shirt", "frisbee, red": "frisbee red", "None": "0", "p.m.": "pm",
            "1,000.5 - x": "1000.5 x", "black & white": "black & white", "7:30": "7:30",
        ]
        for (text, expected) in table { #expect(normalisedAnswer(text) == expected, "\(text)") }
    }

    @Test("gives the table of the LIVE specification, section 6.4")
    func liveTable() {
        let table = [
            "Yes.": "yes", "a dog": "dog", "The Two dogs": "2 dogs", "no, it isnt": "no it isn't",
            "3,000": "3000",
            "3.5": "3.5", "10.": "10", "its": "its", "1/2": "1 2", "t-shirt": "t shirt",
            "hot-dog , bun": "hot dog bun", "U.S.A.": "usa", "u.s. 3.14.": "us 3.14", "none": "0",
            "dont": "don't",
            "$5.00": "$5.00", "5:30": "5:30", "black & white": "black & white", "two-story": "2 story",
            "a, b": "b", "wed've": "we'd've", "somebody'd": "somebodyd",
        ]
        for (text, expected) in table { #expect(normalisedAnswer(text) == expected, "\(text)") }
    }

    @Test("agrees with the official program on 690 texts, marks and scripts of all sorts")
    func golden() throws {
        let lines = try String(decoding: readFile(fixture("normaliser.jsonl"), limit: 1 << 20), as: UTF8.self)
            .split(separator: "\n")
        #expect(lines.count > 600)
        for line in lines {
            let row = try JSON(parsing: Array(line.utf8), source: "golden")
            let text = try #require(row["text"]?.string)
            let punctuation = try #require(row["punctuation"]?.string)
            let normalised = try #require(row["normalised"]?.string)
            let found = AnswerNormaliser.withoutPunctuation(text)
            #expect(Array(found.utf8) == Array(punctuation.utf8), "\(text.debugDescription)")
            #expect(Array(normalisedAnswer(text).utf8) == Array(normalised.utf8), "\(text.debugDescription)")
        }
    }

    @Test("deletes at most 32 full stops")
    func fullStops() {
        #expect(AnswerNormaliser.withoutPunctuation(String(repeating: ".", count: 40)).utf8.count == 8)
    }
}
