import Support
import Testing

@Suite struct DoctorTests {
    @Test("a sound installation", .enabled(if: Program.hasEngine, "needs make setup")) func sound() throws {
        let outcome = try Program.run(["doctor"])
        #expect(outcome.code == 0, "\(outcome.output)")
        for line in outcome.output.split(separator: "\n").dropLast() {
            #expect(line.hasPrefix("OK  ") || line.hasPrefix("!!  ") || line.contains("→"))
        }
        let json = try Program.run(["doctor", "--json"]).json()
        #expect(json["ok"]?.bool == true)
        let checks = try #require(json["checks"]?.array)
        let names = checks.compactMap { $0["name"]?.string }
        #expect(Set(names).count == names.count)
        for name in [
            "program", "machine", "processor", "libtorch", "products", "threads", "OpenMP", "GPU", "disk",
            "minilm",
        ] {
            #expect(names.contains(name))
        }
        let products = try #require(checks.first { $0["name"]?.string == "products" })
        #expect(products["value"]?["giga_multiply_adds"]?["float32"]?.double ?? 0 > 0)
        #expect(["float32", "bfloat16"].contains(products["value"]?["chosen"]?.string))
        let runtimes = checks.first { $0["name"]?.string == "OpenMP" }?["value"]?.array
        #expect(runtimes?.count == 1)
    }

    @Test("without libtorch it explains, exit code 1", arguments: ["/none/libvqatorch.so", #filePath])
    func broken(_ engine: String) throws {
        let outcome = try Program.run(["doctor"], environment: ["VQA_ENGINE": engine])
        #expect(outcome.code == 1)
        #expect(outcome.errors.isEmpty)
        #expect(outcome.output.contains("!!  libtorch"))
        #expect(outcome.output.contains("make setup"))
        let json = try Program.run(["doctor", "--json"], environment: ["VQA_ENGINE": engine])
        #expect(json.code == 1)
        #expect(try json.json()["ok"]?.bool == false)
    }

    @Test("models that were not fetched are a warning") func models() throws {
        let folder = try TemporaryFolder()
        let json = try Program.run(["doctor", "--json"], environment: ["VQA_MODELS": folder.path]).json()
        let check = json["checks"]?.array?.first { $0["name"]?.string == "minilm" }
        #expect(check?["grade"]?.string == "warning")
        #expect(check?["remedy"]?.string?.contains("make setup") == true)
    }
}
