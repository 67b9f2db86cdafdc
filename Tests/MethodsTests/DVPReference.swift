import Backbones
import Checkpoints
import Methods
import Support
import Testing
import Torch

#if canImport(Glibc)
    import Glibc
#else
    import Darwin
#endif

/// The world of DVP's specification, section 9.1: weights are a fixed function of the parameter's name.
enum DVPReference {
    /// Value i of the parameter `key`.
    static func parameter(_ key: String, _ shape: [Int]) throws -> Tensor {
        let sum = key.utf8.reduce(0) { $0 + Int($1) } % 997
        let norms = ["LayerNorm", "layer_norm", "layernorm", ".ln_", "classifier.1."]
        let isNorm =
            norms.contains { key.contains($0) } || key.hasSuffix("norm.weight") || key.hasSuffix("norm.bias")
        let aroundOne = shape.count == 1 && key.hasSuffix("weight") && isNorm
        let values = (0..<shape.reduce(1, *)).map { index in
            let wave = sin(0.7 * Double(index) + 0.01 * Double(sum))
            return Float(aroundOne ? 1 + 0.1 * wave : 0.2 * wave)
        }
        return try Tensor(values, shape)
    }

    /// The visual tokens X of the specification, through the image tower in OpenAI's key names.
    static func visual() throws -> Tensor {
        var weights: [String: Tensor] = [:]
        func put(_ name: String, _ shape: [Int]) throws {
            weights["visumodel." + name] = try parameter("visumodel." + name, shape)
        }
        try put("class_embedding", [16])
        try put("positional_embedding", [5, 16])
        try put("proj", [16, 8])
        try put("conv1.weight", [16, 3, 4, 4])
        for name in ["ln_pre", "ln_post"] {
            for kind in ["weight", "bias"] { try put("\(name).\(kind)", [16]) }
        }
        for block in ["transformer.resblocks.0.", "transformer.resblocks.1."] {
            for (name, out, input) in [
                ("attn.in_proj_", 48, 16), ("attn.out_proj.", 16, 16), ("mlp.c_fc.", 64, 16),
                ("mlp.c_proj.", 16, 64),
            ] {
                try put(block + name + "weight", [out, input])
                try put(block + name + "bias", [out])
            }
            for name in ["ln_1", "ln_2"] {
                for kind in ["weight", "bias"] { try put("\(block)\(name).\(kind)", [16]) }
            }
        }
        let shape = try CLIPVisionConfiguration(
            openAI: CLIPVision.visualPart(of: weights), headSize: 8, source: "test")
        var tower = try CLIPVision(shape)
        try tower.load(CLIPVision.renamed(weights), from: "test")
        let pixels = try Tensor((0..<384).map { Float(sin(0.05 * Double($0))) }, [2, 3, 8, 8])
        return try withoutGradients { try tower(pixels) }
    }

    static func targets() throws -> Tensor {
        try Tensor([1, 0, 0, 0.3, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0.6] as [Float], [2, 7])
    }

    static func sums(_ tensor: Tensor) throws -> (sum: Double, abs: Double) {
        let values = try tensor.doubles()
        return (values.reduce(0, +), values.reduce(0) { $0 + abs($1) })
    }

    static func near(_ found: Double, _ wanted: Double) -> Bool {
        abs(found - wanted) <= 2e-5 * max(1, abs(wanted))
    }

    /// The model with every parameter from its name, and what is trained chosen.
    static func filled(_ model: DVP) throws -> DVP {
        var model = model
        try model.forEachParameter { slot, tensor in tensor = try parameter(slot.key, tensor.shape) }
        let names = model
        try model.setTrainable { names.isTrained($0) }
        return model
    }

    /// Checks sum and sum of absolute values.
    static func expect(
        _ tensor: Tensor, _ sum: Double, _ absolute: Double, _ comment: Comment? = nil,
        _ location: SourceLocation = #_sourceLocation
    ) throws {
        let found = try sums(tensor)
        #expect(
            near(found.sum, sum) && near(found.abs, absolute), comment ?? "\(found)", sourceLocation: location
        )
    }

    /// One row of a table of the specification. Of each tensor: the sum, the sum of absolute values, then first elements.
    struct Row: Sendable {
        let layer: Int
        var adapters = true
        let query: [Double]
        let prompt: [Double]
        let feature: [Double]
        let logits: [Double]
        let loss: Double
    }

    /// Checks every stage.
    static func expect(_ output: DVPOutput, _ row: Row, _ location: SourceLocation = #_sourceLocation) throws
    {
        for (tensor, wanted) in [
            (output.query, row.query), (output.prompt, row.prompt), (output.feature, row.feature),
            (output.logits, row.logits),
        ] {
            try expect(tensor, wanted[0], wanted[1], nil, location)
            for (found, value) in try zip(tensor.doubles(), wanted.dropFirst(2)) {
                #expect(near(found, value), sourceLocation: location)
            }
        }
        let loss = try softTargetLoss(output.logits, targets()).item()
        #expect(near(loss, row.loss), "\(loss)", sourceLocation: location)
    }
}
