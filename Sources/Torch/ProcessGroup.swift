import CTorch
import Support

/// Several processes that compute together, on one machine or more: libtorch's c10d with Gloo.
///
/// Every process calls the same operations in the same order; each waits until all have done so, or throws when the time is up
/// or another process has gone. Tensors have the same shape and type everywhere, and lie contiguously in memory.
public final class ProcessGroup {
    /// This process's place among all.
    public let place: Place
    private let handle: CTGroup

    /// Where a process stands, and where all meet.
    public struct Place: Sendable, Equatable {
        /// From 0; the process of rank 0 is where the others meet.
        public let rank: Int
        /// The number of processes.
        public let size: Int
        /// The host that the process of rank 0 runs on.
        public let address: String
        /// A free port there.
        public let port: Int
        /// Whether this process opens the port; false where the launcher has done so.
        public let hostsStore: Bool

        /// The process of rank 0 opens the port unless told otherwise.
        ///
        /// - Throws: for a rank, size or port out of range.
        public init(rank: Int, size: Int, address: String, port: Int, hostsStore: Bool? = nil) throws {
            func refuse(_ name: String, _ value: Int, _ range: ClosedRange<Int>) throws {
                guard !range.contains(value) else { return }
                throw VQAError(
                    "cannot join the other processes", at: name,
                    because: "\(value) is not in \(range.lowerBound)...\(range.upperBound)",
                    remedy: "start the program with torchrun --no-python, or set \(name)")
            }
            try refuse("WORLD_SIZE", size, 1...65_536)
            try refuse("RANK", rank, 0...(size - 1))
            try refuse("MASTER_PORT", port, 1...65_535)
            self.rank = rank
            self.size = size
            self.address = address
            self.port = port
            self.hostsStore = hostsStore ?? (rank == 0)
        }

        /// The place that `torchrun --no-python`, or whoever sets the same variables, gives: `RANK`, `WORLD_SIZE`,
        /// `MASTER_ADDR`, `MASTER_PORT`. Nil when none of them is set, or there is one process only.
        ///
        /// - Parameter variable: looks a variable up.
        public init?(of variable: (String) -> String?) throws {
            let names = ["RANK", "WORLD_SIZE", "MASTER_ADDR", "MASTER_PORT"]
            let given = names.map(variable)
            if given.allSatisfy({ $0 == nil }) { return nil }
            for (name, value) in zip(names, given) where value?.isEmpty ?? true {
                throw VQAError(
                    "cannot join the other processes", at: name, because: "it is not set, though others are",
                    remedy:
                        "start the program with torchrun --no-python, or set \(names.joined(separator: ", "))"
                )
            }
            func number(_ index: Int) throws -> Int {
                let text = given[index] ?? ""
                guard let value = Int(text) else {
                    throw VQAError(
                        "cannot join the other processes", at: names[index],
                        because: "'\(text.prefix(40))' is not a number")
                }
                return value
            }
            let isHosted = variable("TORCHELASTIC_USE_AGENT_STORE") == "True"
            try self.init(
                rank: number(0), size: number(1), address: given[2] ?? "", port: number(3),
                hostsStore: isHosted ? false : nil)
            if size == 1 { return nil }
        }
    }

    /// Meets the other processes.
    ///
    /// - Parameter timeout: seconds to wait for them, here and in every operation.
    public init(_ place: Place, timeout: Double = 1800) throws(TorchError) {
        let torch = try engine()
        var result: CTGroup?
        let status = torch.pointee.group(
            place.address, Int32(clamping: place.port), place.hostsStore, Int32(clamping: place.rank),
            Int32(clamping: place.size), min(max(timeout, 0.001), 1e6), &result)
        try check(status, torch)
        guard let result else { throw TorchError.last(torch) }
        handle = result
        self.place = place
    }

    deinit {
        if let torch = try? engine() { torch.pointee.release_group(handle) }
    }

    /// Replaces each tensor by its sum over all processes.
    public func sum(_ tensors: [Tensor]) throws(TorchError) {
        guard !tensors.isEmpty else { return }
        let torch = try engine()
        let status = withExtendedLifetime(self) {
            withHandles(tensors) { torch.pointee.group_sum(handle, $0, $1) }
        }
        try check(status, torch)
    }

    /// Replaces each tensor by that of the process `rank`.
    public func broadcast(_ tensors: [Tensor], from rank: Int = 0) throws(TorchError) {
        guard !tensors.isEmpty else { return }
        let torch = try engine()
        let status = withExtendedLifetime(self) {
            withHandles(tensors) { torch.pointee.group_broadcast(handle, $0, $1, Int32(clamping: rank)) }
        }
        try check(status, torch)
    }

    /// The tensors of all processes, by rank.
    ///
    /// - Returns: [size, …].
    public func gather(_ tensor: Tensor) throws(TorchError) -> Tensor {
        try .make((self, tensor)) { $0.pointee.group_gather(handle, tensor.handle, $1) }
    }

    /// Waits until all processes have come here.
    public func barrier() throws(TorchError) {
        let torch = try engine()
        try check(withExtendedLifetime(self) { torch.pointee.group_barrier(handle) }, torch)
    }
}
