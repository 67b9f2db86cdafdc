import Support
import Testing

#if canImport(Glibc)
    import Glibc
#else
    import Darwin
#endif

@Suite struct FilesTests {
    static func temporaryFolder() throws -> String {
        var template = Array("\(environment("TMPDIR") ?? "/tmp")/vqa-support-XXXXXX".utf8CString)
        let made = template.withUnsafeMutableBufferPointer { $0.baseAddress.flatMap { mkdtemp($0) } != nil }
        #expect(made)
        return String(decoding: template.dropLast().map { UInt8(bitPattern: $0) }, as: UTF8.self)
    }

    @Test("a file appears only when it is committed") func atomic() throws {
        let path = try Self.temporaryFolder() + "/file"
        do {
            var file = try AtomicFile(path)
            try file.write("half")
        }
        #expect(!fileExists(path))
        try writeFile("whole", to: path)
        #expect(try readFile(path, limit: 100) == Array("whole".utf8))
        #expect(throws: VQAError.self) { _ = try readFile(path, limit: 4) }
    }

    @Test("a folder, a missing file and an unwritable place are one line each") func refusals() throws {
        let folder = try Self.temporaryFolder()
        for place in [folder, folder + "/missing"] {
            let error = #expect(throws: VQAError.self) { _ = try MappedFile(place) }
            #expect(error?.description.contains("\n") == false)
        }
        #expect(throws: VQAError.self) { try writeFile("x", to: folder + "/none/file") }
    }

    @Test(
        "names from files stay inside their folder",
        arguments: ["", "/etc/passwd", "../x", "a/../../x", "a\0b"])
    func escapes(_ name: String) { #expect(throws: VQAError.self) { _ = try path(name, inside: "data") } }

    @Test("ordinary names are joined") func inside() throws {
        #expect(try path("a/b.jpg", inside: "data") == "data/a/b.jpg")
        #expect(try path("..a/b", inside: "data") == "data/..a/b")
    }

    @Test("SHA-256 of the standard's examples") func digests() throws {
        let path = try Self.temporaryFolder() + "/abc"
        try writeFile("abc", to: path)
        #expect(
            try SHA256.hexadecimal(ofFile: path)
                == "ba7816bf8f01cfea414140de5dae2223b00361a396177a9cb410ff61f20015ad")
        #expect(
            SHA256().hexadecimal() == "e3b0c44298fc1c149afbf4c8996fb92427ae41e4649b934ca495991b7852b855")
    }

    @Test("an appending file drops what lies behind the kept bytes") func appending() throws {
        let path = try Self.temporaryFolder() + "/rows"
        func append(_ text: String, keeping: Int) throws {
            let file = try AppendingFile(path, keeping: keeping)
            try Array(text.utf8).withUnsafeBytes { try file.append($0) }
            try file.flush()
        }
        try append("abcdef", keeping: 0)
        try append("XY", keeping: 3)
        #expect(try readFile(path, limit: 10) == Array("abcXY".utf8))
    }
}

@Suite struct ErrorTests {
    @Test("an error is one line whatever it holds") func oneLineOnly() {
        let error = VQAError("cannot\nread", at: "a\u{1B}[31mfile", because: "of\ttabs", remedy: "do\r\nthat")
        #expect(error.description == "cannot read: a [31mfile: of tabs; do  that")
    }

    @Test("the nearest name is suggested, a far one is not") func suggestions() {
        #expect(nearestMatch(to: "insert_leyer", in: ["insert_layer", "seed"]) == "insert_layer")
        #expect(nearestMatch(to: "banana", in: ["insert_layer", "seed"]) == nil)
    }

    @Test("random numbers are a function of their keys") func randomKeys() {
        func first(_ seed: Int, _ epoch: Int, _ sample: Int, _ purpose: String) -> UInt64 {
            var random = CounterRandom(seed: seed, epoch: epoch, sample: sample, purpose: purpose)
            return random.next()
        }
        #expect(first(1, 2, 3, "a") == first(1, 2, 3, "a"))
        let others = [
            first(2, 2, 3, "a"), first(1, 3, 3, "a"), first(1, 2, 4, "a"), first(1, 2, 3, "b"),
            first(1, 3, 2, "a"),
        ]
        #expect(Set(others + [first(1, 2, 3, "a")]).count == 6)
    }
}
