import Support

extension GenerationOptions {
    /// More tokens, beams or sequences than anybody wants; keeps sums of sizes far from overflow.
    private static let limit = 1 << 24

    /// Throws the first fault as a one-line `VQAError` that names the option.
    ///
    /// - Parameter source: the file they come from, for the error.
    public func validate(source: String? = nil) throws {
        try validateSizes(source)
        try validateSampling(source)
        try validateTokens(source)
        guard lengthPenalty.isFinite else {
            throw fault("length_penalty", lengthPenalty, "it must be a finite number", source)
        }
        if returnSequences > 1, beams == 1, !doSample {
            throw fault(
                "num_return_sequences", returnSequences,
                "greedy search has one result; several need num_beams or do_sample", source)
        }
        if beams > 1, returnSequences > beams {
            throw fault(
                "num_return_sequences", returnSequences, "there are only num_beams = \(beams) of them", source
            )
        }
    }

    private func validateSizes(_ source: String?) throws {
        let sizes: [(String, Int?, Int)] = [
            ("max_new_tokens", maxNewTokens, 1), ("max_length", maxLength, 1),
            ("min_new_tokens", minNewTokens, 0), ("min_length", minLength, 0), ("num_beams", beams, 1),
            ("num_return_sequences", returnSequences, 1), ("top_k", topK, 0),
            ("no_repeat_ngram_size", noRepeatNgram, 0),
        ]
        for case (let key, let value?, let least) in sizes where value < least || value > Self.limit {
            throw fault(key, value, "it must be between \(least) and \(Self.limit)", source)
        }
    }

    private func validateSampling(_ source: String?) throws {
        guard repetitionPenalty > 0, repetitionPenalty.isFinite else {
            throw fault("repetition_penalty", repetitionPenalty, "it must be positive", source)
        }
        guard doSample else { return }
        guard temperature > 0, temperature.isFinite else {
            throw fault(
                "temperature", temperature, "it must be positive; greedy search is do_sample = false", source)
        }
        guard (0...1).contains(topP) else { throw fault("top_p", topP, "it must be between 0 and 1", source) }
        if let minP, !(0...1).contains(minP) {
            throw fault("min_p", minP, "it must be between 0 and 1", source)
        }
    }

    private func validateTokens(_ source: String?) throws {
        if badWords.contains(where: \.isEmpty) {
            throw fault("bad_words_ids", "[]", "a sequence of tokens must not be empty", source)
        }
        if stopStrings.contains(where: \.isEmpty) {
            throw fault("stop_strings", "\"\"", "a text must not be empty", source)
        }
        let tokens: [(String, [Int])] = [
            ("bad_words_ids", badWords.flatMap(\.self)), ("suppress_tokens", suppressedTokens),
            ("begin_suppress_tokens", suppressedFirstTokens), ("eos_token_id", eosIDs),
            ("forced_bos_token_id", [forcedBOS].compactMap(\.self)), ("forced_eos_token_id", forcedEOS),
            ("pad_token_id", [padID].compactMap(\.self)),
            ("decoder_start_token_id", [decoderStartID].compactMap(\.self)),
        ]
        for (key, ids) in tokens {
            for id in ids where id < 0 || id > Int(Int32.max) {
                throw fault(key, id, "it is no token", source)
            }
        }
        for (key, forced) in tokens where key.hasPrefix("forced") && !forced.isEmpty {
            guard !forced.allSatisfy(suppressedTokens.contains) else {
                throw fault(key, forced, "suppress_tokens forbids what is forced", source)
            }
        }
    }

    private func fault(_ key: String, _ value: some Any, _ why: String, _ source: String?) -> VQAError {
        let place = source.map { "\($0), \(key)" } ?? key
        return VQAError(
            Self.what, at: place, because: "it is \(String(describing: value).prefix(60)); \(why)")
    }
}
