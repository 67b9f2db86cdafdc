import Backbones
import Support
import Synchronization
import Tasks
import Torch

/// The visual tokens of a data set's images, computed once by the frozen encoder and kept in a store.
public struct VisualFeatures {
    /// [rows, N, V]
    public let tokens: Tensor
    /// Row of an image's path; unreadable images have none.
    public let rows: [String: Int]
    /// One line for each unreadable image.
    public let problems: [String]
    /// Images that had to be encoded now.
    public let computed: Int

    /// - Parameters:
    ///   - paths: image files; repeats are fine.
    ///   - brokenShare: share of images that may be unreadable; above it, an error.
    ///   - progress: called with the number of images encoded so far and their total; what it throws ends the work, and what
    ///     is encoded stays.
    public init(
        _ paths: [String], tower: VisionTower, cacheFolder: String, brokenShare: Double,
        progress: (Int, Int) throws -> Void = { _, _ in }
    ) throws {
        var seen: Set<String> = []
        let files = paths.filter { seen.insert($0).inserted }
        let store = try FeatureStore(
            folder: cacheFolder, name: "visual", fingerprint: try tower.fingerprint,
            rowShape: [tower.tokens, tower.featureSize])
        var problems: [String] = []
        var keys: [String: String] = [:]
        for file in files {
            do {
                keys[file] = try SHA256.hexadecimal(ofFile: file)
            } catch {
                problems.append("\(error)")
            }
        }
        let missing = files.filter { file in keys[file].map { store.row(of: $0) == nil } ?? false }
        let broken = try VisualFeatures.encode(files, Set(missing), keys, tower, store, progress)
        problems += broken.values.sorted()
        try requireReadable(problems, of: files.count, brokenShare: brokenShare)
        var rows: [String: Int] = [:]
        for (file, key) in keys { rows[file] = store.row(of: key) }
        tokens = store.count > 0 ? try store.tensor() : try .zeros([0, tower.tokens, tower.featureSize])
        self.rows = rows
        self.problems = problems
        computed = missing.count - broken.count
    }

    /// Decodes on other threads while the encoder runs on this one. Returns the error of each unreadable file.
    ///
    /// The last bits of an image's features depend on the images beside it, so batches are cut from all files, the
    /// missing or not: encoding that was killed and goes on gives the features of an unbroken one.
    private static func encode(
        _ files: [String], _ missing: Set<String>, _ keys: [String: String], _ tower: VisionTower,
        _ store: FeatureStore,
        _ progress: (Int, Int) throws -> Void
    ) throws -> [String: String] {
        let (height, width) = tower.imageSize
        let size = 3 * height * width
        let batch = max(1, min(64, (16 << 20) / size))
        let batches = stride(from: 0, to: files.count, by: batch).map {
            files[$0..<min($0 + batch, files.count)].filter(missing.contains)
        }.filter { !$0.isEmpty }
        var done = 0
        var broken: [String: String] = [:]
        let decoder = PixelDecoder(tower)
        try prepareAhead(batches.count) { index in
            decoder.decode(batches[index], size: size)
        } consume: { index, decoded in
            for (file, error) in decoded.errors { broken[file] = error }
            let good = decoded.files
            if !good.isEmpty {
                let images = try Tensor(decoded.pixels, [good.count, 3, height, width])
                try store.fill(good.compactMap { keys[$0] }, batch: good.count) { positions in
                    let part =
                        positions.count == good.count
                        ? images : try images.selected(0, indices: Tensor(positions))
                    return try tower(part)
                }
            }
            done += batches[index].count
            try progress(done, missing.count)
        }
        return broken
    }
}

/// Image decoding for other threads: touches files and memory, never a tensor.
private struct PixelDecoder: @unchecked Sendable {
    private let tower: VisionTower

    struct Decoded: Sendable {
        var files: [String] = []
        var pixels: [Float] = []
        var errors: [String: String] = [:]
    }

    /// `tower` holds tensors and is not Sendable; only its image processor is used here.
    init(_ tower: VisionTower) { self.tower = tower }

    func decode(_ files: [String], size: Int) -> Decoded {
        var decoded = Decoded()
        decoded.pixels.reserveCapacity(files.count * size)
        var buffer = [Float](repeating: 0, count: size)
        for file in files {
            do {
                try buffer.withUnsafeMutableBufferPointer { try tower.pixels(ofFile: file, into: $0) }
                decoded.files.append(file)
                decoded.pixels += buffer
            } catch {
                decoded.errors[file] = "\(error)"
            }
        }
        return decoded
    }
}
