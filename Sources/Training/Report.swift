import Images
import Runs
import Support
import Tasks

/// The page about a finished run: what it found, what it cost, and test images to look at.
struct Report {
    private let configuration: TrainingConfiguration
    private let test: TaskData
    private let predictions: [Prediction]
    private let scores: Scores
    private let baselines: [(name: String, scores: Scores)]
    private let record: RunRecord
    private let folder: RunFolder
    private let askCommand: String
    /// What a search found before; nil without one.
    var placement: Placement?

    /// Examples of each kind, right and wrong, on the page.
    private static let examplesEach = 24

    init(
        _ configuration: TrainingConfiguration, _ test: TaskData, _ predictions: [Prediction],
        _ scores: Scores,
        _ baselines: [(name: String, scores: Scores)], _ record: RunRecord, _ folder: RunFolder,
        _ askCommand: String
    ) throws {
        self.configuration = configuration
        self.test = test
        self.predictions = predictions
        self.scores = scores
        self.baselines = baselines
        self.record = record
        self.folder = folder
        self.askCommand = askCommand
    }

    func content() throws -> ReportContent {
        var content = ReportContent(
            title: configuration.name,
            headline: .init(
                name: "\(record.runInfo.method.uppercased()) on \(test.task), \(test.split)",
                percent: scores.overall,
                interval: min(scores.low, scores.high)...max(scores.low, scores.high), count: scores.count))
        content.subtitle = "\(record.runInfo.backbone), frozen; preset \(record.runInfo.preset)"
        content.baselines = baselines.map {
            .init(name: $0.name, percent: $0.scores.overall, count: $0.scores.count)
        }
        content.facts = ReportContent.facts(of: record)
        // A run that only tests has none.
        let steps = fileExists(folder.metricsPath) ? try readJSONLines(folder.metricsPath) : []
        content.loss = steps.compactMap { line in
            guard let step = line["step"]?.integer, let loss = line["loss"]?.double else { return nil }
            return .init(step: step, loss: loss)
        }
        content.questionTypes = groups("per_question_type")
        content.answerTypes = groups("per_answer_type")
        content.examples = examples()
        content.reproduceCommand = record.runInfo.command.map(quoted).joined(separator: " ")
        content.askCommand = askCommand
        content.configuration = configuration.resolved.yaml()
        content.notes = record.runInfo.notes + test.notes
        content.placement = placement?.reported
        return content
    }

    private func groups(_ name: String) -> [ReportContent.Group] {
        guard let group = scores.groups.first(where: { $0.name == name }) else { return [] }
        return group.percentages.map {
            ReportContent.Group(name: $0.key, percent: $0.value, count: group.counts[$0.key] ?? 0)
        }.sorted { ($1.count, $0.name) < ($0.count, $1.name) }
    }

    /// Some wrong and some right answers, spread over the test set, each image once.
    private func examples() -> [ReportContent.Example] {
        let byID = Dictionary(predictions.map { ($0.id, $0) }) { first, _ in first }
        var random = CounterRandom(seed: configuration.seed, purpose: "report examples")
        var wanted = [true: Report.examplesEach, false: Report.examplesEach]
        var shown: Set<String> = []
        var examples: [ReportContent.Example] = []
        for index in test.samples.indices.shuffled(using: &random) {
            let sample = test.samples[index]
            let right = scores.perQuestion[index] >= 0.5
            guard let prediction = byID[sample.id], wanted[right, default: 0] > 0,
                shown.insert(sample.imageID).inserted
            else { continue }
            wanted[right, default: 0] -= 1
            let candidates = prediction.extra.first { $0.key == "candidates" }?.value.array ?? []
            examples.append(
                ReportContent.Example(
                    image: sample.images.first.flatMap(thumbnail), question: sample.question,
                    expected: sample.answer.map { [$0] } ?? [], prediction: prediction.answer, isRight: right,
                    score: scores.perQuestion[index],
                    candidates: candidates.compactMap { pair in
                        guard let pair = pair.array, pair.count == 2, let text = pair[0].string,
                            let p = pair[1].double
                        else { return nil }
                        return .init(answer: text, probability: p)
                    }))
        }
        return examples.sorted { !$0.isRight && $1.isRight }
    }

    /// A small PNG; nil when the image cannot be shown.
    private func thumbnail(_ path: String) -> [UInt8]? {
        guard let image = try? Image(contentsOf: path) else { return nil }
        let longest = max(image.width, image.height)
        guard longest > 256 else { return try? image.pngData() }
        let width = max(1, image.width * 256 / longest)
        let height = max(1, image.height * 256 / longest)
        return try? image.resized(width: width, height: height, filter: .lanczos).pngData()
    }
}
