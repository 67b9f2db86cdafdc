import ArgumentParser
import Training

struct DoctorCommand: ParsableCommand {
    static let configuration = CommandConfiguration(
        commandName: "doctor",
        abstract: "Checks this installation and machine, and says what to do.",
        discussion: """
            Each line begins with OK or !!. The exit code is 1 when something essential is broken.

            Example:

              vqa doctor --json
            """)

    @Flag(help: "Print JSON.")
    var json = false

    func run() throws {
        let report = DoctorReport()
        try json ? Output.print(report.json, indented: true) : Output.print(report.lines)
        if report.isBroken { throw ExitCode.failure }
    }
}
