/// A trie of texts by their bytes. Its edges lie in one open-addressing hash table.
struct ByteTrie: Sendable {
    /// Node in the upper part, byte in the lowest eight bits, of the edge; then the node that it leads to.
    private struct Edge {
        var key: UInt64
        var target: Int32
    }

    private var edges: [Edge]
    private var mask: Int
    /// By node: the value of the text that ends there, or -1.
    private(set) var values: [Int32] = [-1]
    /// The first edge of a text needs no hash.
    private var roots = [Int32](repeating: -1, count: 256)
    private let factor = UInt64.random(in: 0 ... .max) | 1

    /// - Parameter expected: a guess of the number of nodes.
    init(expected: Int = 0) {
        var capacity = 256
        while capacity * 2 < min(expected, 1 << 23) * 3 { capacity *= 2 }
        edges = Array(repeating: Edge(key: .max, target: -1), count: capacity)
        mask = capacity - 1
        values.reserveCapacity(expected)
    }

    /// The node of no bytes.
    static let root: Int32 = 0

    @inline(__always)
    private func home(_ key: UInt64) -> Int {
        let product = key &* factor
        return Int(truncatingIfNeeded: product >> 40 ^ product >> 20) & mask
    }

    /// Where the byte leads from `node`, or -1.
    @inline(__always)
    func child(_ node: Int32, _ byte: UInt8) -> Int32 {
        if node == Self.root { return roots[Int(byte)] }
        let key = UInt64(UInt32(bitPattern: node)) << 8 | UInt64(byte)
        var place = home(key)
        while true {
            let edge = edges[place]
            if edge.key == key { return edge.target }
            if edge.key == .max { return -1 }
            place = (place + 1) & mask
        }
    }

    /// Adds a text; of two equal ones the last counts.
    mutating func insert(_ text: UnsafeBufferPointer<UInt8>, value: Int32) {
        var node = Self.root
        for byte in text {
            let next = child(node, byte)
            node = next >= 0 ? next : addChild(node, byte)
        }
        values[Int(node)] = value
    }

    private mutating func addChild(_ node: Int32, _ byte: UInt8) -> Int32 {
        let target = Int32(values.count)
        values.append(-1)
        if node == Self.root {
            roots[Int(byte)] = target
            return target
        }
        if values.count * 3 > edges.count * 2 { grow() }
        place(Edge(key: UInt64(UInt32(bitPattern: node)) << 8 | UInt64(byte), target: target))
        return target
    }

    private mutating func place(_ edge: Edge) {
        var place = home(edge.key)
        while edges[place].key != .max { place = (place + 1) & mask }
        edges[place] = edge
    }

    private mutating func grow() {
        let old = edges
        edges = Array(repeating: Edge(key: .max, target: -1), count: old.count * 2)
        mask = edges.count - 1
        for edge in old where edge.key != .max { place(edge) }
    }
}
