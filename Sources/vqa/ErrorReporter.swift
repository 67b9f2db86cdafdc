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
/// a shell shows as 130; a reader that closes the pipe ends it without a word.
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
        var message = unknownCommand() ?? Vqa.message(for: error)
        while message.last == "." { message.removeLast() }
        let pointer = Vqa.fullMessage(for: error).split(separator: "\n").last { $0.contains("See '") } ?? ""
        let quoted = pointer.split(separator: "'")
        return message + "; see '\(quoted.count > 1 ? String(quoted[1]) : "vqa --help")'"
    }

    /// The parser calls a misspelt command an unexpected argument; this names the command that was meant.
    private static func unknownCommand() -> String? {
        var commands = Vqa.configuration.subcommands
        for word in CommandLine.arguments.dropFirst() {
            guard !commands.isEmpty, !word.hasPrefix("-") else { return nil }
            var names: [String] = []
            var inner: [any ParsableCommand.Type]?
            for command in commands {
                let name = command.configuration.commandName ?? ""
                names.append(name)
                if name == word { inner = command.configuration.subcommands }
            }
            guard let inner else {
                let hint = nearestMatch(to: word, in: names).map { "; did you mean '\($0)'?" } ?? ""
                return "there is no command '\(word)'\(hint)"
            }
            commands = inner
        }
        return nil
    }

    private static func terminate(_ code: Int32) -> Never {
        #if canImport(Glibc)
            Glibc.exit(code)
        #else
            Darwin.exit(code)
        #endif
    }
}
