#if canImport(Glibc)
    import Glibc
#else
    import Darwin
#endif

/// Ctrl-C as a question: the first one asks the work to stop at the next step, the second ends the program at once.
enum Interrupt {
    /// Written by the signal handler alone.
    nonisolated(unsafe) private static var seen: sig_atomic_t = 0

    static var isRequested: Bool { seen != 0 }

    static func listen() {
        let handler: @convention(c) (Int32) -> Void = { number in
            Interrupt.seen = 1
            signal(number, SIG_DFL)
        }
        // Blocked, as threads of a work queue leave them to the programs they start, they would never arrive.
        var signals = sigset_t()
        sigemptyset(&signals)
        for number in [SIGINT, SIGTERM] {
            signal(number, handler)
            sigaddset(&signals, number)
        }
        pthread_sigmask(SIG_UNBLOCK, &signals, nil)
    }
}
