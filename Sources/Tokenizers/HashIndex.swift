/// Finds the things of a list by their hashes: an open-addressing table of the numbers that they have in the list.
///
/// What a large table costs is the wait for memory. So a place takes four bytes only, and ``entry(_:)`` and
/// ``insert(below:hash:replaces:areEqual:)`` let the waits for many things overlap. The owner keeps the things and
/// compares them.
struct HashIndex: Sendable {
    /// Owners refuse longer lists.
    static let mostThings = 1 << 30

    /// Lower bits, as many as it takes to count the places: the number of the thing plus one. Upper bits: those of the
    /// upper half of its hash, its tag. 0 is a free place.
    private var places: [UInt32]
    private var mask: UInt32

    /// - Parameter count: the number of things that have room before the table grows.
    init(count: Int = 0) {
        var capacity = 64
        while capacity < count * 2 { capacity *= 2 }
        places = Array(repeating: 0, count: capacity)
        mask = UInt32(truncatingIfNeeded: capacity - 1)
    }

    // MARK: Building

    /// Adds the thing of this number, the largest so far; false when one that is equal is there.
    mutating func insert(_ number: Int, hash: (Int) -> UInt64, areEqual: (Int, Int) -> Bool) -> Bool {
        if (number + 1) * 2 > places.count { grow(hash) }
        return place(number, hash(number), replaces: false) { areEqual($0, number) }
    }

    /// Adds the things of the numbers below `count` to an empty index that has room for them. Of equal things the last is
    /// kept if it `replaces` those before; otherwise the number of the first that equals an earlier one is returned.
    mutating func insert(
        below count: Int, hash: (Int) -> UInt64, replaces: Bool = false, areEqual: (Int, Int) -> Bool
    ) -> Int? {
        // First those that find their place free, without a branch that would wait for memory; then, with the places
        // near, the others.
        var others = [(number: Int, hash: UInt64)](repeating: (0, 0), count: 256)
        for start in stride(from: 0, to: count, by: others.count) {
            var left = 0
            for number in start..<min(start + others.count, count) {
                let hash = hash(number)
                let place = home(hash)
                let entry = places[place]
                places[place] = entry == 0 ? newEntry(number, hash) : entry
                others[left] = (number, hash)
                left += entry == 0 ? 0 : 1
            }
            for (number, hash) in others[..<left] {
                let isNew = place(number, hash, replaces: replaces) { areEqual($0, number) }
                if !isNew, !replaces { return number }
            }
        }
        return nil
    }

    /// False when the thing is there already.
    @inline(__always)
    private mutating func place(
        _ number: Int, _ hash: UInt64, replaces: Bool, where matches: (Int) -> Bool
    ) -> Bool {
        let place = search(hash, matches)
        let isNew = places[place] == 0
        if isNew || replaces { places[place] = newEntry(number, hash) }
        return isNew
    }

    private mutating func grow(_ hash: (Int) -> UInt64) {
        let old = self
        self = HashIndex(count: old.places.count)
        for entry in old.places where entry != 0 {
            let number = Int(entry & old.mask) - 1
            _ = place(number, hash(number), replaces: false) { _ in false }
        }
    }

    // MARK: Looking up

    /// The number of the thing that has this hash and of which `matches` is true.
    @inline(__always)
    func number(_ hash: UInt64, where matches: (Int) -> Bool) -> Int? {
        let entry = places[search(hash, matches)]
        return entry == 0 ? nil : Int(entry & mask) - 1
    }

    /// What stands in the place where the search for a hash begins, for ``candidate(_:_:)``.
    @inline(__always)
    func entry(_ hash: UInt64) -> UInt32 { places[home(hash)] }

    /// The number of the only thing that is likely to have this hash; nil when none has.
    @inline(__always)
    func candidate(_ hash: UInt64, _ entry: UInt32) -> Int? {
        if entry != 0, entry & ~mask == tag(hash) { return Int(entry & mask) - 1 }
        return entry == 0 ? nil : number(hash) { _ in true }
    }

    @inline(__always)
    private func tag(_ hash: UInt64) -> UInt32 { UInt32(truncatingIfNeeded: hash >> 32) & ~mask }

    @inline(__always)
    private func home(_ hash: UInt64) -> Int { Int(UInt32(truncatingIfNeeded: hash) & mask) }

    @inline(__always)
    private func newEntry(_ number: Int, _ hash: UInt64) -> UInt32 {
        tag(hash) | UInt32(truncatingIfNeeded: number + 1)
    }

    /// The place of the thing, or the free place where it is missed; half of the places are always free.
    @inline(__always)
    private func search(_ hash: UInt64, _ matches: (Int) -> Bool) -> Int {
        let tag = tag(hash)
        var place = home(hash)
        while true {
            let entry = places[place]
            if entry == 0 || entry & ~mask == tag && matches(Int(entry & mask) - 1) { return place }
            place = (place + 1) & Int(mask)
        }
    }
}
