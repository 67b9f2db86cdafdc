import Runs
import Support
import Testing

/// A reader of event files written against the format's description, apart from the writer.
private struct EventReader {
    struct Event {
        var step = 0
        var version = ""
        var scalars: [String: Float] = [:]
        var isSessionStart = false
        var wallTime = 0.0
    }

    static func read(_ path: String) throws -> [Event] {
        var rest = try readFile(path, limit: 1 << 20)[...]
        var events: [Event] = []
        while !rest.isEmpty {
            let length = Int(number(rest.prefix(8)))
            #expect(
                UInt32(number(rest.dropFirst(8).prefix(4))) == EventFile.maskedChecksum(Array(rest.prefix(8)))
            )
            let bytes = Array(rest.dropFirst(12).prefix(length))
            #expect(bytes.count == length)
            let end = rest.dropFirst(12 + length).prefix(4)
            #expect(UInt32(number(end)) == EventFile.maskedChecksum(bytes))
            events.append(event(bytes))
            rest = rest.dropFirst(16 + length)
        }
        return events
    }

    private static func event(_ bytes: [UInt8]) -> Event {
        var event = Event()
        for (field, value, content) in fields(bytes) {
            switch field {
            case 1: event.wallTime = Double(bitPattern: value)
            case 2: event.step = Int(Int64(bitPattern: value))
            case 3: event.version = String(decoding: content, as: UTF8.self)
            case 5:
                for (_, _, entry) in fields(content) {
                    let parts = fields(entry)
                    let tag = String(decoding: parts.first { $0.field == 1 }?.content ?? [], as: UTF8.self)
                    event.scalars[tag] = Float(
                        bitPattern: UInt32(truncatingIfNeeded: parts.first { $0.field == 2 }?.value ?? 0))
                }
            case 7: event.isSessionStart = fields(content).contains { $0.field == 1 && $0.value == 1 }
            default: Issue.record("unknown field \(field)")
            }
        }
        return event
    }

    /// Field number with the bits of a number or the bytes of a message.
    private static func fields(_ bytes: [UInt8]) -> [(field: UInt64, value: UInt64, content: [UInt8])] {
        var result: [(field: UInt64, value: UInt64, content: [UInt8])] = []
        var rest = bytes[...]
        func variable() -> UInt64 {
            var value: UInt64 = 0
            for shift in stride(from: 0, to: 70, by: 7) {
                guard let byte = rest.popFirst() else { break }
                value |= UInt64(byte & 0x7F) << UInt64(shift)
                if byte < 0x80 { break }
            }
            return value
        }
        while !rest.isEmpty {
            let key = variable()
            switch key & 7 {
            case 0: result.append((key >> 3, variable(), []))
            case 1, 5:
                let count = key & 7 == 1 ? 8 : 4
                result.append((key >> 3, number(rest.prefix(count)), []))
                rest = rest.dropFirst(count)
            default:
                let count = Int(variable())
                result.append((key >> 3, 0, Array(rest.prefix(count))))
                rest = rest.dropFirst(count)
            }
        }
        return result
    }

    private static func number(_ bytes: ArraySlice<UInt8>) -> UInt64 {
        bytes.reversed().reduce(0) { $0 << 8 | UInt64($1) }
    }
}

@Suite("TensorBoard event files")
struct EventFileTests {
    @Test("Checksums agree with the published values of CRC-32C")
    func checksums() {
        // RFC 3720, appendix B.4, and the common check value of "123456789".
        #expect(EventFile.checksum([UInt8](repeating: 0, count: 32)) == 0x8a91_36aa)
        #expect(EventFile.checksum([UInt8](repeating: 0xFF, count: 32)) == 0x62a8_ab43)
        #expect(EventFile.checksum(Array(0..<32)) == 0x46dd_794e)
        #expect(EventFile.checksum(Array("123456789".utf8)) == 0xe306_9283)
        #expect(EventFile.checksum([]) == 0)
        #expect(EventFile.maskedChecksum([]) == 0xa282_ead8)
    }

    @Test("Scalars are read back with step, tag and value")
    func scalars() throws {
        let folder = try TemporaryFolder()
        let path: String
        do {
            let file = try EventFile(folder: folder.path)
            try file.add([("loss", 0.5), ("Größe/x", -1e30)], step: 1)
            try file.add([("loss", .nan)], step: 300)
            try file.add([("loss", 1e300)], step: Int.max)
            path = file.path
        }
        let events = try EventReader.read(path)
        #expect(events.count == 4)
        #expect(events[0].version == "brain.Event:2")
        #expect(abs(events[0].wallTime - Double(wallSeconds())) < 60)
        #expect(events[1].scalars == ["loss": 0.5, "Größe/x": -1e30])
        #expect(events.map(\.step) == [0, 1, 300, Int.max])
        #expect(events[2].scalars["loss"]?.isNaN == true)
        #expect(events[3].scalars["loss"] == .infinity)
    }

    @Test("A resumed run starts a file of its own that drops later steps of the earlier ones")
    func resuming() throws {
        let folder = try TemporaryFolder()
        let first = try EventFile(folder: folder.path)
        let second = try EventFile(folder: folder.path, resumingAt: 42)
        #expect(first.path != second.path)
        #expect(folder.names().allSatisfy { $0.hasPrefix("events.out.tfevents.") })
        let events = try EventReader.read(second.path)
        #expect(events.last?.isSessionStart == true)
        #expect(events.last?.step == 43)
    }

    @Test("A folder that is not there is an error")
    func missingFolder() throws {
        let folder = try TemporaryFolder()
        #expect(throws: VQAError.self) { _ = try EventFile(folder: folder["none"]) }
    }
}
