import Checkpoints
import Runs
import Support
import Torch

/// The adapter of the epoch that scored best so far, kept in the run folder.
///
/// A resumed run goes through the same epochs with the same scores again, so what an interrupted one has found stays true.
struct BestEpoch {
    private let path: String
    private var found: (epoch: Int, score: Double)?

    init(_ folder: RunFolder, isResuming: Bool) throws {
        path = folder.path + "/best_epoch"
        guard isResuming, fileExists(path + ".json") else { return }
        let json = try JSON(contentsOf: path + ".json")
        guard let epoch = json["epoch"]?.integer, let score = json["score"]?.double else {
            throw VQAError(
                "cannot resume the run", at: path + ".json", because: "it names no epoch and score")
        }
        found = (epoch, score)
    }

    private func weights(_ epoch: Int) -> String { "\(path)-\(epoch).safetensors" }

    /// Keeps the parameters when the score is above all before.
    mutating func offer(epoch: Int, score: Double, _ parameters: [NamedTensor]) throws {
        guard found.map({ score > $0.score }) ?? true else { return }
        // The weights first: the record never names a file that is not whole.
        try writeTensors(parameters, to: weights(epoch))
        let record: JSON = ["epoch": .integer(epoch), "score": .number(score)]
        try writeFile(record.text() + "\n", to: path + ".json")
        if let old = found?.epoch, old != epoch { removeFile(weights(old)) }
        found = (epoch, score)
    }

    /// Puts the best parameters back; nil when no epoch was scored.
    func restore(into parameters: [NamedTensor]) throws -> (epoch: Int, score: Double)? {
        guard let found else { return nil }
        let saved = try Checkpoint(opening: weights(found.epoch)).tensors()
        for parameter in parameters {
            guard let tensor = saved[parameter.key], tensor.shape == parameter.tensor.shape else {
                throw VQAError(
                    "cannot take the best epoch", at: weights(found.epoch),
                    because: "\(parameter.key) is missing or has another shape")
            }
            try withoutGradients { try parameter.tensor.copy(from: tensor) }
        }
        return found
    }
}
