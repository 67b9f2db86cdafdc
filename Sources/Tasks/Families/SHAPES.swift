import Support

/// SHAPES (Andreas et al. 2016, as ronghanghu/n2nmn ships it): yes/no questions about 30×30 images of coloured shapes.
///
/// Layout below the root, or in its folder `shapes_dataset`: for each SET of `train.large`, `train.med`, `train.small`,
/// `train.tiny`, `val`, `test` the files `SET.query_str.txt` (a question a line), `SET.output` (`true` or `false` a line),
/// `SET.query` (the question as a tree; optional) and `SET.input.npy` (images: bytes [N, 30, 30, 3], RGB). The images are
/// written as PNG files into the folder `decoded`.
public struct SHAPES: VQATask {
    /// The family itself has no settings.
    public init() {}

    /// Name, files and splits.
    public let about = TaskDescription(
        name: "shapes", summary: "SHAPES: yes/no questions about drawn 30×30 images",
        needs:
            "SET.query_str.txt, SET.output, SET.input.npy for SET of train.{large,med,small,tiny}, val, test",
        splits: ["train.large", "train.med", "train.small", "train.tiny", "val", "test"])

    /// By the tree of the question and by answer.
    public var groupings: [Grouping] {
        [Grouping("per_query") { $0.labels["query"] }, Grouping("per_label") { $0.answer }]
    }

    /// The official names. `images` is where the PNG files go.
    public func files(in root: String, split: String) throws -> TaskFiles {
        guard splits.contains(split) else { throw unknownSplit(split) }
        let questions = firstExisting(
            ["\(split).query_str.txt", "shapes_dataset/\(split).query_str.txt"], in: root)
        let stem = String(questions.dropLast(Self.ending.count))
        return TaskFiles(questions: questions, annotations: stem + ".output", images: "\(root)/decoded")
    }

    private static let ending = ".query_str.txt"

    /// The question with a question mark, to be answered with yes or no.
    public func prompt(for sample: Sample) -> String { "\(sample.question)? Answer with yes or no." }

    /// Yes or no, else the first line; true and false count as well.
    public func answer(fromGenerated text: String, for sample: Sample) -> String {
        switch trueOrFalse(fromGenerated: text) {
        case "true": "yes"
        case "false": "no"
        case let other: other
        }
    }

    /// Accuracy.
    public func metric(for data: TaskData) -> any AnswerMetric { LabelAccuracy(labels: ["yes", "no"]) }

    /// Reads the lines of the files side by side. The files of images and trees lie beside the questions.
    public func read(_ files: TaskFiles, split: String?, log: inout ProblemLog) throws -> TaskData {
        guard files.questions.hasSuffix(Self.ending) else {
            throw VQAError(
                "cannot read the questions", at: files.questions,
                because: "its name does not end in \(Self.ending)")
        }
        let stem = String(files.questions.dropLast(Self.ending.count))
        let questions = try lines(of: files.questions)
        func sideBySide(_ file: String) throws -> [String] {
            let others = try lines(of: file)
            guard others.count == questions.count else {
                throw VQAError(
                    "cannot join the files", at: file,
                    because: "it has \(others.count) lines, the questions have \(questions.count)")
            }
            return others
        }
        let answers = try files.annotations.map(sideBySide)
        let trees = fileExists(stem + ".query") ? try sideBySide(stem + ".query") : nil
        let images = try files.images.map { folder in
            try writeImages(
                stem + ".input.npy", count: questions.count, DecodedImages(folder: folder, task: name))
        }
        var collector = SampleCollector(self, split: split, file: files.questions, word: "line")
        for (index, question) in questions.enumerated() {
            var sample = Sample(
                id: QuestionID(index), imageID: String(index), question: question, answerType: "yes/no")
            if let images { sample.images = [images[index]] }
            if let trees { sample.labels["query"] = trees[index] }
            switch answers?[index] {
            case "true": (sample.answers, sample.answer) = (["yes"], "yes")
            case "false": (sample.answers, sample.answer) = (["no"], "no")
            case nil: break
            case let word?:
                try log.report(
                    .badRecord, at: "\(files.annotations ?? ""), line \(index + 1)",
                    "'\(word.prefix(20))' is neither true nor false")
                continue
            }
            try collector.add(sample, number: index + 1, log: &log)
        }
        return collector.data
    }

    private func lines(of file: String) throws -> [String] {
        try withText(of: file) { bytes in
            guard let text = String(validating: bytes, as: UTF8.self) else {
                throw VQAError("cannot read the file", at: file, because: "it is not UTF-8")
            }
            var lines = text.split(separator: "\n", omittingEmptySubsequences: false).map {
                String($0.trimmed)
            }
            if lines.last == "" { lines.removeLast() }
            return lines
        }
    }

    /// Writes the images of an array of bytes [N, H, W, 3] as PNG files.
    private func writeImages(_ file: String, count: Int, _ decoded: DecodedImages) throws -> [String] {
        let mapped = try MappedFile(file)
        defer { withExtendedLifetime(mapped) {} }
        let (shape, pixels) = try byteArray(mapped.bytes, file: file)
        guard shape.count == 4, shape[0] == count, shape[3] == 3, (1...4096).contains(shape[1]),
            (1...4096).contains(shape[2])
        else {
            throw VQAError(
                "cannot read the images", at: file,
                because: "its shape is \(shape), not [\(count), height, width, 3]")
        }
        let size = shape[1] * shape[2] * 3
        return try (0..<count).map { index in
            let image = UnsafeRawBufferPointer(rebasing: pixels[(index * size)..<((index + 1) * size)])
            return try decoded.path(rgb: image, width: shape[2], height: shape[1])
        }
    }
}

/// The shape and the content of a NumPy file of bytes (`|u1`, C order; NEP 1).
func byteArray(
    _ bytes: UnsafeRawBufferPointer, file: String
) throws -> (shape: [Int], content: UnsafeRawBufferPointer) {
    func refuse(_ why: String) -> VQAError { VQAError("cannot read the array", at: file, because: why) }
    guard bytes.count >= 12, bytes.starts(with: [0x93] + Array("NUMPY".utf8)), (1...3).contains(bytes[6])
    else {
        throw refuse("it is no NumPy file")
    }
    let isShort = bytes[6] == 1
    let start = isShort ? 10 : 12
    let length = (0..<(isShort ? 2 : 4)).reduce(0) { $0 | Int(bytes[8 + $1]) << (8 * $1) }
    guard length <= bytes.count - start,
        let header = String(validating: bytes[start..<(start + length)], as: UTF8.self)
    else { throw refuse("its header is longer than the file or no text") }
    guard header.contains("'descr': '|u1'"), header.contains("'fortran_order': False"),
        let open = header.firstRange(of: "'shape': ("),
        let close = header[open.upperBound...].firstIndex(of: ")")
    else { throw refuse("it is no array of bytes in C order") }
    let words = header[open.upperBound..<close].split(separator: ",").map(\.trimmed).filter { !$0.isEmpty }
    let shape = words.compactMap { Int($0) }
    guard shape.count == words.count, shape.count <= 8, shape.allSatisfy({ $0 >= 0 }) else {
        throw refuse("its shape is no list of sizes")
    }
    let content = UnsafeRawBufferPointer(rebasing: bytes[(start + length)...])
    var size = 1
    for side in shape {
        let (product, overflows) = size.multipliedReportingOverflow(by: side)
        guard !overflows else { throw refuse("its shape \(shape) is too large") }
        size = product
    }
    guard size == content.count else {
        throw refuse("its shape \(shape) needs \(size) bytes, there are \(content.count)")
    }
    return (shape, content)
}
