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

            A run stopped by Ctrl-C (exit code 1, after a checkpoint), or killed, goes
            on with --resume to the same result. It must be given the settings it was
            started with; only what changes nothing of what is learned (name, threads,
            cache_dir, checkpoint_every, baselines) may differ.
            """)

    @OptionGroup var options: RunOptions

    @Flag(help: "Build one batch, print what the run would cost, and stop.")
    var dryRun = false

    func run() throws {
        let configuration = try options.configuration()
        if options.printConfig { return try Output.print(configuration.resolved.yaml()) }
        let run = TrainingRun(configuration, say: options.say)
        if dryRun {
            let estimate = try run.estimate()
            return try options.json
                ? Output.print(estimate.json, indented: true) : Output.print(estimate.text)
        }
        Interrupt.listen()
        let outcome = try run.run(
            resume: options.resumedRun, output: options.output, overwrite: options.overwrite,
            command: CommandLine.arguments, shouldStop: { Interrupt.isRequested })
        try options.json ? Output.print(outcome.json, indented: true) : Output.print(outcome.text)
    }
}
