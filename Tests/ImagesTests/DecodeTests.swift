import Images
import Support
import Testing

/// Files of every mode, each beside what Pillow and transformers make of it.
private let lossless =
    [
        "grey1", "grey2", "grey4", "grey8", "grey16", "rgb8", "rgb16", "grey8_alpha", "grey16_alpha",
        "rgb8_alpha",
        "rgb16_alpha", "palette1", "palette2", "palette4", "palette8",
    ].flatMap { ["\($0).png", "\($0)_adam7.png"] } + [
        "palette_alphas.png", "palette_one_clear.png", "palette_past_end.png", "grey8_key.png",
        "grey1_key.png",
        "rgb8_key.png", "grey16_low.png", "rgb_1x1_adam7.png", "rgb_1x17_adam7.png", "rgb_33x2_adam7.png",
        "alpha_levels.png", "lossless.webp", "lossless_alpha.webp",
    ]
private let lossy = [
    "rgb_444.jpg", "rgb_422.jpg", "rgb_420.jpg", "rgb_progressive.jpg", "rgb_restarts.jpg",
    "rgb_untransformed.jpg",
    "rgb_poor.jpg", "grey.jpg", "grey_progressive.jpg", "cmyk.jpg", "cmyk_progressive.jpg", "ycck.jpg",
    "rotated_by_exif.jpg", "lossy.webp", "lossy_alpha.webp",
]

@Suite struct DecodeTests {
    @Test("lossless files have Pillow's pixels", arguments: lossless)
    func losslessFiles(name: String) throws {
        let decoded = try Image(contentsOf: fixture("decode/\(name)"))
        #expect(decoded == (try Image(contentsOf: fixture("decode/\(name).rgb.png"))))
    }

    @Test("lossy files have Pillow's pixels up to the rounding of the codec's version", arguments: lossy)
    func lossyFiles(name: String) throws {
        let decoded = try Image(contentsOf: fixture("decode/\(name)"))
        let off = try #require(difference(decoded, Image(contentsOf: fixture("decode/\(name).rgb.png"))))
        #expect(off.largest <= 2 && off.mean < 0.1, "largest \(off.largest), mean \(off.mean)")
    }

    @Test("over white, files with transparency have the pixels of transformers", arguments: lossless + lossy)
    func overWhite(name: String) throws {
        let golden = fixture("decode/\(name).white.png")
        let expected = try Image(contentsOf: fileExists(golden) ? golden : fixture("decode/\(name).rgb.png"))
        let decoded = try Image(contentsOf: fixture("decode/\(name)"), transparency: .overWhite)
        let off = try #require(difference(decoded, expected))
        #expect(off.largest <= (lossless.contains(name) ? 0 : 2) && off.mean < 0.1)
    }

    @Test("16-bit grey is clipped, not scaled")
    func clippedGrey() throws {
        let decoded = try Image(contentsOf: fixture("decode/grey16_low.png"))
        let grey = stride(from: 0, to: decoded.pixels.count, by: 3).map { decoded.pixels[$0] }
        #expect(grey == [0, 1, 127, 254, 255, 255, 255, 255, 255, 255])
    }

    @Test("a PNG that is written reads back the same")
    func pngRoundTrip() throws {
        for (width, height) in [(1, 1), (7, 5), (64, 3)] {
            let original = try image(width, height) { x, y, c in x * 31 + y * 57 + c * 101 }
            let data = try original.pngData()
            #expect(try Image.decode(data, source: "memory") == original)
            let header = try data.withUnsafeBytes { try Image.header($0, source: "memory") }
            #expect(header.format == .png && header.width == width && header.height == height)
        }
    }

    @Test("pixels must fit the size of an image")
    func badImages() throws {
        #expect(throws: VQAError.self) { try Image(width: 2, height: 2, pixels: [1, 2, 3]) }
        #expect(throws: VQAError.self) { try Image(width: 0, height: 2, pixels: []) }
        #expect(throws: VQAError.self) { try Image(width: .max, height: .max, pixels: []) }
        let four = try image(4, 3) { x, y, c in x + y + c }
        #expect(throws: VQAError.self) { try four.cropped(x: 2, y: 0, width: 3, height: 1) }
        #expect(throws: VQAError.self) { try four.cropped(x: 0, y: .max, width: 1, height: 1) }
        #expect(try four.cropped(x: 3, y: 2, width: 1, height: 1).pixels == [5, 6, 7])
    }
}
