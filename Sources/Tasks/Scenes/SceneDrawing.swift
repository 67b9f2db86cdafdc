/// Sines and cosines of whole degrees, times 2^16, by integer arithmetic alone: the same on every processor.
package enum SceneAngles {
    /// Times 2^16, for 0..<360 degrees.
    static let cosines: [Int] = (0..<360).map { cosine(ofDegrees: $0) }

    /// The cosine times 2^16.
    package static func cosine(_ degrees: Int) -> Int { cosines[((degrees % 360) + 360) % 360] }
    /// The sine times 2^16.
    package static func sine(_ degrees: Int) -> Int { cosine(degrees - 90) }

    private static func cosine(ofDegrees degrees: Int) -> Int {
        let folded = degrees > 180 ? 360 - degrees : degrees
        return folded > 90 ? -series(180 - folded) : series(folded)
    }

    /// Taylor's series in numbers of 30 bits after the point, for 0...90 degrees.
    private static func series(_ degrees: Int) -> Int {
        let pi = 3_373_259_426  // π · 2^30
        let angle = degrees * pi / 180
        let square = (angle * angle) >> 30
        var term = 1 << 30
        var sum = term
        for step in 1...10 {
            term = -((term * square) >> 30) / ((2 * step - 1) * (2 * step))
            sum += term
        }
        return (sum + 1 << 13) >> 14
    }
}

/// A square picture of three bytes a pixel, drawn with whole numbers only.
///
/// Each pixel is looked at in 4×4 places. Coordinates are in eighths of a pixel, so that these places are whole numbers;
/// within an object they are turned, and scaled so that its radius is 4096.
struct SceneCanvas {
    /// Pixels a side.
    let side: Int
    /// Rows from the top, red, green, blue.
    private(set) var pixels: [UInt8]

    init(side: Int, background: ScenePixel) {
        self.side = side
        let pixel = [UInt8(background.red), UInt8(background.green), UInt8(background.blue)]
        pixels = [UInt8](unsafeUninitializedCapacity: 3 * side * side) { buffer, filled in
            for index in 0..<3 * side * side { buffer[index] = pixel[index % 3] }
            filled = 3 * side * side
        }
    }

    /// The picture of a whole scene.
    init(side: Int, scene: Scene) {
        self.init(side: side, background: Scene.tints[scene.tint].pixel)
        for object in scene.objects { draw(object) }
    }

    /// Draws `object` over what is there.
    mutating func draw(_ object: SceneObject) {
        let radius = max(1, object.radius * side / 128)
        let centre = (x: object.x * side / 128, y: object.y * side / 128)
        let cosine = SceneAngles.cosine(object.rotation) * 4096 / radius
        let sine = SceneAngles.sine(object.rotation) * 4096 / radius
        let outline = SceneOutline(object.shape)
        let filling = SceneFilling(object.texture)
        let colors = (object.color.pixel, object.color.pixel.lightened(keeping: 70))
        // Corners of squares and crosses lie a little outside the circle.
        let reach = radius * 9 / 8
        paint(
            columns: (centre.x - reach) / 8...(centre.x + reach) / 8,
            rows: (centre.y - reach) / 8...(centre.y + reach) / 8, colors: colors
        ) { x, y in
            let (dx, dy) = (x - centre.x, y - centre.y)
            let u = (dx * cosine + dy * sine) >> 16
            let v = (dy * cosine - dx * sine) >> 16
            guard outline.contains(u, v) else { return .outside }
            return filling.isLight(u, v) ? .light : .dark
        }
    }

    /// Draws a rectangle of one colour; edges are in 1/1024 of the side.
    mutating func drawRectangle(x: Range<Int>, y: Range<Int>, color: ScenePixel) {
        func scaled(_ range: Range<Int>) -> Range<Int> {
            range.lowerBound * side / 128..<range.upperBound * side / 128
        }
        let (x, y) = (scaled(x), scaled(y))
        paint(
            columns: x.lowerBound / 8...x.upperBound / 8, rows: y.lowerBound / 8...y.upperBound / 8,
            colors: (color, color)
        ) { x.contains($0) && y.contains($1) ? .dark : .outside }
    }

    private enum Place { case outside, dark, light }

    /// Asks `place` for the 16 places of each pixel and mixes the colours.
    private mutating func paint(
        columns: ClosedRange<Int>, rows: ClosedRange<Int>, colors: (dark: ScenePixel, light: ScenePixel),
        _ place: (Int, Int) -> Place
    ) {
        for row in rows.clamped(to: 0...side - 1) where rows.contains(row) {
            for column in columns.clamped(to: 0...side - 1) where columns.contains(column) {
                var (dark, light) = (0, 0)
                for step in 0..<16 {
                    switch place(column * 8 + 2 * (step & 3) + 1, row * 8 + 2 * (step >> 2) + 1) {
                    case .outside: break
                    case .dark: dark += 1
                    case .light: light += 1
                    }
                }
                if dark + light > 0 { mix(colors, dark, light, at: 3 * (row * side + column)) }
            }
        }
    }

    private mutating func mix(
        _ colors: (dark: ScenePixel, light: ScenePixel), _ dark: Int, _ light: Int, at offset: Int
    ) {
        func mixed(_ old: UInt8, _ first: Int, _ second: Int) -> UInt8 {
            UInt8((Int(old) * (16 - dark - light) + first * dark + second * light + 8) >> 4)
        }
        pixels[offset] = mixed(pixels[offset], colors.dark.red, colors.light.red)
        pixels[offset + 1] = mixed(pixels[offset + 1], colors.dark.green, colors.light.green)
        pixels[offset + 2] = mixed(pixels[offset + 2], colors.dark.blue, colors.light.blue)
    }
}

/// The inside of a shape of radius 4096 around the origin.
private struct SceneOutline {
    private let shape: SceneShape
    /// For shapes bounded by straight lines: the lines' normals, times 2^16.
    private let normals: [(x: Int, y: Int)]
    /// The lines' distance from the centre.
    private let distance: Int

    init(_ shape: SceneShape) {
        self.shape = shape
        let sides = shape == .triangle ? 3 : 5
        normals = (0..<sides).map { side in
            let angle = 90 + 360 / sides * side
            return (SceneAngles.cosine(angle), SceneAngles.sine(angle))
        }
        distance =
            switch shape {
            case .triangle: 2200
            case .pentagon: 3380
            default: SceneAngles.cosine(72) >> 4  // The lines of a pentagram whose points lie on the circle.
            }
    }

    func contains(_ u: Int, _ v: Int) -> Bool {
        let square = u * u + v * v
        switch shape {
        case .circle: return square <= 4096 * 4096
        case .square: return abs(u) <= 3072 && abs(v) <= 3072
        case .triangle, .pentagon: return linesCrossed(u, v) == 0
        // A point of a pentagram lies beyond one of the five lines, the gap between two points beyond two.
        case .star: return linesCrossed(u, v) <= 1
        case .cross: return (abs(u) <= 1400 && abs(v) <= 4000) || (abs(v) <= 1400 && abs(u) <= 4000)
        case .ring: return square <= 4096 * 4096 && square >= 2250 * 2250
        case .crescent:
            let du = u - 1850
            return square <= 4096 * 4096 && du * du + v * v >= 3000 * 3000
        }
    }

    private func linesCrossed(_ u: Int, _ v: Int) -> Int {
        var crossed = 0
        for normal in normals where (u * normal.x + v * normal.y) >> 16 > distance { crossed += 1 }
        return crossed
    }
}

/// Where a texture shows its lighter tone, in the coordinates of ``SceneOutline``.
private struct SceneFilling {
    private let texture: SceneTexture

    init(_ texture: SceneTexture) { self.texture = texture }

    func isLight(_ u: Int, _ v: Int) -> Bool {
        // Coordinates are made positive first: a remainder has the sign of what is divided.
        let (u, v) = (u + 1 << 16, v + 1 << 16)
        switch texture {
        case .plain: return false
        case .striped: return u % 2400 < 1200
        case .checked: return (u / 1500 + v / 1500) & 1 == 0
        case .dotted:
            let (du, dv) = (u % 2200 - 1100, v % 2200 - 1100)
            return du * du + dv * dv <= 760 * 760
        }
    }
}
