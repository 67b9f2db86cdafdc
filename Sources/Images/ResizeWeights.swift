import CImages

/// The windows and fixed-point weights of one axis, for a range of its outputs (Pillow's `precompute_coeffs`
/// and `normalize_coeffs_8bpc`: doubles first, then 22 fractional bits rounded away from zero).
struct ResizeWeights {
    /// The inputs from the first to the last one that any window covers.
    let inputs: Range<Int>
    /// First input of each window.
    private let starts: [Int32]
    private let weights: [Int32]
    /// Weights kept for each output: the longest window, filled up with zeros to a multiple of the C loop's
    /// group.
    private let taps: Int

    init(from: Int, to: Int, filter: ResizeFilter, range: Range<Int>) {
        let scale = Double(from) / Double(to)
        let widening = max(scale, 1)
        let support = filter.support * widening
        let windows = range.map { output -> Range<Int> in
            let center = (Double(output) + 0.5) * scale
            let first = max(0, Int(center - support + 0.5))
            return first..<max(first, min(from, Int(center + support + 0.5)))
        }
        let group = Int(CIMAGES_TAP_GROUP)
        let longest = max(windows.lazy.map(\.count).max() ?? 1, 1)
        taps = (longest + group - 1) / group * group
        let lowest = windows.lazy.map(\.lowerBound).min() ?? 0
        inputs = lowest..<(windows.lazy.map(\.upperBound).max() ?? 0)
        starts = windows.map { Int32($0.lowerBound) }

        var weights = [Int32](repeating: 0, count: taps * range.count)
        var exact = [Double](repeating: 0, count: longest)
        for (i, window) in windows.enumerated() {
            let center = (Double(range.lowerBound + i) + 0.5) * scale
            var sum = 0.0
            for (tap, input) in window.enumerated() {
                let weight = filter.weight(at: (Double(input) - center + 0.5) * (1 / widening))
                exact[tap] = weight
                sum += weight
            }
            for tap in 0..<window.count {
                let share = sum != 0 ? exact[tap] / sum : exact[tap]
                weights[i * taps + tap] = ResizeWeights.fixed(share)
            }
        }
        self.weights = weights
    }

    private static func fixed(_ weight: Double) -> Int32 {
        let scaled = weight * Double(1 << CIMAGES_PRECISION)
        return Int32(scaled + (scaled < 0 ? -0.5 : 0.5))
    }

    /// Makes `rows` rows of one pixel an output from rows that are `stride` bytes apart and begin with the
    /// pixel `inputs.lowerBound`.
    func horizontalPass(_ source: UnsafeBufferPointer<UInt8>, stride: Int, rows: Int) -> [UInt8] {
        let needed = rows * starts.count * 3
        let width = Int32(inputs.count)
        let scratchSize = cimages_scratch_size(width, Int32(taps))
        return [UInt8](unsafeUninitializedCapacity: needed) { target, filled in
            withUnsafeTemporaryAllocation(of: UInt8.self, capacity: scratchSize) { scratch in
                withAxis { axis in
                    cimages_resize_rows(
                        source.baseAddress, stride, width, Int32(rows), axis, target.baseAddress,
                        scratch.baseAddress)
                }
            }
            filled = needed
        }
    }

    /// Calls `body` with each output row of `rowBytes` bytes, made from rows that are `stride` bytes apart
    /// and begin with the row `inputs.lowerBound`.
    func verticalPass(
        _ source: UnsafeBufferPointer<UInt8>, stride: Int, rowBytes: Int,
        _ body: (Int, UnsafeBufferPointer<UInt8>) throws -> Void
    ) throws {
        try withUnsafeTemporaryAllocation(of: UInt8.self, capacity: rowBytes) { row in
            try withAxis { axis in
                for i in 0..<starts.count {
                    cimages_resize_column(
                        source.baseAddress, stride, rowBytes, axis, Int32(i), row.baseAddress)
                    try body(i, UnsafeBufferPointer(row))
                }
            }
        }
    }

    private func withAxis<Result>(_ body: (cimages_axis) throws -> Result) rethrows -> Result {
        try starts.withUnsafeBufferPointer { starts in
            try weights.withUnsafeBufferPointer { weights in
                try body(
                    cimages_axis(
                        starts: starts.baseAddress, weights: weights.baseAddress, taps: Int32(taps),
                        count: Int32(starts.count), origin: Int32(inputs.lowerBound)))
            }
        }
    }
}
