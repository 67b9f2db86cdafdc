import ArgumentParser
import Runs
import Training

/// What trainings and searches are told alike.
struct RunOptions: ParsableArguments {
    @Argument(
        help: ArgumentHelp(
            "The configuration, YAML, or the name of one in Examples.", valueName: "config.yaml"))
    var file: String

    @Argument(help: ArgumentHelp("Settings that override the file.", valueName: "key=value"))
    var overrides: [String] = []

    @Option(
        defaultAsFlag: RunOptions.newest, parsing: .next,
        help: ArgumentHelp(
            "Go on with the run in this folder, or with the newest when none is named.", valueName: "run"))
    var resume: String?

    @Option(help: ArgumentHelp("The run's folder; by default a new one under runs/.", valueName: "folder"))
    var output: String?

    @Flag(help: "Replace the run that is in the folder of --output.")
    var overwrite = false

    @Option(help: ArgumentHelp("Use the first so many questions of every split.", valueName: "n"))
    var limit: Int?

    @Flag(help: "Print the complete configuration as it is resolved, and stop.")
    var printConfig = false

    @Flag(help: "Print the result as JSON.")
    var json = false

    private static let newest = "latest"

    /// A setting behind `--resume` is no run.
    private var misplaced: String? { resume.flatMap { $0.contains("=") ? $0 : nil } }

    /// The run to go on with. Without a name it is that of `--output`, or the newest.
    var resumedRun: String? {
        guard let resume else { return nil }
        guard misplaced != nil || resume == RunOptions.newest else { return resume }
        return output ?? "runs/\(RunOptions.newest)"
    }

    /// All that overrides the file.
    var settings: [String] {
        overrides + [misplaced].compactMap(\.self) + (limit.map { ["limit=\($0)"] } ?? [])
    }

    /// The configuration, with more settings on top.
    func configuration(_ more: [String] = []) throws -> TrainingConfiguration {
        try TrainingConfiguration(
            ConfigurationSource(file: namedConfiguration(file), overrides: settings + more))
    }

    /// One line about a stage; on standard error when the result is JSON.
    func say(_ line: String) { try? Output.write(line + "\n", to: json ? 2 : 1, path: "output") }
}
