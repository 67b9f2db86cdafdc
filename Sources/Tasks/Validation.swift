import Support

/// What `vqa validate data` found.
public struct DataReport: Sendable {
    /// The short name of the task.
    public let task: String
    /// The split; empty when whole files were read.
    public let split: String
    /// The number of usable questions.
    public let questions: Int
    /// The number of different images.
    public let images: Int
    /// The number of images that decoded.
    public let decoded: Int
    /// The numbers of questions by label, for each breakdown of the task.
    public let counts: [(name: String, labels: [String: Int])]
    /// The faults.
    public let log: ProblemLog

    /// True when a run with these data would stop.
    public var isFatal: Bool { log.isFatal }

    /// The report for people: every fault on one line, then the summary.
    public var lines: [String] {
        var lines = log.problems.map(\.description)
        let total = log.counts.values.reduce(0, +)
        if total > log.problems.count { lines.append("… and \(total - log.problems.count) more") }
        lines.append("\(questions) questions about \(images) images, \(decoded) of them decoded")
        for (name, labels) in counts where !labels.isEmpty {
            let parts = labels.sorted { ($1.value, $0.key) < ($0.value, $1.key) }.map {
                "\($0.key) \($0.value)"
            }
            lines.append("\(name): \(parts.joined(separator: ", "))")
        }
        lines.append(
            total == 0 ? "no problems" : "\(total) problems, \(isFatal ? "some" : "none") of them fatal")
        return lines.map(oneLine)
    }

    /// `{"task", "split", "questions", "images", "decoded", "fatal", "counts", "problem_counts", "problems"}`
    public var json: JSON {
        func object(_ labels: [String: Int]) -> JSON {
            .object(labels.sorted { $0.key < $1.key }.map { JSON.Member($0.key, .integer($0.value)) })
        }
        let kinds = Dictionary(uniqueKeysWithValues: log.counts.map { ($0.key.rawValue, $0.value) })
        return [
            "task": .string(task), "split": .string(split), "questions": .integer(questions),
            "images": .integer(images), "decoded": .integer(decoded), "fatal": .bool(isFatal),
            "counts": .object(counts.map { JSON.Member($0.name, object($0.labels)) }),
            "problem_counts": object(kinds),
            "problems": .array(
                log.problems.map { problem in
                    [
                        "kind": .string(problem.kind.rawValue), "fatal": .bool(problem.kind.isFatal),
                        "place": .string(problem.place), "why": .string(problem.why),
                    ]
                }),
        ]
    }
}

/// Reads the data and looks for every fault, instead of stopping at the first.
///
/// - Parameter decode: tries to decode the image at a path and throws when that fails; nil only checks that
///   each file is there. Each image is decoded once, however many questions are about it.
public func validate(
    _ task: any VQATask, files: TaskFiles, split: String?, decode: ((String) throws -> Void)? = nil
) -> DataReport {
    var log = ProblemLog(stopsAtFatal: false)
    var data = TaskData(task: task.name, split: split ?? "", samples: [])
    do {
        data = try task.read(files, split: split, log: &log)
    } catch {
        log.collect(.unreadableFile, error, place: files.questions)
    }
    var decoded = 0
    var seen: Set<String> = []
    for sample in data.samples {
        for image in sample.images where seen.insert(image).inserted {
            let place = "\(files.questions), \(data.recordWord) \(sample.record)"
            if !fileExists(image) || isFolder(image) {
                log.collect(.missingImage, at: place, "there is no image \(image)")
                continue
            }
            guard let decode else { continue }
            do {
                try decode(image)
                decoded += 1
            } catch {
                let why = (error as? VQAError)?.why ?? "\(error)"
                log.collect(.undecodableImage, at: place, "the image \(image) does not decode: \(why)")
            }
        }
    }
    let counts = task.groupings.map { grouping in
        (grouping.name, data.samples.compactMap(grouping.label).reduce(into: [:]) { $0[$1, default: 0] += 1 })
    }
    return DataReport(
        task: task.name, split: split ?? "", questions: data.samples.count, images: seen.count,
        decoded: decoded,
        counts: counts, log: log)
}
