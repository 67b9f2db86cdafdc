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
              vqa search Examples/easy-vqa-dvp-bert.yaml --then-train
              vqa search dvp_search_bert_vqa data_root=data/vqav2 vision_model=ViT-B-16.pt

            All layers are trained together, each with a prompt of its own. From
            search_begin on, after half of the steps unless set otherwise, a bandit
            compares them on held-out questions: those of validation_split, or of
            images held out of the training data. A search that was stopped goes on
            with --resume to the same result.
            """)

    @OptionGroup var options: RunOptions

    @Flag(help: "Train with the chosen layer when it is found.")
    var thenTrain = false

    func run() throws {
        let configuration = try options.configuration()
        if options.printConfig { return try Output.print(configuration.resolved.yaml()) }
        guard !thenTrain || !configuration.search.isStage else {
            throw VQAError(
                "cannot train after the search", at: options.file,
                because: "its epochs and learning rate are those of a search",
                remedy: "give the configuration of the training, or run the printed command")
        }
        Interrupt.listen()
        let found = try PlacementSearch(configuration, file: options.file, say: options.say).run(
            resume: options.resumedRun, output: options.output, overwrite: options.overwrite,
            command: CommandLine.arguments, shouldStop: { Interrupt.isRequested })
        if !options.json { try Output.print(found.text) }
        guard thenTrain else {
            if options.json { try Output.print(found.json, indented: true) }
            return
        }
        let outcome = try train(found.placement)
        guard options.json else { return try Output.print(outcome.text) }
        try Output.print(["search": found.json, "train": outcome.json], indented: true)
    }

    private func train(_ placement: Placement) throws -> TrainingRun.Outcome {
        let layer = "insert_layer=\(placement.layer)"
        var run = TrainingRun(try options.configuration([layer]), say: options.say)
        run.placement = placement
        let program = CommandLine.arguments.first ?? "vqa"
        return try run.run(
            command: [program, "train", options.file] + options.settings + [layer],
            shouldStop: { Interrupt.isRequested })
    }
}
