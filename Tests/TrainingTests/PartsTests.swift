import Support
import TestWorld
import Testing
import Torch
import Training

@Suite struct EpochOrderTests {
    @Test("an epoch shows every item once, in an order of its own") func completeness() {
        let first = EpochOrder.batches(count: 103, size: 8, seed: 1, epoch: 0)
        #expect(first.flatMap(\.self).sorted() == Array(0..<103))
        #expect(first == EpochOrder.batches(count: 103, size: 8, seed: 1, epoch: 0))
        #expect(first != EpochOrder.batches(count: 103, size: 8, seed: 1, epoch: 1))
        #expect(first != EpochOrder.batches(count: 103, size: 8, seed: 2, epoch: 0))
    }

    @Test("grouping by length wastes less and still shows every item once") func grouping() {
        let lengths = (0..<5000).map { ($0 * 7919) % 13 + 3 }
        func padding(_ batches: [[Int]]) -> Int {
            batches.reduce(0) { total, batch in
                let longest = batch.map { lengths[$0] }.max() ?? 0
                return total + batch.reduce(0) { $0 + longest - lengths[$1] }
            }
        }
        let plain = EpochOrder.batches(count: 5000, size: 32, seed: 3, epoch: 2)
        let grouped = EpochOrder.batches(count: 5000, size: 32, seed: 3, epoch: 2, length: { lengths[$0] })
        #expect(grouped.flatMap(\.self).sorted() == Array(0..<5000))
        #expect(padding(grouped) * 5 < padding(plain))
    }
}

@Suite(.serialized) struct FeatureStoreTests {
    static func rows(_ positions: [Int]) throws -> Tensor {
        try Tensor(positions.flatMap { [Float($0), Float($0) + 0.5] }, [positions.count, 1, 2])
    }

    @Test("rows are computed once and found again") func reopening() throws {
        let world = try TinyWorld(images: 1)
        defer { world.remove() }
        var computed: [Int] = []
        func open(_ fingerprint: String = "f") throws -> FeatureStore {
            try FeatureStore(folder: world.folder, name: "s", fingerprint: fingerprint, rowShape: [1, 2])
        }
        func fill(_ store: FeatureStore, _ keys: [String]) throws {
            try store.fill(keys, batch: 2) { positions in
                computed += positions
                return try Self.rows(positions)
            }
        }
        let store = try open()
        try fill(store, ["a", "b", "a", "c"])
        #expect(computed == [0, 1, 3])
        let again = try open()
        try fill(again, ["c", "d", "a"])
        #expect(computed == [0, 1, 3, 1] && again.count == 4)
        let values = try again.tensor().floats()
        #expect(again.row(of: "c").map { values[2 * $0] } == 3)
        #expect(try open("other weights").count == 0)
    }

    @Test("rows behind the index are dropped, an index behind the rows is refused") func torn() throws {
        let world = try TinyWorld(images: 1)
        defer { world.remove() }
        let store = try FeatureStore(
            folder: world.folder + "/s", name: "s", fingerprint: "f", rowShape: [1, 2])
        try store.fill(["a", "b"], batch: 8) { try Self.rows($0) }
        let data = try #require(try filesEnding(".features", in: world.folder + "/s").first)
        let extended = try AppendingFile(data, keeping: 16)
        try [UInt8](repeating: 7, count: 5).withUnsafeBytes { try extended.append($0) }
        let reopened = try FeatureStore(
            folder: world.folder + "/s", name: "s", fingerprint: "f", rowShape: [1, 2])
        try reopened.fill(["a", "b", "c"], batch: 8) { try Self.rows($0) }
        #expect(try reopened.tensor().floats() == [0, 0.5, 1, 1.5, 2, 2.5])
        _ = try AppendingFile(data, keeping: 8)
        #expect(throws: VQAError.self) {
            _ = try FeatureStore(folder: world.folder + "/s", name: "s", fingerprint: "f", rowShape: [1, 2])
        }
    }
}

@Suite struct PrepareAheadTests {
    @Test("results arrive in order, an error ends it") func order() throws {
        var seen: [Int] = []
        try prepareAhead(50, ahead: 4, prepare: { $0 * $0 }, consume: { seen.append($0 + $1) })
        #expect(seen == (0..<50).map { $0 + $0 * $0 })
        #expect(throws: VQAError.self) {
            try prepareAhead(
                10,
                prepare: { index in
                    if index == 5 { throw VQAError("no", because: "five") }
                    return index
                }, consume: { _, _ in })
        }
    }
}
