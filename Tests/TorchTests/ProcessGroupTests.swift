import Foundation
import Support
import Testing
import Torch

@Suite("Process groups")
struct ProcessGroupTests {
    /// Starts the helper as often as `ranks` says, all to meet at one port, and returns what each printed.
    private func run(_ arguments: [String], ranks: [Int], size: Int) throws -> [[String]] {
        let program = (try? FileManager.default.destinationOfSymbolicLink(atPath: "/proc/self/exe")) ?? ""
        let helper = URL(fileURLWithPath: program).deletingLastPathComponent()
            .appendingPathComponent("ProcessGroupHelper")
        let port = try freePort()
        let started = try ranks.map { rank in
            let (process, output) = (Process(), Pipe())
            process.executableURL = helper
            process.arguments = arguments
            process.environment = ProcessInfo.processInfo.environment.merging([
                "RANK": "\(rank)", "WORLD_SIZE": "\(size)", "MASTER_ADDR": "127.0.0.1",
                "MASTER_PORT": "\(port)",
                "OMP_NUM_THREADS": "1",
            ]) { $1 }
            process.standardOutput = output
            process.standardError = FileHandle.nullDevice
            try process.run()
            return (process, output)
        }
        return try started.map { process, output in
            let text = try output.fileHandleForReading.readToEnd() ?? Data()
            process.waitUntilExit()
            return String(decoding: text, as: UTF8.self).split(separator: "\n").map(String.init)
        }
    }

    /// A port that nobody listens at now.
    private func freePort() throws -> Int {
        let handle = socket(AF_INET, Int32(SOCK_STREAM.rawValue), 0)
        defer { close(handle) }
        var address = sockaddr_in()
        address.sin_family = sa_family_t(AF_INET)
        address.sin_addr.s_addr = UInt32(0x7f00_0001).bigEndian
        var size = socklen_t(MemoryLayout<sockaddr_in>.size)
        return try withUnsafeMutablePointer(to: &address) {
            try $0.withMemoryRebound(to: sockaddr.self, capacity: 1) { address in
                try #require(bind(handle, address, size) == 0 && getsockname(handle, address, &size) == 0)
            }
            return Int(UInt16(bigEndian: $0.pointee.sin_port))
        }
    }

    @Test("sum, broadcast and gather give every process the same") func operations() throws {
        let found = try run(["operations", "60"], ranks: [2, 0, 1], size: 3)
        let types = ["float32", "float64", "bfloat16", "int64"]
        let expected =
            types.map { "sum \($0): 6.0 30.0 6.0 | 3.0 3.0" } + [
                "broadcast: 1.0 1.5", "gather: 0.0 -0.0 1.0 -1.0 2.0 -2.0",
            ]
        for lines in found { #expect(lines == expected) }
    }

    @Test("the gradients of shares add up to that of the batch") func training() throws {
        func gradient(_ lines: [String]) throws -> [Float] {
            let line = try #require(lines.first, "\(lines)")
            return line.split(separator: " ").dropFirst().compactMap { Float($0) }
        }
        let together = try run(["training", "60"], ranks: [0, 1], size: 2).map(gradient)
        #expect(together[0] == together[1] && together[0].count == 12)
        // The same in this process, from the whole batch.
        let weight = try Tensor.uniform([3, 4], -1, 1, Generator(seed: 5))
        try weight.requireGradient()
        let examples = try Tensor.uniform([8, 4], -1, 1, Generator(seed: 6))
        try (examples.linear(weight).square().sum() / 8).backward()
        let whole = try #require(try weight.gradient()).floats()
        for (a, b) in zip(together[0], whole) { #expect(abs(a - b) < 1e-6) }
    }

    @Test("a process that goes away, or never comes, is one line") func missing() throws {
        let left = try run(["uneven", "60"], ranks: [0, 1], size: 2)
        #expect(
            left[0].count == 1 && left[0][0].hasPrefix("error: tensor operation sum over processes failed"))
        let alone = try run(["operations", "1"], ranks: [0], size: 2)
        #expect(alone[0].count == 1 && alone[0][0].hasPrefix("error: tensor operation process group failed"))
    }

    @Test("one process alone, and what lies in memory in another way") func alone() throws {
        let place = try ProcessGroup.Place(rank: 0, size: 1, address: "127.0.0.1", port: freePort())
        let group = try ProcessGroup(place, timeout: 20)
        let tensor = try Tensor([1, 2, 3, 4] as [Float], [2, 2])
        try group.sum([tensor])
        #expect(try tensor.floats() == [1, 2, 3, 4])
        #expect(try group.gather(tensor).shape == [1, 2, 2])
        #expect { try group.sum([tensor.transposed(0, 1)]) } throws: { "\($0)".contains("not contiguous") }
        #expect { try group.broadcast([tensor], from: 3) } throws: { $0 is TorchError }
    }

    @Test("the variables of torchrun; what is wrong with them is one line") func variables() throws {
        func place(_ rank: String?, _ size: String?, _ port: String?, agent: Bool = false) throws
            -> ProcessGroup.Place?
        {
            let values = [
                "RANK": rank, "WORLD_SIZE": size, "MASTER_ADDR": size == nil ? nil : "host",
                "MASTER_PORT": port,
                "TORCHELASTIC_USE_AGENT_STORE": agent ? "True" : nil,
            ]
            return try ProcessGroup.Place { values[$0].flatMap { $0 } }
        }
        #expect(try place(nil, nil, nil) == nil)
        #expect(try place("0", "1", "29500") == nil)
        let first = try #require(try place("0", "2", "29500"))
        #expect(first.rank == 0 && first.size == 2 && first.address == "host" && first.hostsStore)
        #expect(try place("1", "2", "29500")?.hostsStore == false)
        #expect(try place("0", "2", "29500", agent: true)?.hostsStore == false)
        let wrong: [(String?, String?, String?, String)] = [
            ("2", "2", "29500", "RANK"), ("-1", "2", "29500", "RANK"), ("0", "0", "29500", "WORLD_SIZE"),
            ("0", "two", "29500", "WORLD_SIZE"), ("0", "2", nil, "MASTER_PORT"),
            ("0", "2", "70000", "MASTER_PORT"),
        ]
        for (rank, size, port, name) in wrong {
            #expect { try place(rank, size, port) } throws: { "\($0)".contains(name) }
        }
    }
}
