import CTorch

/// What went wrong inside a tensor operation. One line: the operation, the reason, the arguments' shapes.
public struct TorchError: Error, Sendable, Equatable, CustomStringConvertible {
    /// Sorts of failure; the raw values are the error codes of the shim.
    public enum Kind: Int32, Sendable {
        /// Shapes do not fit each other or the operation.
        case shape = 1
        /// An index or a dimension outside its range.
        case index = 2
        /// An element type that does not fit.
        case type = 3
        /// libtorch has no kernel for this type or device.
        case notImplemented = 4
        case outOfMemory = 5
        /// Swift code called back by libtorch threw; the message is that of its error.
        case callback = 6
        case `internal` = 7
        /// libtorch or the shim cannot be loaded.
        case unavailable = 8
    }

    /// The sort of failure.
    public let kind: Kind
    /// The operation, for example `matmul`.
    public let operation: String
    /// The reason with the shapes and types of the arguments.
    public let message: String

    /// - Parameter message: the reason; what ``description`` adds is left out.
    public init(_ kind: Kind, operation: String, message: String) {
        self.kind = kind
        self.operation = operation
        self.message = message
    }

    /// One line; out of memory also says what to do.
    public var description: String {
        switch kind {
        case .unavailable: message
        case .outOfMemory: "out of memory in \(operation): \(message); use a smaller batch, image or model"
        default: "tensor operation \(operation) failed: \(message)"
        }
    }

    /// The error that libtorch remembers for this thread.
    static func last(_ torch: UnsafePointer<CTTable>) -> TorchError {
        var code: Int32 = 0
        var operation: UnsafePointer<CChar>?
        var message: UnsafePointer<CChar>?
        torch.pointee.last_error(&code, &operation, &message)
        return TorchError(
            Kind(rawValue: code) ?? .internal, operation: operation.map { String(cString: $0) } ?? "?",
            message: message.map { String(cString: $0) } ?? "no message")
    }
}
