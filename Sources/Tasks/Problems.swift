import Support

/// One fault of a data set.
public struct Problem: Sendable, Equatable, CustomStringConvertible {
    /// What is wrong. The raw value is the name in reports.
    public enum Kind: String, Sendable, CaseIterable {
        case unreadableFile = "unreadable_file"
        case badRecord = "bad_record"
        case duplicateID = "duplicate_id"
        case questionWithoutAnnotation = "question_without_annotation"
        case annotationWithoutQuestion = "annotation_without_question"
        case unknownSplit = "unknown_split"
        case missingImage = "missing_image"
        case undecodableImage = "undecodable_image"
        case emptyQuestion = "empty_question"
        case emptyAnswer = "empty_answer"

        /// True when a run with these data stops, false when it goes on and only the user should know.
        public var isFatal: Bool {
            switch self {
            case .annotationWithoutQuestion, .emptyQuestion, .emptyAnswer: false
            default: true
            }
        }
    }

    /// What is wrong.
    public let kind: Kind
    /// The file with its record, line or byte.
    public let place: String
    /// The reason, in words.
    public let why: String

    /// One line: severity, place, reason.
    public var description: String {
        oneLine("\(kind.isFatal ? "error" : "warning"): \(place): \(why)")
    }

    var asError: VQAError { VQAError("cannot use the data", at: place, because: why) }
}

/// Where readers report faults. A run stops at the first fatal one; `vqa validate data` collects them all.
public struct ProblemLog: Sendable {
    /// True when a fatal fault is thrown instead of collected.
    public let stopsAtFatal: Bool
    /// The faults, at most ``limit`` of them: a folder of images gone missing must not fill the memory.
    public private(set) var problems: [Problem] = []
    /// How many there were of each kind, beyond the limit too.
    public private(set) var counts: [Problem.Kind: Int] = [:]

    /// The number of faults that are kept with their place.
    public static let limit = 10_000

    /// An empty log.
    public init(stopsAtFatal: Bool) { self.stopsAtFatal = stopsAtFatal }

    /// True when a run with these data would stop.
    public var isFatal: Bool { counts.keys.contains { $0.isFatal } }

    /// Records a fault, or throws it when it is fatal and the log stops there.
    public mutating func report(_ kind: Problem.Kind, at place: String, _ why: String) throws {
        let problem = Problem(kind: kind, place: place, why: why)
        if stopsAtFatal, kind.isFatal { throw problem.asError }
        collect(problem)
    }

    private mutating func collect(_ problem: Problem) {
        counts[problem.kind, default: 0] += 1
        if problems.count < Self.limit { problems.append(problem) }
    }

    /// Records a fault without ever throwing.
    mutating func collect(_ kind: Problem.Kind, at place: String, _ why: String) {
        collect(Problem(kind: kind, place: place, why: why))
    }

    /// Records an error in its own words; `place` is used when it names none.
    mutating func collect(_ kind: Problem.Kind, _ error: any Error, place: String) {
        guard let error = error as? VQAError else { return collect(kind, at: place, "\(error)") }
        collect(kind, at: error.place ?? place, error.why)
    }

    /// Records what another log has collected.
    mutating func collect(_ other: ProblemLog) {
        counts.merge(other.counts, uniquingKeysWith: +)
        problems += other.problems.prefix(max(0, Self.limit - problems.count))
    }

    /// Records an error that a reader threw, with its own words; rethrows it when the log stops at fatal
    /// faults.
    mutating func report(_ kind: Problem.Kind, _ error: any Error) throws {
        if stopsAtFatal { throw error }
        collect(kind, error, place: "the data")
    }

    /// One line for each kind of fault, with the number and the first place.
    public var summary: [String] {
        Problem.Kind.allCases.compactMap { kind in
            guard let count = counts[kind], let first = problems.first(where: { $0.kind == kind }) else {
                return nil
            }
            return oneLine(count == 1 ? "\(first)" : "\(first) (and \(count - 1) more like it)")
        }
    }
}
