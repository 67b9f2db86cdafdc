import Support

/// The merges of a byte-pair vocabulary: which two tokens become which third, and how early.
struct MergeTable: Sendable {
    /// What a pair becomes: its rank in the upper half, lower ones first, and the id of the new token in the
    /// lower half. ``none`` where the pair is not merged.
    typealias Merge = UInt64
    static let none = Merge.max

    /// Two tokens and the one that they become.
    struct Entry {
        var left: Int32
        var right: Int32
        var id: Int32
    }

    /// By rank.
    private let entries: [Entry]
    /// Of the entries, by their pairs.
    private var index: HashIndex
    /// Differs from table to table, so that no file can be made whose pairs all collide.
    private let factor = UInt64.random(in: 0 ... .max) | 1

    /// The table of merges in the order of their ranks; of two of one pair the last counts.
    init(_ entries: [Entry] = []) throws {
        guard entries.count <= HashIndex.mostThings else {
            throw VQAError("cannot read the merges of the tokenizer", because: "there are too many")
        }
        self.entries = entries
        index = HashIndex(count: entries.count)
        let factor = factor
        try entries.withUnsafeBufferPointer { entries in
            _ = try index.insert(
                Pairs(entries: entries, factor: factor), below: entries.count, replaces: true,
                onTwoThreads: entries.count > 10_000)
        }
    }

    /// The pairs of the entries.
    private struct Pairs: HashedThings {
        let entries: UnsafeBufferPointer<Entry>
        let factor: UInt64

        @inline(__always)
        func hash(_ rank: Int) -> UInt64 { MergeTable.hash(entries[rank].left, entries[rank].right, factor) }

        @inline(__always)
        func areEqual(_ rank: Int, _ other: Int) -> Bool {
            entries[rank].left == entries[other].left && entries[rank].right == entries[other].right
        }
    }

    @inline(__always)
    private static func hash(_ left: Int32, _ right: Int32, _ factor: UInt64) -> UInt64 {
        let pair = UInt64(UInt32(bitPattern: left)) << 32 | UInt64(UInt32(bitPattern: right))
        let product = (pair ^ 0x9e37_79b9_7f4a_7c15).multipliedFullWidth(by: factor)
        return product.high ^ product.low
    }

    /// What the two become.
    @inline(__always)
    func merge(_ left: Int32, _ right: Int32) -> Merge {
        let rank = index.number(Self.hash(left, right, factor)) {
            entries[$0].left == left && entries[$0].right == right
        }
        guard let rank else { return Self.none }
        return UInt64(truncatingIfNeeded: rank) << 32 | UInt64(UInt32(bitPattern: entries[rank].id))
    }
}

/// The symbols of one word while they are merged.
struct MergingWord {
    private(set) var ids: [Int32] = []
    /// Where each symbol ends in the word; it begins where the one before ends.
    private(set) var ends: [Int] = []

    mutating func removeAll() {
        ids.removeAll(keepingCapacity: true)
        ends.removeAll(keepingCapacity: true)
    }

    mutating func append(_ id: Int32, length: Int) {
        ids.append(id)
        ends.append((ends.last ?? 0) + length)
    }

    /// Merges the pair of lowest rank, the leftmost of equal ones, until no pair is left that merges.
    mutating func merge(_ table: MergeTable) {
        if ids.count <= 1 { return }
        if ids.count <= 48 { mergeByScanning(table) } else { mergeByHeap(table) }
    }

    /// For short words: looks at all pairs each time.
    private mutating func mergeByScanning(_ table: MergeTable) {
        let count = ids.count
        let kept = ids.withUnsafeMutableBufferPointer { ids in
            ends.withUnsafeMutableBufferPointer { ends in
                withUnsafeTemporaryAllocation(of: MergeTable.Merge.self, capacity: count) { merges in
                    merges.initialize(repeating: MergeTable.none)
                    for i in 0..<(count - 1) { merges[i] = table.merge(ids[i], ids[i + 1]) }
                    return Self.scan(ids, ends, merges, table)
                }
            }
        }
        ids.removeLast(count - kept)
        ends.removeLast(count - kept)
    }

    /// Returns the number of symbols that are left, at the front of the buffers.
    private static func scan(
        _ ids: UnsafeMutableBufferPointer<Int32>, _ ends: UnsafeMutableBufferPointer<Int>,
        _ merges: UnsafeMutableBufferPointer<MergeTable.Merge>, _ table: MergeTable
    ) -> Int {
        var left = ids.count
        while left > 1 {
            var best = 0
            for i in 1..<max(1, left - 1) where merges[i] >> 32 < merges[best] >> 32 { best = i }
            let merge = merges[best]
            if merge == MergeTable.none { break }
            ids[best] = Int32(truncatingIfNeeded: merge)
            ends[best] = ends[best + 1]
            left -= 1
            for i in (best + 1)..<max(best + 1, left) {
                ids[i] = ids[i + 1]
                ends[i] = ends[i + 1]
                merges[i] = merges[i + 1]
            }
            merges[best] = best + 1 < left ? table.merge(ids[best], ids[best + 1]) : MergeTable.none
            if best > 0 { merges[best - 1] = table.merge(ids[best - 1], ids[best]) }
        }
        return left
    }

    /// For long words: a heap of pairs, of which outdated ones are passed over.
    private mutating func mergeByHeap(_ table: MergeTable) {
        let count = ids.count
        var merges = [MergeTable.Merge](repeating: MergeTable.none, count: count)
        var next = (1...count).map { Int32($0) }
        var previous = (-1..<(count - 1)).map { Int32($0) }
        /// Rank and place of a pair in one number.
        var heap: [UInt64] = []
        heap.reserveCapacity(count)
        for i in 0..<(count - 1) {
            merges[i] = table.merge(ids[i], ids[i + 1])
            if merges[i] != MergeTable.none { heap.append(merges[i] & ~0xFFFF_FFFF | UInt64(i)) }
        }
        heap.sort()
        while let top = Self.popLowest(&heap) {
            let place = Int(top & 0xFFFF_FFFF)
            let merge = merges[place]
            guard merge != MergeTable.none, merge >> 32 == top >> 32 else { continue }
            let eaten = Int(next[place])
            ids[place] = Int32(truncatingIfNeeded: merge)
            ends[place] = ends[eaten]
            merges[eaten] = MergeTable.none
            ids[eaten] = -1
            next[place] = next[eaten]
            let after = Int(next[place])
            if after < count { previous[after] = Int32(place) }
            merges[place] = after < count ? table.merge(ids[place], ids[after]) : MergeTable.none
            if merges[place] != MergeTable.none {
                Self.push(merges[place] & ~0xFFFF_FFFF | UInt64(place), onto: &heap)
            }
            let before = Int(previous[place])
            guard before >= 0 else { continue }
            merges[before] = table.merge(ids[before], ids[place])
            if merges[before] != MergeTable.none {
                Self.push(merges[before] & ~0xFFFF_FFFF | UInt64(before), onto: &heap)
            }
        }
        var kept = 0
        for i in 0..<count where ids[i] >= 0 {
            ids[kept] = ids[i]
            ends[kept] = ends[i]
            kept += 1
        }
        ids.removeLast(count - kept)
        ends.removeLast(count - kept)
    }

    private static func push(_ value: UInt64, onto heap: inout [UInt64]) {
        heap.append(value)
        var place = heap.count - 1
        while place > 0, heap[(place - 1) / 2] > value {
            heap[place] = heap[(place - 1) / 2]
            place = (place - 1) / 2
        }
        heap[place] = value
    }

    private static func popLowest(_ heap: inout [UInt64]) -> UInt64? {
        guard let lowest = heap.first, let value = heap.popLast() else { return nil }
        let count = heap.count
        if count == 0 { return lowest }
        var place = 0
        while place * 2 + 1 < count {
            var child = place * 2 + 1
            if child + 1 < count, heap[child + 1] < heap[child] { child += 1 }
            if heap[child] >= value { break }
            heap[place] = heap[child]
            place = child
        }
        heap[place] = value
        return lowest
    }
}
