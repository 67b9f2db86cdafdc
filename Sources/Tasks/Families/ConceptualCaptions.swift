import Support

/// Conceptual Captions (ACL 2018): 3.3 million pictures of the web with their cleaned alternative texts. The official files are
/// lines of a caption, a tab and an address; the pictures must lie in a folder, because addresses go stale.
///
/// Layout below the root: `Train_GCC-training.tsv` and `Validation_GCC-1.1.0-Validation.tsv`, and the folder of images
/// `training/` or `validation/`. A picture is looked for by the names that the usual downloaders give it, with R the line's
/// number from 0 and U the address: `R_<CRC-32 of U>`, a shard of ten thousand as img2dataset writes it (`00012/000120034.jpg`),
/// `R.jpg`. The first line whose picture is found decides for the whole file. Lines without picture are left out and counted.
/// The 595,000 that LLaVA trains on are a file of conversations: see ``LLaVAConversations``.
public struct ConceptualCaptions: CaptionTask {
    /// The family itself has no settings.
    public init() {}

    /// Name, files and splits.
    public let about = TaskDescription(
        name: "conceptual-captions", aliases: ["cc3m", "gcc", "conceptual_captions"],
        summary: "Conceptual Captions: pictures of the web with one caption each",
        needs:
            "Train_GCC-training.tsv or Validation_GCC-1.1.0-Validation.tsv, image folder training/ or validation/",
        splits: ["train", "val"])

    /// The official names.
    public func files(in root: String, split: String) throws -> TaskFiles {
        guard splits.contains(split) else { throw unknownSplit(split) }
        let isTraining = split == "train"
        return TaskFiles(
            questions:
                "\(root)/\(isTraining ? "Train_GCC-training.tsv" : "Validation_GCC-1.1.0-Validation.tsv")",
            images: "\(root)/\(isTraining ? "training" : "validation")")
    }

    /// How a picture is named after its line.
    private enum Naming: CaseIterable {
        case checksum, shards, row

        func name(row: Int, address: Substring) -> String {
            switch self {
            case .checksum: "\(row)_\(crc32(address.utf8))"
            case .shards:
                "\(padded(row / 10_000, 5))/\(padded(row / 10_000, 5))\(padded(row % 10_000, 4)).jpg"
            case .row: "\(row).jpg"
            }
        }

        private func padded(_ number: Int, _ width: Int) -> String {
            let digits = String(number)
            return String(repeating: "0", count: max(0, width - digits.count)) + digits
        }
    }

    /// Reads one sample a line; the id is the line's number from 0.
    public func read(_ files: TaskFiles, split: String?, log: inout ProblemLog) throws -> TaskData {
        var data = TaskData(task: name, split: split ?? "", samples: [])
        data.recordWord = "line"
        var naming: Naming?
        var lines = 0
        try withText(of: files.questions) { bytes in
            var start = 0
            while start < bytes.count {
                let end = bytes[start...].firstIndex(of: 0x0A) ?? bytes.count
                let line = bytes[start..<end]
                start = end + 1
                lines += 1
                let place = "\(files.questions), line \(lines)"
                guard let text = String(validating: line, as: UTF8.self) else {
                    try log.report(.badRecord, at: place, "it is not UTF-8")
                    continue
                }
                let parts = text.split(separator: "\t", omittingEmptySubsequences: false)
                guard parts.count == 2 else {
                    try log.report(.badRecord, at: place, "a line is a caption, a tab and an address")
                    continue
                }
                let caption = String(parts[0].trimmed)
                if caption.isEmpty {
                    try log.report(.emptyAnswer, at: place, "the caption is empty")
                    continue
                }
                var image: [String] = []
                if let folder = files.images {
                    guard let found = picture(lines - 1, parts[1].trimmed, in: folder, &naming) else {
                        continue
                    }
                    image = [found]
                }
                data.samples.append(
                    Sample(
                        id: QuestionID(lines - 1), imageID: String(lines - 1), images: image,
                        question: CaptionRecords.instruction, answers: [caption], answer: caption,
                        record: lines))
            }
        }
        if data.samples.count < lines, let folder = files.images {
            guard !data.samples.isEmpty else {
                try log.report(.missingImage, at: folder, "it has no picture of \(files.questions)")
                return data
            }
            data.notes.append(
                "\(lines - data.samples.count) of \(lines) lines have no picture in \(folder) and are left out"
            )
        }
        return data
    }

    /// The path of a line's picture, when it is there.
    private func picture(_ row: Int, _ address: Substring, in folder: String, _ naming: inout Naming?)
        -> String?
    {
        for candidate in naming.map({ [$0] }) ?? Naming.allCases {
            let path = "\(folder)/\(candidate.name(row: row, address: address))"
            if fileExists(path) {
                naming = candidate
                return path
            }
        }
        return nil
    }
}

/// CRC-32 as zlib computes it.
private func crc32(_ bytes: some Sequence<UInt8>) -> UInt32 {
    var value: UInt32 = .max
    for byte in bytes {
        value ^= UInt32(byte)
        for _ in 0..<8 { value = value & 1 == 1 ? value >> 1 ^ 0xEDB8_8320 : value >> 1 }
    }
    return ~value
}
