import Checkpoints
import Runs
import Support
import Tasks

extension Inspector {
    // MARK: Runs

    static func run(_ path: String) throws -> InspectReport {
        var report = InspectReport(path, "run")
        if fileExists("\(path)/run.json") {
            try record(RunRecord(file: "\(path)/run.json"), &report)
        } else {
            report.add("status", "no run.json: it never started, or was killed at once", "run", .null)
        }
        try progress(path, &report)
        if fileExists("\(path)/scores.json") { try scores("\(path)/scores.json", &report) }
        let files = ["adapter", "predictions.jsonl", "report.html"].filter { fileExists("\(path)/\($0)") }
        report.add(
            "results", files.isEmpty ? "none yet" : files.joined(separator: ", "), "files",
            .array(files.map { .string($0) }))
        return report
    }

    private static func record(_ record: RunRecord, _ report: inout InspectReport) throws {
        let (run, train) = (record.runInfo, record.trainInfo)
        let error = run.error.map { ": \($0)" } ?? ""
        report.facts.append(
            .init(
                "status",
                "\(run.status.rawValue)\(error), started \(run.createdAt), \(durationText(run.totalSeconds))")
        )
        let parts = [run.method, run.backbone, run.task, run.preset].filter { !$0.isEmpty }
        if !parts.isEmpty { report.facts.append(.init("what", parts.joined(separator: ", "))) }
        if !run.command.isEmpty { report.facts.append(.init("command", run.command.joined(separator: " "))) }
        if train.trainableParameters > 0 {
            report.facts.append(
                .init(
                    "trained",
                    "\(grouped(train.trainableParameters)) of \(grouped(train.totalParameters)) parameters"))
        }
        report.members.append(.init("run", record.json))
    }

    /// Steps and losses in `metrics.jsonl`, and the checkpoints.
    private static func progress(_ path: String, _ report: inout InspectReport) throws {
        if fileExists("\(path)/metrics.jsonl") {
            let metrics = try readJSONLines("\(path)/metrics.jsonl")
            let step = metrics.last?["step"]?.integer
            let loss = metrics.last?["loss"]?.double
            let text =
                "\(counted(metrics.count, "line"))" + (step.map { ", up to step \(grouped($0))" } ?? "")
            report.facts.append(.init("metrics", text + (loss.map { ", loss \(decimal($0, 4))" } ?? "")))
            report.members += [
                .init("step", step.map { .integer($0) } ?? .null),
                .init("loss", loss.map { .number($0) } ?? .null),
            ]
        }
        let steps = ((try? listFolder("\(path)/checkpoints")) ?? []).compactMap { name in
            name.hasPrefix("step-") ? Int(name.dropFirst("step-".count)) : nil
        }.sorted()
        report.add(
            "checkpoints",
            steps.isEmpty ? "none" : steps.map { "step \(grouped($0))" }.joined(separator: ", "),
            "checkpoints",
            .array(steps.map { .integer($0) }))
    }

    private static func scores(_ path: String, _ report: inout InspectReport) throws {
        let scores = try JSON(contentsOf: path, limit: 64 << 20)
        guard let overall = scores["overall"]?.double else { return }
        let count = scores["n"]?.integer.map { " on \(counted($0, "question"))" } ?? ""
        let ends = (scores["ci95"]?.array ?? []).compactMap(\.double)
        let interval = ends.count == 2 ? " (95 %: \(decimal(ends[0], 2)) to \(decimal(ends[1], 2)))" : ""
        report.add("score", "\(decimal(overall, 2)) %\(interval)\(count)", "scores", scores)
    }

    // MARK: Data sets

    /// The splits of the first task family whose files lie below `path`; nil when there is none.
    static func dataSet(_ path: String) throws -> InspectReport? {
        for task in TaskRegistry.all {
            let splits = splits(of: task, below: path)
            guard !splits.isEmpty else { continue }
            var report = InspectReport(path, "data set")
            report.add("task", "\(task.name) (\(task.about.summary))", "task", .string(task.name))
            var members: [JSON.Member] = []
            for (split, files) in splits {
                let data = try task.load(files, split: split)
                let answers = Set(data.samples.flatMap(\.answers)).count
                let images = Set(data.samples.map(\.imageID)).count
                report.facts.append(
                    .init(
                        split,
                        "\(counted(data.samples.count, "question")), \(counted(images, "image")), "
                            + "\(grouped(answers)) different answers"))
                members.append(
                    .init(
                        split,
                        [
                            "questions": .integer(data.samples.count), "images": .integer(images),
                            "different_answers": .integer(answers), "file": .string(files.questions),
                        ]))
            }
            report.members.append(.init("splits", .object(members)))
            return report
        }
        return nil
    }

    /// The splits whose file of questions is there.
    static func splits(of task: any VQATask, below path: String) -> [(split: String, files: TaskFiles)] {
        task.splits.compactMap { split in
            guard let files = try? task.files(in: path, split: split), fileExists(files.questions) else {
                return nil
            }
            return (split, files)
        }
    }

    // MARK: JSON and other texts

    static func json(_ path: String, _ allTensors: Bool) throws -> InspectReport {
        let (keys, hasMore) = try firstObject(path)
        if hasMore { return try lines(path, keys) }
        if keys.contains("weight_map") { return try checkpoint(path, allTensors) }
        if keys.contains("model"), keys.contains("added_tokens") { return try tokenizer(path) }
        let json = try JSON(contentsOf: path, limit: 1 << 30)
        var report = InspectReport(path, kind(of: keys))
        for member in json.members ?? [] {
            switch member.value {
            case .array(let values) where values.first?.members != nil:
                report.facts.append(.init(member.key, counted(values.count, "record")))
            case .object(let members): report.facts.append(.init(member.key, counted(members.count, "key")))
            default:
                if let text = short(member.value) { report.facts.append(.init(member.key, text)) }
            }
        }
        report.members.append(.init("keys", .array(keys.map { .string($0) })))
        return report
    }

    /// One JSON object a line.
    private static func lines(_ path: String, _ keys: [String]) throws -> InspectReport {
        if keys.contains("question_id"), keys.contains("answer") {
            let predictions = try readPredictions(path)
            return list(path, predictions.count, predictions.first?.json, "predictions")
        }
        let records = try readJSONLines(path)
        return list(path, records.count, records.first, keys.contains("step") ? "metrics" : "JSON lines")
    }

    /// What a JSON object is, by its keys.
    private static func kind(of keys: [String]) -> String {
        if keys.contains("questions") { return "questions" }
        if keys.contains("annotations") { return "annotations" }
        if keys.contains("peft_type") { return "adapter configuration" }
        if keys.contains("run_info") { return "run record" }
        if keys.contains("overall"), keys.contains("ci95") { return "scores" }
        if keys.contains("model_type") || keys.contains("architectures") { return "model configuration" }
        return "JSON object"
    }

    /// The keys of the object that a text begins with, and whether more follows it.
    private static func firstObject(_ path: String) throws -> (keys: [String], hasMore: Bool) {
        let file = try MappedFile(path)
        defer { withExtendedLifetime(file) {} }
        return try file.bytes.withMemoryRebound(to: UInt8.self) { buffer in
            var cursor = JSONCursor(buffer, source: path)
            var keys: [String] = []
            try cursor.beginObject()
            while let key = try cursor.nextKey() {
                keys.append(key)
                try cursor.skipValue()
            }
            return (keys, buffer[cursor.offset...].contains { $0 > 0x20 })
        }
    }

    /// Texts that no checkpoint is: a list in JSON, a configuration. Nil when it is neither.
    static func text(_ path: String, _ file: MappedFile) throws -> InspectReport? {
        guard let first = file.bytes.first(where: { $0 > 0x20 }) else { return nil }
        if first == UInt8(ascii: "[") {
            let values = try JSON(contentsOf: path, limit: 1 << 30).array ?? []
            let isPredictions = values.first?["question_id"] != nil && values.first?["answer"] != nil
            return list(path, values.count, values.first, isPredictions ? "predictions" : "JSON list")
        }
        let name = path.lowercased()
        if name.hasSuffix(".yaml") || name.hasSuffix(".yml") {
            let source = try ConfigurationSource(file: path)
            var report = InspectReport(path, "configuration")
            if let run = try? TrainingConfiguration(source) {
                report.add("method", "\(run.method), \(run.preset)", "method", .string(run.method))
                report.add("task", run.task, "task", .string(run.task))
                let models = [run.languageModel, run.visionModel]
                report.add(
                    "models", models.joined(separator: ", "), "models", .array(models.map { .string($0) }))
            }
            report.facts.append(.init("check", "vqa validate config \(path)"))
            return report
        }
        return nil
    }

    private static func list(_ path: String, _ count: Int, _ first: JSON?, _ kind: String) -> InspectReport {
        var report = InspectReport(path, kind)
        report.add("records", grouped(count), "records", .integer(count))
        if let first { report.facts.append(.init("first", String(first.text().prefix(200)))) }
        return report
    }
}
