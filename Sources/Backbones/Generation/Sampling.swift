import Support
import Torch

/// A number in [0, 1) of 53 random bits.
func uniform(_ random: inout CounterRandom) -> Double { Double(random.next() >> 11) * 0x1p-53 }

/// One draw a row: the index whose interval of the cumulated weights holds `uniforms[row]` of the total.
///
/// - Parameters:
///   - weights: [R, C], not negative; they need not sum to 1.
///   - uniforms: R numbers in [0, 1).
/// - Returns: R indices, and the R totals. A row whose total is 0 has no index: C is returned.
func draw(_ weights: Tensor, _ uniforms: [Double]) throws -> (indices: [Int], totals: [Double]) {
    let cumulated = try weights.to(.float64).cumulativeSum(1)  // [R, C]
    let totals = try cumulated.sliced(1, cumulated.shape[1] - 1)  // [R, 1]
    let targets = try totals * Tensor(uniforms, [uniforms.count, 1]).to(weights.device)
    return (try (cumulated .<= targets).sum([1]).integers(), try totals.doubles())
}

/// `count` different indices a row, one after the other in proportion to what is left of the weights, in the order
/// of drawing.
///
/// When nothing of a row's weights is left, the lowest indices that were not taken fill up.
func drawWithoutReplacement(_ weights: Tensor, _ count: Int, _ random: inout [CounterRandom]) throws
    -> [[Int]]
{
    var left = try weights.to(.float64)  // [R, C]
    let zeros = try Tensor.zeros([random.count, 1], .float64).to(weights.device)
    var taken = [[Int]](repeating: [], count: random.count)
    for _ in 0..<count {
        let uniforms = random.indices.map { uniform(&random[$0]) }
        var (indices, totals) = try draw(left, uniforms)
        for row in indices.indices {
            try checkTotal(totals[row])
            if totals[row] == 0 { indices[row] = (0...count).first { !taken[row].contains($0) } ?? 0 }
            taken[row].append(indices[row])
        }
        left = try left.scattered(1, Tensor(indices, [indices.count, 1]).to(weights.device), zeros)
    }
    return taken
}

/// Refuses the sum of a distribution that is no number.
func checkTotal(_ total: Double) throws {
    guard total.isFinite else { throw notNumbers() }
}

func notNumbers() -> VQAError {
    VQAError(
        GenerationOptions.what, because: "the model's logits are not numbers (NaN)",
        remedy: "try --dtype float32, and check the weights", kind: .failure)
}
