import Checkpoints
import Support
import Testing

/// Files with random damage either read or are refused; nothing crashes and nothing asks for much memory.
@Suite struct MutationTests {
    static let seeds = [
        "types.safetensors", "views.pt", "wrapped.pt", "training.pt", "views.legacy.pt", "training.legacy.pt",
        "list.legacy.pt", "gguf/types.gguf",
    ]

    @Test(arguments: seeds) func damagedFilesNeverCrash(name: String) throws {
        let scratch = try Scratch()
        let original = try readFile(fixture(name), limit: 1 << 20)
        var refused = 0
        for round in 0..<1500 {
            var random = CounterRandom(seed: 9, sample: round, purpose: name)
            var bytes = original
            for _ in 0..<Int.random(in: 1...4, using: &random) { mutate(&bytes, &random) }
            let path = try scratch.write(bytes, as: "damaged")
            do { try readAll(path) } catch is VQAError { refused += 1 }
        }
        #expect(refused > 150)
    }

    private let interesting: [UInt8] = [
        0, 1, 0x28, 0x2E, 0x51, 0x52, 0x62, 0x63, 0x68, 0x6A, 0x74, 0x7F, 0x80, 0x93, 0xFF,
    ]

    private func mutate(_ bytes: inout [UInt8], _ random: inout CounterRandom) {
        guard bytes.count > 16 else { return }
        let position = Int.random(in: 0..<bytes.count - 8, using: &random)
        switch Int.random(in: 0..<6, using: &random) {
        case 0: bytes[position] = UInt8.random(in: 0 ... .max, using: &random)
        case 1: bytes[position] = interesting.randomElement(using: &random) ?? 0
        case 2: bytes[position] ^= 1 << UInt8.random(in: 0..<8, using: &random)
        case 3:
            let number = ([0, 1, -1, .max, .min, 1 << 32, 255] as [Int64]).randomElement(using: &random) ?? 0
            bytes.replaceSubrange(position..<position + 8, with: little(number))
        case 4: bytes.removeSubrange(position..<position + Int.random(in: 1...8, using: &random))
        default:
            let length = Int.random(in: 1...8, using: &random)
            let source = Int.random(in: 0..<bytes.count - 8, using: &random)
            bytes.insert(contentsOf: Array(bytes[source..<source + length]), at: position)
        }
    }
}
