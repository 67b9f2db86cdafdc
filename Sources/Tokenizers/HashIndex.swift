import Support

/// Things of a list, by their numbers in it.
protocol HashedThings {
    func hash(_ number: Int) -> UInt64
    func areEqual(_ number: Int, _ other: Int) -> Bool
}

/// Finds the things of a list by their hashes: an open-addressing table of the numbers that they have in the list.
///
/// What a large table costs is the wait for memory. So a place takes four bytes only, and ``entry(_:)`` and
/// ``insert(_:below:replaces:onTwoThreads:)`` let the waits for many things overlap. The owner keeps the things and
/// compares them.
struct HashIndex: Sendable {
    /// Owners refuse longer lists.
    static let mostThings = 1 << 30

    /// What a place holds; 0 is a free one.
    private var places: [UInt32]
    private var layout: Layout

    /// How numbers and hashes make entries.
    private struct Layout {
        /// Of an entry: the number of the thing plus one. The other bits are those of the upper half of its hash, its tag.
        var mask: UInt32

        @inline(__always)
        func home(_ hash: UInt64) -> Int { Int(UInt32(truncatingIfNeeded: hash) & mask) }

        @inline(__always)
        func tag(_ hash: UInt64) -> UInt32 { UInt32(truncatingIfNeeded: hash >> 32) & ~mask }

        @inline(__always)
        func tag(of entry: UInt32) -> UInt32 { entry & ~mask }

        @inline(__always)
        func entry(_ number: Int, _ hash: UInt64) -> UInt32 {
            tag(hash) | UInt32(truncatingIfNeeded: number + 1)
        }

        @inline(__always)
        func number(of entry: UInt32) -> Int { Int(entry & mask) - 1 }
    }

    /// - Parameter count: the number of things that have room before the table grows.
    init(count: Int = 0) {
        var capacity = 64
        while capacity < count * 2 { capacity *= 2 }
        places = Array(repeating: 0, count: capacity)
        layout = Layout(mask: UInt32(truncatingIfNeeded: capacity - 1))
    }

    // MARK: Building

    /// Adds the thing of this number, the largest so far; false when one that is equal is there.
    mutating func insert(_ number: Int, of things: some HashedThings) -> Bool {
        if (number + 1) * 2 > places.count { grow(things) }
        return place(number, of: things, replaces: false)
    }

    /// Adds the things of the numbers below `count` to an empty index that has room for them. Of equal things the last is
    /// kept if it `replaces` those before; otherwise the number of the first that equals an earlier one is returned.
    ///
    /// Of two threads each fills half of the places. A thing whose search would leave the part of a thread waits until all
    /// are full; its equals then wait too, for nothing is taken out again.
    mutating func insert(
        _ things: some HashedThings, below count: Int, replaces: Bool = false, onTwoThreads: Bool = false
    ) throws -> Int? {
        let layout = layout
        let parts = try places.withUnsafeMutableBufferPointer { places in
            let (middle, end) = (onTwoThreads ? places.count / 2 : places.count, places.count)
            var (lower, upper) = (
                Part(0..<middle, of: places, layout), Part(middle..<end, of: places, layout)
            )
            if onTwoThreads {
                _ = try both {
                    lower.fill(things, below: count, replaces: replaces)
                } and: {
                    upper.fill(things, below: count, replaces: replaces)
                }
            } else {
                lower.fill(things, below: count, replaces: replaces)
            }
            return [lower, upper]
        }
        var duplicate = parts.compactMap(\.duplicate).min()
        for number in parts.flatMap(\.waiting).sorted() where number < duplicate ?? count {
            let isNew = place(number, of: things, replaces: replaces)
            if !isNew, !replaces { duplicate = number }
        }
        return duplicate
    }

    /// Some of the places while they are filled.
    private struct Part {
        let range: Range<Int>
        let places: UnsafeMutableBufferPointer<UInt32>
        let layout: Layout
        /// Numbers of things that found no place before the end.
        var waiting: [Int] = []
        /// The number of the first thing that equals an earlier one.
        var duplicate: Int?

        init(_ range: Range<Int>, of places: UnsafeMutableBufferPointer<UInt32>, _ layout: Layout) {
            (self.range, self.places, self.layout) = (range, places, layout)
        }

        /// First those that find their place free, without a branch that would wait for memory; then, with the places near,
        /// the others.
        mutating func fill(_ things: some HashedThings, below count: Int, replaces: Bool) {
            var others = [(number: Int, hash: UInt64)](repeating: (0, 0), count: 256)
            for start in stride(from: 0, to: count, by: others.count) {
                var left = 0
                for number in start..<min(start + others.count, count) {
                    let hash = things.hash(number)
                    let home = layout.home(hash)
                    guard range.contains(home) else { continue }
                    let entry = places[home]
                    places[home] = entry == 0 ? layout.entry(number, hash) : entry
                    others[left] = (number, hash)
                    left += entry == 0 ? 0 : 1
                }
                for (number, hash) in others[..<left] {
                    let isNew = place(number, hash, of: things, replaces: replaces)
                    guard isNew || replaces else { return duplicate = number }
                }
            }
        }

        /// False when the thing is there already.
        @inline(__always)
        private mutating func place(
            _ number: Int, _ hash: UInt64, of things: some HashedThings, replaces: Bool
        ) -> Bool {
            let tag = layout.tag(hash)
            for place in layout.home(hash)..<range.upperBound {
                let entry = places[place]
                let isEqual =
                    entry != 0 && layout.tag(of: entry) == tag
                    && things.areEqual(layout.number(of: entry), number)
                guard entry == 0 || isEqual else { continue }
                if !isEqual || replaces { places[place] = layout.entry(number, hash) }
                return !isEqual
            }
            waiting.append(number)
            return true
        }
    }

    /// False when the thing is there already.
    private mutating func place(_ number: Int, of things: some HashedThings, replaces: Bool) -> Bool {
        let hash = things.hash(number)
        let place = search(hash) { things.areEqual($0, number) }
        let isNew = places[place] == 0
        if isNew || replaces { places[place] = layout.entry(number, hash) }
        return isNew
    }

    private mutating func grow(_ things: some HashedThings) {
        let old = self
        self = HashIndex(count: old.places.count)
        for entry in old.places where entry != 0 {
            let number = old.layout.number(of: entry)
            let hash = things.hash(number)
            places[search(hash) { _ in false }] = layout.entry(number, hash)
        }
    }

    // MARK: Looking up

    /// The number of the thing that has this hash and of which `matches` is true.
    @inline(__always)
    func number(_ hash: UInt64, where matches: (Int) -> Bool) -> Int? {
        let entry = places[search(hash, matches)]
        return entry == 0 ? nil : layout.number(of: entry)
    }

    /// What stands in the place where the search for a hash begins, for ``candidate(_:_:)``.
    @inline(__always)
    func entry(_ hash: UInt64) -> UInt32 { places[layout.home(hash)] }

    /// The number of the only thing that is likely to have this hash; nil when none has.
    @inline(__always)
    func candidate(_ hash: UInt64, _ entry: UInt32) -> Int? {
        if entry != 0, layout.tag(of: entry) == layout.tag(hash) { return layout.number(of: entry) }
        return entry == 0 ? nil : number(hash) { _ in true }
    }

    /// The place of the thing, or the free place where it is missed; half of the places are always free.
    @inline(__always)
    private func search(_ hash: UInt64, _ matches: (Int) -> Bool) -> Int {
        let tag = layout.tag(hash)
        var place = layout.home(hash)
        while true {
            let entry = places[place]
            if entry == 0 || layout.tag(of: entry) == tag && matches(layout.number(of: entry)) {
                return place
            }
            place = (place + 1) & Int(layout.mask)
        }
    }
}
