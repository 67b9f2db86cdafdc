import Support

/// When beam search stops looking for better sequences: the reference's `early_stopping`.
public enum EarlyStopping: Sendable, Equatable {
    /// `false`: when the best open beam, divided by its present length, is behind the worst finished one.
    case heuristic
    /// `true`: as soon as there are as many finished sequences as beams.
    case whenFull
    /// `"never"`: only when no open beam can overtake any more.
    case never
}

/// How to generate. Names, meanings and defaults are those of the reference's `GenerationConfig` (transformers 5),
/// whose `generation_config.json` this reads; see docs/generation.md.
public struct GenerationOptions: Sendable, Equatable {
    /// `max_new_tokens`: goes before `maxLength`. When both are nil, 20.
    public var maxNewTokens: Int?
    /// `max_length`: counts the prompt (its embedded positions too).
    public var maxLength: Int?
    /// `min_new_tokens`: no end of sequence before; goes before `minLength`.
    public var minNewTokens: Int?
    /// `min_length`: counts the prompt (its embedded positions too).
    public var minLength = 0
    /// `num_beams`: 1 is greedy search or sampling.
    public var beams = 1
    /// `length_penalty`: scores are divided by length to this power. Above 0 favours long sequences, below 0
    /// short ones.
    public var lengthPenalty = 1.0
    /// `early_stopping`
    public var earlyStopping = EarlyStopping.heuristic
    /// `do_sample`: draw tokens in place of taking the best.
    public var doSample = false
    /// `temperature`: logits are divided by it; sampling only.
    public var temperature = 1.0
    /// `top_k`: draw among so many tokens, 0 for all; sampling only.
    public var topK = 50
    /// `top_p`: draw among the most probable tokens that make up this mass; sampling only.
    public var topP = 1.0
    /// `min_p`: draw among tokens at least this much as probable as the best; sampling only.
    public var minP: Double?
    /// `repetition_penalty`: above 1 makes tokens that were there already less likely, those of the prompt too.
    public var repetitionPenalty = 1.0
    /// `no_repeat_ngram_size`: no n-gram of this size occurs twice, prompt included; 0 for no limit.
    public var noRepeatNgram = 0
    /// `bad_words_ids`: token sequences that are never completed.
    public var badWords: [[Int]] = []
    /// `suppress_tokens`: tokens that are never generated.
    public var suppressedTokens: [Int] = []
    /// `begin_suppress_tokens`: tokens that are not generated first.
    public var suppressedFirstTokens: [Int] = []
    /// `forced_bos_token_id`: the token after a prompt of one token (the decoder's start).
    public var forcedBOS: Int?
    /// `forced_eos_token_id`: one of these is the last token when the longest length is reached.
    public var forcedEOS: [Int] = []
    /// `num_return_sequences`: sequences a prompt, with beams or sampling.
    public var returnSequences = 1
    /// `eos_token_id`: each of them ends a sequence.
    public var eosIDs: [Int] = []
    /// `pad_token_id`: fed for rows that have ended, when they are kept.
    public var padID: Int?
    /// `bos_token_id`
    public var bosID: Int?
    /// `decoder_start_token_id`: see ``decoderPrompt(rows:)``.
    public var decoderStartID: Int?
    /// `stop_strings`: texts that end a sequence.
    public var stopStrings: [String] = []
    /// Decides every draw, with the number of the prompt, of the sequence and of the step.
    public var seed = 0
    /// Keeps feeding padding for rows that have ended, as the reference does. Otherwise they leave the batch, which
    /// is faster; matrix products of another size may round differently in the last bit.
    public var keepsFinishedRows = false

    /// Greedy search for 20 tokens: the reference's defaults.
    public init() {}

    /// Reads the options of a model folder: `generation_config.json`, or when there is none the same keys of
    /// `config.json`, as the reference does.
    public init(folder: String) throws {
        let own = folder + "/generation_config.json"
        if fileExists(own) {
            try self.init(JSON(contentsOf: own, limit: 16 << 20), source: own)
            return
        }
        let source = folder + "/config.json"
        let outer = try JSON(contentsOf: source, limit: 16 << 20)
        let inner = ["decoder", "generator", "text_config"].lazy.compactMap { outer[$0]?.members }
            .first { !$0.isEmpty }
        let known = (outer.members ?? []).filter { !$0.value.isNull }
        let missing = (inner ?? []).filter { member in !known.contains { $0.key == member.key } }
        self.init()
        try read(.object(known + missing), source: source)
    }

    /// Reads the keys of a `generation_config.json`; keys that do not bear on the result are ignored.
    ///
    /// - Throws: `VQAError` for a value of the wrong kind, for values that ``validate(source:)`` refuses, and for
    ///   options of the reference that change the result and are not offered here.
    public init(_ json: JSON, source: String) throws {
        guard json.members != nil else {
            throw VQAError(Self.what, at: source, because: "it is no JSON object")
        }
        self.init()
        try read(json, source: source)
        try Self.refuseUnknown(json, source: source)
        try validate(source: source)
    }

    static let what = "cannot generate"

    private mutating func read(_ json: JSON, source: String) throws {
        let keys = OptionReader(json: json, source: source)
        maxNewTokens = try keys.integer("max_new_tokens")
        maxLength = try keys.integer("max_length")
        minNewTokens = try keys.integer("min_new_tokens")
        minLength = try keys.integer("min_length") ?? minLength
        beams = try keys.integer("num_beams") ?? beams
        lengthPenalty = try keys.number("length_penalty") ?? lengthPenalty
        earlyStopping = try keys.earlyStopping("early_stopping") ?? earlyStopping
        doSample = try keys.truth("do_sample") ?? doSample
        temperature = try keys.number("temperature") ?? temperature
        topK = try keys.integer("top_k") ?? topK
        topP = try keys.number("top_p") ?? topP
        minP = try keys.number("min_p")
        repetitionPenalty = try keys.number("repetition_penalty") ?? repetitionPenalty
        noRepeatNgram = try keys.integer("no_repeat_ngram_size") ?? noRepeatNgram
        badWords = try keys.lists("bad_words_ids")
        suppressedTokens = try keys.integers("suppress_tokens")
        suppressedFirstTokens = try keys.integers("begin_suppress_tokens")
        forcedBOS = try keys.integer("forced_bos_token_id")
        forcedEOS = try keys.integers("forced_eos_token_id")
        returnSequences = try keys.integer("num_return_sequences") ?? returnSequences
        // Some files write -1 for "there is none".
        eosIDs = try keys.integers("eos_token_id").filter { $0 >= 0 }
        padID = try keys.integer("pad_token_id").flatMap { $0 < 0 ? nil : $0 }
        bosID = try keys.integer("bos_token_id").flatMap { $0 < 0 ? nil : $0 }
        decoderStartID = try keys.integer("decoder_start_token_id").flatMap { $0 < 0 ? nil : $0 }
        stopStrings = try keys.strings("stop_strings")
    }

    /// Options of the reference that change the result, with the values that mean "off".
    private static let notOffered: [(key: String, off: [JSON])] = [
        ("guidance_scale", [1, 1.0]), ("sequence_bias", []), ("encoder_repetition_penalty", [1, 1.0]),
        ("encoder_no_repeat_ngram_size", [0]), ("typical_p", [1, 1.0]), ("epsilon_cutoff", [0, 0.0]),
        ("eta_cutoff", [0, 0.0]), ("top_h", []), ("exponential_decay_length_penalty", []),
        ("remove_invalid_values", [false]), ("renormalize_logits", [false]), ("num_beam_groups", [1]),
        ("diversity_penalty", [0, 0.0]), ("penalty_alpha", [0, 0.0]), ("constraints", []),
        ("force_words_ids", []), ("dola_layers", []), ("max_time", []), ("token_healing", [false]),
        ("watermarking_config", []),
    ]

    private static func refuseUnknown(_ json: JSON, source: String) throws {
        for (key, off) in notOffered {
            guard let value = json[key], !value.isNull, !off.contains(value) else { continue }
            throw VQAError(
                what, at: "\(source), \(key)",
                because: "it is \(value.text().prefix(60)), and this option is not offered",
                remedy: "remove the key")
        }
    }

    /// The prompts of an encoder–decoder model: its start token, for each of `rows` rows.
    public func decoderPrompt(rows: Int) throws -> [[Int]] {
        guard let start = decoderStartID ?? bosID else {
            throw VQAError(
                Self.what, at: "decoder_start_token_id",
                because: "an encoder–decoder model needs it, and neither it nor bos_token_id is given")
        }
        return Array(repeating: [start], count: max(0, rows))
    }

    /// The token that rows get after their end.
    var filler: Int { padID ?? eosIDs.first ?? 0 }
}

/// Reads typed values of an options file; an absent or null key is nil.
private struct OptionReader {
    let json: JSON
    let source: String

    func integer(_ key: String) throws -> Int? { try value(key, "an integer", \.integer) }
    func number(_ key: String) throws -> Double? { try value(key, "a number", \.double) }
    func truth(_ key: String) throws -> Bool? { try value(key, "true or false", \.bool) }

    /// One integer or a list of them.
    func integers(_ key: String) throws -> [Int] {
        try value(key, "an integer or a list of integers") { value in
            if let one = value.integer { return [one] }
            return Self.all(value, \.integer)
        } ?? []
    }

    /// One text or a list of them.
    func strings(_ key: String) throws -> [String] {
        try value(key, "a text or a list of texts") { value in
            if let one = value.string { return [one] }
            return Self.all(value, \.string)
        } ?? []
    }

    func lists(_ key: String) throws -> [[Int]] {
        try value(key, "a list of lists of integers") { Self.all($0) { Self.all($0, \.integer) } } ?? []
    }

    func earlyStopping(_ key: String) throws -> EarlyStopping? {
        try value(key, "true, false or \"never\"") { value in
            if let flag = value.bool { return flag ? .whenFull : .heuristic }
            return value.string == "never" ? .never : nil
        }
    }

    private static func all<Value>(_ json: JSON, _ convert: (JSON) -> Value?) -> [Value]? {
        guard let elements = json.array else { return nil }
        let values = elements.compactMap(convert)
        return values.count == elements.count ? values : nil
    }

    private func value<Value>(_ key: String, _ wanted: String, _ convert: (JSON) -> Value?) throws -> Value? {
        guard let found = json[key], !found.isNull else { return nil }
        guard let value = convert(found) else {
            throw VQAError(
                GenerationOptions.what, at: "\(source), \(key)",
                because: "it is \(found.text().prefix(60)), not \(wanted)")
        }
        return value
    }
}
