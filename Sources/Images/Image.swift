import Support

/// A picture in memory: 8-bit red, green and blue, interleaved, row after row from the top, without gaps.
public struct Image: Sendable, Equatable {
    /// The longest side that an image may have, the limit of JPEG.
    public static let maximumSide = 65_535

    /// In pixels, 1 to ``maximumSide``.
    public let width: Int
    /// In pixels, 1 to ``maximumSide``.
    public let height: Int
    /// height × width × 3 bytes.
    public let pixels: [UInt8]

    /// An image of given pixels. The sides must be 1 to ``maximumSide`` and `pixels` must hold height × width
    /// × 3 bytes, or this is an error.
    public init(width: Int, height: Int, pixels: [UInt8]) throws {
        try Image.check(width: width, height: height)
        guard pixels.count == width * height * 3 else {
            throw VQAError(
                "cannot make an image", at: "\(width)×\(height)",
                because: "\(pixels.count) bytes were given where \(width * height * 3) are needed")
        }
        self.init(uncheckedWidth: width, height: height, pixels: pixels)
    }

    init(uncheckedWidth width: Int, height: Int, pixels: [UInt8]) {
        self.width = width
        self.height = height
        self.pixels = pixels
    }

    /// Throws unless both sides are in 1 ... ``maximumSide``, so that products of them cannot overflow.
    static func check(width: Int, height: Int) throws {
        let sides = 1...maximumSide
        guard sides.contains(width), sides.contains(height) else {
            throw VQAError(
                "cannot make an image", at: "\(width)×\(height)",
                because: "a side must be 1 to \(maximumSide) pixels")
        }
    }

    /// The rectangle of `width` × `height` pixels whose upper left pixel is (`x`, `y`). It must lie inside
    /// the image.
    public func cropped(x: Int, y: Int, width: Int, height: Int) throws -> Image {
        guard x >= 0, y >= 0, width >= 1, height >= 1, x < self.width, y < self.height,
            width <= self.width - x, height <= self.height - y
        else {
            throw VQAError(
                "cannot crop the image", at: "\(width)×\(height) at (\(x), \(y))",
                because: "the rectangle is not inside the image of \(self.width)×\(self.height)")
        }
        var cut: [UInt8] = []
        cut.reserveCapacity(width * height * 3)
        for row in y..<(y + height) {
            let start = (row * self.width + x) * 3
            cut.append(contentsOf: pixels[start..<(start + width * 3)])
        }
        return Image(uncheckedWidth: width, height: height, pixels: cut)
    }

    /// The image in the middle of a square of its longer side, as LLaVA pads (`image_aspect_ratio: pad`): an
    /// odd remainder goes to the right or the bottom. A square of more than 100 million pixels is an error.
    public func paddedToSquare(background: Color) throws -> Image {
        guard width != height else { return self }
        let side = max(width, height)
        guard side <= Image.maximumResizedPixels / side else {
            throw VQAError(
                "cannot pad the image to a square", at: "\(width)×\(height)",
                because: "the square would have more than \(Image.maximumResizedPixels) pixels",
                remedy: "scale the image down first, or do not pad")
        }
        let left = (side - width) / 2
        let top = (side - height) / 2
        let color = [background.red, background.green, background.blue]
        let line = [UInt8](repeatElement(color, count: side).joined())
        var square: [UInt8] = []
        square.reserveCapacity(side * side * 3)
        for _ in 0..<top { square += line }
        for row in 0..<height {
            square += line[..<(left * 3)]
            square += pixels[(row * width * 3)..<((row + 1) * width * 3)]
            square += line[..<((side - width - left) * 3)]
        }
        for _ in 0..<(side - height - top) { square += line }
        return Image(uncheckedWidth: side, height: side, pixels: square)
    }

    /// One colour, 8 bits a channel.
    public struct Color: Sendable, Equatable {
        /// 0 to 255.
        public let red: UInt8
        /// 0 to 255.
        public let green: UInt8
        /// 0 to 255.
        public let blue: UInt8

        /// A colour from its three parts.
        public init(red: UInt8, green: UInt8, blue: UInt8) {
            self.red = red
            self.green = green
            self.blue = blue
        }
    }
}
