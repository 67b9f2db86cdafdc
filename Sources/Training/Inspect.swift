import Backbones
import Checkpoints
import Images
import Support
import Tasks

/// Tells what is at a path: a checkpoint, a model's folder, an adapter, a run, a data set, an image, a
/// tokenizer, or one of the JSON files that go with them. Weights are not read beyond their names and shapes,
/// and libtorch is not needed.
///
/// - Parameters:
///   - name: a path, or the short name of an embedded model.
///   - allTensors: list every tensor for people, instead of one line for equal tensors of all layers.
/// - Throws: `VQAError` when nothing is there, or when what is there is damaged or unknown.
public func inspect(_ name: String, allTensors: Bool = false) throws -> InspectReport {
    let path = name.contains("/") ? name : try ModelLibrary.locate(name)
    guard fileExists(path) else {
        throw VQAError("cannot inspect", at: path, because: "there is no such file or folder")
    }
    if isFolder(path) {
        return try Inspector.folder(
            path.count > 1 && path.hasSuffix("/") ? String(path.dropLast()) : path, allTensors)
    }
    return try Inspector.file(path, allTensors)
}

/// Decides what a path is; how each thing is described stands in a file of its own.
enum Inspector {
    static func folder(_ path: String, _ allTensors: Bool) throws -> InspectReport {
        func has(_ name: String) -> Bool { fileExists("\(path)/\(name)") }
        if has("config.yaml"), has("run.json") || has("metrics.jsonl") || has("checkpoints") {
            return try run(path)
        }
        if has("adapter_config.json") { return try adapter(path, allTensors) }
        if has("config.json") || holdsWeights(path) { return try model(path, allTensors) }
        if has("tokenizer.json") || has("vocab.txt") { return try tokenizer(path) }
        if let data = try dataSet(path) { return data }
        throw VQAError(
            "cannot inspect", at: path,
            because: "the folder holds no model, adapter, run, tokenizer or data set that is known",
            remedy: "name one of its files or folders")
    }

    static func file(_ path: String, _ allTensors: Bool) throws -> InspectReport {
        let file = try MappedFile(path)
        if let header = try? Image.header(file.bytes, source: path) { return try image(path, file, header) }
        switch try FileKind.sniff(path) {
        case .safetensors, .torchZip, .torchLegacy: return try checkpoint(path, allTensors)
        case .json: return try json(path, allTensors)
        case .gguf: return try gguf(path, allTensors)
        case .other(let what, let remedy):
            if let report = try text(path, file) { return report }
            throw VQAError("cannot inspect", at: path, because: what, remedy: remedy)
        }
    }

    private static func holdsWeights(_ path: String) -> Bool {
        [
            "model.safetensors", "model.safetensors.index.json", "pytorch_model.bin",
            "pytorch_model.bin.index.json",
        ]
        .contains { fileExists("\(path)/\($0)") }
    }

    // MARK: Small things

    private static func image(_ path: String, _ file: MappedFile, _ header: ImageHeader) throws
        -> InspectReport
    {
        _ = try withExtendedLifetime(file) { try Image.decode(file.bytes, source: path) }
        var report = InspectReport(path, "image")
        report.add("format", header.format.rawValue, "format", .string(header.format.rawValue))
        report.facts.append(
            .init("size", "\(header.width) × \(header.height) pixels, \(grouped(file.count)) bytes"))
        report.members += [
            .init("width", .integer(header.width)), .init("height", .integer(header.height)),
            .init("bytes", .integer(file.count)),
        ]
        report.add("decoding", "works", "decodes", true)
        return report
    }
}
