import Backbones
import Images
import Support
import Tasks

/// What `vqa validate data` is asked to look at.
public struct DataValidationRequest: Sendable {
    /// Short name of the task.
    public var task: String
    /// The data set's folder in its usual layout. Nil takes `files`, or for easy-VQA what `make setup`
    /// fetched.
    public var root: String?
    /// One split; nil looks at every file of questions below the root, or at everything in `files`.
    public var split: String?
    /// Single files instead of a root.
    public var files: TaskFiles?
    /// Decode every image; otherwise only look whether its file is there.
    public var decodesImages = true

    /// Looks at a task's data below `root`, or in `files`.
    public init(
        task: String, root: String? = nil, split: String? = nil, files: TaskFiles? = nil,
        decodesImages: Bool = true
    ) {
        self.task = task
        self.root = root
        self.split = split
        self.files = files
        self.decodesImages = decodesImages
    }
}

/// Reads data from end to end and looks for every fault: a report for each file of questions.
///
/// - Throws: `VQAError` for an unknown task or split, or when there is nothing to look at. Faults in the data
///   are in the reports.
public func validateData(_ request: DataValidationRequest) throws -> [DataReport] {
    let task = try TaskRegistry.named(request.task)
    let decode: ((String) throws -> Void)? = request.decodesImages ? { _ = try Image(contentsOf: $0) } : nil
    if let files = request.files {
        return [validate(task, files: files, split: request.split, decode: decode)]
    }
    let root = try request.root ?? defaultRoot(of: task)
    guard isFolder(root) else {
        throw VQAError("cannot validate the data", at: root, because: "there is no such folder")
    }
    if let split = request.split {
        return [validate(task, files: try task.files(in: root, split: split), split: split, decode: decode)]
    }
    // Splits that are cut from one file are one to look at, but what demonstrations are drawn from has images of its own.
    var seen: Set<String> = []
    let found = Inspector.splits(of: task, below: root).filter {
        seen.insert($0.files.questions + ($0.split.hasSuffix("/support") ? "/support" : "")).inserted
    }
    guard !found.isEmpty else {
        throw VQAError(
            "cannot validate the data", at: root, because: "no split of \(task.name) is there",
            remedy: "it needs \(task.about.needs)")
    }
    return found.map { validate(task, files: $0.files, split: $0.split, decode: decode) }
}

private func defaultRoot(of task: any VQATask) throws -> String {
    if task.name == ModelLibrary.easyVQA.name { return try ModelLibrary.easyVQAData() }
    throw VQAError(
        "cannot validate the data", at: task.name, because: "neither --data nor --questions was given",
        remedy: "it needs \(task.about.needs)")
}

/// The reports for people, each under the name of its split.
public func validationLines(_ reports: [DataReport]) -> [String] {
    reports.enumerated().flatMap { index, report in
        let name = report.split.isEmpty ? report.task : "\(report.task) \(report.split)"
        return (index > 0 ? [""] : []) + [name] + report.lines.map { "  " + $0 }
    }
}
