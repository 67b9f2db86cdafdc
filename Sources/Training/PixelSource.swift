import Images
import Support
import Torch

/// Images that are read anew each time they are wanted, for methods whose encoder is not frozen.
struct PixelSource: Sendable {
    /// Row of an image's path; unreadable images have none.
    let rows: [String: Int]
    /// One line for each unreadable image.
    let problems: [String]
    private let files: [String]
    private let processor: ImageProcessor
    private let side: Int

    /// Reads every image once, to find those that cannot be read before training begins.
    ///
    /// - Parameters:
    ///   - paths: image files; repeats are fine.
    ///   - side: pixels of a square input.
    ///   - brokenShare: share of images that may be unreadable; above it, an error.
    ///   - progress: called with the number of images read so far and their total; what it throws ends the work.
    init(
        _ paths: [String], processor: ImageProcessor, side: Int, brokenShare: Double,
        progress: (Int, Int) throws -> Void = { _, _ in }
    ) throws {
        var seen: Set<String> = []
        let files = paths.filter { seen.insert($0).inserted }
        var (rows, problems): ([String: Int], [String]) = ([:], [])
        try prepareAhead(files.count, ahead: 4) { index -> String? in
            do {
                _ = try Image(contentsOf: files[index], transparency: processor.transparency)
                return nil
            } catch {
                return "\(error)"
            }
        } consume: { index, problem in
            if let problem { problems.append(problem) } else { rows[files[index]] = index }
            try progress(index + 1, files.count)
        }
        try requireReadable(problems, of: files.count, brokenShare: brokenShare)
        (self.files, self.rows, self.problems) = (files, rows, problems)
        (self.processor, self.side) = (processor, side)
    }

    /// Images by their rows, [rows, 3, S, S].
    func callAsFunction(_ rows: [Int]) throws -> Tensor {
        let size = 3 * side * side
        var pixels = [Float](repeating: 0, count: rows.count * size)
        try pixels.withUnsafeMutableBufferPointer { buffer in
            for (place, row) in rows.enumerated() {
                let image = try Image(contentsOf: files[row], transparency: processor.transparency)
                let part = UnsafeMutableBufferPointer(rebasing: buffer[place * size..<(place + 1) * size])
                try processor.write(image, into: part, canvas: (side, side))
            }
        }
        return try Tensor(pixels, [rows.count, 3, side, side])
    }
}
