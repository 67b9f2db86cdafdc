import Images
import Support

/// The project's folder, three above this file.
let projectFolder = #filePath.split(separator: "/", omittingEmptySubsequences: false).dropLast(3).joined(
    separator: "/")

/// The path of a golden file of this module.
func fixture(_ name: String) -> String { "\(projectFolder)/Tests/Fixtures/Images/\(name)" }

/// The bytes of a golden file.
func fixtureBytes(_ name: String) throws -> [UInt8] { try readFile(fixture(name), limit: 1 << 24) }

/// Photographs that are not part of the project.
let photographs = "\(projectFolder)/../shared/data/allennlp-vision/images"

/// The largest and the mean difference of two images of one size; nil when the sizes differ.
func difference(_ a: Image, _ b: Image) -> (largest: Int, mean: Double)? {
    guard a.width == b.width, a.height == b.height else { return nil }
    let steps = zip(a.pixels, b.pixels).map { abs(Int($0) - Int($1)) }
    return (steps.max() ?? 0, Double(steps.reduce(0, +)) / Double(steps.count))
}

/// The text of the error that `body` throws, or nil when it throws none.
func errorText(_ body: () throws -> Void) -> String? {
    do {
        try body()
        return nil
    } catch { return "\(error)" }
}

/// An image whose pixel (x, y) has in channel c the value `value(x, y, c)`.
func image(_ width: Int, _ height: Int, _ value: (_ x: Int, _ y: Int, _ c: Int) -> Int) throws -> Image {
    var pixels: [UInt8] = []
    for y in 0..<height {
        for x in 0..<width { for c in 0..<3 { pixels.append(UInt8(value(x, y, c) & 255)) } }
    }
    return try Image(width: width, height: height, pixels: pixels)
}
