import Methods
import Runs
import Support
import Tasks

// What follows training: answers, scores, baselines, the report.
extension TrainingRun {
    /// Answers a split; nil scores where its answers are not published.
    func test(_ setup: any Adaptation, _ data: TaskData) throws -> (
        scores: Scores?, predictions: [Prediction]
    ) {
        let (predictions, unseen) = try setup.predictions(of: data)
        guard data.hasAnswers else { return (nil, predictions) }
        let options = ScoreOptions(
            allowsMissing: unseen > 0, bootstrap: Bootstrap(seed: configuration.seed))
        return (try score(predictions, on: data, task: setup.data.task, options: options), predictions)
    }

    func finish(
        _ setup: any Adaptation, _ folder: RunFolder, _ record: inout RunRecord, _ clock: Stopwatch
    ) throws -> Outcome {
        let evaluation = Stopwatch()
        let data = setup.data
        let tested = try test(setup, data.test)
        try asBadInput {
            let writer = try PredictionWriter(folder.predictionsPath, resuming: false)
            for prediction in tested.predictions { try writer.append(prediction) }
        }
        try writeSubmission(tested.predictions, data, folder)
        var shown = tested
        if tested.scores == nil { shown = try test(setup, data.scored) }
        guard let scores = shown.scores else {
            throw VQAError("cannot score the run", because: "no answers to score against", kind: .failure)
        }
        try folder.write(scores: scores.json)
        let baselines = configuration.baselines ? try baselines(setup) : []
        record.trainInfo.evaluationSeconds = evaluation.seconds
        record.trainInfo.metrics = .object(
            [.init("test", scores.json)] + baselines.map { .init($0.name, .number($0.scores.overall)) })
        record.trainInfo.peakMemoryBytes = peakResidentBytes()
        record.trainInfo.adapterBytes = try MappedFile(folder.adapterPath + "/adapter_model.safetensors")
            .count
        record.runInfo.totalSeconds = clock.seconds
        record.runInfo.finishedAt = timestampUTC()
        record.runInfo.status = .finished
        try folder.write(record)
        let example = data.scored.samples.first
        let ask = [
            record.runInfo.command.first ?? "vqa", "ask", relative(example?.images.first ?? "IMAGE"),
            example?.question ?? "QUESTION", "--adapter", folder.adapterPath,
        ].map(quoted).joined(separator: " ")
        var report = try Report(
            configuration, data.scored, shown.predictions, scores, baselines, record, folder, ask)
        report.placement = placement
        try folder.write(report: report.content())
        return Outcome(
            folder: folder.path, scores: scores, baselines: baselines, record: record, askCommand: ask,
            finished: true)
    }

    /// The file for the data set's server, when every question has an answer.
    private func writeSubmission(_ predictions: [Prediction], _ data: RunData, _ folder: RunFolder) throws {
        guard predictions.count == data.test.samples.count else { return }
        let isVQA = data.task.name == "vqav2"
        // As the release names it.
        let name = isVQA ? "vqa_submit_\(folder.name).json" : data.task.submissionFile(for: data.test)
        try asBadInput {
            try data.task.writeSubmission(predictions, for: data.test, to: "\(folder.path)/\(name)")
        }
    }

    /// Scores of answering without the image.
    private func baselines(_ setup: any Adaptation) throws -> [(name: String, scores: Scores)] {
        let data = setup.data.scored
        let prior = try PriorBaseline(train: setup.data.train)
        let found =
            try setup.blindPredictions(of: data) + [
                ("most frequent answer to the question", prior.perQuestion(data)),
                ("most frequent answer", prior.global(data)),
            ]
        let options = ScoreOptions(bootstrap: Bootstrap(seed: configuration.seed))
        return try found.map {
            ($0.name, try score($0.predictions, on: data, task: setup.data.task, options: options))
        }
    }
}

/// A path without the working directory at its start.
func relative(_ path: String) -> String {
    guard let here = workingDirectory(), path.hasPrefix(here + "/") else { return path }
    return String(path.dropFirst(here.count + 1))
}

/// A word as a shell takes it.
func quoted(_ word: String) -> String {
    let plain = word.allSatisfy { $0.isLetter || $0.isNumber || "/._-+:=@,".contains($0) }
    if plain && !word.isEmpty { return word }
    // Inside double quotes a shell still reads these.
    if !word.contains(where: { "\"$`\\!".contains($0) }) { return "\"\(word)\"" }
    return "'" + word.split(separator: "'", omittingEmptySubsequences: false).joined(separator: "'\\''") + "'"
}
