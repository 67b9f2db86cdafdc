import Support
import Torch

/// The keys and values of the tokens that a decoder has seen, in memory allocated once.
///
/// Legend: B rows, Hk key heads, S capacity, Dh width of a head.
public final class KeyValueCache {
    /// Tokens that fit.
    public let capacity: Int
    /// Tokens that every row holds, padding included.
    public private(set) var length = 0
    /// Of each layer, [B, Hk, S, Dh].
    private(set) var keys: [Tensor]
    /// Of each layer, [B, Hk, S, Dh].
    private(set) var values: [Tensor]

    /// An empty cache.
    ///
    /// - Parameter shape: [B, Hk, S, Dh], the same for every layer.
    public init(layers: Int, rows: Int, heads: Int, capacity: Int, headSize: Int, dtype: DType) throws {
        let shape = [rows, heads, max(1, capacity), headSize]
        self.capacity = max(1, capacity)
        keys = try (0..<layers).map { _ in try .empty(shape, dtype) }
        values = try (0..<layers).map { _ in try .empty(shape, dtype) }
    }

    /// Bytes of all keys and values.
    public var byteCount: Int { (keys + values).reduce(0) { $0 + $1.count * $1.dtype.size } }

    /// Stores what comes after the tokens held, [B, Hk, T, Dh] each, and gives all up to there, [B, Hk, length + T, Dh].
    ///
    /// Every layer stores the same tokens; ``advance(by:)`` then counts them once.
    func store(_ key: Tensor, _ value: Tensor, layer: Int) throws -> (key: Tensor, value: Tensor) {
        let end = length + (key.shape.dropFirst(2).first ?? 0)
        guard layer < keys.count, end <= capacity else {
            throw VQAError(
                "cannot go on", at: "the text", because: "it has \(end) tokens, the cache holds \(capacity)")
        }
        try keys[layer].sliced(2, length, end).copy(from: key)
        try values[layer].sliced(2, length, end).copy(from: value)
        // The first tokens are all there is, and may be of another type than what is kept.
        if length == 0 { return (key, value) }
        return (try keys[layer].sliced(2, 0, end), try values[layer].sliced(2, 0, end))
    }

    /// Counts tokens that all layers have stored. Layers that are run without the last one leave that to the caller.
    public func advance(by count: Int) { length += count }

    /// Copies the tokens of a cache of one row into a row of this one, from token `start` on; ``advance(by:)`` then counts
    /// them.
    func adopt(_ other: KeyValueCache, row: Int, at start: Int) throws {
        let end = start + other.length
        guard end <= capacity, keys.count == other.keys.count else {
            throw VQAError(
                "cannot go on", at: "the text", because: "it has \(end) tokens, the cache holds \(capacity)")
        }
        for layer in keys.indices {
            for (mine, theirs) in [(keys, other.keys), (values, other.values)] {
                let place = try mine[layer].selected(0, row).sliced(1, start, end)
                try place.copy(from: theirs[layer].selected(0, 0).sliced(1, 0, other.length))
            }
        }
    }

    /// Makes row i a copy of the former row `order[i]`.
    func reorder(_ order: [Int]) throws {
        let indices = try Tensor(order)
        for layer in keys.indices {
            keys[layer] = try keys[layer].selected(0, indices: indices)
            values[layer] = try values[layer].selected(0, indices: indices)
        }
    }
}
