import Support

#if canImport(Glibc)
    import Glibc
#else
    import Darwin
#endif

/// METEOR 1.5 and SPICE 1.0, which exist as Java programs only. They run when they are there: a `java`, and a folder that
/// the environment variable `VQA_CAPTION_TOOLS` names, with `meteor/meteor-1.5.jar` (its `data/` beside it) and
/// `spice/spice-1.0.jar` (its `lib/` and the CoreNLP models beside it), which is how the package `pycocoevalcap` lays them
/// out. `java` is that of `JAVA_HOME`, else the first one in `PATH`.
public struct JavaMeasures: Sendable {
    /// The `java` program.
    public var java: String
    /// The folder with `meteor` and `spice`.
    public var tools: String
    /// Seconds that a program may take.
    public var timeLimit = 3600
    /// Bytes that a program may write.
    public var outputLimit = 1 << 30

    /// Programs at known places; nothing is looked for.
    public init(java: String, tools: String) {
        self.java = java
        self.tools = tools
    }

    /// The programs that the environment names.
    ///
    /// - Throws: what is missing, in one line.
    public static func fromEnvironment() throws -> JavaMeasures {
        guard let tools = environment("VQA_CAPTION_TOOLS") else {
            throw VQAError(
                "METEOR and SPICE were not computed", because: "VQA_CAPTION_TOOLS is not set",
                remedy: "set it to a folder with meteor/meteor-1.5.jar and spice/spice-1.0.jar")
        }
        let home = environment("JAVA_HOME").map { "\($0)/bin/java" }
        let path = (environment("PATH") ?? "").split(separator: ":").map { "\($0)/java" }
        guard let java = ([home].compactMap(\.self) + path).first(where: { access($0, X_OK) == 0 }) else {
            throw VQAError(
                "METEOR and SPICE were not computed", because: "there is no java in JAVA_HOME or PATH",
                remedy: "install a Java runtime")
        }
        return JavaMeasures(java: java, tools: tools)
    }

    private func jar(_ name: String, for measure: String) throws -> String {
        let jar = "\(tools)/\(name)"
        guard fileExists(jar) else {
            throw VQAError("\(measure) was not computed", at: jar, because: "there is no such file")
        }
        return jar
    }

    // MARK: METEOR

    /// The statistics of METEOR for each sample: 23 numbers that add up over samples; ``meteor(of:)`` makes the score of
    /// their sums. Captions are tokens joined by spaces.
    public func meteorStatistics(_ candidates: [String], _ references: [[String]]) throws -> [[Double]] {
        let jar = try jar("meteor/meteor-1.5.jar", for: "METEOR")
        func plain(_ text: String) -> String { oneLine(text.withoutBars) }
        var input = ""
        for (candidate, references) in zip(candidates, references) {
            input += "SCORE ||| \((references + [candidate]).map(plain).joined(separator: " ||| "))\n"
        }
        let output = try withScratchFolder { folder in
            try writeFile(input, to: "\(folder)/input")
            try run(
                ["-Dfile.encoding=UTF-8", "-Xmx2G", "-jar", jar, "-", "-", "-stdio", "-l", "en", "-norm"],
                input: "\(folder)/input", output: "\(folder)/output", for: "METEOR")
            return try readFile("\(folder)/output", limit: outputLimit)
        }
        let lines = String(decoding: output, as: UTF8.self).split(separator: "\n").map { line in
            line.split(separator: " ").compactMap { Double($0) }.filter(\.isFinite)
        }
        guard lines.count == candidates.count, lines.allSatisfy({ $0.count == Self.meteorWidth }) else {
            throw VQAError(
                "METEOR was not computed", at: jar, because: "its answers are not one line a caption")
        }
        return lines
    }

    /// The numbers of one sample.
    static let meteorWidth = 23

    /// METEOR of summed statistics, with the parameters for English (Denkowski and Lavie, 2014): candidate and reference
    /// words, their function words, then matched content and function words of both sides for exact, stem, synonym and
    /// paraphrase matches, the chunks, and all matched words of both sides.
    public static func meteor(of sums: [Double]) -> Double {
        guard sums.count == meteorWidth else { return 0 }
        let content = 0.75
        func weighted(_ side: Int) -> Double {
            var matched = 0.0
            for (stage, weight) in [1, 0.6, 0.8, 0.6].enumerated() {
                let words = content * sums[4 + 4 * stage + side] + (1 - content) * sums[6 + 4 * stage + side]
                matched += weight * words
            }
            let all = content * (sums[side] - sums[2 + side]) + (1 - content) * sums[2 + side]
            return all > 0 ? matched / all : 0
        }
        let precision = weighted(0)
        let recall = weighted(1)
        let mean = precision * recall / (0.85 * precision + 0.15 * recall)
        let matched = (sums[21] + sums[22]) / 2
        guard mean.isFinite, matched > 0 else { return 0 }
        // All words matched in one piece: nothing is broken.
        let isWhole = sums[20] == 1 && sums[21] == sums[0] && sums[22] == sums[1]
        return mean * (1 - 0.6 * (isWhole ? 0 : pow(sums[20] / matched, 0.2)))
    }

    // MARK: SPICE

    /// The F-score of SPICE for each sample, from 0 to 1.
    public func spice(_ candidates: [String], _ references: [[String]]) throws -> [Double] {
        let jar = try jar("spice/spice-1.0.jar", for: "SPICE")
        let library = "\(tools)/spice/lib"
        // They are not part of the package that brings the rest.
        let names = (try? listFolder(library)) ?? []
        guard names.count(where: { $0.hasPrefix("stanford-corenlp-") }) >= 2 else {
            throw VQAError(
                "SPICE was not computed", at: library, because: "Stanford CoreNLP is not there",
                remedy: "put stanford-corenlp-3.6.0.jar and stanford-corenlp-3.6.0-models.jar there")
        }
        var input = "["
        for (index, pair) in zip(candidates, references).enumerated() {
            let record: JSON = [
                "image_id": .integer(index), "test": .string(pair.0),
                "refs": .array(pair.1.map { .string($0) }),
            ]
            input += (index == 0 ? "" : ",\n") + record.text()
        }
        return try withScratchFolder { folder in
            try writeFile(input + "]\n", to: "\(folder)/input.json")
            try run(
                [
                    "-Dfile.encoding=UTF-8", "-Xmx8G", "-jar", jar, "\(folder)/input.json", "-out",
                    "\(folder)/output.json", "-subset", "-silent",
                ], input: "/dev/null", output: "\(folder)/log", for: "SPICE")
            return try readSpice("\(folder)/output.json", count: candidates.count)
        }
    }

    private func readSpice(_ file: String, count: Int) throws -> [Double] {
        var scores = [Double?](repeating: nil, count: count)
        var log = ProblemLog(stopsAtFatal: true)
        try readRecords(of: file, log: &log, parse: Self.spiceRecord) { record, _, _ in
            if scores.indices.contains(record.id) { scores[record.id] = record.score }
        }
        let found = scores.compactMap(\.self)
        guard found.count == count else {
            throw VQAError("SPICE was not computed", at: file, because: "some captions have no score")
        }
        return found
    }

    /// `{"image_id": 3, "scores": {"All": {"f": 0.25, …}, …}}`; a score that is no number counts as 0.
    private static func spiceRecord(_ cursor: inout JSONCursor) throws -> (id: Int, score: Double) {
        var id = -1
        var score = 0.0
        try cursor.beginObject()
        while let key = try cursor.nextKey() {
            guard key == "image_id" || key == "scores" else {
                try cursor.skipValue()
                continue
            }
            if key == "image_id" {
                id = try cursor.integer()
                continue
            }
            try cursor.beginObject()
            while let part = try cursor.nextKey() {
                guard part == "All" else {
                    try cursor.skipValue()
                    continue
                }
                try cursor.beginObject()
                while let name = try cursor.nextKey() {
                    if name == "f", try cursor.peek() == .number {
                        score = try cursor.double()
                    } else {
                        try cursor.skipValue()
                    }
                }
            }
        }
        return (id, score)
    }

    // MARK: Processes

    /// Runs `java` without a shell; its output goes to a file, its complaints nowhere.
    private func run(_ arguments: [String], input: String, output: String, for measure: String) throws {
        func failure(_ why: String) -> VQAError {
            VQAError("\(measure) was not computed", at: java, because: why, kind: .failure)
        }
        let words = ([java] + arguments).map { strdup($0) }
        defer { words.forEach { free($0) } }
        #if canImport(Glibc)
            var actions = posix_spawn_file_actions_t()
        #else
            var actions: posix_spawn_file_actions_t?
        #endif
        posix_spawn_file_actions_init(&actions)
        defer { posix_spawn_file_actions_destroy(&actions) }
        posix_spawn_file_actions_addopen(&actions, 0, input, O_RDONLY, 0)
        posix_spawn_file_actions_addopen(&actions, 1, output, O_WRONLY | O_CREAT | O_TRUNC, 0o600)
        posix_spawn_file_actions_addopen(&actions, 2, "/dev/null", O_WRONLY, 0)
        var process: pid_t = 0
        guard posix_spawn(&process, java, &actions, nil, words + [nil], environ) == 0 else {
            throw failure("it does not start")
        }
        var status: Int32 = 0
        let start = time(nil)
        while waitpid(process, &status, WNOHANG) == 0 {
            var file = stat()
            let isTooLong = stat(output, &file) == 0 && file.st_size > outputLimit
            guard !isTooLong, time(nil) - start < timeLimit else {
                kill(process, SIGKILL)
                waitpid(process, &status, 0)
                throw failure(isTooLong ? "it writes without end" : "it took more than \(timeLimit) s")
            }
            usleep(20_000)
        }
        let signal = status & 0x7F
        guard signal == 0 else { throw failure("it was ended by the signal \(signal)") }
        guard status == 0 else { throw failure("it ended with the status \(status >> 8 & 0xFF)") }
    }

    private func withScratchFolder<Result>(_ body: (String) throws -> Result) throws -> Result {
        var name = Array("\(environment("TMPDIR") ?? "/tmp")/captions-XXXXXX".utf8CString)
        guard mkdtemp(&name) != nil else {
            throw VQAError("cannot make a folder", because: systemReason(), kind: .failure)
        }
        let folder = String(decoding: name.dropLast().map { UInt8(bitPattern: $0) }, as: UTF8.self)
        defer {
            for file in ["input", "output", "log", "input.json", "output.json"] {
                unlink("\(folder)/\(file)")
            }
            rmdir(folder)
        }
        return try body(folder)
    }
}

extension String {
    /// The text without `|||`, which separates captions in METEOR's lines.
    fileprivate var withoutBars: String {
        guard utf8.contains(UInt8(ascii: "|")) else { return self }
        return String(unicodeScalars.filter { $0 != "|" }.map(Character.init))
    }
}
