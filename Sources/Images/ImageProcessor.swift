import CImages
import Support

/// What a model wants done to an image before it sees it: pad to a square, resize, crop, scale, normalise.
///
/// The steps are those of Hugging Face's image processors in their Pillow form, and their integer stages
/// (resize, crop) agree with them to the bit. A value is made from a byte by a table, so scaling and
/// normalising cost one look-up and round exactly as the reference does.
public struct ImageProcessor: Sendable {
    /// How the size of the result is found.
    enum Resizing: Sendable, Equatable {
        case none
        case exact(height: Int, width: Int)
        /// The shorter side becomes this; the other keeps the ratio and is truncated.
        case shortestEdge(Int)
        /// Idefics2: a longer side above `longest` becomes `longest`; then each side is raised to `shortest`.
        case between(shortest: Int, longest: Int)
    }

    /// A crop from the middle. Where the image is smaller, zeros (before scaling) surround it.
    struct Crop: Sendable, Equatable {
        var height: Int
        var width: Int
        /// Half a pixel of offset goes to the even number (torchvision) instead of down (transformers).
        var roundsToEven = false
    }

    /// The reference's name, for example `CLIPImageProcessor`.
    public let name: String
    /// How images for this processor must be decoded.
    public internal(set) var transparency: Transparency
    /// Idefics2's `do_image_splitting`: ``parts(of:)`` gives four quarters and the whole. LIVE sets it to
    /// false.
    public var splitsImages = false
    /// Whether images of a batch may differ in size: ``process(_:)`` then puts zeros right of and below the
    /// smaller ones. True for Idefics2 (unless `do_pad` is off) and wherever the JSON sets `do_pad`.
    public internal(set) var padsBatch = false
    /// The colour around an image that is padded to a square, when it is.
    var squareBackground: Image.Color?
    /// The colour that LLaVA pads with: the mean.
    var meanColor = Image.Color(red: 0, green: 0, blue: 0)
    var resizing: Resizing
    var filter: ResizeFilter
    var crop: Crop?
    /// Three tables of 256 values: red, green, blue.
    var tables: [Float]

    /// A processor that first pads images to a square with the mean colour, truncated to integers (LLaVA's
    /// `image_aspect_ratio: pad`).
    public func paddingToSquare() -> ImageProcessor {
        var padding = self
        padding.squareBackground = meanColor
        return padding
    }

    /// One line that names every setting that changes values: a part of the key of cached features.
    public var fingerprint: String {
        var hash = SHA256()
        tables.withUnsafeBytes { hash.add($0) }
        return "\(name) \(resizing) \(filter) \(crop.map { "\($0)" } ?? "no crop") "
            + "\(squareBackground.map { "\($0)" } ?? "no padding") \(transparency.rawValue) "
            + "split \(splitsImages) values \(hash.hexadecimal())"
    }

    // MARK: Sizes

    /// The height and width of the values of an image of a given size.
    public func outputSize(width: Int, height: Int) throws -> (height: Int, width: Int) {
        try Image.check(width: width, height: height)
        let resized = try resizedSize(paddedSize(width: width, height: height))
        return crop.map { ($0.height, $0.width) } ?? resized
    }

    private func paddedSize(width: Int, height: Int) -> (height: Int, width: Int) {
        guard squareBackground != nil else { return (height, width) }
        return (max(width, height), max(width, height))
    }

    private func resizedSize(_ size: (height: Int, width: Int)) throws -> (height: Int, width: Int) {
        switch resizing {
        case .none: return size
        case .exact(let height, let width):
            try Image.check(width: width, height: height)
            return (height, width)
        case .shortestEdge(let edge):
            try Image.check(width: edge, height: edge)
            // Python's int(edge * long / short): a division of integers, rounded once, then truncated.
            let long = Int(Double(edge * max(size.height, size.width)) / Double(min(size.height, size.width)))
            return size.width <= size.height ? (long, edge) : (edge, long)
        case .between(let shortest, let longest):
            var (height, width) = size
            let ratio = Double(width) / Double(height)
            if width >= height, width > longest {
                (width, height) = (longest, Int(Double(longest) / ratio))
            } else if height > width, height > longest {
                (height, width) = (longest, Int(Double(longest) * ratio))
            }
            return (max(height, shortest), max(width, shortest))
        }
    }

    // MARK: Values

    /// The images to process for one image: itself, or with ``splitsImages`` its four quarters (upper left,
    /// upper right, lower left, lower right; an odd line goes to the right and the bottom) and itself. An
    /// image of one row or column cannot be split.
    public func parts(of image: Image) throws -> [Image] {
        try rectangles(width: image.width, height: image.height).map { try $0.cut(from: image) }
    }

    /// Where ``parts(of:)`` lie in an image of a given size.
    func rectangles(width: Int, height: Int) throws -> [Rectangle] {
        let whole = Rectangle(x: 0, y: 0, width: width, height: height)
        guard splitsImages else { return [whole] }
        guard width > 1, height > 1 else {
            throw VQAError(
                "cannot split the image", at: "\(width)×\(height)",
                because: "four quarters need two rows and two columns",
                remedy: "set do_image_splitting to false")
        }
        let (x, y) = (width / 2, height / 2)
        let quarters = [(0, y), (y, height - y)].flatMap { top, height in
            [(0, x), (x, width - x)].map { left, width in
                Rectangle(x: left, y: top, width: width, height: height)
            }
        }
        return quarters + [whole]
    }

    /// The values of one image.
    public func pixelValues(of image: Image) throws -> PixelValues {
        let size = try outputSize(width: image.width, height: image.height)
        let count = try ImageProcessor.count(of: size)
        let values = try [Float](unsafeUninitializedCapacity: count) { buffer, filled in
            try write(image, into: UnsafeMutableBufferPointer(rebasing: buffer[..<count]))
            filled = count
        }
        return PixelValues(values: values, shape: [3, size.height, size.width])
    }

    /// The values of the image in a file, decoded as this processor wants it.
    public func pixelValues(ofFile path: String, limits: DecodeLimits = .standard) throws -> PixelValues {
        try pixelValues(of: Image(contentsOf: path, limits: limits, transparency: transparency))
    }

    /// Writes the values of `image` into `target`: planes of red, green and blue, each `canvas` large.
    /// - Parameter canvas: at least ``outputSize(width:height:)``, which it is when nil; what lies right of
    /// or below
    ///   the image becomes 0. `target` must have 3 × height × width elements.
    public func write(
        _ image: Image, into target: UnsafeMutableBufferPointer<Float>,
        canvas: (height: Int, width: Int)? = nil
    ) throws {
        let output = try outputSize(width: image.width, height: image.height)
        let canvas = canvas ?? output
        guard canvas.height >= output.height, canvas.width >= output.width,
            try ImageProcessor.count(of: canvas) == target.count, let base = target.baseAddress
        else {
            throw VQAError(
                "cannot process the image", at: "\(image.width)×\(image.height)",
                because: "its values of 3×\(output.height)×\(output.width) do not fit into "
                    + "\(target.count) elements for 3×\(canvas.height)×\(canvas.width)")
        }
        if canvas != output { target.update(repeating: 0) }
        let source = try squareBackground.map { try image.paddedToSquare(background: $0) } ?? image
        try writeRows(of: source, output, Planes(base: base, height: canvas.height, width: canvas.width))
    }

    private func writeRows(of image: Image, _ output: (height: Int, width: Int), _ planes: Planes) throws {
        let resized = try resizedSize((image.height, image.width))
        let rows = ImageProcessor.window(
            of: resized.height, output.height, roundsToEven: crop?.roundsToEven == true)
        let columns = ImageProcessor.window(
            of: resized.width, output.width, roundsToEven: crop?.roundsToEven == true)
        if rows.source.count < output.height || columns.source.count < output.width {
            fillWithZeros(planes, output)
        }
        let plan = try ResizePlan(
            from: (image.width, image.height), to: (resized.width, resized.height), filter: filter,
            columns: columns.source, rows: rows.source)
        try plan.forEachRow(of: image) { index, row in
            let start = (rows.offset + index) * planes.width + columns.offset
            cimages_lookup_row(
                row.baseAddress, Int32(columns.source.count), tables, planes[0] + start, planes[1] + start,
                planes[2] + start)
        }
    }

    /// Fills the output with what black pixels become.
    private func fillWithZeros(_ planes: Planes, _ output: (height: Int, width: Int)) {
        for channel in 0..<3 {
            for y in 0..<output.height {
                (planes[channel] + y * planes.width).update(
                    repeating: tables[channel * 256], count: output.width)
            }
        }
    }

    /// Where a crop of `target` from the middle of `size` lies in the image, and where it goes in the output.
    private static func window(
        of size: Int, _ target: Int, roundsToEven: Bool
    ) -> (source: Range<Int>, offset: Int) {
        if size < target { return (0..<size, (target - size + 1) / 2) }
        let excess = size - target
        var start = excess / 2
        if roundsToEven, excess % 2 == 1, start % 2 == 1 { start += 1 }
        return (start..<(start + target), 0)
    }

    /// 3 × height × width, or an error when that is more than a resized image may have.
    static func count(of size: (height: Int, width: Int)) throws -> Int {
        guard size.height <= Image.maximumResizedPixels / max(1, size.width) else {
            throw VQAError(
                "cannot process the image", at: "\(size.width)×\(size.height)",
                because: "the result would have more than \(Image.maximumResizedPixels) pixels")
        }
        return 3 * size.height * size.width
    }

    /// Three planes of floats, one after the other.
    private struct Planes {
        let base: UnsafeMutablePointer<Float>
        let height: Int
        let width: Int

        subscript(channel: Int) -> UnsafeMutablePointer<Float> { base + channel * height * width }
    }
}

/// A part of an image, in pixels from its upper left corner.
struct Rectangle {
    let x: Int
    let y: Int
    let width: Int
    let height: Int

    func cut(from image: Image) throws -> Image {
        if width == image.width, height == image.height { return image }
        return try image.cropped(x: x, y: y, width: width, height: height)
    }
}

/// The input of a vision model: `values` in the order channel, row, column; `shape` is [3, height, width].
public struct PixelValues: Sendable, Equatable {
    /// 3 × height × width numbers.
    public let values: [Float]
    /// [3, height, width].
    public let shape: [Int]
}
