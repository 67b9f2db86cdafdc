import Support

/// A token with a part to play, and its id.
public struct SpecialToken: Sendable, Equatable {
    /// The text of the token.
    public let text: String
    /// Its id.
    public let id: Int

    init(_ text: String, id: Int) {
        self.text = text
        self.id = id
    }
}

/// The tokens with a part to play; nil where a tokenizer has none.
public struct SpecialTokens: Sendable, Equatable {
    /// Fills up rows: `pad_token`.
    public internal(set) var padding: SpecialToken?
    /// Stands for what cannot be spelled: `unk_token`.
    public internal(set) var unknown: SpecialToken?
    /// Begins a text of BERT: `cls_token`.
    public internal(set) var classification: SpecialToken?
    /// Ends a text of BERT: `sep_token`.
    public internal(set) var separator: SpecialToken?
    /// Hides a token that is to be guessed: `mask_token`.
    public internal(set) var mask: SpecialToken?
    /// Begins a text: `bos_token`.
    public internal(set) var beginning: SpecialToken?
    /// Ends a text: `eos_token`.
    public internal(set) var end: SpecialToken?

    /// The keys of the configuration files, and the usual texts where no file names any.
    static var roles: [(key: String, usual: [String], field: WritableKeyPath<SpecialTokens, SpecialToken?>)] {
        [
            ("pad_token", ["[PAD]", "<pad>"], \.padding), ("unk_token", ["[UNK]", "<unk>"], \.unknown),
            ("cls_token", ["[CLS]"], \.classification), ("sep_token", ["[SEP]"], \.separator),
            ("mask_token", ["[MASK]", "<mask>"], \.mask), ("bos_token", ["<s>"], \.beginning),
            ("eos_token", ["</s>"], \.end),
        ]
    }
}

/// What tokenizer_config.json and special_tokens_map.json say. Where both name a token, the first file
/// counts.
struct TokenizerConfiguration: Sendable {
    /// By key such as `pad_token`.
    private(set) var named: [String: AddedToken] = [:]
    /// `added_tokens_decoder`, by ascending id.
    private(set) var added: [AddedToken] = []
    /// `additional_special_tokens`.
    private(set) var additional: [AddedToken] = []
    /// added_tokens.json, by ascending id.
    private(set) var numbered: [AddedToken] = []
    /// `model_max_length`, when it is a length at all.
    private(set) var maximumLength: Int?
    /// `tokenizer_class`, empty when no file says it.
    private(set) var className = ""
    /// `legacy` of LLaMA's tokenizers: a text after a special token begins with a space too.
    private(set) var isLegacy: Bool?
    /// `add_bos_token`.
    private(set) var addsBeginning: Bool?
    /// `add_eos_token`.
    private(set) var addsEnd: Bool?
    /// `add_prefix_space`.
    private(set) var prefixesSpace: Bool?
    /// `do_lower_case`.
    private(set) var lowercases: Bool?
    /// `split_by_punct` of DeBERTa.
    private(set) var splitsPunctuation = false
    /// `extra_ids` of T5.
    private(set) var extraIDs = 100
    /// `clean_up_tokenization_spaces`.
    private(set) var cleansDecodedText = false
    /// The settings of BERT's normalizer.
    private(set) var bert = BertNormalizer()

    /// The configuration of no file.
    init() {}

    /// A configuration that names tokens only.
    init(named: [String: AddedToken]) { self.named = named }

    /// Reads the files of the folder that are there.
    init(folder: String) throws {
        if fileExists("\(folder)/added_tokens.json") {
            let json = try JSON(contentsOf: "\(folder)/added_tokens.json", limit: 64 << 20)
            let entries = (json.members ?? []).compactMap { member in
                member.value.integer.map { (id: $0, text: member.key) }
            }
            numbered = entries.sorted { $0.id < $1.id }.map { AddedToken($0.text) }
        }
        for name in ["tokenizer_config.json", "special_tokens_map.json"] {
            let path = "\(folder)/\(name)"
            guard fileExists(path) else { continue }
            let json = try JSON(contentsOf: path, limit: 64 << 20)
            guard json.members != nil else {
                throw VQAError(
                    "cannot read the tokenizer configuration", at: path, because: "it is not an object")
            }
            try readTokens(json, source: path)
            for token in json["additional_special_tokens"]?.array ?? [] {
                additional.append(
                    try AddedToken(token, isSpecial: true, source: "\(path), additional_special_tokens"))
            }
            if name == "tokenizer_config.json" { try readSettings(json, source: path) }
        }
    }

    private mutating func readTokens(_ json: JSON, source: String) throws {
        for role in SpecialTokens.roles where named[role.key] == nil {
            guard let value = json[role.key], !value.isNull else { continue }
            named[role.key] = try AddedToken(value, isSpecial: true, source: "\(source), \(role.key)")
        }
    }

    private mutating func readSettings(_ json: JSON, source: String) throws {
        if let length = json["model_max_length"]?.double, length >= 1, length < 1e9 {
            maximumLength = Int(length)
        }
        let reader = ComponentReader(json, "configuration", source: source)
        func optionalFlag(_ key: String) throws -> Bool? {
            json[key]?.isNull ?? true ? nil : try reader.flag(key, missing: false)
        }
        className = json["tokenizer_class"]?.string ?? ""
        isLegacy = try optionalFlag("legacy")
        addsBeginning = try optionalFlag("add_bos_token")
        addsEnd = try optionalFlag("add_eos_token")
        prefixesSpace = try optionalFlag("add_prefix_space")
        lowercases = try optionalFlag("do_lower_case")
        splitsPunctuation = try optionalFlag("split_by_punct") ?? false
        cleansDecodedText = try optionalFlag("clean_up_tokenization_spaces") ?? false
        extraIDs = try reader.size("extra_ids", missing: 100)
        guard extraIDs <= 10_000 else { throw reader.failure("\"extra_ids\" is more than 10000") }
        bert.lowercases = try reader.flag("do_lower_case", missing: true)
        bert.spacesIdeographs = try reader.flag("tokenize_chinese_chars", missing: true)
        bert.stripsAccents = try reader.flag("strip_accents", missing: bert.lowercases)
        let entries = (json["added_tokens_decoder"]?.members ?? []).compactMap { member in
            Int(member.key).map { (id: $0, json: member.value) }
        }
        added = try entries.sorted { $0.id < $1.id }.map {
            try AddedToken($0.json, isSpecial: false, source: "\(source), added_tokens_decoder")
        }
    }
}

extension AddedToken {
    /// Reads a token written as its text or as an object.
    init(_ json: JSON, isSpecial: Bool, source: String) throws {
        if let text = json.string {
            self.init(text, isSpecial: isSpecial)
            return
        }
        let reader = ComponentReader(json, "added token", source: source)
        let content = try reader.string("content")
        let special = try reader.flag("special", missing: isSpecial)
        self.init(
            content, isSpecial: special, isSingleWord: try reader.flag("single_word", missing: false),
            stripsLeft: try reader.flag("lstrip", missing: false),
            stripsRight: try reader.flag("rstrip", missing: false),
            isNormalized: try reader.flag("normalized", missing: !special))
    }
}
