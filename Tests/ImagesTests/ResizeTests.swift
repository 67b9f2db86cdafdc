import Images
import Support
import Testing

private let sizes: [(from: String, to: [String])] = [
    ("1x1", ["1x5", "4x3"]),
    ("1x11", ["1x4", "3x23", "1x1"]),
    ("7x5", ["13x3", "3x2", "7x12", "1x1", "15x11"]),
    ("23x37", ["11x17", "40x9", "23x5", "7x37", "10x11", "10x10"]),
    ("61x19", ["8x5", "30x18", "75x8"]),
]
private let cases = sizes.flatMap { size in size.to.map { "\(size.from)_to_\($0)" } }
/// In the order of their codes, which is their order in the golden files.
private let filters: [ResizeFilter] = [.nearest, .lanczos, .bilinear, .bicubic, .box, .hamming]

@Suite struct ResizeTests {
    @Test("every filter agrees with Pillow to the bit", arguments: cases)
    func golden(name: String) throws {
        let source = try Image(contentsOf: fixture("resize/\(name.prefix { $0 != "_" }).png"))
        let stacked = try Image(contentsOf: fixture("resize/\(name).png"))
        let height = stacked.height / filters.count
        for (index, filter) in filters.enumerated() {
            let expected = try stacked.cropped(x: 0, y: index * height, width: stacked.width, height: height)
            let resized = try source.resized(width: stacked.width, height: height, filter: filter)
            #expect(resized == expected, "\(filter)")
        }
    }

    @Test("a constant image stays constant at any size")
    func constant() throws {
        for value in [0, 1, 127, 254, 255] {
            let flat = try image(9, 13) { _, _, _ in value }
            for filter in filters {
                for (width, height) in [(1, 1), (3, 40), (20, 2), (9, 14)] {
                    let resized = try flat.resized(width: width, height: height, filter: filter)
                    #expect(resized.pixels.allSatisfy { $0 == UInt8(value) }, "\(filter) \(width)×\(height)")
                }
            }
        }
    }

    @Test("resizing to the same size changes nothing")
    func same() throws {
        let noise = try image(5, 6) { x, y, c in x * 77 + y * 31 + c * 13 }
        for filter in filters { #expect(try noise.resized(width: 5, height: 6, filter: filter) == noise) }
    }

    @Test("sides that are absurd are refused, and thin images shrink")
    func extremes() throws {
        let tall = try image(1, 65_535) { _, y, _ in y }
        #expect(throws: VQAError.self) { try tall.resized(width: 0, height: 4, filter: .bicubic) }
        #expect(throws: VQAError.self) { try tall.resized(width: 4, height: -1, filter: .bicubic) }
        #expect(throws: VQAError.self) { try tall.resized(width: .max, height: 1, filter: .bicubic) }
        #expect(throws: VQAError.self) { try tall.resized(width: 65_535, height: 65_535, filter: .bicubic) }
        #expect(try tall.resized(width: 1, height: 1, filter: .lanczos).pixels.count == 3)
        #expect(try tall.resized(width: 3, height: 2, filter: .nearest).pixels.count == 18)
    }

    @Test("padding to a square puts an odd line right and below")
    func square() throws {
        let wide = try image(3, 2) { x, y, _ in 10 * y + x + 1 }
        let square = try wide.paddedToSquare(background: Image.Color(red: 7, green: 8, blue: 9))
        let red = stride(from: 0, to: square.pixels.count, by: 3).map { square.pixels[$0] }
        #expect(red == [1, 2, 3, 11, 12, 13, 7, 7, 7])
        let tall = try image(1, 4) { _, y, _ in y + 1 }
        let padded = try tall.paddedToSquare(background: Image.Color(red: 0, green: 0, blue: 0))
        #expect(
            stride(from: 0, to: 48, by: 3).map { padded.pixels[$0] } == [
                0, 1, 0, 0, 0, 2, 0, 0, 0, 3, 0, 0, 0, 4, 0, 0,
            ])
    }
}
