import Backbones
import Foundation
import Support
import Testing
import Torch

/// Streaming, stopping, options files, and what is refused.
@Suite(.serialized) struct GenerationControlTests {
    static let prompts = [[4, 9, 13, 22], [30, 7, 5], [8, 8, 19, 27, 33, 6]]

    static func options(_ change: (inout GenerationOptions) -> Void = { _ in }) -> GenerationOptions {
        var options = GenerationOptions()
        options.maxNewTokens = 9
        options.eosIDs = [2]
        change(&options)
        return options
    }

    static func session(_ prompts: [[Int]] = Self.prompts) throws -> TableSession {
        TableSession(try GenerationGoldenTests.table(), prompts)
    }

    @Test("every token is streamed, once and in order", arguments: [1, 4])
    func streaming(_ beams: Int) throws {
        var streamed: [[Int]] = [[], [], []]
        let results = try generate(
            Self.session(), prompt: Self.prompts, options: Self.options { $0.beams = beams },
            onToken: { row, token in
                streamed[row].append(token)
                return true
            })
        #expect(streamed == results.map(\.ids))
    }

    @Test("a false answer to a token stops everything") func streamStop() throws {
        var count = 0
        let session = try Self.session()
        let results = try generate(
            session, prompt: Self.prompts, options: Self.options(),
            onToken: { _, _ in
                count += 1
                return count < 5
            })
        #expect(count == 5)
        #expect(results.map(\.ids.count) == [2, 2, 1])
        #expect(results.map(\.reason) == [.eos, .cancelled, .cancelled])
        #expect(session.rowsFed.count == 1)
    }

    @Test("cancelling is looked at before every step", arguments: [0, 1, 4], [1, 3])
    func cancelling(_ steps: Int, _ beams: Int) throws {
        var asked = 0
        let session = try Self.session()
        let results = try generate(
            session, prompt: Self.prompts, options: Self.options { $0.beams = beams },
            shouldStop: {
                asked += 1
                return asked > steps
            })
        #expect(asked == steps + 1)
        #expect(session.isStarted == (steps > 0))
        #expect(session.rowsFed.count == max(0, steps - 1))
        #expect(results.count == 3)
        #expect(results.contains { $0.reason == .cancelled })
        let whole = try generate(
            Self.session(), prompt: Self.prompts,
            options: Self.options { ($0.beams, $0.maxNewTokens) = (beams, 30) })
        for (part, all) in zip(results, whole) where beams == 1 {
            #expect(part.ids == Array(all.ids.prefix(steps)))
        }
    }

    @Test("an error of the session comes through") func sessionError() throws {
        let session = try Self.session()
        session.onStep = { throw VQAError("cannot step", because: "a reason") }
        let error = #expect(throws: VQAError.self) {
            try generate(session, prompt: Self.prompts, options: Self.options())
        }
        #expect(error?.what == "cannot step")
    }

    @Test("logits that are no numbers are an error, not an answer", arguments: [1, 3], [false, true])
    func notNumbers(_ beams: Int, _ sampling: Bool) throws {
        let table = try Tensor(Array(repeating: Float.nan, count: 20), [1, 20])
        let error = #expect(throws: VQAError.self) {
            try generate(
                TableSession(table, [[1]]), prompt: [[1]],
                options: Self.options { ($0.beams, $0.doSample) = (beams, sampling) })
        }
        #expect(error?.kind == .failure && error?.why.contains("NaN") == true)
    }

    @Test("logits of a wrong shape are an error") func wrongShape() throws {
        final class Broken: GenerationSession {
            let rows = 2
            func start() throws -> Tensor { try .zeros([1, 5]) }
            func step(_ tokens: [Int]) throws -> Tensor { try .zeros([1, 5]) }
            func reorder(_ order: [Int]) throws {}
        }
        #expect(throws: VQAError.self) {
            try generate(Broken(), prompt: [[1], [2]], options: Self.options())
        }
        #expect(throws: VQAError.self) { try generate(Broken(), prompt: [[1]], options: Self.options()) }
        #expect(throws: VQAError.self) {
            try generate(Broken(), prompt: [[1], [2]], options: Self.options(), numbers: [1])
        }
    }

    @Test("when every token is forbidden, beams keep what they have and greedy search goes on")
    func allForbidden()
        throws
    {
        let every = Self.options { ($0.suppressedTokens, $0.maxNewTokens) = (Array(0..<37), 3) }
        var beams = every
        (beams.beams, beams.returnSequences) = (3, 3)
        let results = try generate(Self.session(), prompt: Self.prompts, options: beams)
        #expect(results.count == 9 && results.allSatisfy(\.ids.isEmpty))
        // 23 of 37 tokens are allowed, each once.
        let once = Self.options {
            ($0.noRepeatNgram, $0.suppressedTokens, $0.maxNewTokens, $0.beams) = (1, Array(0..<14), 40, 3)
        }
        let used = try generate(Self.session([[4, 9, 13]]), prompt: [[4, 9, 13]], options: once)
        #expect(used.first.map { $0.ids.count >= 20 && $0.ids.count < 40 } == true)
        #expect(
            try generate(Self.session(), prompt: Self.prompts, options: every).allSatisfy {
                $0.ids == [0, 0, 0]
            })
        var sampling = every
        sampling.doSample = true
        #expect(throws: VQAError.self) {
            try generate(Self.session(), prompt: Self.prompts, options: sampling)
        }
    }

    @Test("no prompts, no results; several eos with a vocabulary that has not enough tokens") func edges()
        throws
    {
        #expect(try generate(Self.session([]), prompt: [], options: Self.options()).isEmpty)
        let table = try Tensor((0..<5).map(Float.init), [1, 5])
        let error = #expect(throws: VQAError.self) {
            try generate(
                TableSession(table, [[1]]), prompt: [[1]],
                options: Self.options { ($0.beams, $0.eosIDs) = (2, [1, 2, 3, 4, 9]) })
        }
        #expect(error?.place == "num_beams")
        let enough = try generate(
            TableSession(table, [[1]]), prompt: [[1]],
            options: Self.options { ($0.beams, $0.eosIDs) = (2, [1]) })
        #expect(enough.count == 1)
    }

    @Test("a stop string that a cut character completes is found") func splitCharacter() throws {
        // Tokens 5 and 6 are the two bytes of é; alone they decode to U+FFFD.
        let decode: ([Int]) -> String = { ids in
            String(decoding: ids.flatMap { [5: [0xC3], 6: [0xA9]][$0] ?? [UInt8(97 + $0)] }, as: UTF8.self)
        }
        var logits = [Float](repeating: 0, count: 8 * 8)
        for row in 0..<8 { logits[row * 8 + (row == 0 ? 5 : 6)] = 1 }
        let table = try Tensor(logits, [8, 8])
        // Row of a history is its hash modulo 8: found by trying.
        for prompt in 0..<8 {
            var options = GenerationOptions()
            options.maxNewTokens = 6
            options.stopStrings = ["é"]
            let result = try generate(
                TableSession(table, [[prompt]]), prompt: [[prompt]], options: options, decode: decode)
            let text = decode([prompt] + (result.first?.ids ?? []))
            #expect((result.first?.reason == .stopString) == text.contains("é"), "\(prompt)")
            if text.contains("é") { #expect(text.hasSuffix("é")) }
        }
    }

    @Test("a row ends at its stop string, with or without an end token", arguments: [[], [36]])
    func stopWithoutEnd(_ eos: [Int]) throws {
        // transformers goes on with such a row until all have ended, when there is no end token to pad after.
        let results = try generate(
            Self.session(), prompt: Self.prompts,
            options: Self.options {
                ($0.eosIDs, $0.stopStrings, $0.maxNewTokens) = (eos, ["ea", "stop", "dd"], 30)
            },
            decode: GenerationGoldenTests.decode)
        for result in results where result.reason == .stopString {
            let before = GenerationGoldenTests.decode(Self.prompts[result.prompt] + result.ids.dropLast())
            #expect(!["ea", "stop", "dd"].contains { before.hasSuffix($0) })
        }
        #expect(results.contains { $0.reason == .stopString })
    }

    @Test("options are read from a model folder as the reference reads them") func folders() throws {
        let url = FileManager.default.temporaryDirectory.appendingPathComponent(
            "generation-\(UUID().uuidString)")
        try FileManager.default.createDirectory(at: url, withIntermediateDirectories: true)
        defer { try? FileManager.default.removeItem(at: url) }
        let folder = url.path
        func write(_ name: String, _ text: String) throws {
            try writeFile(text, to: folder + "/" + name)
        }
        try write(
            "config.json",
            """
            {"model_type": "llava", "eos_token_id": null, "num_beams": 1, "temperature": 0.9,
             "text_config": {"eos_token_id": [2, 7], "pad_token_id": -1, "bos_token_id": 1, "max_length": 33}}
            """)
        let fallback = try GenerationOptions(folder: folder)
        #expect(fallback.eosIDs == [2, 7] && fallback.padID == nil && fallback.bosID == 1)
        #expect(fallback.temperature == 0.9 && fallback.maxLength == 33 && !fallback.doSample)
        try write(
            "generation_config.json",
            """
            {"_from_model_config": true, "bos_token_id": 0, "decoder_start_token_id": 0, "eos_token_id": 1,
             "pad_token_id": 0, "early_stopping": "never", "length_penalty": 2, "typical_p": 1.0,
             "transformers_version": "4.40.0", "stop_strings": "END", "min_p": 0.1, "bad_words_ids": [[3, 4]]}
            """)
        let own = try GenerationOptions(folder: folder)
        #expect(own.eosIDs == [1] && own.earlyStopping == .never && own.lengthPenalty == 2)
        #expect(own.stopStrings == ["END"] && own.minP == 0.1 && own.badWords == [[3, 4]])
        #expect(try own.decoderPrompt(rows: 2) == [[0], [0]])
        #expect(own.topK == 50 && own.maxNewTokens == nil && own.maxLength == nil)
        #expect(throws: VQAError.self) { try GenerationOptions().decoderPrompt(rows: 1) }
    }

    @Test(
        "an option that cannot be met is one line that names it",
        arguments: [
            (#"{"max_new_tokens": 0}"#, "max_new_tokens"), (#"{"max_new_tokens": 1e9}"#, "max_new_tokens"),
            (#"{"max_length": 99999999999999}"#, "max_length"),
            (#"{"min_new_tokens": -1}"#, "min_new_tokens"),
            (#"{"num_beams": 0}"#, "num_beams"), (#"{"num_beams": "2"}"#, "num_beams"),
            (#"{"early_stopping": "always"}"#, "early_stopping"), (#"{"do_sample": 1}"#, "do_sample"),
            (#"{"do_sample": true, "temperature": 0}"#, "temperature"),
            (#"{"do_sample": true, "top_p": 1.5}"#, "top_p"),
            (#"{"do_sample": true, "min_p": -0.5}"#, "min_p"),
            (#"{"top_k": -3}"#, "top_k"), (#"{"repetition_penalty": 0}"#, "repetition_penalty"),
            (#"{"no_repeat_ngram_size": -1}"#, "no_repeat_ngram_size"),
            (#"{"length_penalty": 1e999}"#, "1e999"),
            (#"{"num_return_sequences": 2}"#, "num_return_sequences"),
            (#"{"num_return_sequences": 4, "num_beams": 3}"#, "num_return_sequences"),
            (#"{"bad_words_ids": [[]]}"#, "bad_words_ids"), (#"{"bad_words_ids": [[-4]]}"#, "bad_words_ids"),
            (#"{"bad_words_ids": [3]}"#, "bad_words_ids"), (#"{"stop_strings": ""}"#, "stop_strings"),
            (#"{"stop_strings": [1]}"#, "stop_strings"), (#"{"suppress_tokens": [-1]}"#, "suppress_tokens"),
            (#"{"forced_eos_token_id": 4, "suppress_tokens": [4, 5]}"#, "forced_eos_token_id"),
            (#"{"eos_token_id": 9223372036854775807}"#, "eos_token_id"),
            (#"{"eos_token_id": "x"}"#, "eos_token_id"),
            (#"{"guidance_scale": 1.5}"#, "guidance_scale"), (#"{"num_beam_groups": 2}"#, "num_beam_groups"),
            (#"{"penalty_alpha": 0.6}"#, "penalty_alpha"), (#"[1]"#, "JSON"),
        ])
    func refusals(_ text: String, _ key: String) throws {
        let error = #expect(throws: VQAError.self, "\(text)") {
            try GenerationOptions(JSON(parsing: Array(text.utf8), source: "g.json"), source: "g.json")
        }
        let line = try #require(error?.description)
        #expect(line.contains(key) && line.contains("g.json") && !line.contains("\n"), "\(line)")
    }

    @Test("what cannot be met at run time is an error too") func runTimeRefusals() throws {
        func fails(_ place: String, _ change: (inout GenerationOptions) -> Void) throws {
            let error = #expect(throws: VQAError.self) {
                try generate(Self.session(), prompt: Self.prompts, options: Self.options(change))
            }
            #expect(error?.place == place)
        }
        try fails("max_length") { ($0.maxNewTokens, $0.maxLength) = (nil, 6) }
        try fails("stop_strings") { $0.stopStrings = ["x"] }
        try fails("forced_eos_token_id") { $0.forcedEOS = [400] }
        try fails("temperature") { ($0.doSample, $0.temperature) = (true, .nan) }
        // Tokens that the vocabulary does not have can be forbidden.
        let plain = try generate(Self.session(), prompt: Self.prompts, options: Self.options())
        let more = try generate(
            Self.session(), prompt: Self.prompts,
            options: Self.options {
                ($0.suppressedTokens, $0.badWords, $0.eosIDs) = ([99], [[77], [1, 88]], [2, 70])
            })
        #expect(plain == more)
    }
}
