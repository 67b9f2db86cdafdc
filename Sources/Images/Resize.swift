import Support

extension Image {
    /// The most pixels that a resized image, or the image between its two passes, may have.
    static let maximumResizedPixels = 100_000_000

    /// The image at another size: the bytes of Pillow's `resize((width, height), filter)` of an RGB image,
    /// without `reducing_gap`. The sides must be 1 to ``maximumSide``.
    ///
    /// Pillow 13 is the reference: an image that loses more than twice as many rows as columns is resized
    /// vertically first. Earlier versions always began horizontally, which differs by the rounding between
    /// the passes.
    public func resized(width: Int, height: Int, filter: ResizeFilter) throws -> Image {
        try Image.check(width: width, height: height)
        if width == self.width, height == self.height { return self }
        let plan = try ResizePlan(
            from: (self.width, self.height), to: (width, height), filter: filter, columns: 0..<width,
            rows: 0..<height)
        var pixels: [UInt8] = []
        pixels.reserveCapacity(width * height * 3)
        try plan.forEachRow(of: self) { _, row in pixels.append(contentsOf: row) }
        return Image(uncheckedWidth: width, height: height, pixels: pixels)
    }
}

/// How to make a rectangle of a resized image without making the rest of it: the two passes of Pillow's
/// resampling, with 8 bits between them, restricted to the columns and rows that are wanted.
struct ResizePlan {
    private enum Axis {
        /// The size does not change: output i is input i.
        case same(Range<Int>)
        /// Output i of the wanted ones is the input at `sources[i]`; -1 is outside and black.
        case nearest(sources: [Int])
        case weighted(ResizeWeights)

        /// The inputs from the first to the last that are used.
        var inputs: Range<Int> {
            switch self {
            case .same(let range): range
            case .nearest(let sources):
                (sources.lazy.filter { $0 >= 0 }.min() ?? 0)..<((sources.max() ?? 0) + 1)
            case .weighted(let weights): weights.inputs
            }
        }
    }

    private let columns: Int
    private let rows: Int
    private let horizontal: Axis
    private let vertical: Axis
    private let verticalFirst: Bool

    /// - Parameters:
    ///   - columns: the columns of the resized image that are made, inside `0 ..< to.width`.
    ///   - rows: likewise, inside `0 ..< to.height`.
    init(
        from: (width: Int, height: Int), to: (width: Int, height: Int), filter: ResizeFilter,
        columns: Range<Int>, rows: Range<Int>
    ) throws {
        func failure(_ why: String) -> VQAError {
            VQAError(
                "cannot resize the image", at: "\(from.width)×\(from.height) to \(to.width)×\(to.height)",
                because: why)
        }
        guard max(to.width, to.height) <= 1 << 24 else { throw failure("the result is too elongated") }
        guard columns.count <= Image.maximumResizedPixels / max(rows.count, from.height),
            rows.count <= Image.maximumResizedPixels / from.width
        else { throw failure("it would take more than \(Image.maximumResizedPixels) pixels of memory") }
        self.columns = columns.count
        self.rows = rows.count
        horizontal = ResizePlan.axis(from: from.width, to: to.width, filter: filter, range: columns)
        vertical = ResizePlan.axis(from: from.height, to: to.height, filter: filter, range: rows)
        // The rule of Pillow's pull request 9549, its threshold found by trying sizes on Pillow 13.0.0.
        verticalFirst = to.height < from.height && from.height - to.height > 2 * (from.width - to.width)
    }

    private static func axis(from: Int, to: Int, filter: ResizeFilter, range: Range<Int>) -> Axis {
        if from == to { return .same(range) }
        if filter == .nearest { return .nearest(sources: nearestSources(from: from, to: to, range: range)) }
        return .weighted(ResizeWeights(from: from, to: to, filter: filter, range: range))
    }

    /// Pillow adds the step again and again, so its rounding errors are part of the result.
    private static func nearestSources(from: Int, to: Int, range: Range<Int>) -> [Int] {
        let step = Double(from) / Double(to)
        var position = step * 0.5
        var sources: [Int] = []
        for output in 0..<range.upperBound {
            if range.contains(output) { sources.append(position < Double(from) ? Int(position) : -1) }
            position += step
        }
        return sources
    }

    /// Calls `body` with each wanted row: its number, counted from the first wanted one, and its pixels.
    func forEachRow(of image: Image, _ body: (Int, UnsafeBufferPointer<UInt8>) throws -> Void) throws {
        try image.pixels.withUnsafeBufferPointer { all in
            let start = (vertical.inputs.lowerBound * image.width + horizontal.inputs.lowerBound) * 3
            let source = Pixels(bytes: UnsafeBufferPointer(rebasing: all[start...]), stride: image.width * 3)
            if verticalFirst, case .weighted(let weights) = horizontal {
                var short: [UInt8] = []
                let stride = weights.inputs.count * 3
                short.reserveCapacity(rows * stride)
                try verticalPass(source, rowBytes: stride) { _, row in short.append(contentsOf: row) }
                let result = short.withUnsafeBufferPointer {
                    weights.horizontalPass($0, stride: stride, rows: rows)
                }
                try result.withUnsafeBufferPointer { try forEachRow(of: $0, body) }
            } else if let narrow = horizontalPass(source) {
                try narrow.withUnsafeBufferPointer {
                    try verticalPass(Pixels(bytes: $0, stride: columns * 3), rowBytes: columns * 3, body)
                }
            } else {
                try verticalPass(source, rowBytes: columns * 3, body)
            }
        }
    }

    /// Rows that are `stride` bytes apart. The first is the first used one, and its first pixel likewise.
    private struct Pixels {
        let bytes: UnsafeBufferPointer<UInt8>
        let stride: Int

        func row(_ index: Int, count: Int) -> UnsafeBufferPointer<UInt8> {
            UnsafeBufferPointer(rebasing: bytes[(index * stride)..<(index * stride + count)])
        }
    }

    private func forEachRow(
        of bytes: UnsafeBufferPointer<UInt8>, _ body: (Int, UnsafeBufferPointer<UInt8>) throws -> Void
    ) throws {
        let pixels = Pixels(bytes: bytes, stride: columns * 3)
        for i in 0..<rows { try body(i, pixels.row(i, count: columns * 3)) }
    }

    /// The used rows at their new width, or nil when the width does not change.
    private func horizontalPass(_ source: Pixels) -> [UInt8]? {
        let rows = vertical.inputs.count
        switch horizontal {
        case .same: return nil
        case .weighted(let weights):
            return weights.horizontalPass(source.bytes, stride: source.stride, rows: rows)
        case .nearest(let sources):
            let first = horizontal.inputs.lowerBound
            var picked = [UInt8](repeating: 0, count: rows * columns * 3)
            for row in 0..<rows {
                for (i, input) in sources.enumerated() where input >= 0 {
                    for channel in 0..<3 {
                        picked[(row * columns + i) * 3 + channel] =
                            source.bytes[row * source.stride + (input - first) * 3 + channel]
                    }
                }
            }
            return picked
        }
    }

    private func verticalPass(
        _ source: Pixels, rowBytes: Int, _ body: (Int, UnsafeBufferPointer<UInt8>) throws -> Void
    ) throws {
        switch vertical {
        case .same: for i in 0..<rows { try body(i, source.row(i, count: rowBytes)) }
        case .weighted(let weights):
            try weights.verticalPass(source.bytes, stride: source.stride, rowBytes: rowBytes, body)
        case .nearest(let sources):
            let first = vertical.inputs.lowerBound
            let black = [UInt8](repeating: 0, count: rowBytes)
            try black.withUnsafeBufferPointer { black in
                for (i, input) in sources.enumerated() {
                    try body(i, input < 0 ? black : source.row(input - first, count: rowBytes))
                }
            }
        }
    }
}
