import Images
import Support
import Testing

@Suite struct PhotographTests {
    @Test(
        "the photographs decode as in Pillow",
        .enabled(if: isFolder(photographs), "../shared/data/allennlp-vision is not there"))
    func photographs18() throws {
        let cases = try JSON(contentsOf: fixture("photos.json")).array ?? []
        #expect(cases.count == 18)
        for item in cases {
            let name = try #require(item["path"]?.string)
            let photograph = try Image(contentsOf: "\(photographs)/\(name)")
            #expect(
                photograph.width == item["width"]?.integer && photograph.height == item["height"]?.integer)
            let small = try photograph.resized(width: 6, height: 4, filter: .lanczos)
            let expected = try #require(item["small"]?.array).compactMap(\.integer).map {
                UInt8(clamping: $0)
            }
            let off = try #require(difference(small, Image(width: 6, height: 4, pixels: expected)))
            #expect(off.largest <= 1 && off.mean < 0.1, "\(name): largest \(off.largest), mean \(off.mean)")
        }
    }
}
