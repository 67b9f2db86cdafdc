import Checkpoints
import Dispatch
import Support
import Synchronization

/// The SHA-256 over the files of a checkpoint, computed on another thread: it is ready about when libtorch is.
final class WeightsHash: Sendable {
    private let result = Mutex<Result<String, any Error>?>(nil)
    private let isDone = DispatchSemaphore(value: 0)

    /// Starts at once.
    convenience init(_ checkpoint: Checkpoint) {
        self.init(files: Set(checkpoint.infos.map(\.file)).sorted())
    }

    /// Starts at once.
    init(files: [String]) {
        DispatchQueue.global(qos: .userInitiated).async {
            let computed = Result { try WeightsHash.hash(files) }
            self.result.withLock { $0 = computed }
            self.isDone.signal()
        }
    }

    /// 64 hexadecimal digits; waits for them.
    func value() throws -> String {
        while true {
            if let result = result.withLock({ $0 }) { return try result.get() }
            isDone.wait()
        }
    }

    private static func hash(_ files: [String]) throws -> String {
        if files.count == 1, let only = files.first { return try SHA256.hexadecimal(ofFile: only) }
        var all = SHA256()
        for file in files { all.add(try SHA256.hexadecimal(ofFile: file)) }
        return all.hexadecimal()
    }
}
