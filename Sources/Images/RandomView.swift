import Support

#if canImport(Glibc)
    import Glibc
#else
    import Darwin
#endif

/// What a training transform sees of an image: a random rectangle, perhaps mirrored. The same (seed, epoch,
/// sample) always sees the same, whatever was drawn before.
///
/// The rectangle is torchvision's `RandomResizedCrop` as LAVIS's `blip2_image_train` uses it: ten trials of an
/// area from half of the image to all of it and of a ratio from 3:4 to 4:3, else the largest such rectangle in
/// the middle. Every second view is mirrored. Only the random numbers are not torch's.
public struct RandomView: Sendable, Equatable {
    /// The left column.
    public let x: Int
    /// The upper row.
    public let y: Int
    /// In pixels, at least 1.
    public let width: Int
    /// In pixels, at least 1.
    public let height: Int
    /// Left and right change places after the resize.
    public let isMirrored: Bool

    private static let narrowest = 3.0 / 4
    private static let widest = 4.0 / 3

    /// A view of an image of a given size, whose sides must be 1 to ``Image/maximumSide``.
    /// - Parameter areas: the share of the image that the rectangle may cover, inside 0 … 1.
    public init(
        width: Int, height: Int, areas: ClosedRange<Double> = 0.5...1, seed: Int, epoch: Int, sample: Int
    ) throws {
        try Image.check(width: width, height: height)
        guard areas.lowerBound > 0, areas.upperBound <= 1 else {
            throw VQAError(
                "cannot choose a view of the image", at: "\(areas)",
                because: "the share of the image must be above 0 and at most 1")
        }
        var random = CounterRandom(seed: seed, epoch: epoch, sample: sample, purpose: "image view")
        let rectangle =
            RandomView.randomRectangle(width: width, height: height, areas: areas, &random)
            ?? RandomView.middle(width: width, height: height)
        x = rectangle.x
        y = rectangle.y
        self.width = rectangle.width
        self.height = rectangle.height
        isMirrored = RandomView.uniform(&random) < 0.5
    }

    private static func randomRectangle(
        width: Int, height: Int, areas: ClosedRange<Double>, _ random: inout CounterRandom
    ) -> Rectangle? {
        for _ in 0..<10 {
            let share = areas.lowerBound + (areas.upperBound - areas.lowerBound) * uniform(&random)
            let area = Double(width * height) * share
            let (low, high) = (log(narrowest), log(widest))
            let ratio = exp(low + (high - low) * uniform(&random))
            let w = Int((area * ratio).squareRoot().rounded(.toNearestOrEven))
            let h = Int((area / ratio).squareRoot().rounded(.toNearestOrEven))
            if w > 0, w <= width, h > 0, h <= height {
                let y = Int(uniform(&random) * Double(height - h + 1))
                let x = Int(uniform(&random) * Double(width - w + 1))
                return Rectangle(x: x, y: y, width: w, height: h)
            }
        }
        return nil
    }

    /// The largest rectangle in the middle whose ratio is allowed.
    private static func middle(width: Int, height: Int) -> Rectangle {
        let ratio = Double(width) / Double(height)
        var (w, h) = (width, height)
        if ratio < narrowest {
            h = Int((Double(width) / narrowest).rounded(.toNearestOrEven))
        } else if ratio > widest {
            w = Int((Double(height) * widest).rounded(.toNearestOrEven))
        }
        return Rectangle(x: (width - w) / 2, y: (height - h) / 2, width: w, height: h)
    }

    /// A number from 0 to below 1.
    private static func uniform(_ random: inout CounterRandom) -> Double {
        Double(random.next() >> 11) * 0x1p-53
    }
}

extension ImageProcessor {
    /// The values of what `view` sees of an image.
    public func pixelValues(of image: Image, seen view: RandomView) throws -> PixelValues {
        let size = try outputSize(width: view.width, height: view.height)
        var values = [Float](repeating: 0, count: try ImageProcessor.count(of: size))
        try values.withUnsafeMutableBufferPointer { try write(image, seen: view, into: $0) }
        return PixelValues(values: values, shape: [3, size.height, size.width])
    }

    /// Writes the values of what `view` sees of `image` into `target`: see ``write(_:into:canvas:)``. The
    /// rectangle must lie inside the image.
    public func write(
        _ image: Image, seen view: RandomView, into target: UnsafeMutableBufferPointer<Float>,
        canvas: (height: Int, width: Int)? = nil
    ) throws {
        let part = Rectangle(x: view.x, y: view.y, width: view.width, height: view.height)
        try write(part.cut(from: image), into: target, canvas: canvas)
        guard view.isMirrored else { return }
        let output = try outputSize(width: view.width, height: view.height)
        let canvas = canvas ?? output
        for channel in 0..<3 {
            for row in 0..<output.height {
                let start = (channel * canvas.height + row) * canvas.width
                target[start..<(start + output.width)].reverse()
            }
        }
    }
}
