import Support

/// The images of several prompts, ready for a model that joins vision and language.
///
/// N images of all prompts, one after the other; 3 channels; H and W are the largest height and width of the
/// batch. A smaller image lies in the upper left corner and zeros (after normalising) surround it.
public struct ProcessedImages: Sendable, Equatable {
    /// A height and a width in pixels.
    public struct Size: Sendable, Equatable {
        /// In pixels.
        public let height: Int
        /// In pixels.
        public let width: Int
    }

    /// The most numbers that a batch may have: 2 GiB of them.
    public static let maximumValues = 1 << 29

    /// [N, 3, H, W]: numbers in the order of ``shape``.
    public let pixelValues: [Float]
    /// [N, 3, H, W].
    public let shape: [Int]
    /// The size of each of the N images without its padding.
    public let sizes: [Size]
    /// How many of the N images belong to each prompt; the parts of a split image are counted.
    public let counts: [Int]

    /// Whether some image is smaller than H × W.
    public var hasPadding: Bool { sizes.contains { $0 != Size(height: shape[2], width: shape[3]) } }

    /// [N, H, W]: true where an image has pixels, false where it is padded.
    public var pixelAttentionMask: [Bool] {
        let (height, width) = (shape[2], shape[3])
        var mask: [Bool] = []
        mask.reserveCapacity(sizes.count * height * width)
        for size in sizes {
            for row in 0..<height {
                let filled = row < size.height ? size.width : 0
                mask += repeatElement(true, count: filled)
                mask += repeatElement(false, count: width - filled)
            }
        }
        return mask
    }

    /// The batch with equally many images for each prompt, M, so that it is also [prompts, M, 3, H, W]:
    /// images of zeros, of size 0×0, follow the images of prompts that have fewer (Idefics, Idefics2).
    /// - Parameter minimum: M is at least this.
    public func padded(minimum: Int = 1) throws -> ProcessedImages {
        let most = max(minimum, counts.max() ?? 0, 0)
        if counts.allSatisfy({ $0 == most }) { return self }
        let size = shape[1] * shape[2] * shape[3]
        try ProcessedImages.check(images: counts.count, times: most, values: size)
        var values: [Float] = []
        values.reserveCapacity(counts.count * most * size)
        var sizes: [Size] = []
        var next = 0
        for count in counts {
            values += pixelValues[(next * size)..<((next + count) * size)]
            values += repeatElement(0, count: (most - count) * size)
            sizes += self.sizes[next..<(next + count)]
            sizes += repeatElement(Size(height: 0, width: 0), count: most - count)
            next += count
        }
        return ProcessedImages(
            pixelValues: values, shape: [counts.count * most] + shape[1...], sizes: sizes,
            counts: counts.map { _ in most })
    }

    /// Throws when images × times × values is more than ``maximumValues``. None is negative.
    static func check(images: Int, times: Int = 1, values: Int) throws {
        let (count, overflows) = images.multipliedReportingOverflow(by: times)
        guard !overflows, count <= maximumValues / max(1, values) else {
            throw VQAError(
                "cannot process the images", at: "\(images)\(times == 1 ? "" : " × \(times)") images",
                because: "with \(values) numbers each they would have more than \(maximumValues)",
                remedy: "use a smaller batch")
        }
    }
}

extension ImageProcessor {
    /// The images of several prompts, each prompt's in its order. A prompt may have none.
    ///
    /// Sizes that differ are an error unless ``padsBatch`` is true. Without any image H and W are those of
    /// the processor when it always makes the same, else 0.
    public func process(_ prompts: [[Image]]) throws -> ProcessedImages {
        let sources = prompts.map { images in
            images.map { image in
                ImageSource(width: image.width, height: image.height, path: nil) { image }
            }
        }
        return try process(sources)
    }

    /// The images in files, decoded as this processor wants them, one at a time. See ``process(_:)``.
    public func process(files prompts: [[String]], limits: DecodeLimits = .standard) throws
        -> ProcessedImages
    {
        let sources = try prompts.map { paths in
            try paths.map { path in
                let file = try MappedFile(path)
                let header = try withExtendedLifetime(file) { try Image.header(file.bytes, source: path) }
                return ImageSource(width: header.width, height: header.height, path: path) {
                    try Image(contentsOf: path, limits: limits, transparency: transparency)
                }
            }
        }
        return try process(sources)
    }

    private func process(_ prompts: [[ImageSource]]) throws -> ProcessedImages {
        var sizes: [ProcessedImages.Size] = []
        var counts: [Int] = []
        for sources in prompts {
            let before = sizes.count
            for source in sources {
                sizes += try source.naming {
                    try rectangles(width: source.width, height: source.height).map { part in
                        let size = try outputSize(width: part.width, height: part.height)
                        _ = try ImageProcessor.count(of: size)
                        return ProcessedImages.Size(height: size.height, width: size.width)
                    }
                }
            }
            counts.append(sizes.count - before)
        }
        let canvas = try canvas(of: sizes)
        let values = try self.values(of: prompts.joined(), count: sizes.count, canvas)
        return ProcessedImages(
            pixelValues: values, shape: [sizes.count, 3, canvas.height, canvas.width], sizes: sizes,
            counts: counts)
    }

    /// [N, 3, H, W] of the parts of all images, N being `count` and H and W those of `canvas`.
    private func values(
        of sources: some Sequence<ImageSource>, count: Int, _ canvas: (height: Int, width: Int)
    ) throws -> [Float] {
        let each = try ImageProcessor.count(of: canvas)
        try ProcessedImages.check(images: count, values: each)
        return try [Float](unsafeUninitializedCapacity: count * each) { buffer, filled in
            for source in sources {
                let image = try source.load()
                try source.naming {
                    for part in try rectangles(width: source.width, height: source.height) {
                        let target = UnsafeMutableBufferPointer(rebasing: buffer[filled..<(filled + each)])
                        try write(part.cut(from: image), into: target, canvas: canvas)
                        filled += each
                    }
                }
            }
        }
    }

    /// The largest height and the largest width.
    private func canvas(of sizes: [ProcessedImages.Size]) throws -> (height: Int, width: Int) {
        guard let first = sizes.first else { return fixedSize ?? (0, 0) }
        if !padsBatch, let other = sizes.first(where: { $0 != first }) {
            throw VQAError(
                "cannot make a batch of the images",
                because:
                    "\(name) makes \(first.width)×\(first.height) of one and "
                    + "\(other.width)×\(other.height) of another",
                remedy: "set do_pad to true, or process them one by one")
        }
        return (sizes.map(\.height).max() ?? 0, sizes.map(\.width).max() ?? 0)
    }

    /// The size of every result, when it does not depend on the image.
    private var fixedSize: (height: Int, width: Int)? {
        if let crop { return (crop.height, crop.width) }
        if case .exact(let height, let width) = resizing { return (height, width) }
        return nil
    }
}

/// An image of a batch before it is decoded.
private struct ImageSource {
    let width: Int
    let height: Int
    /// The file, when it is one.
    let path: String?
    let load: () throws -> Image

    /// Runs `body` and puts the file's name into its errors.
    func naming<Result>(_ body: () throws -> Result) throws -> Result {
        do {
            return try body()
        } catch let error as VQAError {
            guard let path else { throw error }
            throw VQAError(
                error.what, at: error.place.map { "\(path), \($0)" } ?? path, because: error.why,
                remedy: error.remedy, kind: error.kind)
        }
    }
}
