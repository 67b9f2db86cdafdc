import ArgumentParser
import Runs
import Support
import Torch

#if canImport(Glibc)
    import Glibc
#else
    import Darwin
#endif

/// Ends the program after an error: one line a problem on the standard error, and the exit code.
///
/// 0 done, 1 the work failed, 2 the command or its input was wrong. Ctrl-C ends the program by its signal, which
/// a shell shows as 130, except where there is something to save: `train` and `evaluate` then end with a line that says
/// how to go on, and 1; a second Ctrl-C ends them at once. A reader that closes the pipe ends it without a word.
enum ErrorReporter {
    /// Gives a closed pipe its usual effect, whatever the parent process left.
    static func prepare() { signal(SIGPIPE, SIG_DFL) }

    /// Reports what a command threw. Requests for help and the version come this way too.
    static func exit(with error: any Error) -> Never {
        if error is ExitCode || Vqa.exitCode(for: error).isSuccess { finish(error) }
        let (lines, code) = outcome(of: error)
        for line in lines { printError(line) }
        terminate(code)
    }

    /// Prints a line on the standard error; there is no other place to tell when that fails.
    private static func printError(_ line: String) {
        try? Output.write("error: \(oneLine(line))\n", to: STDERR_FILENO, path: "standard error")
    }

    /// Prints help or the version, or nothing when a command only asked for an exit code.
    private static func finish(_ error: any Error) -> Never {
        let text = Vqa.fullMessage(for: error)
        do {
            if !text.isEmpty { try Output.print(text) }
        } catch {
            printError("\(error)")
            terminate(VQAError.Kind.failure.rawValue)
        }
        terminate(Vqa.exitCode(for: error).rawValue)
    }

    private static func outcome(of error: any Error) -> (lines: [String], code: Int32) {
        switch error {
        case let error as VQAError: ([error.description], error.kind.rawValue)
        case let error as ConfigurationProblems:
            (error.problems.map(\.description), VQAError.Kind.badInput.rawValue)
        case let error as TorchError: ([error.description], VQAError.Kind.failure.rawValue)
        case _ where Vqa.exitCode(for: error) == .validationFailure:
            ([usage(error)], VQAError.Kind.badInput.rawValue)
        default: (["\(error)"], VQAError.Kind.failure.rawValue)
        }
    }

    // MARK: Usage

    /// The parser's message on one line: what is wrong, the nearest right word, and where help is.
    private static func usage(_ error: any Error) -> String {
        var message = unknownWord() ?? Vqa.message(for: error)
        if message.hasSuffix(".") { message.removeLast() }
        let pointer = Vqa.fullMessage(for: error).split(separator: "\n").last { $0.contains("See '") } ?? ""
        let quoted = pointer.split(separator: "'")
        return message.prefix(1).lowercased() + message.dropFirst()
            + "; see '\(quoted.count > 1 ? String(quoted[1]) : "vqa --help")'"
    }

    /// A misspelt command, which the parser calls an unexpected argument, or a misspelt option, about which
    /// it says nothing as long as a required one is missing.
    private static func unknownWord() -> String? {
        var command: any ParsableCommand.Type = Vqa.self
        var words = CommandLine.arguments.dropFirst()
        while let word = words.first, !word.hasPrefix("-") {
            let subcommands: [any ParsableCommand.Type] = command.configuration.subcommands
            if subcommands.isEmpty { break }
            let names = subcommands.map { $0.configuration.commandName ?? "" }
            guard let index = names.firstIndex(of: word) else {
                let hint = nearestMatch(to: word, in: names).map { "; did you mean '\($0)'?" }
                return "there is no command '\(word)'" + (hint ?? "")
            }
            command = subcommands[index]
            words = words.dropFirst()
        }
        return unknownOption(of: command, among: words)
    }

    /// Only an option that is near a known one: others may be the values of known ones.
    private static func unknownOption(of command: any ParsableCommand.Type, among words: ArraySlice<String>)
        -> String?
    {
        let help = Vqa.helpMessage(for: command).split { " \n,;'[]".contains($0) }
        let names = help.filter { $0.hasPrefix("--") }.map(String.init)
        for word in words.prefix(while: { $0 != "--" }) where word.hasPrefix("--") {
            let name = String(word.prefix { $0 != "=" })
            guard !names.contains(name), let near = nearestMatch(to: name, in: names) else { continue }
            return "there is no option '\(name)'; did you mean '\(near)'?"
        }
        return nil
    }

    /// Ends the program without libtorch's own farewell, a tenth of a second spent on taking its tables apart. Whatever
    /// this program writes is written when it says so.
    static func terminate(_ code: Int32) -> Never {
        #if canImport(Glibc)
            Glibc._exit(code)
        #else
            Darwin._exit(code)
        #endif
    }
}
