import Backbones
import Checkpoints
import Support
import Testing
import Torch

/// One tiny model of Tools/goldens/vision.py: its configuration, weights, inputs and what the reference computes.
struct VisionPart {
    let name: String
    let tensors: [String: Tensor]

    init(_ name: String) throws {
        self.name = name
        tensors = try ReferenceTests.tensors("vision/\(name).safetensors")
    }

    /// The configuration beside the weights.
    func json() throws -> JSON { try JSON(contentsOf: ReferenceTests.fixture("vision/\(name).json")) }

    /// The tensors below `prefix`, without it.
    func below(_ prefix: String) -> [String: Tensor] {
        var result: [String: Tensor] = [:]
        for (key, tensor) in tensors where key.hasPrefix(prefix) {
            result[String(key.dropFirst(prefix.count))] = tensor
        }
        return result
    }

    /// The weights under the reference's own keys.
    var weights: [String: Tensor] { below("weight.") }

    /// The weights with another prefix, and a tensor of another part beside them.
    func weights(under prefix: String) throws -> [String: Tensor] {
        var result: [String: Tensor] = ["language_model.other.weight": try .zeros([2])]
        for (key, tensor) in weights { result[prefix + key] = tensor }
        return result
    }

    func input(_ key: String) throws -> Tensor { try #require(tensors["input.\(key)"]) }

    /// Whether a tensor equals what the reference has under `expected.`.
    func matches(_ found: Tensor?, _ key: String) throws -> Bool {
        let wanted = try #require(tensors["expected.\(key)"], "no golden tensor \(key)")
        return try ReferenceTests.close(found, wanted)
    }

    /// sin(0.05 i + 0.3), as the golden script has it; a leaf that collects a gradient.
    static func waves(_ shape: [Int]) throws -> Tensor {
        let count = shape.reduce(1, *)
        let wave = try (Tensor.arange(0, Double(count), .float32) * 0.05 + 0.3).sin().reshaped(shape)
            .detached()
        try wave.requireGradient()
        return wave
    }

    /// Checks that an identity tap at all sites changes no bit and sees at every site what the reference has there, and that
    /// a tensor replaced at any of them reaches the output.
    ///
    /// - Parameters:
    ///   - taps: where the golden tensors lie.
    ///   - layers: blocks of the model.
    ///   - run: the model with a tap.
    func checkTaps(_ taps: String = "tap.", layers: Int, run: (Tap?) throws -> Tensor) throws {
        let golden = below(taps)
        #expect(golden.count >= 4 * layers)
        var seen: [String: Tensor] = [:]
        let all = Tap(Set(TapSite.allCases)) { site, layer, tensor in
            #expect(seen["\(site).\(layer)"] == nil, "\(site) of layer \(layer) is called twice")
            seen["\(site).\(layer)"] = tensor
            return tensor
        }
        let plain = try run(nil).bytes()
        #expect(try run(all).bytes() == plain)
        for (key, wanted) in golden {
            #expect(try ReferenceTests.close(seen[key], wanted), "\(name) \(key)")
        }
        for key in seen.keys {
            let parts = key.split(separator: ".")
            let site = try #require(TapSite(rawValue: String(parts[0])))
            let replaced = try run(
                Tap([site]) { _, layer, tensor in "\(layer)" == parts[1] ? try tensor * 0 : tensor })
            #expect(try replaced.bytes() != plain, "\(name) \(key)")
        }
    }
}

/// Loading refuses a missing, an unused and a misshapen key, and names it.
func checkStrict(_ model: some Module, _ weights: [String: Tensor]) throws {
    var model = model
    try model.load(weights, from: "m")
    let key = try #require(weights.keys.sorted().last)
    let tensor = try #require(weights[key])
    var missing = weights
    missing[key] = nil
    var unused = weights
    unused["unused.weight"] = try .zeros([2])
    var misshapen = weights
    misshapen[key] = try .concatenated([tensor, tensor], 0)
    for (faulty, word) in [(missing, key), (unused, "unused.weight"), (misshapen, key)] {
        let error = #expect(throws: VQAError.self) { try model.load(faulty, from: "m") }
        #expect(error?.description.contains(word) == true, "\(word)")
    }
}

/// The configuration is refused, and the message has the word.
func checkRefused(_ text: String, _ word: String, _ read: (JSON) throws -> Void) throws {
    let json = try JSON(parsing: Array(text.utf8), source: "config.json")
    let error = #expect(throws: VQAError.self) { try read(json) }
    #expect(error?.description.contains(word) == true, "\(text): \(error?.description ?? "accepted")")
}

/// The configuration that a JSON text describes.
func parsed(_ text: String) throws -> JSON { try JSON(parsing: Array(text.utf8), source: "config.json") }
