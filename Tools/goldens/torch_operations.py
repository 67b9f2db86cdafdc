"""Golden results of every tensor operation, with arguments other than the defaults.

Writes Tests/Fixtures/Torch/operations.json: a pool of named input tensors, and cases of (operation as Swift names it,
inputs, options, outputs).

Needs: Python 3.11, torch 2.13.0 (CPU).
Run:   python Tools/goldens/torch_operations.py
"""

import json
import math
import pathlib

import torch
import torch.nn.functional as F

TYPES = {torch.float32: "float32", torch.float64: "float64", torch.bfloat16: "bfloat16", torch.int64: "int64",
         torch.int32: "int32", torch.uint8: "uint8", torch.bool: "bool"}
POOL, CASES = {}, []


def number(value):
    """A number as short as fp32 allows; what JSON has no number for is a string."""
    if isinstance(value, bool):
        return int(value)
    if isinstance(value, int):
        return value
    if math.isnan(value) or math.isinf(value):
        return str(value)
    short = float(f"{value:.8g}")
    return int(short) if short == int(short) and abs(short) < 1e9 else short


def packed(tensor):
    values = tensor.detach().to(torch.float64) if tensor.is_floating_point() else tensor
    return {"type": TYPES[tensor.dtype], "shape": list(tensor.shape),
            "values": [number(v) for v in values.reshape(-1).tolist()]}


def pool(name, tensor):
    POOL[name] = tensor
    return tensor


def case(operation, inputs, outputs, **options):
    """Inputs are names of the pool (None for an absent one); outputs what PyTorch gives for them."""
    outputs = [outputs] if isinstance(outputs, torch.Tensor) else list(outputs)
    CASES.append({"operation": operation, "inputs": inputs, "options": options,
                  "outputs": [packed(output) for output in outputs]})


def rounded(*shape, low=-2.0, high=2.0):
    return torch.round((torch.rand(*shape) * (high - low) + low) * 1000) / 1000


def make_inputs():
    torch.manual_seed(20)
    pool("a", rounded(2, 3, 4))
    pool("b", rounded(3, 1))
    pool("positive", rounded(2, 5, low=0.1, high=3))
    pool("unit", rounded(2, 5, low=0.02, high=0.98))
    pool("m", rounded(4, 5))
    pool("m2", rounded(4, 5))
    pool("square", rounded(5, 5))
    pool("v", rounded(5))
    pool("halves", torch.tensor([-2.5, -1.5, -0.5, 0.5, 1.5, 2.5, 1e-3, 7.25]))
    pool("odd", torch.tensor([1.0, float("nan"), float("inf"), float("-inf"), 0.0]))
    pool("i", torch.tensor([[-7, -3, 0], [2, 5, 9]]))
    pool("i32", torch.tensor([[4, -6, 1], [3, 3, -2]], dtype=torch.int32))
    pool("bytes", torch.tensor([3, 250, 7], dtype=torch.uint8))
    pool("p", torch.tensor([[True, False, True], [False, False, True]]))
    pool("q", torch.tensor([[True, True, False], [False, True, True]]))
    pool("image", rounded(2, 4, 7, 6))
    pool("kernel", rounded(6, 2, 3, 3, low=-0.5, high=0.5))
    pool("bias6", rounded(6))
    pool("w4", rounded(4, low=0.5, high=1.5))
    pool("b4", rounded(4, low=-0.5, high=0.5))
    pool("w5", rounded(5, low=0.5, high=1.5))
    pool("b5", rounded(5, low=-0.5, high=0.5))
    pool("mean4", rounded(4, low=-0.3, high=0.3))
    pool("var4", rounded(4, low=0.5, high=2))
    pool("w45", rounded(4, 5, low=0.5, high=1.5))
    pool("x345", rounded(3, 4, 5))
    pool("table", rounded(6, 3))
    pool("query", rounded(2, 4, 3, 5, low=-1, high=1))
    pool("key", rounded(2, 4, 6, 5, low=-1, high=1))
    pool("value", rounded(2, 4, 6, 5, low=-1, high=1))
    pool("key2", rounded(2, 2, 6, 5, low=-1, high=1))
    pool("value2", rounded(2, 2, 6, 5, low=-1, high=1))
    pool("ids", torch.tensor([[5, 0, 2], [2, 2, 1]]))
    pool("logits", rounded(5, 4))
    pool("targets", torch.tensor([1, 3, 7, 0, 2]))
    pool("classes", torch.softmax(rounded(5, 4), 1).round(decimals=3))
    pool("weights4", torch.tensor([0.5, 1.25, 2.0, 0.75]))
    pool("soft", torch.tensor([[0, 1, 0.3, 0.6], [1, 0, 0, 0.9], [0.2, 0.1, 1, 0], [0, 0, 0, 1], [1, 1, 0.5, 0.25]]))
    pool("logp", torch.log_softmax(rounded(5, 4), 1).round(decimals=3))
    pool("scalar", torch.tensor(1.75))


def elementwise():
    a, b, i, p, q = POOL["a"], POOL["b"], POOL["i"], POOL["p"], POOL["q"]
    unary = {
        "negated": torch.neg, "abs": torch.abs, "sign": torch.sign, "exp": torch.exp, "expm1": torch.expm1,
        "square": torch.square, "sin": torch.sin, "cos": torch.cos, "tanh": torch.tanh, "sigmoid": torch.sigmoid,
        "logSigmoid": F.logsigmoid, "softplus": F.softplus, "erf": torch.erf, "relu": F.relu, "silu": F.silu,
        "gelu": F.gelu, "geluTanh": lambda x: F.gelu(x, approximate="tanh"),
        "quickGelu": lambda x: x * torch.sigmoid(1.702 * x),
    }
    for name, function in unary.items():
        case(name, ["m"], function(POOL["m"]))
    for name, function in {"log": torch.log, "log1p": torch.log1p, "sqrt": torch.sqrt, "rsqrt": torch.rsqrt,
                           "reciprocal": torch.reciprocal}.items():
        case(name, ["positive"], function(POOL["positive"]))
    for name, function in {"floor": torch.floor, "ceil": torch.ceil, "round": torch.round, "relu6": F.relu6}.items():
        case(name, ["halves"], function(POOL["halves"]))
    case("relu6", ["i"], F.relu6(i))
    case("negated", ["i"], -i)
    case("exp", ["i"], torch.exp(i))
    case("isNaN", ["odd"], POOL["odd"].isnan())
    case("isFinite", ["odd"], POOL["odd"].isfinite())
    case("not", ["p"], p.logical_not())
    binary = {"add": torch.add, "subtract": torch.sub, "multiply": torch.mul, "divide": torch.div,
              "maximum": torch.maximum, "minimum": torch.minimum, "equal": torch.eq, "notEqual": torch.ne,
              "less": torch.lt, "lessOrEqual": torch.le, "greater": torch.gt, "greaterOrEqual": torch.ge}
    for name, function in binary.items():
        case(name, ["a", "b"], function(a, b))
        case(name, ["i", "i32"], function(i, POOL["i32"]))
    case("add", ["a", "scalar"], a + POOL["scalar"])
    case("divide", ["i", "i32"], i / POOL["i32"])
    case("power", ["positive", "unit"], torch.pow(POOL["positive"], POOL["unit"]))
    case("and", ["p", "q"], p & q)
    case("or", ["p", "q"], p | q)
    scalar = {"addNumber": torch.add, "subtractNumber": torch.sub, "multiplyNumber": torch.mul,
              "divideNumber": torch.div, "equalNumber": torch.eq, "notEqualNumber": torch.ne, "lessNumber": torch.lt,
              "lessOrEqualNumber": torch.le, "greaterNumber": torch.gt, "greaterOrEqualNumber": torch.ge,
              "floorDivide": torch.floor_divide, "remainder": torch.remainder}
    for name, function in scalar.items():
        case(name, ["m"], function(POOL["m"], 0.75), number=0.75)
        case(name, ["i"], function(i, 0.75), number=0.75)
        case(name, ["i"], function(i, -3), number=-3)
    case("addNumber", ["p"], p + 2, number=2)
    case("addNumber", ["bytes"], POOL["bytes"] + 10, number=10)
    case("powerNumber", ["positive"], POOL["positive"] ** 2.5, number=2.5)
    case("powerNumber", ["positive"], POOL["positive"] ** -1, number=-1)
    case("powerNumber", ["i"], i ** 3, number=3)
    case("adding", ["a", "b"], torch.add(a, b, alpha=-0.5), scale=-0.5)
    case("adding", ["i", "i32"], torch.add(i, POOL["i32"], alpha=3), scale=3)
    case("clamped", ["m"], POOL["m"].clamp(-0.5, 1.25), low=-0.5, high=1.25)
    case("clamped", ["i"], i.clamp(-3, 5), low=-3, high=5)
    case("choose", ["p", "i", "i32"], torch.where(p, i, POOL["i32"]))
    case("masked", ["i", "p"], i.masked_fill(p, -1), value=-1)
    case("masked", ["square", "v"], POOL["square"].masked_fill(POOL["v"] > 0, 0.125), value=0.125, positive=True)
    for kind in (torch.float64, torch.int64, torch.bfloat16, torch.bool, torch.uint8):
        case("to", ["halves"], POOL["halves"].abs().to(kind), type=TYPES[kind], absolute=True)


def in_place():
    m, i = POOL["m"], POOL["i"]
    case("copyFrom", ["m", "m2"], POOL["m2"])
    case("addInPlace", ["m", "m2"], m + 0.25 * POOL["m2"], scale=0.25)
    case("addInPlace", ["i", "i32"], i - 2 * POOL["i32"], scale=-2)
    case("scaleBy", ["m"], m * -1.5, number=-1.5)
    case("scaleBy", ["i"], i * 4, number=4)
    case("fill", ["m"], torch.full_like(m, 2.5), number=2.5)
    case("fill", ["i"], torch.full_like(i, -2), number=-2)


def creation():
    case("full", [], torch.full((2, 3), 1.5), shape=[2, 3], value=1.5, type="float32")
    case("full", [], torch.full((2,), 7), shape=[2], value=7, type="int64")
    case("full", [], torch.full((2,), True), shape=[2], value=1, type="bool")
    case("full", [], torch.full((), -2.0, dtype=torch.float64), shape=[], value=-2, type="float64")
    case("arange", [], torch.arange(2, 11, 3), start=2, end=11, step=3, type="int64")
    case("arange", [], torch.arange(1.0, -1.0, -0.3), start=1, end=-1, step=-0.3, type="float32")
    case("arange", [], torch.arange(3, 3), start=3, end=3, step=1, type="int64")


def shapes():
    a, m, i = POOL["a"], POOL["m"], POOL["i"]
    case("reshaped", ["a"], a.reshape(4, -1), shape=[4, -1])
    case("expanded", ["b"], POOL["b"].expand(2, -1, 4), shape=[2, -1, 4])
    case("permuted", ["a"], a.permute(2, 0, -2), order=[2, 0, -2])
    case("transposed", ["a"], a.transpose(-1, 0), first=-1, second=0)
    case("unsqueezed", ["m"], m.unsqueeze(-2), dimension=-2)
    case("squeezed", ["b"], POOL["b"].squeeze(-1), dimension=-1)
    case("squeezed", ["b"], POOL["b"].squeeze(0), dimension=0)
    case("sliced", ["x345"], POOL["x345"][:, :, 1:5:2], dimension=-1, start=1, end=5, step=2)
    case("sliced", ["x345"], POOL["x345"][:, -3:-1], dimension=1, start=-3, end=-1, step=1)
    case("sliced", ["x345"], POOL["x345"][2:99], dimension=0, start=2, end=99, step=1)
    case("sliced", ["x345"], POOL["x345"][3:1], dimension=0, start=3, end=1, step=1)
    case("selected", ["x345"], POOL["x345"].select(1, -2), dimension=1, index=-2)
    case("concatenated", ["m", "m2", "m"], torch.cat([m, POOL["m2"], m], -1), dimension=-1)
    case("concatenated", ["i", "i32"], torch.cat([i, POOL["i32"]], 0), dimension=0)
    case("stacked", ["m", "m2"], torch.stack([m, POOL["m2"]], -1), dimension=-1)
    case("repeatedEach", ["m"], m.repeat_interleave(3, -1), count=3, dimension=-1)
    case("repeated", ["b"], POOL["b"].repeat(2, 1, 3), counts=[2, 1, 3])
    case("flipped", ["a"], a.flip([0, -1]), dimensions=[0, -1])
    case("rolled", ["m"], m.roll(-2, 1), shift=-2, dimension=1)
    case("padded", ["m"], F.pad(m, (1, 2, -1, 3), value=0.5), amounts=[1, 2, -1, 3], value=0.5)
    case("upperTriangle", ["square"], POOL["square"].triu(1), diagonal=1)
    case("upperTriangle", ["square"], POOL["square"].triu(-2), diagonal=-2)
    case("lowerTriangle", ["square"], POOL["square"].tril(-1), diagonal=-1)
    case("contiguousTransposed", ["m"], m.t().contiguous())


def indexing():
    m, table, ids = POOL["m"], POOL["table"], POOL["ids"]
    rows, columns = pool("rows", torch.tensor([3, 0, 3, 1])), pool("columns", torch.tensor([4, 1, 4, 0]))
    pool("updates", rounded(4))
    pool("updatesRow", rounded(5))
    places = pool("places", torch.tensor([[4, 0, 1], [2, 2, 3], [0, 0, 0], [1, 4, 2]]))
    pool("source", rounded(4, 3))
    case("selectedIndices", ["x345", "rows2"], POOL["x345"].index_select(-1, pool("rows2", torch.tensor([4, 4, 0]))),
         dimension=-1)
    case("indexed", ["m", "rows", "columns"], m[rows, columns])
    case("indexed", ["m", None, "columns"], m[:, columns])
    case("indexed", ["table", "ids"], table[ids])
    case("indexed", ["i", "p"], POOL["i"][POOL["p"]])
    case("replacing", ["m", "updates", "rows", "columns"],
         torch.index_put(m, (rows, columns), POOL["updates"], accumulate=True), accumulate=True)
    pool("rowsOnce", torch.tensor([2, 0]))
    case("replacing", ["m", "updatesRow", "rowsOnce"],
         torch.index_put(m, (POOL["rowsOnce"],), POOL["updatesRow"]), accumulate=False)
    replaced = m.clone()
    replaced[:, pool("columnsOnce", torch.tensor([1, 3]))] = POOL["scalar"]
    case("replacing", ["m", "scalar", None, "columnsOnce"], replaced, accumulate=False)
    case("gathered", ["m", "places"], m.gather(1, places), dimension=1)
    pool("placesOnce", torch.tensor([[4, 0, 1], [2, 1, 3], [0, 3, 4], [1, 4, 2]]))
    case("scattered", ["m", "placesOnce", "source"], m.scatter(-1, POOL["placesOnce"], POOL["source"]), dimension=-1)
    case("scatterAdded", ["m", "places", "source"], m.scatter_add(1, places, POOL["source"]), dimension=1)
    case("selectedWhere", ["square", "v"], POOL["square"].masked_select(POOL["v"] > 0))
    case("nonzero", ["i"], POOL["i"].nonzero())


def reductions():
    a, m, i, p = POOL["a"], POOL["m"], POOL["i"], POOL["p"]
    plain = {"sum": torch.sum, "mean": torch.mean, "max": torch.amax, "min": torch.amin, "norm": torch.linalg.vector_norm}
    for name, function in plain.items():
        case(name, ["a"], function(a, dim=(0, -1), keepdim=True), dimensions=[0, -1], keep=True)
        case(name, ["a"], function(a, dim=1), dimensions=[1], keep=False)
        case(name, ["a"], function(a, dim=(0, 1, 2)), dimensions=[], keep=False)
    case("sum", ["i"], i.sum(0), dimensions=[0], keep=False)
    case("sum", ["p"], p.sum(-1, keepdim=True), dimensions=[-1], keep=True)
    case("sum", ["scalar"], POOL["scalar"], dimensions=[], keep=False)
    case("max", ["scalar"], POOL["scalar"], dimensions=[], keep=True)
    case("variance", ["scalar"], torch.var(POOL["scalar"], dim=[], correction=0), dimensions=[], unbiased=False, keep=False)
    case("logSumExp", ["scalar"], POOL["scalar"], dimensions=[], keep=False)
    case("variance", ["a"], a.var((0, 2), correction=0, keepdim=True), dimensions=[0, 2], unbiased=False, keep=True)
    case("variance", ["a"], a.var(-1, correction=1), dimensions=[-1], unbiased=True, keep=False)
    case("variance", ["a"], a.var(correction=1), dimensions=[], unbiased=True, keep=False)
    case("logSumExp", ["a"], a.logsumexp((1, 2), keepdim=True), dimensions=[1, 2], keep=True)
    case("product", ["a"], a.prod(-2, keepdim=True), dimension=-2, keep=True)
    case("any", ["p"], p.any(0, keepdim=True), dimensions=[0], keep=True)
    case("any", ["p"], p.any(), dimensions=[], keep=False)
    case("all", ["p"], p.all(0), dimensions=[0], keep=False)
    case("all", ["p"], p.all(), dimensions=[], keep=False)
    case("argmax", ["m"], m.argmax(-2, keepdim=True), dimension=-2, keep=True)
    case("argmin", ["m"], m.argmin(1), dimension=1, keep=False)
    case("cumulativeSum", ["a"], a.cumsum(-2), dimension=-2)
    case("cumulativeSum", ["i"], i.cumsum(0), dimension=0)
    case("sorted", ["m"], m.sort(0, descending=True), dimension=0, descending=True)
    case("sorted", ["m"], m.sort(-1), dimension=-1, descending=False)
    pool("ties", torch.tensor([2.0, 1, 2, 1, 2, 0, 1] * 3))
    case("sorted", ["ties"], POOL["ties"].sort(stable=True, descending=True), dimension=-1, descending=True)
    case("top", ["m"], m.topk(3, 0, largest=False), k=3, dimension=0, largest=False)
    case("top", ["m"], m.topk(2, -1), k=2, dimension=-1, largest=True)
    case("softmax", ["a"], a.softmax(-2), dimension=-2)
    case("logSoftmax", ["a"], a.log_softmax(0), dimension=0)


def products():
    m, square, v, x = POOL["m"], POOL["square"], POOL["v"], POOL["x345"]
    case("matmul", ["x345", "square"], x @ square)
    case("matmul", ["m", "v"], m @ v)
    pool("batch", rounded(3, 1, 5, 2))
    case("matmul", ["x345", "batch"], x @ POOL["batch"])
    case("linear", ["x345", "m", "w4"], F.linear(x, m, POOL["w4"]))
    case("linear", ["v", "m", None], F.linear(v, m))
    case("einsum", ["x345", "square"], torch.einsum("bij,jk->bki", x, square), equation="bij,jk->bki")
    case("einsum", ["x345", "m", "v"], torch.einsum("bij,ij,j->b", x, m, v), equation="bij,ij,j->b")
    case("einsum", ["square"], torch.einsum("ii->i", square), equation="ii->i")
    case("singularValues", ["m"], torch.linalg.svdvals(m))
    case("singularValues", ["x345"], torch.linalg.svdvals(x))


def layers():
    image, kernel, x = POOL["image"], POOL["kernel"], POOL["x345"]
    case("convolved", ["image", "kernel", "bias6"],
         F.conv2d(image, kernel, POOL["bias6"], stride=2, padding=3, dilation=2, groups=2),
         stride=2, padding=3, dilation=2, groups=2)
    pool("kernel4", rounded(2, 4, 2, 2))
    case("convolved", ["image", "kernel4", None], F.conv2d(image, POOL["kernel4"], stride=3),
         stride=3, padding=0, dilation=1, groups=1)
    case("layerNorm", ["x345", "w45", "m"], F.layer_norm(x, (4, 5), POOL["w45"], POOL["m"], 0.01), shape=[4, 5],
         epsilon=0.01)
    case("layerNorm", ["x345", None, None], F.layer_norm(x, (5,), eps=1e-3), shape=[5], epsilon=1e-3)
    case("layerNorm", ["x345", "w5", None], F.layer_norm(x, (5,), POOL["w5"], None, 1e-12), shape=[5], epsilon=1e-12)
    case("rmsNorm", ["x345", "w5"], F.rms_norm(x, (5,), POOL["w5"], 0.02), shape=[5], epsilon=0.02)
    case("rmsNorm", ["x345", None], F.rms_norm(x, (4, 5), None, 1e-6), shape=[4, 5], epsilon=1e-6)
    pool("image3", rounded(3, 4, 2, 2))
    for training in (False, True):
        mean, variance = POOL["mean4"].clone(), POOL["var4"].clone()
        out = F.batch_norm(POOL["image3"], mean, variance, POOL["w4"], POOL["b4"], training, 0.3, 0.01)
        case("batchNorm", ["image3", "mean4", "var4", "w4", "b4"], [out, mean, variance], training=training,
             momentum=0.3, epsilon=0.01)
    out = F.batch_norm(POOL["image3"], POOL["mean4"].clone(), POOL["var4"].clone(), None, None, False, 0.1, 1e-3)
    case("batchNorm", ["image3", "mean4", "var4", None, None], [out, POOL["mean4"], POOL["var4"]], training=False,
         momentum=0.1, epsilon=1e-3)
    case("groupNorm", ["image3", "w4", "b4"], F.group_norm(POOL["image3"], 2, POOL["w4"], POOL["b4"], 0.02),
         groups=2, epsilon=0.02)
    case("embedding", ["table", "ids"], F.embedding(POOL["ids"], POOL["table"]))
    case("averagePool", ["image"], F.adaptive_avg_pool2d(image, (3, 2)), height=3, width=2)
    case("maxPool", ["image"], F.max_pool2d(image, 3, 2, 1), kernel=3, stride=2, padding=1)
    small = pool("small", rounded(1, 2, 4, 5))
    for mode in ("bilinear", "bicubic"):
        case("interpolated", ["small"], F.interpolate(small, (5, 3), mode=mode), height=5, width=3, mode=mode,
             align=False, antialias=False)
        case("interpolated", ["small"], F.interpolate(small, (6, 7), mode=mode, align_corners=True), height=6,
             width=7, mode=mode, align=True, antialias=False)
        case("interpolated", ["small"], F.interpolate(small, (2, 3), mode=mode, antialias=True), height=2, width=3,
             mode=mode, align=False, antialias=True)
    case("interpolated", ["small"], F.interpolate(small, (3, 8)), height=3, width=8, mode="nearest", align=False,
         antialias=False)


def attention():
    q, k, v = POOL["query"], POOL["key"], POOL["value"]
    allowed = pool("allowed", torch.rand(2, 1, 3, 6) > 0.4)
    allowed[..., 0] = True
    bias = pool("bias", rounded(2, 1, 3, 6))
    sdpa = F.scaled_dot_product_attention

    def add(inputs, out, causal=False, scale=None, grouped=False):
        case("attention", inputs, out, causal=causal, scale=scale, grouped=grouped)

    add(["query", "key", "value", None], sdpa(q, k, v))
    add(["query", "key", "value", "allowed"], sdpa(q, k, v, attn_mask=allowed))
    add(["query", "key", "value", "bias"], sdpa(q, k, v, attn_mask=bias))
    add(["query", "key", "value", None], sdpa(q, k, v, is_causal=True), causal=True)
    add(["query", "key", "value", None], sdpa(q, k, v, scale=1.0), scale=1.0)
    add(["query", "key", "value", "bias"], sdpa(q, k, v, attn_mask=bias, scale=0.3), scale=0.3)
    add(["query", "key2", "value2", "allowed"],
        sdpa(q, POOL["key2"], POOL["value2"], attn_mask=allowed, enable_gqa=True), grouped=True)
    add(["key", "key2", "value2", None],
        sdpa(k, POOL["key2"], POOL["value2"], is_causal=True, enable_gqa=True), causal=True, grouped=True)


def losses():
    logits, targets, weights = POOL["logits"], POOL["targets"], POOL["weights4"]
    for reduction in ("none", "mean", "sum"):
        case("crossEntropy", ["logits", "targets", "weights4"],
             F.cross_entropy(logits, targets, weights, ignore_index=7, reduction=reduction, label_smoothing=0.1),
             ignoring=7, smoothing=0.1, reduction=reduction)
        case("crossEntropy", ["logits", "targets", None],
             F.cross_entropy(logits, targets, ignore_index=7, reduction=reduction), ignoring=7, smoothing=0,
             reduction=reduction)
        case("crossEntropy", ["logits", "classes", "weights4"],
             F.cross_entropy(logits, POOL["classes"], weights, reduction=reduction, label_smoothing=0.2),
             ignoring=-100, smoothing=0.2, reduction=reduction)
        case("binaryCrossEntropy", ["logits", "soft", "weights4", "positives"],
             F.binary_cross_entropy_with_logits(logits, POOL["soft"], weights, reduction=reduction,
                                                pos_weight=pool("positives", torch.tensor([2.0, 0.5, 1.5, 3.0]))),
             reduction=reduction)
        case("binaryCrossEntropy", ["logits", "soft", None, None],
             F.binary_cross_entropy_with_logits(logits, POOL["soft"], reduction=reduction), reduction=reduction)
        case("klDivergence", ["logp", "classes"],
             F.kl_div(POOL["logp"], POOL["classes"], reduction=reduction), log=False, reduction=reduction)
        case("klDivergence", ["logp", "logq"],
             F.kl_div(POOL["logp"], pool("logq", POOL["classes"].clamp(min=0.01).log().round(decimals=3)),
                      reduction=reduction, log_target=True), log=True, reduction=reduction)
        case("meanSquaredError", ["m", "m2"], F.mse_loss(POOL["m"], POOL["m2"], reduction=reduction),
             reduction=reduction)
        case("absoluteError", ["m", "m2"], F.l1_loss(POOL["m"], POOL["m2"], reduction=reduction), reduction=reduction)
    pool("images5", rounded(2, 4, 3))
    pool("labels5", torch.tensor([[0, 3, 1], [2, -1, 3]]))
    case("crossEntropy", ["images5", "labels5", None],
         F.cross_entropy(POOL["images5"], POOL["labels5"], ignore_index=-1), ignoring=-1, smoothing=0,
         reduction="mean")


def random_numbers():
    def seeded(seed):
        return torch.Generator().manual_seed(seed)

    # 20 values go through the vectorised path of normal_, 5 through the other.
    for shape in ([5], [4, 5]):
        case("uniform", [], torch.empty(shape).uniform_(-2, 3, generator=seeded(11)), shape=shape, low=-2, high=3,
             seed=11)
        case("normal", [], torch.empty(shape).normal_(0.5, 2, generator=seeded(12)), shape=shape, mean=0.5,
             deviation=2, seed=12)
        case("integers", [], torch.randint(-5, 9, shape, generator=seeded(13)), shape=shape, low=-5, high=9, seed=13)
    case("permutation", [], torch.randperm(12, generator=seeded(14)), count=12, seed=14)
    odds = pool("odds", torch.tensor([[0.1, 2, 0, 1.5, 0.4], [3, 0.2, 0.2, 0.2, 1]]))
    case("multinomial", ["odds"], torch.multinomial(odds, 9, True, generator=seeded(15)), samples=9, replacement=True,
         seed=15)
    case("multinomial", ["odds"], torch.multinomial(odds, 4, False, generator=seeded(16)), samples=4,
         replacement=False, seed=16)
    torch.manual_seed(17)
    case("dropout", ["m"], F.dropout(POOL["m"], 0.3), probability=0.3, seed=17)
    torch.manual_seed(2**40 + 3)
    case("dropout", ["m"], F.dropout(POOL["m"], 1.0), probability=1, seed=2**40 + 3)


def main():
    make_inputs()
    for section in (elementwise, in_place, creation, shapes, indexing, reductions, products, layers, attention, losses,
                    random_numbers):
        section()
    folder = pathlib.Path(__file__).resolve().parents[2] / "Tests" / "Fixtures" / "Torch"
    folder.mkdir(parents=True, exist_ok=True)
    lines = ['{"torch": "%s",\n"tensors": {' % torch.__version__.split("+")[0]]
    lines.append(",\n".join(f'"{name}": {json.dumps(packed(tensor))}' for name, tensor in POOL.items()) + "},")
    lines.append('"cases": [\n' + ",\n".join(json.dumps(c) for c in CASES) + "\n]}")
    text = "\n".join(lines) + "\n"
    (folder / "operations.json").write_text(text)
    print(len(CASES), "cases,", len({c["operation"] for c in CASES}), "operations,", len(text), "bytes")


if __name__ == "__main__":
    main()
