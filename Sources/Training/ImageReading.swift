import Runs
import Support

/// What methods have in common that read the images of a run before training: progress, interruption, skipped images.
extension TrainingRun {
    /// Reads images under a progress bar and says which were skipped.
    ///
    /// - Parameters:
    ///   - problems: a line for each unreadable image in what was read.
    ///   - read: is given what to call with the number of images read so far and their total.
    func readImages<Images>(
        _ paths: [String], _ shouldStop: @escaping () -> Bool, problems: KeyPath<Images, [String]>,
        _ read: ((Int, Int) throws -> Void) throws -> Images
    ) throws -> Images {
        var bar = ProgressBar(label: "images", total: Set(paths).count)
        let images = try read { done, total in
            bar.update(step: done)
            guard shouldStop() else { return }
            throw VQAError(
                "stopped", because: "interrupted after \(done) of \(total) images",
                remedy: "run the same command again to go on", kind: .failure)
        }
        bar.finish()
        let problems = images[keyPath: problems]
        for problem in problems.prefix(5) { say("warning: skipped: \(problem)") }
        if problems.count > 5 { say("warning: \(problems.count) images were skipped in all") }
        return images
    }
}

/// Refuses more unreadable images than a share of all.
///
/// - Parameter problems: a line for each.
func requireReadable(_ problems: [String], of count: Int, brokenShare: Double) throws {
    guard Double(problems.count) > brokenShare * Double(count) else { return }
    let more = problems.count > 1 ? " (and \(problems.count - 1) more)" : ""
    throw VQAError(
        "cannot use the images", because: (problems.first ?? "") + more,
        remedy: "repair them, or set broken_image_share to skip up to that share")
}
