import Torch

/// A square table of positions resampled to another grid, by the bicubic rule of PyTorch's `interpolate`
/// (a = −0.75, borders repeated, corners not aligned).
///
/// - Parameters:
///   - table: [side · side, D], row by row, without a class token.
///   - margin: added to height and width when the scale is computed, not to the result; Idefics has 0.1.
/// - Returns: [height · width, D], in the table's element type.
func resampledPositions(
    _ table: Tensor, side: Int, height: Int, width: Int, margin: Double = 0
) throws -> Tensor {
    let size = table.shape.last ?? 0
    let rows = try cubicWeights(side, height, scale: Double(side) / (Double(height) + margin))
    let columns = try cubicWeights(side, width, scale: Double(side) / (Double(width) + margin))
    // Down: [height, side] · [side, side · D]; then across: [width, side] · [height, side, D].
    let tall = try rows.to(table.device).matmul(table.to(.float32).reshaped([side, side * size]))
    let grid = try columns.to(table.device).matmul(tall.reshaped([height, side, size]))
    return try grid.reshaped([height * width, size]).to(table.dtype)
}

/// How much each of `count` cells adds to each of `wanted` cells, [wanted, count].
private func cubicWeights(_ count: Int, _ wanted: Int, scale: Double) throws -> Tensor {
    func near(_ x: Double) -> Double { (1.25 * x - 2.25) * x * x + 1 }  // |x| ≤ 1
    func far(_ x: Double) -> Double { ((-0.75 * x + 3.75) * x - 6) * x + 3 }  // 1 < |x| < 2
    var weights = [Float](repeating: 0, count: wanted * count)
    for cell in 0..<wanted {
        let position = scale * (Double(cell) + 0.5) - 0.5
        let first = position.rounded(.down)
        let rest = position - first
        for (offset, weight) in [
            (-1, far(1 + rest)), (0, near(rest)), (1, near(1 - rest)), (2, far(2 - rest)),
        ] {
            let source = min(max(Int(first) + offset, 0), count - 1)
            weights[cell * count + source] += Float(weight)
        }
    }
    return try Tensor(weights, [wanted, count])
}
