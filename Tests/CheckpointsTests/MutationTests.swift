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

    /// Damage in the front part, where sizes and names stand; numbers cannot be wrong.
    @Test(arguments: ["gguf/types.gguf", "gguf/llama3.gguf", "gguf/qwen2.gguf"])
    func damagedHeadersOfModelsNeverCrash(name: String) throws {
        let scratch = try Scratch()
        let original = try readFile(fixture(name), limit: 1 << 20)
        let front = try GGUFFile(opening: fixture(name)).frontPart
        var refused = 0
        for round in 0..<500 {
            var random = CounterRandom(seed: 10, sample: round, purpose: name)
            var head = Array(original[..<front])
            for _ in 0..<Int.random(in: 1...3, using: &random) { mutate(&head, &random) }
            let path = try scratch.write(head + original[front...], as: "damaged")
            do { try readModel(path) } catch is VQAError { refused += 1 }
        }
        #expect(refused > 200)
    }

    /// Asks a GGUF file for all it can give.
    private func readModel(_ path: String) throws {
        let file = try GGUFFile(opening: path)
        for key in file.metadata.keys {
            guard case .array(let array) = file.metadata[key] else { continue }
            for index in 0..<min(array.count, 50) { _ = array.string(at: index) }
            _ = try? file.metadata.strings(key)
            _ = try? file.metadata.integers(key)
            _ = try? file.metadata.floats(key)
        }
        for tensor in file.tensors { _ = try tensor.floats() }
        let model = try GGUFModel(file)
        for name in model.checkpoint.names { _ = try model.tensor(named: name) }
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

extension GGUFFile {
    /// Bytes before the first tensor.
    fileprivate var frontPart: Int {
        let whole = (try? MappedFile(path).count) ?? 0
        let data = tensors.reduce(0) { $0 + ($1.bytes.count + alignment - 1) / alignment * alignment }
        return max(0, whole - data)
    }
}
