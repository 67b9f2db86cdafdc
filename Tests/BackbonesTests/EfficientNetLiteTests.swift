import Backbones
import Checkpoints
import Support
import Testing
import Torch

/// The real EfficientNet-Lite0 that `make setup` fetches.
@Suite(
    .serialized, .enabled(if: (try? ModelLibrary.locate("efficientnet-lite0")) != nil, "needs `make setup`"))
struct EfficientNetLiteTests {
    @Test("grid and logits equal a plain implementation's, unequal sides included") func golden() throws {
        let path = try ModelLibrary.locate("efficientnet-lite0")
        var network = try EfficientNetLite()
        try network.load(Checkpoint(opening: path).tensors(), from: path)
        let expected = try ReferenceTests.tensors("efficientnet.safetensors")
        let values = try (Tensor.arange(0, 2 * 3 * 70 * 101, .int64) * 7919).remainder(255).to(.float32)
        let images = try ((values - 127) / 128).reshaped([2, 3, 70, 101])
        try withoutGradients {
            let grid = try network.grid(images)
            #expect(grid.shape == [2, 1280, 3, 4])
            let sampled = try grid.sliced(1, 0, 1280, step: 40)
            #expect(try ReferenceTests.deviation(sampled, expected["grid"]) <= 1e-4)
            #expect(try ReferenceTests.deviation(network.logits(grid: grid), expected["logits"]) <= 1e-4)
            let tokens = try network.tokens(images)
            #expect(tokens.shape == [2, 12, 1280])
            #expect(try tokens.selected(1, 5).floats() == grid.selected(2, 1).selected(2, 1).floats())
        }
    }

    static let photographs = ReferenceTests.shared("allennlp-vision/images")

    @Test(
        "photographs are what they show",
        .enabled(if: photographs != nil, "needs the photographs of ../shared/data"),
        arguments: [
            ("gqa/2405722.jpg", 89),  // sulphur-crested cockatoo
            ("gqa/2375429.jpg", 603),  // horse cart
            ("vqav2/COCO_train2014_000000458752.jpg", 981),  // ballplayer
            ("vqav2/COCO_val2014_000000393225.jpg", 809),  // soup bowl
        ])
    func photograph(_ name: String, _ label: Int) throws {
        let folder = try #require(Self.photographs)
        let tower = try VisionTower("efficientnet-lite0")
        var pixels = [Float](repeating: 0, count: 3 * 224 * 224)
        try pixels.withUnsafeMutableBufferPointer { try tower.pixels(ofFile: "\(folder)/\(name)", into: $0) }
        let outputs = try tower.outputs(Tensor(pixels, [1, 3, 224, 224]))
        let logits = try #require(outputs.first { $0.key == "logits" }?.tensor)
        #expect(try logits.argmax(1).integers() == [label])
    }
}
