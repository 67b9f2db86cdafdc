import Foundation
import Support
import Testing

/// How long a file is mutated: so many milliseconds, times `VQA_FUZZ_TIMES` of the environment for a longer search.
func mutationTime(milliseconds: Int) -> Duration {
    let times = environment("VQA_FUZZ_TIMES").flatMap { Int($0) } ?? 1
    return .milliseconds(milliseconds * max(1, min(times, 10_000)))
}

/// Words that readers of text stumble over, and numbers that readers of binary files do.
private let tokens =
    [
        "\"", "{", "}", "[", "]", ",", ":", "\n", "\t", "\\u", "-", "1e999", "99999999999999999999", "null",
        "\0",
        "\u{FEFF}", "|", "../", "A", "<AND>", "(", "'shape': (", "=", "\u{301}", "true",
    ].map { Array($0.utf8) } + [[255, 255, 255, 255], [0, 0, 0, 128], [0x7F], [0x80]]

/// Writes mutations of `original` to `path` and reads them for a while; only one-line errors may come of it. Reaching the
/// end is the proof: a trap would end the program.
func mutate(
    _ original: [UInt8], at path: String, seed: Int, milliseconds: Int, _ read: () throws -> Void
) throws {
    let end = ContinuousClock.now + mutationTime(milliseconds: milliseconds)
    // Another search with another `VQA_FUZZ_SEED` of the environment.
    let search = environment("VQA_FUZZ_SEED").flatMap { Int($0) } ?? 0
    var random = CounterRandom(seed: seed, sample: search, purpose: "fuzz")
    while ContinuousClock.now < end {
        var bytes = original
        for _ in 0..<Int.random(in: 1...4, using: &random) {
            let place = Int.random(in: 0...bytes.count, using: &random)
            let word = tokens.randomElement(using: &random) ?? []
            switch Int.random(in: 0..<7, using: &random) {
            case 0: bytes.removeSubrange(place...)
            case 1: bytes.insert(UInt8.random(in: 0...255, using: &random), at: place)
            case 2:
                if place < bytes.count { bytes[place] ^= 1 << UInt8.random(in: 0..<8, using: &random) }
            case 3: bytes.insert(contentsOf: word, at: place)
            case 4: bytes.replaceSubrange(place..<min(bytes.count, place + word.count), with: word)
            case 5: bytes.insert(contentsOf: bytes.shuffled(using: &random).prefix(9), at: place)
            default: bytes.removeSubrange(place..<min(bytes.count, place + 7))
            }
        }
        try Data(bytes).write(to: URL(fileURLWithPath: path))
        do {
            try read()
        } catch let error as VQAError {
            #expect(!"\(error)".contains("\n"))
        }
    }
}

/// The same in a folder of its own.
func mutate(
    _ text: String, seed: Int, milliseconds: Int = 700, _ read: (String) throws -> Void
) throws {
    try withFolder { folder in
        let path = "\(folder)/file"
        try mutate(Array(text.utf8), at: path, seed: seed, milliseconds: milliseconds) { try read(path) }
    }
}
