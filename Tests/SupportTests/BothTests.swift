import Support
import Testing

/// Two pieces of work at the same time.
@Suite struct BothTests {
    /// Adds up a range by halves.
    private static func sum(_ range: Range<Int>) throws -> Int {
        guard range.count > 3 else { return range.reduce(0, +) }
        let middle = range.lowerBound + range.count / 2
        let (first, second) = try both {
            try sum(range.lowerBound..<middle)
        } and: {
            try sum(middle..<range.upperBound)
        }
        return first + second
    }

    @Test("gives both results, also of pieces within pieces, more than there are threads")
    func nested() throws {
        #expect(try Self.sum(0..<2000) == 1_999_000)
        for count in 0..<300 { #expect(try Self.sum(0..<count) == count * (count - 1) / 2) }
    }

    @Test("throws the first one's error, else the second one's, after both have ended") func errors() {
        var ended = [false, false]
        func run(_ firstFails: Bool, _ secondFails: Bool) throws {
            ended = [false, false]
            var (first, second) = (false, false)
            defer { ended = [first, second] }
            _ = try both {
                first = true
                if firstFails { throw VQAError("first", because: "asked") }
            } and: {
                second = true
                if secondFails { throw VQAError("second", because: "asked") }
            }
        }
        for (firstFails, secondFails, name) in [
            (true, true, "first"), (true, false, "first"), (false, true, "second"),
        ] {
            let error = #expect(throws: VQAError.self) { try run(firstFails, secondFails) }
            #expect(error?.description.contains(name) == true)
            #expect(ended == [true, true])
        }
    }
}
