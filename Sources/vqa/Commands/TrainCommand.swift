import ArgumentParser
import Runs
import Support
import Training

struct TrainCommand: ParsableCommand {
    static let configuration = CommandConfiguration(
        commandName: "train",
        abstract: "Adapts a frozen backbone, tests it, and writes the run folder with adapter and report.",
        discussion: """
            Examples:

              vqa train Examples/easy-vqa-dvp-bert.yaml
              vqa train my.yaml insert_layer=4 learning_rate=5e-4 --limit 1000
              vqa train my.yaml --resume

            A run stopped by Ctrl-C (exit code 1, after a checkpoint), or killed, goes on with --resume to the same
            result. It must be given the settings it was started with; only what changes nothing of what is learned
            (name, threads, cache_dir, checkpoint_every, baselines) may differ.
            """)

    @Argument(
        help: ArgumentHelp(
            "The configuration, YAML, or the name of one in Examples.", valueName: "config.yaml"))
    var file: String

    @Argument(help: ArgumentHelp("Settings that override the file.", valueName: "key=value"))
    var overrides: [String] = []

    @Option(
        defaultAsFlag: TrainCommand.newest, parsing: .next,
        help: ArgumentHelp(
            "Go on with the run in this folder, or with the newest when none is named.", valueName: "run"))
    var resume: String?

    @Option(help: ArgumentHelp("The run's folder; by default a new one under runs/.", valueName: "folder"))
    var output: String?

    @Flag(help: "Replace the run that is in the folder of --output.")
    var overwrite = false

    @Option(help: ArgumentHelp("Use the first so many questions of every split.", valueName: "n"))
    var limit: Int?

    @Flag(help: "Build one batch, print what the run would cost, and stop.")
    var dryRun = false

    @Flag(help: "Print the complete configuration as it is resolved, and stop.")
    var printConfig = false

    @Flag(help: "Print the result as JSON.")
    var json = false

    private static let newest = "latest"

    /// A setting behind `--resume` is no run.
    private var misplaced: String? { resume.flatMap { $0.contains("=") ? $0 : nil } }

    /// The run to go on with. Without a name it is that of `--output`, or the newest.
    private var resumedRun: String? {
        guard let resume else { return nil }
        guard misplaced != nil || resume == TrainCommand.newest else { return resume }
        return output ?? "runs/\(TrainCommand.newest)"
    }

    func run() throws {
        let settings = overrides + [misplaced].compactMap(\.self) + (limit.map { ["limit=\($0)"] } ?? [])
        let configuration = try TrainingConfiguration(
            ConfigurationSource(file: namedConfiguration(file), overrides: settings))
        if printConfig { return try Output.print(configuration.resolved.yaml()) }
        let run = TrainingRun(configuration) { line in
            try? Output.write(line + "\n", to: json ? 2 : 1, path: "output")
        }
        if dryRun {
            let estimate = try run.estimate()
            return try json ? Output.print(estimate.json, indented: true) : Output.print(estimate.text)
        }
        Interrupt.listen()
        let outcome = try run.run(
            resume: resumedRun, output: output, overwrite: overwrite, command: CommandLine.arguments,
            shouldStop: { Interrupt.isRequested })
        try json ? Output.print(outcome.json, indented: true) : Output.print(outcome.text)
    }
}
