import Support
import Testing
import Torch

// What the operation of each golden case is in Swift. A function gives nil for names it does not know.

func elementwise(_ c: GoldenCase) throws -> Tensor? {
    switch c.operation {
    case "negated": try -c[0]
    case "abs": try c[0].abs()
    case "sign": try c[0].sign()
    case "exp": try c[0].exp()
    case "expm1": try c[0].expm1()
    case "log": try c[0].log()
    case "log1p": try c[0].log1p()
    case "sqrt": try c[0].sqrt()
    case "rsqrt": try c[0].rsqrt()
    case "square": try c[0].square()
    case "reciprocal": try c[0].reciprocal()
    case "sin": try c[0].sin()
    case "cos": try c[0].cos()
    case "tanh": try c[0].tanh()
    case "sigmoid": try c[0].sigmoid()
    case "logSigmoid": try c[0].logSigmoid()
    case "softplus": try c[0].softplus()
    case "erf": try c[0].erf()
    case "relu": try c[0].relu()
    case "relu6": try c[0].relu6()
    case "silu": try c[0].silu()
    case "gelu": try c[0].gelu()
    case "geluTanh": try c[0].geluTanh()
    case "quickGelu": try c[0].quickGelu()
    case "floor": try c[0].floor()
    case "ceil": try c[0].ceil()
    case "round": try c[0].round()
    case "isNaN": try c[0].isNaN()
    case "isFinite": try c[0].isFinite()
    case "not": try c[0].not()
    case "clamped": try c[0].clamped(c.double("low"), c.double("high"))
    case "choose": try .choose(c[0], c[1], c[2])
    case "masked":
        try c[0].masked(c.options["positive"] == nil ? c[1] : c[1] .> 0, c.double("value"))
    case "to": try c[0].abs().to(c.dtype())
    default: nil
    }
}

func binary(_ c: GoldenCase) throws -> Tensor? {
    switch c.operation {
    case "add": try c[0] + c[1]
    case "subtract": try c[0] - c[1]
    case "multiply": try c[0] * c[1]
    case "divide": try c[0] / c[1]
    case "maximum": try c[0].maximum(c[1])
    case "minimum": try c[0].minimum(c[1])
    case "power": try c[0].power(c[1])
    case "equal": try c[0] .== c[1]
    case "notEqual": try c[0] .!= c[1]
    case "less": try c[0] .< c[1]
    case "lessOrEqual": try c[0] .<= c[1]
    case "greater": try c[0] .> c[1]
    case "greaterOrEqual": try c[0] .>= c[1]
    case "and": try c[0].and(c[1])
    case "or": try c[0].or(c[1])
    case "adding": try c[0].adding(c[1], scale: c.double("scale"))
    case "addNumber": try c[0] + c.double("number")
    case "subtractNumber": try c[0] - c.double("number")
    case "multiplyNumber": try c[0] * c.double("number")
    case "divideNumber": try c[0] / c.double("number")
    case "powerNumber": try c[0].power(c.double("number"))
    case "floorDivide": try c[0].floorDivide(c.double("number"))
    case "remainder": try c[0].remainder(c.double("number"))
    case "equalNumber": try c[0] .== c.double("number")
    case "notEqualNumber": try c[0] .!= c.double("number")
    case "lessNumber": try c[0] .< c.double("number")
    case "lessOrEqualNumber": try c[0] .<= c.double("number")
    case "greaterNumber": try c[0] .> c.double("number")
    case "greaterOrEqualNumber": try c[0] .>= c.double("number")
    default: nil
    }
}

/// Creation and what changes its first input in place.
func memory(_ c: GoldenCase) throws -> Tensor? {
    switch c.operation {
    case "full": return try Tensor(full: c.double("value"), c.list("shape"), c.dtype())
    case "arange":
        return try .arange(c.double("start"), c.double("end"), step: c.double("step"), c.dtype())
    case "copyFrom": try c[0].copy(from: c[1])
    case "addInPlace": try c[0].add(c[1], scale: c.double("scale"))
    case "scaleBy": try c[0].scale(by: c.double("number"))
    case "fill": try c[0].fill(c.double("number"))
    default: return nil
    }
    return try c[0]
}

func shape(_ c: GoldenCase) throws -> Tensor? {
    switch c.operation {
    case "reshaped": try c[0].reshaped(c.list("shape"))
    case "expanded": try c[0].expanded(c.list("shape"))
    case "permuted": try c[0].permuted(c.list("order"))
    case "transposed": try c[0].transposed(c.integer("first"), c.integer("second"))
    case "contiguousTransposed": try c[0].transposed(0, 1).contiguous()
    case "unsqueezed": try c[0].unsqueezed(c.integer("dimension"))
    case "squeezed": try c[0].squeezed(c.integer("dimension"))
    case "sliced":
        try c[0].sliced(c.integer("dimension"), c.integer("start"), c.integer("end"), step: c.integer("step"))
    case "selected": try c[0].selected(c.integer("dimension"), c.integer("index"))
    case "concatenated": try .concatenated(c.inputs.compactMap { $0 }, c.integer("dimension"))
    case "stacked": try .stacked(c.inputs.compactMap { $0 }, c.integer("dimension"))
    case "repeatedEach": try c[0].repeatedEach(c.integer("count"), c.integer("dimension"))
    case "repeated": try c[0].repeated(c.list("counts"))
    case "flipped": try c[0].flipped(c.list("dimensions"))
    case "rolled": try c[0].rolled(c.integer("shift"), c.integer("dimension"))
    case "padded": try c[0].padded(c.list("amounts"), c.double("value"))
    case "upperTriangle": try c[0].upperTriangle(c.integer("diagonal"))
    case "lowerTriangle": try c[0].lowerTriangle(c.integer("diagonal"))
    default: nil
    }
}

func indexing(_ c: GoldenCase) throws -> Tensor? {
    switch c.operation {
    case "selectedIndices": try c[0].selected(c.integer("dimension"), indices: c[1])
    case "indexed": try c[0].indexed(Array(c.inputs.dropFirst()))
    case "replacing":
        try c[0].replacing(Array(c.inputs.dropFirst(2)), with: c[1], accumulate: c.flag("accumulate"))
    case "gathered": try c[0].gathered(c.integer("dimension"), c[1])
    case "scattered": try c[0].scattered(c.integer("dimension"), c[1], c[2])
    case "scatterAdded": try c[0].scatterAdded(c.integer("dimension"), c[1], c[2])
    case "selectedWhere": try c[0].selected(where: c[1] .> 0)
    case "nonzero": try c[0].nonzero()
    case "embedding": try c[0].embedding(c[1])
    default: nil
    }
}

func reduction(_ c: GoldenCase) throws -> [Tensor]? {
    switch c.operation {
    case "sum": [try c[0].sum(c.list("dimensions"), keep: c.flag("keep"))]
    case "mean": [try c[0].mean(c.list("dimensions"), keep: c.flag("keep"))]
    case "max": [try c[0].max(c.list("dimensions"), keep: c.flag("keep"))]
    case "min": [try c[0].min(c.list("dimensions"), keep: c.flag("keep"))]
    case "norm": [try c[0].norm(c.list("dimensions"), keep: c.flag("keep"))]
    case "any": [try c[0].any(c.list("dimensions"), keep: c.flag("keep"))]
    case "all": [try c[0].all(c.list("dimensions"), keep: c.flag("keep"))]
    case "logSumExp": [try c[0].logSumExp(c.list("dimensions"), keep: c.flag("keep"))]
    case "variance":
        [try c[0].variance(c.list("dimensions"), unbiased: c.flag("unbiased"), keep: c.flag("keep"))]
    case "product": [try c[0].product(c.integer("dimension"), keep: c.flag("keep"))]
    case "argmax": [try c[0].argmax(c.integer("dimension"), keep: c.flag("keep"))]
    case "argmin": [try c[0].argmin(c.integer("dimension"), keep: c.flag("keep"))]
    case "cumulativeSum": [try c[0].cumulativeSum(c.integer("dimension"))]
    case "softmax": [try c[0].softmax(c.integer("dimension"))]
    case "logSoftmax": [try c[0].logSoftmax(c.integer("dimension"))]
    case "sorted": both(try c[0].sorted(c.integer("dimension"), descending: c.flag("descending")))
    case "top": both(try c[0].top(c.integer("k"), c.integer("dimension"), largest: c.flag("largest")))
    default: nil
    }
}

private func both(_ pair: (values: Tensor, indices: Tensor)) -> [Tensor] { [pair.values, pair.indices] }

func layer(_ c: GoldenCase) throws -> Tensor? {
    switch c.operation {
    case "matmul": try c[0].matmul(c[1])
    case "linear": try c[0].linear(c[1], c.inputs[2])
    case "einsum": try .einsum(c.text("equation"), c.inputs.compactMap { $0 })
    case "singularValues": try singularValues(c[0])
    case "convolved":
        try c[0].convolved(
            c[1], c.inputs[2], stride: c.integer("stride"), padding: c.integer("padding"),
            dilation: c.integer("dilation"), groups: c.integer("groups"))
    case "layerNorm":
        try c[0].layerNorm(c.list("shape"), c.inputs[1], c.inputs[2], epsilon: c.double("epsilon"))
    case "rmsNorm": try c[0].rmsNorm(c.list("shape"), c.inputs[1], epsilon: c.double("epsilon"))
    case "groupNorm":
        try c[0].groupNorm(c.integer("groups"), c.inputs[1], c.inputs[2], epsilon: c.double("epsilon"))
    case "averagePool": try c[0].averagePool(c.integer("height"), c.integer("width"))
    case "maxPool":
        try c[0].maxPool(c.integer("kernel"), stride: c.integer("stride"), padding: c.integer("padding"))
    case "interpolated":
        try c[0].interpolated(
            c.integer("height"), c.integer("width"), interpolation(c.text("mode")),
            alignCorners: c.flag("align"), antialias: c.flag("antialias"))
    case "attention":
        try c[0].attention(
            key: c[1], value: c[2], mask: c.inputs[3], causal: c.flag("causal"),
            scale: c.options["scale"]?.double,
            grouped: c.flag("grouped"))
    default: nil
    }
}

/// Checks that the parts of the decomposition multiply to the whole.
private func singularValues(_ whole: Tensor) throws -> Tensor {
    let (u, s, vTransposed) = try whole.singularValues()
    try expectClose(
        u.matmul(s.unsqueezed(-1) * vTransposed), whole, "product of the singular value decomposition")
    return s
}

private func interpolation(_ name: String) -> Interpolation {
    switch name {
    case "bilinear": .bilinear
    case "bicubic": .bicubic
    default: .nearest
    }
}

/// The output and then the running statistics, which training changes in place.
func batchNorm(_ c: GoldenCase) throws -> [Tensor]? {
    guard c.operation == "batchNorm" else { return nil }
    let out = try c[0].batchNorm(
        mean: c[1], variance: c[2], c.inputs[3], c.inputs[4], training: c.flag("training"),
        momentum: c.double("momentum"), epsilon: c.double("epsilon"))
    return [out, try c[1], try c[2]]
}

func loss(_ c: GoldenCase) throws -> Tensor? {
    switch c.operation {
    case "crossEntropy":
        try c[0].crossEntropy(
            c[1], weight: c.inputs[2], ignoring: c.integer("ignoring"), smoothing: c.double("smoothing"),
            c.reduction())
    case "binaryCrossEntropy":
        try c[0].binaryCrossEntropy(c[1], weight: c.inputs[2], positiveWeight: c.inputs[3], c.reduction())
    case "klDivergence": try c[0].klDivergence(c[1], logTarget: c.flag("log"), c.reduction())
    case "meanSquaredError": try c[0].meanSquaredError(c[1], c.reduction())
    case "absoluteError": try c[0].absoluteError(c[1], c.reduction())
    default: nil
    }
}

func random(_ c: GoldenCase) throws -> Tensor? {
    guard let seed = c.options["seed"]?.integer else { return nil }
    let generator = try Generator(seed: UInt64(seed))
    switch c.operation {
    case "uniform": return try .uniform(c.list("shape"), c.double("low"), c.double("high"), generator)
    case "normal":
        return try .normal(
            c.list("shape"), mean: c.double("mean"), deviation: c.double("deviation"), generator)
    case "integers": return try .integers(c.list("shape"), c.integer("low"), c.integer("high"), generator)
    case "permutation": return try .permutation(c.integer("count"), generator)
    case "multinomial":
        return try c[0].multinomial(c.integer("samples"), replacement: c.flag("replacement"), generator)
    case "dropout":
        try Generator.seedDefault(UInt64(seed))
        return try c[0].dropout(c.double("probability"))
    default: return nil
    }
}
