import ArgumentParser
import Support
import Tasks

struct ScenesCommand: ParsableCommand {
    static let configuration = CommandConfiguration(
        commandName: "scenes",
        abstract: "Draws made-up scenes with questions and answers, in the layout of a data set.",
        usage: "vqa scenes --output <folder> [--format <format>] [<options>]",
        discussion: """
            Formats: vqav2, aokvqa, gqa, llava, coco, easy-vqa, vlicl, table. The same options give the same bytes on \
            every machine. Every question is put to images with each of its answers equally often; the printed \
            question-only baseline says what the text alone is worth.

            Examples:

              vqa scenes --format vqav2 --images 2000 --output scenes
              vqa validate data --task vqav2 --data scenes
            """)

    @Option(help: ArgumentHelp("The layout of the files.", valueName: "format"))
    var format = "vqav2"

    @Option(help: ArgumentHelp("How many images, all splits together.", valueName: "number"))
    var images = 2000

    @Option(help: ArgumentHelp("Pixels a side, 64 to 448.", valueName: "pixels"))
    var size = 128

    @Option(help: ArgumentHelp("Another seed gives other scenes.", valueName: "number"))
    var seed = 0

    @Option(help: ArgumentHelp("Questions an image.", valueName: "number"))
    var questions = 5

    @Option(help: ArgumentHelp("The fewest objects in an image.", valueName: "number"))
    var minObjects = 1

    @Option(help: ArgumentHelp("The most objects in an image, 4 to 8.", valueName: "number"))
    var maxObjects = 8

    @Option(help: ArgumentHelp("Percent of the images in train, val and test.", valueName: "percentages"))
    var splits = "80,10,10"

    @Option(help: ArgumentHelp("A new or empty folder.", valueName: "folder"))
    var output: String

    @Flag(help: "Print the content of scenes.json.")
    var json = false

    func validate() throws {
        guard minObjects <= maxObjects else {
            throw ValidationError("Give --min-objects a number of at most --max-objects.")
        }
    }

    func run() throws {
        let options = SceneOptions(
            seed: seed, images: images, size: size, splits: try shares(), objects: minObjects...maxObjects,
            questions: questions)
        let manifest = try SceneGenerator(options).write(format: SceneFormat.named(format), to: output)
        try json ? Output.print(manifest.json, indented: true) : Output.print(manifest.lines)
    }

    /// The three numbers of `--splits`.
    private func shares() throws -> SceneSplits {
        let numbers = splits.split(separator: ",", omittingEmptySubsequences: false).map { Int($0) }
        guard numbers.count == 3, let train = numbers[0], let val = numbers[1], let test = numbers[2] else {
            throw VQAError(
                "cannot make scenes", at: "--splits \(splits)", because: "it is not three percentages",
                remedy: "write them as 80,10,10")
        }
        return SceneSplits(train: train, val: val, test: test)
    }
}
