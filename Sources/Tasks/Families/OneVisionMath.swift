import Support

/// The mathematical subsets of LLaVA-OneVision that MAPD learns from: geometry (`basic_qa_geo170k`,
/// `reasoning_qa_geo170k`), generated figures (`mavis_math_metagen`), tables (`tabmwp_cauldron`).
///
/// Two layouts below the root. MAPD's guide: `Image_data/SET/SET_dataset.json`, and `SET_dataset_val.json` for the split
/// `SET/val`: a list of `id`, `image`, `conversations`, whose image names are relative to `Image_data`. The published one:
/// `SUBSET/train-00000-of-0000N.parquet` for the splits `geo170k(qa)`, `mavis_math_metagen`, `tabmwp(cauldron)`, with the images
/// inside; they are unpacked once to `SUBSET-images`. `mavis_math_metagen` is the name in both: the guide's file is taken when it
/// is there. MAPD cuts `geo170k(qa)` in two, by a wording that it has not published. The sample's answer is the whole reply; the metric
/// compares the result that it ends in.
public struct OneVisionMath: VQATask {
    /// The family itself has no settings.
    public init() {}

    private static let sets = [
        "basic_qa_geo170k", "reasoning_qa_geo170k", "mavis_math_metagen", "tabmwp_cauldron",
    ]
    private static let published = ["geo170k(qa)", "mavis_math_metagen", "tabmwp(cauldron)"]

    /// Name, files and splits.
    public let about = TaskDescription(
        name: "onevision-math", aliases: ["onevision_math"],
        summary:
            "LLaVA-OneVision's geometry, figures and tables with numbers, as MAPD uses them and as published",
        needs: "Image_data/SET/SET_dataset.json, SET_dataset_val.json; or SUBSET/train-*-of-*.parquet",
        splits: sets + sets.map { "\($0)/val" } + published.filter { !sets.contains($0) })

    /// The names of MAPD's guide, or of the published subset.
    public func files(in root: String, split: String) throws -> TaskFiles {
        guard splits.contains(split) else { throw unknownSplit(split) }
        let set = split.prefix { $0 != "/" }
        let ending = split.hasSuffix("/val") ? "_val" : ""
        let guide = TaskFiles(
            questions: "\(root)/Image_data/\(set)/\(set)_dataset\(ending).json", images: "\(root)/Image_data")
        let subset = TaskFiles(questions: "\(root)/\(split)", images: "\(root)/\(split)-images")
        guard Self.published.contains(split) else { return guide }
        guard Self.sets.contains(split) else { return subset }
        return isFolder(subset.questions) && !fileExists(guide.questions) ? subset : guide
    }

    /// The first question of the record, which has its own instruction.
    public func prompt(for sample: Sample) -> String { sample.question }

    /// The whole text: the metric finds the result in it.
    public func answer(fromGenerated text: String, for sample: Sample) -> String { String(text[...].trimmed) }

    /// Equality of the results.
    public func metric(for data: TaskData) -> any AnswerMetric { MathAccuracy() }

    /// Reads the records; the first exchange is question and answer, all of them are `turns`.
    public func read(_ files: TaskFiles, split: String?, log: inout ProblemLog) throws -> TaskData {
        if OneVisionShards.canRead(files.questions) {
            var data = TaskData(task: name, split: split ?? "", samples: [])
            try OneVisionShards(path: files.questions).read(images: files.images, into: &data, log: &log)
            return data
        }
        var collector = SampleCollector(
            self, split: split, file: files.questions, word: try recordWord(of: files.questions))
        try readRecords(of: files.questions, log: &log) { cursor in
            let record = try JSONRecord(reading: &cursor)
            let turns = try record.conversation()
            let image = try record.optionalText("image")
            guard turns.count >= 2 else { throw record.failure("the conversation has no reply") }
            let id = try record.id("id")
            var sample = Sample(
                id: id, imageID: image ?? "question \(id)",
                question: turns[0].text.withoutImageMark, answers: [turns[1].text])
            if let image, let images = files.images { sample.images = [try path(image, inside: images)] }
            sample.turns = turns
            return sample
        } use: { sample, number, log in
            try collector.add(sample, number: number, log: &log)
        }
        return collector.data
    }
}

/// Equality of the results of two solutions: letters of options and words as they are but for case, numbers by value.
///
/// The result stands behind the last `Answer:` or `answer is`, or is the last line. Two numbers are equal when they differ
/// by at most a thousandth of the reference: `1,200` is 1200, `3/4` is 0.75, `$5.00` is 5, `50%` is 50, `20 cm` is 20.
public struct MathAccuracy: AnswerMetric {
    /// The measure has no settings.
    public init() {}

    /// In reports.
    public let name = "math-result"

    /// 1 for an equal result.
    public func scores(of answers: [String], for samples: [Sample]) -> [Double] {
        zip(answers, samples).map { answer, sample in
            sample.answers.contains { Self.areEqual(Self.result(of: answer), Self.result(of: $0)) } ? 1 : 0
        }
    }

    /// False when there is no result.
    public func isExpected(_ answer: String, for sample: Sample) -> Bool { !Self.result(of: answer).isEmpty }

    /// The result that a solution ends in.
    public static func result(of solution: String) -> String {
        let stated = solution.matches(of: #/(?:[Aa]nswer\s*:|[Aa]nswer\s+is)/#)
        let tail = stated.last.map { solution[$0.range.upperBound...] } ?? solution[...]
        let lines = tail.split(whereSeparator: \.isNewline).map(\.trimmed).filter { !$0.isEmpty }
        var line = (stated.isEmpty ? lines.last : lines.first) ?? ""
        if line.hasSuffix(".") { line = line.dropLast().trimmed }
        return String(line)
    }

    private static func areEqual(_ answer: String, _ truth: String) -> Bool {
        guard !answer.isEmpty else { return false }
        if plain(answer) == plain(truth) { return true }
        guard let a = number(answer), let b = number(truth) else { return false }
        return abs(a - b) <= 1e-3 * abs(b)
    }

    /// In small letters; the marks around the letter of an option go, so `(B)`, `B.`, `B: 30` and `b` are the same.
    private static func plain(_ text: String) -> String {
        let text = text.lowercased()
        if let option = text.wholeMatch(of: #/\(?([a-z])(?:[).:](?:\s.*)?)?/#) {
            return String(option.output.1)
        }
        return text
    }

    /// The number in a result with a currency sign before it or a unit behind it.
    static func number(_ text: String) -> Double? {
        var rest = text[...].trimmed
        while let first = rest.first, "$€£(".contains(first) { rest.removeFirst() }
        guard
            let match = rest.prefixMatch(of: #/([-−]?)(\d[\d,]*(?:\.\d+)?|\.\d+)(?:\s*/\s*(\d+(?:\.\d+)?))?/#)
        else {
            return nil
        }
        // What follows may be a unit, but not a sum or another number.
        let unit = rest[match.range.upperBound...].trimmed
        guard unit.allSatisfy({ $0.isLetter || "%°²³). ".contains($0) }), unit.count <= 20 else { return nil }
        guard let value = Double(match.output.2.filter { $0 != "," }) else { return nil }
        let divisor = match.output.3.flatMap { Double($0) } ?? 1
        guard divisor != 0 else { return nil }
        return (match.output.1.isEmpty ? 1 : -1) * value / divisor
    }
}
