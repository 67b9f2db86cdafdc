import Images
import Support
import Testing

@Suite struct HostileFileTests {
    @Test(
        "files that ask for too much are refused from their headers",
        arguments: [
            ("huge.png", "60000×60000"), ("huge.jpg", "60000×60000"), ("huge.webp", "16383×16383"),
            ("huge_sides.png", "65535"), ("scans_200.jpg", "more scans than the limit of 100"),
            ("animated.webp", "an animated WebP"),
        ])
    func refused(name: String, words: String) throws {
        let text = try #require(errorText { _ = try Image(contentsOf: fixture("hostile/\(name)")) })
        #expect(text.contains(words) && text.contains(name) && !text.contains("\n"), "\(text)")
    }

    @Test("a hundred scans are allowed, and fewer when asked")
    func scans() throws {
        let path = fixture("hostile/scans_100.jpg")
        #expect(try Image(contentsOf: path).width == 8)
        let text = errorText { _ = try Image(contentsOf: path, limits: DecodeLimits(scans: 99)) }
        #expect(text?.contains("limit of 99") == true)
    }

    @Test(
        "other formats are named",
        arguments: [
            ("other.gif", "a GIF"), ("other.bmp", "a BMP"), ("other.tiff", "a TIFF"), ("other.ppm", "a PPM"),
        ])
    func otherFormats(name: String, words: String) throws {
        let text = try #require(errorText { _ = try Image(contentsOf: fixture("hostile/\(name)")) })
        #expect(text.contains(words) && text.contains("JPEG, PNG or WebP"), "\(text)")
    }

    @Test("texts and empty files are named")
    func texts() {
        for (bytes, words) in [
            ("", "empty"), ("<!DOCTYPE html>", "HTML"),
            ("version https://git-lfs.github.com/spec/v1", "git-lfs"),
            ("hello", "no known image format"), ("RIFF1234WAVE", "no known image format"),
        ] {
            let text = errorText { _ = try Image.decode(Array(bytes.utf8), source: "some.jpg") }
            #expect(
                text?.contains(words) == true && text?.contains("some.jpg") == true, "\(text ?? "no error")")
        }
    }

    @Test("limits of bytes and pixels hold, and the limit itself is allowed")
    func limits() throws {
        let data = try image(10, 7) { x, y, c in x + y + c }.pngData()
        #expect(throws: Never.self) {
            try Image.decode(data, source: "a", limits: DecodeLimits(pixels: 70, bytes: data.count))
        }
        #expect(throws: VQAError.self) {
            try Image.decode(data, source: "a", limits: DecodeLimits(pixels: 69))
        }
        #expect(throws: VQAError.self) {
            try Image.decode(data, source: "a", limits: DecodeLimits(bytes: data.count - 1))
        }
    }

    @Test(
        "a file cut anywhere is an error",
        arguments: [
            "rgb_420.jpg", "rgb_progressive.jpg", "cmyk.jpg", "grey.jpg", "rgb8.png", "palette4_adam7.png",
            "lossy.webp", "lossless_alpha.webp",
        ])
    func truncated(name: String) throws {
        let whole = try fixtureBytes("decode/\(name)")
        for length in 0..<whole.count {
            let text = errorText { _ = try Image.decode(Array(whole[..<length]), source: name) }
            #expect(text != nil, "\(name) cut to \(length) of \(whole.count) bytes was read")
        }
        let half = errorText {
            _ = try Image.decode(Array(whole[..<(whole.count - whole.count / 4)]), source: name)
        }
        #expect(half?.contains("truncated") == true, "\(half ?? "")")
    }

    @Test("bytes between the markers of a JPEG and after its end are skipped, as in Pillow")
    func extraneousBytes() throws {
        let whole = try fixtureBytes("decode/rgb_420.jpg")
        let table = try #require(whole.indices.first { whole[$0] == 0xFF && whole[$0 + 1] == 0xDB })
        let longer = whole[..<table] + [1, 2, 3] + whole[table...] + [4, 5]
        let decoded = try Image.decode(Array(longer), source: "a")
        #expect(decoded == (try Image.decode(whole, source: "a")))
    }

    @Test("damaged data of a JPEG are an error, not grey pixels")
    func damagedData() throws {
        var bytes = try fixtureBytes("decode/rgb_420.jpg")
        let middle = bytes.count - 300
        bytes.replaceSubrange(middle..<(middle + 2), with: [0xFF, 0xD9])
        #expect(errorText { _ = try Image.decode(bytes, source: "a") } != nil)
    }

    @Test("a wrong checksum of a PNG is an error")
    func checksum() throws {
        let whole = try fixtureBytes("decode/rgb8.png")
        var header = whole
        header[29] ^= 1
        #expect(errorText { _ = try Image.decode(header, source: "a") }?.contains("damaged") == true)
        var data = whole
        data[data.count - 14] ^= 1
        #expect(errorText { _ = try Image.decode(data, source: "a") }?.contains("damaged") == true)
    }

    @Test("palette indices past the palette are black, as in Pillow")
    func paletteIndex() throws {
        let decoded = try Image(contentsOf: fixture("decode/palette_past_end.png"))
        #expect(decoded == (try Image(contentsOf: fixture("decode/palette_past_end.png.rgb.png"))))
    }

    @Test("damaged files give an image or an error, never a crash")
    func mutations() throws {
        let names = [
            "rgb_420.jpg", "rgb_progressive.jpg", "cmyk.jpg", "ycck.jpg", "grey.jpg", "rgb_restarts.jpg",
            "rgb8.png",
            "palette4_adam7.png", "palette_alphas.png", "grey16_alpha.png", "grey1_key.png",
            "rgb16_alpha_adam7.png",
            "lossy.webp", "lossless_alpha.webp", "lossy_alpha.webp",
        ]
        let limits = DecodeLimits(pixels: 1_000_000, scans: 20)
        var outcomes = (read: 0, refused: 0)
        for name in names {
            let whole = try fixtureBytes("decode/\(name)")
            for round in 0..<400 {
                var random = CounterRandom(seed: 7, sample: round, purpose: name)
                var bytes = whole
                for _ in 0..<Int.random(in: 1...6, using: &random) { mutate(&bytes, &random) }
                for transparency in Transparency.allCases {
                    do {
                        let decoded = try Image.decode(
                            bytes, source: name, limits: limits, transparency: transparency)
                        #expect(decoded.pixels.count == decoded.width * decoded.height * 3)
                        outcomes.read += 1
                    } catch { outcomes.refused += 1 }
                }
            }
        }
        #expect(outcomes.read > 0 && outcomes.refused > 0)
    }

    private func mutate(_ bytes: inout [UInt8], _ random: inout CounterRandom) {
        guard !bytes.isEmpty else { return }
        let place = Int.random(in: 0..<bytes.count, using: &random)
        switch Int.random(in: 0..<5, using: &random) {
        case 0: bytes[place] ^= 1 << UInt8.random(in: 0..<8, using: &random)
        case 1: bytes[place] = .random(in: 0...255, using: &random)
        case 2: bytes.removeSubrange(place..<min(bytes.count, place + Int.random(in: 1...9, using: &random)))
        case 3: bytes.insert(contentsOf: bytes[place..<min(bytes.count, place + 8)], at: place)
        default: bytes[place] = [0, 0xFF, 0x7F, 0x80].randomElement(using: &random) ?? 0
        }
    }
}
