import Checkpoints
import Foundation
import Support
import Testing

/// A tiny complete model folder with what the reference made of its prompts: see Tools/goldens/folders.py.
struct GoldenFolder {
    /// The folders of the fixtures.
    static let names = ["qwen2", "t5", "llava"]

    let path: String
    let cases: [GoldenPrompt]
    private let tensors: Checkpoint

    init(_ name: String) throws {
        path = Program.fixture("Folders/\(name)")
        let json = try JSON(contentsOf: "\(path)/expected/cases.json")
        cases = try #require(json.array).map(GoldenPrompt.init)
        tensors = try Checkpoint(opening: "\(path)/expected/tensors.safetensors")
    }

    /// The last row of the logits of a case.
    func lastLogits(_ index: Int) throws -> [Float] { try floats(tensors, "\(index).logits") }

    /// A copy that a test may damage.
    func copied(into folder: TemporaryFolder) throws -> String {
        let copy = "\(folder.path)/model"
        try FileManager.default.copyItem(atPath: path, toPath: copy)
        return copy
    }
}

/// One prompt, its images, and what was generated after it.
struct GoldenPrompt {
    let text: String
    let images: [String]
    let isChat: Bool
    let ids: [Int]
    let decoderIDs: [Int]
    let outputs: [JSON]

    init(_ json: JSON) throws {
        text = try #require(json["prompt"]?.string)
        images = try #require(json["images"]?.array).map {
            Program.fixture("Folders/images/\($0.string ?? "")")
        }
        isChat = json["chat"]?.bool == true
        ids = try #require(json["ids"]?.array).compactMap(\.integer)
        decoderIDs = json["decoder_ids"]?.array?.compactMap(\.integer) ?? []
        outputs = try #require(json["outputs"]?.array)
    }

    /// `--prompt … --image …`
    var arguments: [String] { ["--prompt", text] + images.flatMap { ["--image", $0] } }
}

/// The numbers of a float32 tensor of a file.
func floats(_ checkpoint: Checkpoint, _ name: String) throws -> [Float] {
    let view = try checkpoint.tensor(named: name)
    return view.withBytes { bytes in
        stride(from: 0, to: bytes.count - bytes.count % 4, by: 4).map {
            Float(bitPattern: UInt32(littleEndian: bytes.loadUnaligned(fromByteOffset: $0, as: UInt32.self)))
        }
    }
}

/// The numbers of an int64 tensor of a file.
func integers(_ checkpoint: Checkpoint, _ name: String) throws -> [Int] {
    let view = try checkpoint.tensor(named: name)
    return view.withBytes { bytes in
        stride(from: 0, to: bytes.count - bytes.count % 8, by: 8).map {
            Int(Int64(littleEndian: bytes.loadUnaligned(fromByteOffset: $0, as: Int64.self)))
        }
    }
}
