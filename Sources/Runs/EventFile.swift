import Support

/// A TensorBoard event file with scalar series.
///
/// The file is a TFRecord sequence (tensorflow/core/lib/io/record_writer.h): length, masked CRC-32C of the length,
/// bytes, masked CRC-32C of the bytes, all little-endian. Each record is an `Event` message
/// (tensorflow/core/util/event.proto), encoded by hand because only five of its fields are needed.
public struct EventFile: ~Copyable {
    static let namePrefix = "events.out.tfevents."

    private let file: AppendFile

    /// The file's path.
    public var path: String { file.path }

    /// Starts a new file in `folder`, named by the time and the host as TensorFlow does.
    ///
    /// - Parameter step: when the run goes on from a checkpoint, TensorBoard is told to drop what earlier files hold
    ///   after that step.
    public init(folder: String, resumingAt step: Int? = nil) throws {
        let host = hostName().filter { $0.isASCII && ($0.isLetter || $0.isNumber || "-.".contains($0)) }
        let base = "\(folder)/\(Self.namePrefix)\(wallSeconds())." + (host.isEmpty ? "localhost" : host)
        // Two files started within one second need different names.
        let number = (0..<1000).first { !fileExists($0 == 0 ? base : "\(base).\($0)") } ?? 0
        let file = try AppendFile(number == 0 ? base : "\(base).\(number)", isNew: true)
        try Self.write(Self.event { $0.field(3, bytes: Array("brain.Event:2".utf8)) }, to: file)
        if let step {
            // SessionLog with status START: purge later steps.
            let log = ProtobufMessage { $0.field(1, integer: 1) }
            let start = Self.event {
                // Everything from the step of this event on is dropped.
                $0.field(2, integer: step &+ 1)
                $0.field(7, bytes: log.bytes)
            }
            try Self.write(start, to: file)
        }
        self.file = file
    }

    /// Adds one point to each series of `scalars`, all at one step. One system call, nothing buffered.
    public func add(_ scalars: [(tag: String, value: Double)], step: Int) throws {
        let summary = ProtobufMessage { summary in
            for (tag, value) in scalars {
                let entry = ProtobufMessage {
                    $0.field(1, bytes: Array(tag.utf8))
                    $0.field(2, float: Float(value))
                }
                summary.field(1, bytes: entry.bytes)
            }
        }
        let event = Self.event {
            $0.field(2, integer: step)
            $0.field(5, bytes: summary.bytes)
        }
        try Self.write(event, to: file)
    }

    private static func event(_ fill: (inout ProtobufMessage) -> Void) -> ProtobufMessage {
        ProtobufMessage {
            $0.field(1, double: wallTime())
            fill(&$0)
        }
    }

    private static func write(_ message: ProtobufMessage, to file: borrowing AppendFile) throws {
        try file.append(record(message.bytes))
    }

    // MARK: Framing

    static func record(_ bytes: [UInt8]) -> [UInt8] {
        let length = littleEndian(UInt64(bytes.count))
        return length + littleEndian(maskedChecksum(length)) + bytes + littleEndian(maskedChecksum(bytes))
    }

    /// The CRC rotated right by 15 bits plus a constant, so that a checksum of data that holds checksums stays good.
    package static func maskedChecksum(_ bytes: [UInt8]) -> UInt32 {
        let crc = checksum(bytes)
        return (crc >> 15 | crc << 17) &+ 0xa282_ead8
    }

    /// CRC-32C (Castagnoli, reflected polynomial 0x82f63b78; RFC 3720 appendix B.4).
    package static func checksum(_ bytes: [UInt8]) -> UInt32 {
        var crc: UInt32 = .max
        for byte in bytes { crc = checksumTable[Int(UInt8(truncatingIfNeeded: crc) ^ byte)] ^ (crc >> 8) }
        return ~crc
    }

    private static let checksumTable: [UInt32] = (0..<256).map { index in
        (0..<8).reduce(UInt32(index)) { crc, _ in crc & 1 == 1 ? crc >> 1 ^ 0x82f6_3b78 : crc >> 1 }
    }
}

/// The few parts of the protobuf wire format that events need (protobuf.dev/programming-guides/encoding).
private struct ProtobufMessage {
    private(set) var bytes: [UInt8] = []

    init(_ fill: (inout ProtobufMessage) -> Void) { fill(&self) }

    mutating func field(_ number: UInt64, integer: Int) {
        append(variable: number << 3)
        append(variable: UInt64(bitPattern: Int64(integer)))
    }

    mutating func field(_ number: UInt64, double: Double) {
        append(variable: number << 3 | 1)
        bytes += littleEndian(double.bitPattern)
    }

    mutating func field(_ number: UInt64, bytes content: [UInt8]) {
        append(variable: number << 3 | 2)
        append(variable: UInt64(content.count))
        bytes += content
    }

    mutating func field(_ number: UInt64, float: Float) {
        append(variable: number << 3 | 5)
        bytes += littleEndian(float.bitPattern)
    }

    /// Seven bits a byte, the low ones first; the high bit says that more follow.
    private mutating func append(variable value: UInt64) {
        var rest = value
        while rest >= 0x80 {
            bytes.append(UInt8(truncatingIfNeeded: rest) | 0x80)
            rest >>= 7
        }
        bytes.append(UInt8(truncatingIfNeeded: rest))
    }
}

private func littleEndian<T: FixedWidthInteger>(_ value: T) -> [UInt8] {
    withUnsafeBytes(of: value.littleEndian) { Array($0) }
}
