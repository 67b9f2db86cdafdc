import Support
import Tasks
import Testing

/// The figures of GQA's and MMBench's programs on made-up data; see `Tools/goldens/benchmarks.py`.
@Suite("The official measures of GQA and MMBench")
struct BenchmarkGoldenTests {
    private let golden: JSON

    init() throws { golden = try JSON(contentsOf: fixture("benchmarks.json")) }

    private func scored(
        _ task: any VQATask, _ section: JSON, files: (String) throws -> TaskFiles
    ) throws -> Scores {
        try withFolder { folder in
            let data = try task.load(try files(folder), split: nil)
            let answers = try #require(section["answers"])
            let predictions = try data.samples.map { sample in
                Prediction(try #require(answers[sample.id.text]?.string), to: sample)
            }
            return try score(
                predictions, on: data, task: task, options: ScoreOptions(bootstrap: Bootstrap(resamples: 3)))
        }
    }

    private func check(_ scores: Scores, _ expected: JSON?) throws {
        let members = try #require(expected?.members)
        #expect(Set(scores.figures.map(\.name)) == Set(members.map(\.key)))
        for figure in scores.figures {
            let value = try #require(expected?[figure.name]?.double)
            #expect(abs(figure.value - value) <= 1e-6, "\(figure.name)")
        }
    }

    @Test("GQA: accuracy, binary, open, consistency, validity, plausibility, distribution and the breakdowns")
    func gqa() throws {
        let section = try #require(golden["gqa"])
        let scores = try scored(GQA(), section) { folder in
            try writeFile(try #require(section["questions"]).text(), to: "\(folder)/q.json")
            try writeFile(try #require(section["choices"]).text(), to: "\(folder)/c.json")
            return TaskFiles(questions: "\(folder)/q.json", extra: "\(folder)/c.json")
        }
        let expected = try #require(section["expected"])
        #expect(abs(scores.overall - (expected["accuracy"]?.double ?? -1)) <= 0.005001)
        try check(scores, expected["figures"])
        let groups = Dictionary(uniqueKeysWithValues: scores.groups.map { ($0.name, $0.percentages) })
        for group in try #require(expected["groups"]?.members) {
            let found = try #require(groups[group.key])
            let labels = try #require(group.value.members)
            #expect(Set(found.keys) == Set(labels.map(\.key)), "\(group.key)")
            for label in labels {
                #expect(
                    abs((found[label.key] ?? -1) - (label.value.double ?? -2)) <= 0.005001, "\(label.key)")
            }
        }
    }

    @Test("MMBench: rows, circular and vanilla accuracy, and the circular one by ability")
    func mmbench() throws {
        let section = try #require(golden["mmbench"])
        let scores = try scored(MMBench(), section) { folder in
            try writeFile(try #require(section["table"]?.string), to: "\(folder)/t.tsv")
            return TaskFiles(questions: "\(folder)/t.tsv")
        }
        let expected = try #require(section["expected"])
        #expect(abs(scores.overall - (expected["rows"]?.double ?? -1)) <= 0.005001)
        try check(scores, expected["figures"])
    }
}
