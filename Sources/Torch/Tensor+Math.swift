import CTorch

// Element by element, reductions, order, products.
extension Tensor {
    // MARK: Operators; shapes broadcast as in PyTorch

    /// Element by element; shapes broadcast.
    public static func + (a: Tensor, b: Tensor) throws(TorchError) -> Tensor { try binary(CT_ADD, a, b) }
    /// Element by element; shapes broadcast.
    public static func - (a: Tensor, b: Tensor) throws(TorchError) -> Tensor { try binary(CT_SUB, a, b) }
    /// Element by element; shapes broadcast.
    public static func * (a: Tensor, b: Tensor) throws(TorchError) -> Tensor { try binary(CT_MUL, a, b) }
    /// Element by element; shapes broadcast. Integers divide to floating point.
    public static func / (a: Tensor, b: Tensor) throws(TorchError) -> Tensor { try binary(CT_DIV, a, b) }
    /// Adds `b` to every element.
    public static func + (a: Tensor, b: Double) throws(TorchError) -> Tensor { try binary(CT_ADD, a, b) }
    /// Subtracts `b` from every element.
    public static func - (a: Tensor, b: Double) throws(TorchError) -> Tensor { try binary(CT_SUB, a, b) }
    /// Multiplies every element by `b`.
    public static func * (a: Tensor, b: Double) throws(TorchError) -> Tensor { try binary(CT_MUL, a, b) }
    /// Divides every element by `b`; integers become floating point.
    public static func / (a: Tensor, b: Double) throws(TorchError) -> Tensor { try binary(CT_DIV, a, b) }
    /// The negative of every element.
    public static prefix func - (a: Tensor) throws(TorchError) -> Tensor { try a.unary(CT_NEG) }

    /// Truth values, one an element.
    public static func .== (a: Tensor, b: Tensor) throws(TorchError) -> Tensor { try binary(CT_EQ, a, b) }
    /// Truth values, one an element; shapes broadcast.
    public static func .!= (a: Tensor, b: Tensor) throws(TorchError) -> Tensor { try binary(CT_NE, a, b) }
    /// Truth values, one an element; shapes broadcast.
    public static func .< (a: Tensor, b: Tensor) throws(TorchError) -> Tensor { try binary(CT_LT, a, b) }
    /// Truth values, one an element; shapes broadcast.
    public static func .<= (a: Tensor, b: Tensor) throws(TorchError) -> Tensor { try binary(CT_LE, a, b) }
    /// Truth values, one an element; shapes broadcast.
    public static func .> (a: Tensor, b: Tensor) throws(TorchError) -> Tensor { try binary(CT_GT, a, b) }
    /// Truth values, one an element; shapes broadcast.
    public static func .>= (a: Tensor, b: Tensor) throws(TorchError) -> Tensor { try binary(CT_GE, a, b) }
    /// Truth values: every element against `b`.
    public static func .== (a: Tensor, b: Double) throws(TorchError) -> Tensor { try binary(CT_EQ, a, b) }
    /// Truth values: every element against `b`.
    public static func .!= (a: Tensor, b: Double) throws(TorchError) -> Tensor { try binary(CT_NE, a, b) }
    /// Truth values: every element against `b`.
    public static func .< (a: Tensor, b: Double) throws(TorchError) -> Tensor { try binary(CT_LT, a, b) }
    /// Truth values: every element against `b`.
    public static func .<= (a: Tensor, b: Double) throws(TorchError) -> Tensor { try binary(CT_LE, a, b) }
    /// Truth values: every element against `b`.
    public static func .> (a: Tensor, b: Double) throws(TorchError) -> Tensor { try binary(CT_GT, a, b) }
    /// Truth values: every element against `b`.
    public static func .>= (a: Tensor, b: Double) throws(TorchError) -> Tensor { try binary(CT_GE, a, b) }

    /// Truth values: both are not zero. Shapes broadcast.
    public func and(_ other: Tensor) throws(TorchError) -> Tensor { try .binary(CT_LOGICAL_AND, self, other) }
    /// Truth values: one or both are not zero. Shapes broadcast.
    public func or(_ other: Tensor) throws(TorchError) -> Tensor { try .binary(CT_LOGICAL_OR, self, other) }
    /// Truth values: true where the element is zero.
    public func not() throws(TorchError) -> Tensor { try unary(CT_LOGICAL_NOT) }
    /// Every element raised to `exponent`.
    public func power(_ exponent: Double) throws(TorchError) -> Tensor { try .binary(CT_POW, self, exponent) }
    /// Every element raised to its exponent; shapes broadcast.
    public func power(_ exponent: Tensor) throws(TorchError) -> Tensor { try .binary(CT_POW, self, exponent) }
    /// The larger of two elements, NaN if one is; shapes broadcast.
    public func maximum(_ other: Tensor) throws(TorchError) -> Tensor { try .binary(CT_MAXIMUM, self, other) }
    /// The smaller of two elements, NaN if one is; shapes broadcast.
    public func minimum(_ other: Tensor) throws(TorchError) -> Tensor { try .binary(CT_MINIMUM, self, other) }
    /// Rounded towards minus infinity.
    public func floorDivide(_ other: Double) throws(TorchError) -> Tensor {
        try .binary(CT_FLOOR_DIVIDE, self, other)
    }
    /// With the sign of the divisor.
    public func remainder(_ other: Double) throws(TorchError) -> Tensor {
        try .binary(CT_REMAINDER, self, other)
    }
    /// `self + scale × other`.
    public func adding(_ other: Tensor, scale: Double) throws(TorchError) -> Tensor {
        try .make((self, other)) { $0.pointee.scaled_add(handle, other.handle, scale, $1) }
    }

    // MARK: Functions

    /// |x|
    public func abs() throws(TorchError) -> Tensor { try unary(CT_ABS) }
    /// −1, 0 or 1.
    public func sign() throws(TorchError) -> Tensor { try unary(CT_SIGN) }
    /// eˣ
    public func exp() throws(TorchError) -> Tensor { try unary(CT_EXP) }
    /// ln x; NaN below 0.
    public func log() throws(TorchError) -> Tensor { try unary(CT_LOG) }
    /// ln(1 + x), exact near 0.
    public func log1p() throws(TorchError) -> Tensor { try unary(CT_LOG1P) }
    /// eˣ − 1, exact near 0.
    public func expm1() throws(TorchError) -> Tensor { try unary(CT_EXPM1) }
    /// √x; NaN below 0.
    public func sqrt() throws(TorchError) -> Tensor { try unary(CT_SQRT) }
    /// 1 / √x
    public func rsqrt() throws(TorchError) -> Tensor { try unary(CT_RSQRT) }
    /// x²
    public func square() throws(TorchError) -> Tensor { try unary(CT_SQUARE) }
    /// 1 / x
    public func reciprocal() throws(TorchError) -> Tensor { try unary(CT_RECIPROCAL) }
    /// The sine of radians.
    public func sin() throws(TorchError) -> Tensor { try unary(CT_SIN) }
    /// The cosine of radians.
    public func cos() throws(TorchError) -> Tensor { try unary(CT_COS) }
    /// The hyperbolic tangent, in −1…1.
    public func tanh() throws(TorchError) -> Tensor { try unary(CT_TANH) }
    /// σ(x) = 1 / (1 + e⁻ˣ)
    public func sigmoid() throws(TorchError) -> Tensor { try unary(CT_SIGMOID) }
    /// ln σ(x), finite for large negative x.
    public func logSigmoid() throws(TorchError) -> Tensor { try unary(CT_LOGSIGMOID) }
    /// ln(1 + eˣ)
    public func softplus() throws(TorchError) -> Tensor { try unary(CT_SOFTPLUS) }
    /// The Gauss error function.
    public func erf() throws(TorchError) -> Tensor { try unary(CT_ERF) }
    /// max(x, 0)
    public func relu() throws(TorchError) -> Tensor { try unary(CT_RELU) }
    /// min(max(x, 0), 6).
    public func relu6() throws(TorchError) -> Tensor { try unary(CT_RELU6) }
    /// x · σ(x).
    public func silu() throws(TorchError) -> Tensor { try unary(CT_SILU) }
    /// The exact form, by the error function.
    public func gelu() throws(TorchError) -> Tensor { try unary(CT_GELU) }
    /// The form approximated by tanh.
    public func geluTanh() throws(TorchError) -> Tensor { try unary(CT_GELU_TANH) }
    /// x · σ(1.702 x), as CLIP has it.
    public func quickGelu() throws(TorchError) -> Tensor { try unary(CT_QUICK_GELU) }
    /// Rounded towards minus infinity.
    public func floor() throws(TorchError) -> Tensor { try unary(CT_FLOOR) }
    /// Rounded towards plus infinity.
    public func ceil() throws(TorchError) -> Tensor { try unary(CT_CEIL) }
    /// Halves to even.
    public func round() throws(TorchError) -> Tensor { try unary(CT_ROUND) }
    /// Truth values: is the element NaN?
    public func isNaN() throws(TorchError) -> Tensor { try unary(CT_ISNAN) }
    /// Truth values: is the element neither infinite nor NaN?
    public func isFinite() throws(TorchError) -> Tensor { try unary(CT_ISFINITE) }
    /// Every element brought into low…high; NaN stays.
    public func clamped(_ low: Double, _ high: Double) throws(TorchError) -> Tensor {
        try .make(self) { $0.pointee.clamp(handle, low, high, $1) }
    }

    /// Where `condition` is true `a`, elsewhere `b`.
    public static func choose(_ condition: Tensor, _ a: Tensor, _ b: Tensor) throws(TorchError) -> Tensor {
        try make((condition, a, b)) { $0.pointee.where_(condition.handle, a.handle, b.handle, $1) }
    }

    /// `value` wherever `mask` is true.
    public func masked(_ mask: Tensor, _ value: Double) throws(TorchError) -> Tensor {
        try .make((self, mask)) { $0.pointee.masked_fill(handle, mask.handle, value, $1) }
    }

    // MARK: Reductions; without dimensions, over all

    /// The sum; those of integers and truth values are int64.
    public func sum(_ dimensions: [Int] = [], keep: Bool = false) throws(TorchError) -> Tensor {
        try reduce(CT_SUM, dimensions, keep)
    }
    /// The mean, of floating-point elements only.
    public func mean(_ dimensions: [Int] = [], keep: Bool = false) throws(TorchError) -> Tensor {
        try reduce(CT_MEAN, dimensions, keep)
    }
    /// The largest element; throws over a dimension of size 0.
    public func max(_ dimensions: [Int] = [], keep: Bool = false) throws(TorchError) -> Tensor {
        try reduce(CT_AMAX, dimensions, keep)
    }
    /// The smallest element; throws over a dimension of size 0.
    public func min(_ dimensions: [Int] = [], keep: Bool = false) throws(TorchError) -> Tensor {
        try reduce(CT_AMIN, dimensions, keep)
    }
    /// The product along one dimension.
    public func product(_ dimension: Int, keep: Bool = false) throws(TorchError) -> Tensor {
        try reduce(CT_PROD, [dimension], keep)
    }
    /// Truth values: is at least one element not zero?
    public func any(_ dimensions: [Int] = [], keep: Bool = false) throws(TorchError) -> Tensor {
        try reduce(CT_ANY, dimensions, keep)
    }
    /// Truth values: is every element not zero?
    public func all(_ dimensions: [Int] = [], keep: Bool = false) throws(TorchError) -> Tensor {
        try reduce(CT_ALL, dimensions, keep)
    }
    /// ln Σ eˣ, without overflow.
    public func logSumExp(_ dimensions: [Int], keep: Bool = false) throws(TorchError) -> Tensor {
        try reduce(CT_LOGSUMEXP, dimensions, keep)
    }
    /// The mean squared deviation, or with `unbiased` the sum divided by n − 1.
    public func variance(_ dimensions: [Int] = [], unbiased: Bool = false, keep: Bool = false)
        throws(TorchError)
        -> Tensor
    {
        try reduce(unbiased ? CT_VAR_UNBIASED : CT_VAR, dimensions, keep)
    }
    /// Euclidean length.
    public func norm(_ dimensions: [Int] = [], keep: Bool = false) throws(TorchError) -> Tensor {
        try reduce(CT_NORM2, dimensions, keep)
    }
    /// The position of the largest element along a dimension, int64.
    public func argmax(_ dimension: Int, keep: Bool = false) throws(TorchError) -> Tensor {
        try .make(self) { $0.pointee.argmax(handle, Int64(dimension), keep, $1) }
    }
    /// The position of the smallest element along a dimension, int64.
    public func argmin(_ dimension: Int, keep: Bool = false) throws(TorchError) -> Tensor {
        try .make(self) { $0.pointee.argmin(handle, Int64(dimension), keep, $1) }
    }
    /// Each element plus those before it along a dimension.
    public func cumulativeSum(_ dimension: Int) throws(TorchError) -> Tensor {
        try .make(self) { $0.pointee.cumulative_sum(handle, Int64(dimension), $1) }
    }
    /// eˣ / Σ eˣ along a dimension: positive, with sum 1.
    public func softmax(_ dimension: Int) throws(TorchError) -> Tensor {
        try .make(self) { $0.pointee.softmax(handle, Int64(dimension), $1) }
    }
    /// x − ln Σ eˣ along a dimension.
    public func logSoftmax(_ dimension: Int) throws(TorchError) -> Tensor {
        try .make(self) { $0.pointee.log_softmax(handle, Int64(dimension), $1) }
    }

    /// Stable sort along a dimension, with the positions the values had.
    public func sorted(_ dimension: Int = -1, descending: Bool = false) throws(TorchError)
        -> (values: Tensor, indices: Tensor)
    {
        try pair { $0.pointee.sort(handle, Int64(dimension), descending, $1, $2) }
    }

    /// The `k` largest (or smallest) along a dimension, best first, with their positions.
    public func top(_ k: Int, _ dimension: Int = -1, largest: Bool = true) throws(TorchError)
        -> (values: Tensor, indices: Tensor)
    {
        try pair { $0.pointee.top(handle, Int64(k), Int64(dimension), largest, $1, $2) }
    }

    // MARK: Products

    /// [..., n, k] · [..., k, m] → [..., n, m]; leading dimensions broadcast, vectors are taken as in
    /// PyTorch.
    public func matmul(_ other: Tensor) throws(TorchError) -> Tensor {
        try .make((self, other)) { $0.pointee.matmul(handle, other.handle, $1) }
    }

    /// x Wᵀ + b with `weight` [out, in].
    public func linear(_ weight: Tensor, _ bias: Tensor? = nil) throws(TorchError) -> Tensor {
        try .make((self, weight, bias)) { $0.pointee.linear(handle, weight.handle, bias?.handle, $1) }
    }

    /// The sum of products that an equation such as `bik,bjk->bij` names, as PyTorch reads it.
    public static func einsum(_ equation: String, _ parts: [Tensor]) throws(TorchError) -> Tensor {
        try make(parts) { torch, out in
            withHandles(parts) { torch.pointee.einsum(equation, $0, $1, out) }
        }
    }

    /// The reduced singular value decomposition U, S, Vᵀ.
    public func singularValues() throws(TorchError) -> (u: Tensor, s: Tensor, vTransposed: Tensor) {
        let torch = try engine()
        var u: CTTensor?
        var s: CTTensor?
        var v: CTTensor?
        try check(withExtendedLifetime(self) { torch.pointee.singular_values(handle, &u, &s, &v) }, torch)
        guard let u, let s, let v else { throw TorchError.last(torch) }
        return (Tensor(adopting: u), Tensor(adopting: s), Tensor(adopting: v))
    }

    // MARK: Parts

    @inline(__always)
    private static func binary(_ operation: CTBinary, _ a: Tensor, _ b: Tensor) throws(TorchError) -> Tensor {
        try make((a, b)) { $0.pointee.binary(operation, a.handle, b.handle, $1) }
    }

    @inline(__always)
    private static func binary(_ operation: CTBinary, _ a: Tensor, _ b: Double) throws(TorchError) -> Tensor {
        try make(a) { $0.pointee.binary_scalar(operation, a.handle, b, $1) }
    }

    @inline(__always)
    private func unary(_ operation: CTUnary) throws(TorchError) -> Tensor {
        try .make(self) { $0.pointee.unary(operation, handle, $1) }
    }

    private func reduce(_ operation: CTReduction, _ dimensions: [Int], _ keep: Bool) throws(TorchError)
        -> Tensor
    {
        try .make(self) { torch, out in
            withSizes(dimensions) { torch.pointee.reduce(operation, handle, $0, $1, keep, out) }
        }
    }

    private func pair(
        _ body: (UnsafePointer<CTTable>, UnsafeMutablePointer<CTTensor?>, UnsafeMutablePointer<CTTensor?>) ->
            Int32
    ) throws(TorchError) -> (values: Tensor, indices: Tensor) {
        let torch = try engine()
        var values: CTTensor?
        var indices: CTTensor?
        try check(withExtendedLifetime(self) { body(torch, &values, &indices) }, torch)
        guard let values, let indices else { throw TorchError.last(torch) }
        return (Tensor(adopting: values), Tensor(adopting: indices))
    }
}
