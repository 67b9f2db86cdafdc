import ArgumentParser
import Runs
import Support
import Training

struct SearchCommand: ParsableCommand {
    static let configuration = CommandConfiguration(
        commandName: "search",
        abstract: "Searches the layer at which DVP's visual prompt should enter (KAB-APP).",
        discussion: """
            Examples:

              vqa search Examples/easy-vqa-dvp-bert.yaml
              vqa search Examples/easy-vqa-dvp-bert.yaml search_epochs=0.5 --then-train
              vqa search dvp_search_bert_vqa data_root=data/vqav2 vision_model=ViT-B-16.pt

            All layers are trained together, each with a prompt of its own, while a bandit compares them on held-out
            questions: those of validation_split, or images held out of the training data. A search that was stopped
            goes on with --resume to the same result.
            """)

    @Argument(
        help: ArgumentHelp(
            "The configuration, YAML, or the name of one in Examples.", valueName: "config.yaml"))
    var file: String

    @Argument(help: ArgumentHelp("Settings that override the file.", valueName: "key=value"))
    var overrides: [String] = []

    @Option(help: ArgumentHelp("Go on with the search in this folder.", valueName: "run"))
    var resume: String?

    @Option(help: ArgumentHelp("The search's folder; by default a new one under runs/.", valueName: "folder"))
    var output: String?

    @Flag(help: "Replace the run that is in the folder of --output.")
    var overwrite = false

    @Option(help: ArgumentHelp("Use the first so many questions of every split.", valueName: "n"))
    var limit: Int?

    @Flag(help: "Train with the chosen layer when it is found.")
    var thenTrain = false

    @Flag(help: "Print the complete configuration as it is resolved, and stop.")
    var printConfig = false

    @Flag(help: "Print the result as JSON.")
    var json = false

    func run() throws {
        let settings = overrides + (limit.map { ["limit=\($0)"] } ?? [])
        let path = namedConfiguration(file)
        let configuration = try TrainingConfiguration(ConfigurationSource(file: path, overrides: settings))
        if printConfig { return try Output.print(configuration.resolved.yaml()) }
        guard !thenTrain || !configuration.search.isStage else {
            throw VQAError(
                "cannot train after the search", at: file,
                because: "its epochs and learning rate are those of a search",
                remedy: "give the configuration of the training, or run the printed command")
        }
        func say(_ line: String) { try? Output.write(line + "\n", to: json ? 2 : 1, path: "output") }
        Interrupt.listen()
        let found = try PlacementSearch(configuration, file: file, say: say).run(
            resume: resume, output: output, overwrite: overwrite, command: CommandLine.arguments,
            shouldStop: { Interrupt.isRequested })
        guard thenTrain else {
            return try json ? Output.print(found.json, indented: true) : Output.print(found.text)
        }
        if !json { try Output.print(found.text) }
        let layer = "insert_layer=\(found.placement.layer)"
        let chosen = try TrainingConfiguration(ConfigurationSource(file: path, overrides: settings + [layer]))
        var run = TrainingRun(chosen, say: say)
        run.placement = found.placement
        let outcome = try run.run(
            command: [CommandLine.arguments.first ?? "vqa", "train", file] + settings + [layer],
            shouldStop: { Interrupt.isRequested })
        guard json else { return try Output.print(outcome.text) }
        try Output.print(["search": found.json, "train": outcome.json], indented: true)
    }
}
