import ArgumentParser
import Training

/// The command line: parses, calls, prints.
@main
struct Vqa: ParsableCommand {
    static let configuration = CommandConfiguration(
        commandName: "vqa",
        abstract: "Adapts frozen language and vision-language models to visual question answering.",
        discussion: """
            Check the installation, adapt a model, ask it:

              vqa doctor
              vqa train Examples/easy-vqa-dvp-bert.yaml
              vqa ask photo.jpg "what shape is this?"
            """,
        version: "vqa \(programVersion)",
        groupedSubcommands: [
            CommandGroup(
                name: "Adapt and answer",
                subcommands: [
                    TrainCommand.self, SearchCommand.self, EvaluateCommand.self, AskCommand.self,
                    CaptionCommand.self,
                ]),
            CommandGroup(
                name: "Data and scores",
                subcommands: [ScoreCommand.self, ValidateCommand.self, ScenesCommand.self]),
            CommandGroup(
                name: "Models and this machine",
                subcommands: [
                    InspectCommand.self, TokenizeCommand.self, GenerateCommand.self, ForwardCommand.self,
                    ConvertCommand.self, DoctorCommand.self,
                ]),
        ])

    static func main() {
        ErrorReporter.prepare()
        do {
            var command = try parseAsRoot()
            try command.run()
            ErrorReporter.terminate(0)
        } catch {
            ErrorReporter.exit(with: error)
        }
    }
}
