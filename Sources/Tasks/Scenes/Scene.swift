import Support

/// The outline of an object.
enum SceneShape: String, CaseIterable, Sendable {
    case circle, square, triangle, pentagon, star, cross, ring, crescent

    /// More than one of them.
    var plural: String { self == .cross ? "crosses" : rawValue + "s" }
}

/// The colour of an object.
enum SceneColor: String, CaseIterable, Sendable {
    case red, orange, yellow, green, cyan, blue, purple, black

    /// Red, green, blue, 0 to 255.
    var pixel: ScenePixel {
        switch self {
        case .red: ScenePixel(214, 39, 40)
        case .orange: ScenePixel(245, 130, 20)
        case .yellow: ScenePixel(238, 205, 10)
        case .green: ScenePixel(30, 140, 50)
        case .cyan: ScenePixel(20, 190, 200)
        case .blue: ScenePixel(35, 70, 210)
        case .purple: ScenePixel(140, 50, 170)
        case .black: ScenePixel(25, 25, 25)
        }
    }
}

/// How an object is filled.
enum SceneTexture: String, CaseIterable, Sendable { case plain, striped, dotted, checked }

/// The extent of an object; a large one has about twice the radius of a small one.
enum SceneSize: String, CaseIterable, Sendable { case small, large }

/// Three 8-bit channels.
struct ScenePixel: Equatable {
    let red: Int
    let green: Int
    let blue: Int

    init(_ red: Int, _ green: Int, _ blue: Int) {
        self.red = red
        self.green = green
        self.blue = blue
    }

    /// `parts` of 256 of this colour, the rest white.
    func lightened(keeping parts: Int) -> ScenePixel {
        func channel(_ value: Int) -> Int { (value * parts + 255 * (256 - parts) + 128) >> 8 }
        return ScenePixel(channel(red), channel(green), channel(blue))
    }
}

/// One object of a scene. Lengths are in 1/1024 of the image's side.
struct SceneObject: Equatable, Sendable {
    /// The outline.
    var shape: SceneShape
    /// The colour; textures alternate it with a lighter tone of itself.
    var color: SceneColor
    /// The extent.
    var size: SceneSize
    /// The filling.
    var texture: SceneTexture
    /// The cell of a 3×3 grid that holds it, row by row; each cell holds one object at most.
    var cell: Int
    /// The centre, from the left and from the top.
    var x = 0
    /// The centre, from the top.
    var y = 0
    /// The radius of the circle around it.
    var radius = 0
    /// In degrees.
    var rotation = 0

    var column: Int { cell % 3 }
    var row: Int { cell / 3 }

    /// `small striped red circle`.
    var description: String { "\(size) \(texture) \(color) \(shape)" }
}

/// What one image shows.
struct Scene: Equatable, Sendable {
    /// In the order in which they are drawn.
    var objects: [SceneObject]
    /// One of six light tints.
    var tint = 0

    static let tints: [(name: String, pixel: ScenePixel)] = [
        ("white", ScenePixel(250, 250, 250)), ("light gray", ScenePixel(225, 225, 225)),
        ("light pink", ScenePixel(250, 228, 232)), ("light green", ScenePixel(225, 243, 226)),
        ("light blue", ScenePixel(222, 234, 250)), ("cream", ScenePixel(250, 244, 222)),
    ]

    /// Gives tint, exact places, radii and rotations, which no question asks for.
    mutating func settle(_ random: inout CounterRandom) {
        tint = random.drawn(below: Scene.tints.count)
        for index in objects.indices {
            let object = objects[index]
            let radius =
                object.size == .large ? 112 + random.drawn(below: 24) : 56 + random.drawn(below: 13)
            // Cells are 341 wide; corners reach up to 1.08 radii from the centre, and objects must not touch.
            let freedom = min(70, 156 - radius)
            func place(_ cell: Int, _ random: inout CounterRandom) -> Int {
                171 + 341 * cell - freedom + random.drawn(below: 2 * freedom + 1)
            }
            objects[index].radius = radius
            objects[index].x = place(object.column, &random)
            objects[index].y = place(object.row, &random)
            objects[index].rotation = random.drawn(below: 360)
        }
    }
}

/// A description that an object fits or not, such as `red circle`.
struct SceneFilter: Hashable, Sendable {
    var size: SceneSize?
    var texture: SceneTexture?
    var color: SceneColor?
    var shape: SceneShape?

    func matches(_ object: SceneObject) -> Bool {
        (shape == nil || shape == object.shape) && (color == nil || color == object.color)
            && (size == nil || size == object.size) && (texture == nil || texture == object.texture)
    }

    func count(in objects: [SceneObject]) -> Int {
        var count = 0
        for object in objects where matches(object) { count += 1 }
        return count
    }

    /// Changes `object` so that it fits.
    func imprint(on object: inout SceneObject) {
        if let size { object.size = size }
        if let texture { object.texture = texture }
        if let color { object.color = color }
        if let shape { object.shape = shape }
    }

    private var adjectives: [String] {
        [size?.rawValue, texture?.rawValue, color?.rawValue].compactMap(\.self)
    }

    /// `red circle`, `striped object`.
    var noun: String { (adjectives + [shape?.rawValue ?? "object"]).joined(separator: " ") }
    /// `red circles`, `striped objects`.
    var plural: String { (adjectives + [shape?.plural ?? "objects"]).joined(separator: " ") }
}

/// `a` or `an` before `noun`.
func withArticle(_ noun: String) -> String {
    (noun.first.map { "aeiou".contains($0) } == true ? "an " : "a ") + noun
}

/// `text` with its first letter in upper case.
func capitalised(_ text: String) -> String { text.prefix(1).uppercased() + text.dropFirst() }

/// `a, b and c`.
func enumerated(_ words: [String]) -> String {
    guard let last = words.last, words.count > 1 else { return words.first ?? "" }
    return words.dropLast().joined(separator: ", ") + " and " + last
}

/// Numbers drawn in a way that no version of the standard library changes.
extension CounterRandom {
    /// A whole number from 0 up to `bound`, which is above 0 and not reached.
    mutating func drawn(below bound: Int) -> Int {
        Int(truncatingIfNeeded: next().multipliedFullWidth(by: UInt64(max(1, bound))).high)
    }

    /// One of `values`, which are not empty.
    mutating func one<Values: RandomAccessCollection>(of values: Values) -> Values.Element {
        values[values.index(values.startIndex, offsetBy: drawn(below: values.count))]
    }

    /// `values` in a random order (Fisher and Yates).
    mutating func shuffled<Value>(_ values: [Value]) -> [Value] {
        var result = values
        for index in result.indices.dropFirst().reversed() { result.swapAt(index, drawn(below: index + 1)) }
        return result
    }
}
