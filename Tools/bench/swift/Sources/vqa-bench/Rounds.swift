import Runs
import Support

#if canImport(Glibc)
    import Glibc
#else
    import Darwin
#endif

/// Shows what is computed, then runs one round for every line of input and answers with its
/// seconds by the clock and of the processor, and the bytes that were in memory at most so far.
func serve(_ outputs: JSON, round: () throws -> Void) throws {
    say(outputs.text())
    let clock = ContinuousClock()
    while readLine() != nil {
        let before = processorSeconds()
        let time = try clock.measure(round).components
        let seconds = Double(time.seconds) + Double(time.attoseconds) / 1e18
        say("\(seconds) \(processorSeconds() - before) \(peakResidentBytes())")
    }
}

private func say(_ line: String) {
    print(line)
    fflush(nil)
}

/// What all threads of this process have used.
private func processorSeconds() -> Double {
    var time = timespec()
    clock_gettime(CLOCK_PROCESS_CPUTIME_ID, &time)
    return Double(time.tv_sec) + Double(time.tv_nsec) / 1e9
}

func exitProgram() -> Never { exit(1) }
