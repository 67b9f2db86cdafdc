import Support

/// A subset of LLaVA-OneVision-Data as it is published (Hugging Face, `lmms-lab/LLaVA-OneVision-Data`): a folder of
/// `train-00000-of-0000N.parquet` with the columns `id`, `image` (`bytes`, `path`), `conversations` (`from`, `value`) and
/// `data_source`.
struct OneVisionShards {
    /// The folder, or one file of it.
    let path: String

    /// True when `path` is a folder or is named like a Parquet file.
    static func canRead(_ path: String) -> Bool { isFolder(path) || path.hasSuffix(".parquet") }

    /// The files, in order. A file of the set that is not there is an error.
    func files() throws -> [String] {
        guard isFolder(path) else { return [path] }
        let pattern = #/train-(\d{5})-of-(\d{5})\.parquet/#
        let names = try listFolder(path).filter { $0.wholeMatch(of: pattern) != nil }
        func failure(_ why: String, _ remedy: String) -> VQAError {
            VQAError("cannot read the data", at: path, because: why, remedy: remedy)
        }
        guard let total = names.first?.wholeMatch(of: pattern)?.output.2, let count = Int(total) else {
            throw failure(
                "it has no file train-00000-of-….parquet",
                "fetch the subset's files from lmms-lab/LLaVA-OneVision-Data")
        }
        if let other = names.first(where: { !$0.hasSuffix("-of-\(total).parquet") }) {
            throw failure("\(names[0]) and \(other) are of different sets", "remove the older set")
        }
        let wanted = (0..<count).map { "train-\(zeroPadded(String($0), to: 5))-of-\(total).parquet" }
        if let missing = wanted.first(where: { !names.contains($0) }) {
            throw failure("the file \(missing) is missing", "fetch it from lmms-lab/LLaVA-OneVision-Data")
        }
        return wanted.map { "\(path)/\($0)" }
    }

    /// Reads all rows; the first exchange is question and answer. Images are unpacked to the folder; nil reads without images.
    /// As in LLaVA's data ids may repeat: from the second on the row's number is added.
    func read(images folder: String?, into data: inout TaskData, log: inout ProblemLog) throws {
        let images = try folder.map(UnpackedImages.init(folder:))
        data.recordWord = "row"
        var used: Set<QuestionID> = []
        var number = 0
        for file in try files() {
            do {
                let rows = try ParquetFile(file).rows(
                    ["id", "conversations"] + (images == nil ? [] : ["image"]))
                while let row = try rows.next() {
                    number += 1
                    let place = "\(file), row \(rows.row)"
                    do {
                        var sample = try sample(row, images)
                        sample.record = number
                        if !used.insert(sample.id).inserted {
                            sample.id = QuestionID("\(sample.id.text)#\(number)")
                            used.insert(sample.id)
                        }
                        try note(sample, at: place, log: &log)
                        data.samples.append(sample)
                    } catch let error as VQAError where error.kind == .badInput && error.place == nil {
                        try log.report(.badRecord, at: place, error.why)
                    }
                }
            } catch let error as VQAError where error.kind == .badInput && !log.stopsAtFatal {
                // The rest of this file cannot be read; the others can.
                try log.report(.unreadableFile, error)
            }
        }
    }

    private func failure(_ why: String) -> VQAError { VQAError("cannot use the row", because: why) }

    private func sample(_ row: ParquetRecord, _ images: UnpackedImages?) throws -> Sample {
        guard let id = row["id"]?.text, !id.isEmpty else { throw failure("it has no id") }
        let turns = try conversation(row)
        guard turns.count >= 2 else { throw failure("the conversation has no reply") }
        var sample = Sample(
            id: QuestionID(id), imageID: "question \(id)", question: turns[0].text.withoutImageMark,
            answers: [turns[1].text])
        sample.turns = turns
        if let images, let image = row["image"], let path = try path(of: image, images) {
            sample.images = [path]
            // Rows about the same picture hold the same bytes, and so have the same file.
            sample.imageID = path.split(separator: "/").last.map(String.init) ?? path
        }
        return sample
    }

    private func conversation(_ row: ParquetRecord) throws -> [Turn] {
        guard case .list(let entries) = row["conversations"], !entries.isEmpty else {
            throw failure("it has no conversations")
        }
        return try entries.enumerated().map { position, entry in
            let expected = position % 2 == 0 ? "human" : "gpt"
            guard case .structure(let turn) = entry, turn["from"]?.text == expected,
                let text = turn["value"]?.text
            else {
                throw failure(
                    "turn \(position + 1) of the conversation is not from '\(expected)' with a value")
            }
            return Turn(position % 2 == 0 ? .user : .assistant, text)
        }
    }

    /// The path of the unpacked image; nil when the row has none.
    private func path(of image: ParquetValue, _ images: UnpackedImages) throws -> String? {
        switch image {
        case .null: return nil
        case .structure(let parts):
            switch parts["bytes"] {
            case .bytes(let bytes) where bytes.count > DecodedImages.limit:
                throw failure(
                    "its image has \(bytes.count) bytes, more than the limit of \(DecodedImages.limit)")
            case .bytes(let bytes) where bytes.count > 0: return try bytes.withBytes(images.path(of:))
            default: throw failure("its image has no bytes")
            }
        default: throw failure("its image is not a structure of bytes and path")
        }
    }

    private func note(_ sample: Sample, at place: String, log: inout ProblemLog) throws {
        if sample.question.isEmpty {
            try log.report(.emptyQuestion, at: place, "the question \(sample.id) is empty")
        }
        if sample.answers.contains("") {
            try log.report(.emptyAnswer, at: place, "an answer to the question \(sample.id) is empty")
        }
    }
}

extension String {
    /// Without `<image>` and the white space around it.
    var withoutImageMark: String { String(replacing("<image>", with: "")[...].trimmed) }
}
