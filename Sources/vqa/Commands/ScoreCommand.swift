import ArgumentParser
import Support
import Tasks
import Training

struct ScoreCommand: ParsableCommand {
    static let configuration = CommandConfiguration(
        commandName: "score",
        abstract: "Scores a file of predictions as the data set's official program does.",
        usage: "vqa score --task <task> --questions <file> --predictions <file> [<options>]",
        discussion: """
            Example:

              vqa score --task vqav2 --questions Q.json \\
                --annotations A.json --predictions P.json

            With --against the predictions are compared with others on the same questions: the difference with its interval
            and p-value (bootstrap by image), and McNemar's test.
            """)

    @Option(help: ArgumentHelp("The task, such as vqav2 or easy-vqa.", valueName: "task"))
    var task: String

    @Option(help: ArgumentHelp("Only the questions of this split.", valueName: "split"))
    var split: String?

    @Option(help: ArgumentHelp("The file of questions.", valueName: "file"))
    var questions: String

    @Option(
        help: ArgumentHelp("The file of answers; none when they are with the questions.", valueName: "file"))
    var annotations: String?

    @Option(
        help: ArgumentHelp(
            "The predictions: a list for the evaluation server, or JSON lines.", valueName: "file"))
    var predictions: String

    @Option(help: ArgumentHelp("Other predictions, to compare with.", valueName: "file"))
    var against: String?

    @Flag(help: "Count a question without prediction as wrong instead of refusing.")
    var allowMissing = false

    @Flag(help: "Print JSON, which is the default.")
    var json = false

    @Flag(help: "Print a table for people instead.")
    var table = false

    func run() throws {
        let options = ScoreOptions(allowsMissing: allowMissing)
        if let against {
            let comparison = try compare(
                task: task, questions: questions, annotations: annotations, predictions: predictions,
                against: against, split: split, options: options)
            return try table
                ? Output.print(comparison.lines) : Output.print(comparison.json, indented: true)
        }
        let scores = try score(
            task: task, questions: questions, annotations: annotations, predictions: predictions,
            split: split,
            options: options)
        try table ? Output.print(scoreTable(scores)) : Output.print(scores.json, indented: true)
    }
}
