import Runs
import Support
import Tasks
import Testing
import TestWorld
import Training

/// The examples on the embedded models, with few questions: search, then train.
@Suite(.serialized) struct ExampleTests {
    private static let examples = [("easy-vqa-dvp-bert", 3), ("easy-vqa-dvp-smollm2", 3)]

    @Test("an example searches and trains", arguments: examples) func searchThenTrain(
        _ example: String, layers: Int
    ) throws {
        let folder = try ScratchFolder()
        defer { folder.remove() }
        func configuration(_ more: [String] = []) throws -> TrainingConfiguration {
            let few = ["limit=48", "search_epochs=1", "max_epoch=1", "cache_dir=\(folder.path)/cache"]
            return try TrainingConfiguration(
                ConfigurationSource(file: namedConfiguration(example), overrides: few + more))
        }
        let found = try PlacementSearch(configuration(), file: example) { _ in }.run(
            output: folder.path + "/search", command: ["vqa", "search", example], shouldStop: { false })
        #expect(found.placement.ranking.count == layers && found.placement.percentByLayer.count == layers)
        #expect(found.nextCommand == "vqa train \(example) insert_layer=\(found.placement.layer)")
        var run = TrainingRun(try configuration(["insert_layer=\(found.placement.layer)"])) { _ in }
        run.placement = found.placement
        let outcome = try run.run(
            output: folder.path + "/train", command: ["vqa", "train"], shouldStop: { false })
        #expect(outcome.scores.count == 48)
        #expect(outcome.baselines.map(\.name).contains("no image"))
        let page = try readFile(outcome.folder + "/report.html", limit: 1 << 26)
        #expect(String(decoding: page, as: UTF8.self).contains("Held-out accuracy by insertion layer"))
    }

    /// Every example but those that need data and weights of others' is run above; these are read.
    @Test("every example is a configuration, and its first line runs it") func allAreRead() throws {
        let path = try #require(findUpwards("Examples"))
        let files = try listFolder(path).filter { $0.hasSuffix(".yaml") }
        #expect(files.count >= 22)
        for file in files {
            let configuration = try TrainingConfiguration(ConfigurationSource(file: "\(path)/\(file)"))
            let text = try String(decoding: readFile("\(path)/\(file)", limit: 1 << 16), as: UTF8.self)
            let command = configuration.search.isStage ? "search" : "train"
            #expect(text.hasPrefix("# vqa \(command) Examples/\(file)"), "\(file)")
        }
    }
}
