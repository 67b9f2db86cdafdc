import ArgumentParser
import Backbones
import Runs
import Support
import Tasks
import Training

struct ValidateCommand: ParsableCommand {
    static let configuration = CommandConfiguration(
        commandName: "validate",
        abstract: "Finds every problem of data, a configuration or a model before a run.",
        discussion: """
            Exit code 2 means that a run would stop.

            Example:

              vqa validate model minilm
            """,
        subcommands: [ValidateDataCommand.self, ValidateConfigCommand.self, ValidateModelCommand.self])
}

struct ValidateDataCommand: ParsableCommand {
    static let configuration = CommandConfiguration(
        commandName: "data",
        abstract: "Reads all records of a data set and decodes all its images.",
        usage: """
            vqa validate data --task <task> --data <folder> [--split <split>] [<options>]
            vqa validate data --task <task> --questions <file> [<options>]
            """,
        discussion: """
            Give the folder of the data set, or its files one by one. Without --split every file of questions \
            in the folder is read.

            Examples:

              vqa validate data --task vqav2 --data vqav2 --split val
              vqa validate data --task vqav2 --questions Q.json \\
                --annotations A.json --images val2014
            """)

    @Option(help: ArgumentHelp("The task, such as vqav2 or easy-vqa.", valueName: "task"))
    var task: String

    @Option(help: ArgumentHelp("The folder of the data set.", valueName: "folder"))
    var data: String?

    @Option(help: ArgumentHelp("The split, such as train or val.", valueName: "split"))
    var split: String?

    @Option(help: ArgumentHelp("The file of questions, instead of a folder.", valueName: "file"))
    var questions: String?

    @Option(help: ArgumentHelp("The file of answers that goes with it.", valueName: "file"))
    var annotations: String?

    @Option(help: ArgumentHelp("The folder of the images that go with it.", valueName: "folder"))
    var images: String?

    @Flag(help: "Only look whether the images are there; do not decode them.")
    var skipDecoding = false

    @Flag(help: "Print JSON.")
    var json = false

    func validate() throws {
        if data != nil, questions != nil { throw ValidationError("Give either --data or --questions.") }
        if questions == nil, annotations != nil || images != nil {
            throw ValidationError("--annotations and --images go with --questions.")
        }
    }

    func run() throws {
        let files = questions.map { TaskFiles(questions: $0, annotations: annotations, images: images) }
        let reports = try validateData(
            DataValidationRequest(
                task: task, root: data, split: split, files: files, decodesImages: !skipDecoding))
        if json {
            try Output.print(.array(reports.map(\.json)), indented: true)
        } else {
            try Output.print(validationLines(reports))
        }
        if reports.contains(where: \.isFatal) { throw ExitCode(VQAError.Kind.badInput.rawValue) }
    }
}

struct ValidateConfigCommand: ParsableCommand {
    static let configuration = CommandConfiguration(
        commandName: "config",
        abstract: "Reads a configuration and reports all its problems, each with its line.",
        discussion: """
            Example:

              vqa validate config Examples/easy-vqa-dvp-bert.yaml insert_layer=5
            """)

    @Argument(help: ArgumentHelp("The configuration, YAML.", valueName: "config.yaml"))
    var file: String

    @Argument(help: ArgumentHelp("Settings that override the file.", valueName: "key=value"))
    var overrides: [String] = []

    func run() throws {
        let configuration = try TrainingConfiguration(ConfigurationSource(file: file, overrides: overrides))
        let given = configuration.resolved.entries.count { !$0.isDefault }
        try Output.print("\(file): no problem found; \(given) settings given, the others are defaults")
    }
}

struct ValidateModelCommand: ParsableCommand {
    static let configuration = CommandConfiguration(
        commandName: "model",
        abstract: "Holds a model's configuration, tokenizer and weights against its architecture.",
        discussion: """
            An adapter is held against the models that it was trained on. Nothing is run.

            Example:

              vqa validate model minilm
            """)

    @Argument(
        help: ArgumentHelp(
            "A folder of a model or adapter, a file of weights, or a short name.", valueName: "model"))
    var model: String

    @Flag(help: "Print JSON.")
    var json = false

    func run() throws {
        let validation = try ModelValidation(ModelLibrary.locate(model))
        try json ? Output.print(validation.json, indented: true) : Output.print(validation.lines)
        if validation.isFatal { throw ExitCode(VQAError.Kind.badInput.rawValue) }
    }
}
