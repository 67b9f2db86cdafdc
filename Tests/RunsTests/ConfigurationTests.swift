import Runs
import Support
import Testing

/// A schema with one key of each kind, as a caller would write it.
private struct Sample: Equatable {
    enum Preset: String, CaseIterable { case released, paper, fixed }

    var batchSize: Int
    var rate: Double
    var preset: Preset
    var model: String
    var shuffle: Bool
    var prompts: [String]
    var layers: [Int]
    var adapter: String?
    var rank: Int
    var alpha: Double?

    init(reading r: inout ConfigurationReader) {
        batchSize = r.integer("batch_size", default: 64, in: 1...65536, help: "questions a step")
        rate = r.number("lr", default: 1e-4, in: .leastNormalMagnitude...1, aliases: ["learning_rate"])
        preset = r.choice("preset", default: Preset.fixed, otherNames: ["dvp_adaption_bert_vqa": .released])
        model = r.requiredString(
            "model", aliases: ["model_args.name_or_path"], help: "folder of the backbone")
        shuffle = r.bool("shuffle", default: true)
        prompts = r.strings("prompts", default: ["Question: {question}\nAnswer:"])
        layers = r.integers("layers", default: [], in: 0...99)
        adapter = r.optionalString("adapter")
        (rank, alpha) = r.section("method", help: "how the backbone is adapted") {
            ($0.integer("rank", default: 8, in: 1...1024), $0.optionalNumber("alpha"))
        }
    }

    static func read(_ yaml: String, _ overrides: [String] = []) throws -> (Sample, ResolvedConfiguration) {
        var reader = ConfigurationReader(
            try ConfigurationSource(yaml: yaml, name: "run.yaml", overrides: overrides))
        let sample = Sample(reading: &reader)
        return (sample, try reader.finish())
    }
}

/// The lines of the error that reading `yaml` throws.
private func problems(_ yaml: String, _ overrides: [String] = []) -> [String] {
    do {
        _ = try Sample.read(yaml, overrides)
        return []
    } catch let error as ConfigurationProblems {
        return error.problems.map(\.description)
    } catch {
        return ["\(error)"]
    }
}

@Suite("Configuration values")
struct ConfigurationValueTests {
    @Test("A file sets values and leaves the others at their defaults")
    func readsValues() throws {
        let (sample, resolved) = try Sample.read(
            """
            # a comment
            model: /models/bert   # and another
            batch_size: 1e3
            lr: 5e-5
            preset: dvp_adaption_bert_vqa
            shuffle: no
            prompts: [yes, "no", 3]
            layers: 4
            method:
              rank: 16
            """)
        #expect(sample.batchSize == 1000)
        #expect(sample.rate == 5e-5)
        #expect(sample.preset == .released)
        #expect(sample.model == "/models/bert")
        #expect(!sample.shuffle)
        #expect(sample.prompts == ["yes", "no", "3"])
        #expect(sample.layers == [4])
        #expect(sample.adapter == nil)
        #expect(sample.rank == 16)
        #expect(sample.alpha == nil)
        #expect(resolved["method.rank"] == .integer(16))
        #expect(resolved["batch_size"] == .integer(1000))
        #expect(resolved.entries.filter(\.isDefault).map(\.key) == ["adapter", "method.alpha"])
    }

    @Test("Overrides beat the file, also under another name, and the last of two counts")
    func overrides() throws {
        let (sample, _) = try Sample.read(
            "model: a\nlr: 0.5\n",
            [
                "learning_rate=0.25", "--method.rank=4", "method.rank=5", "model=b: c # d", "layers=[1, 2,3]",
                "prompts='[x]'", "adapter=null",
            ])
        #expect(sample.rate == 0.25)
        #expect(sample.rank == 5)
        #expect(sample.model == "b: c # d")
        #expect(sample.layers == [1, 2, 3])
        #expect(sample.prompts == ["[x]"])
        #expect(sample.adapter == nil)
    }

    @Test("A dotted key in the file and an alias from the root mean the nested key")
    func dottedKeys() throws {
        let (sample, _) = try Sample.read("model_args:\n  name_or_path: x\nmethod.rank: 3\n")
        #expect(sample.model == "x")
        #expect(sample.rank == 3)
    }

    @Test("An empty section, an empty file and a null optional are nothing special")
    func emptyParts() throws {
        #expect(try Sample.read("model: a\nmethod:\nadapter: ~\n").0.rank == 8)
        #expect(try Sample.read("model: a\nmethod: {}\n").0.rank == 8)
        #expect(try Sample.read("", ["model=a"]).0.batchSize == 64)
        #expect(try Sample.read("# only a comment\n", ["model=a"]).0.batchSize == 64)
    }

    @Test("Optional and free-form sections")
    func sections() throws {
        func read(_ yaml: String) throws -> ([String: Int]?, String) {
            var r = ConfigurationReader(try ConfigurationSource(yaml: yaml, name: "c.yaml"))
            let ranks = r.optionalSection("ranks") { inner in
                // The names are asked for from outside the section.
                inner.isGiven("q") ? ["q": inner.integer("q", default: 0)] : [:]
            }
            return (ranks, try r.finish().yaml(comments: false))
        }
        let absent = try read("")
        #expect(absent.0 == nil)
        #expect(absent.1 == "ranks: null\n")
        #expect(try read(absent.1).0 == nil)
        #expect(try read("ranks:\n  q: 7\n").0 == ["q": 7])
        let source = try ConfigurationSource(yaml: "sets:\n  b: {n: 1}\n  a.n: 2\n", name: "c.yaml")
        #expect(ConfigurationReader(source).names(in: "sets") == ["a", "b"])
    }

    @Test("The printed configuration reads back to the same thing")
    func roundTrip() throws {
        let yaml = """
            model: "a: b # c\\n\\u00e9\\U0001F600\\u0085\\u2028\\"'\\\\"
            lr: 1.0e-7
            prompts: ["", " x ", "null", "1e5", "é, [y]", "- z", "*a", "&b", "!c", "%", "@d", "`e"]
            adapter: "yes"
            method: {alpha: .inf}
            """
        let (sample, resolved) = try Sample.read(yaml, ["layers=[1,2]"])
        for text in [resolved.yaml(), resolved.yaml(comments: false)] {
            let (again, resolvedAgain) = try Sample.read(text)
            #expect(again == sample)
            #expect(resolvedAgain.sha256 == resolved.sha256)
            #expect(resolvedAgain.entries.map(\.value) == resolved.entries.map(\.value))
        }
        #expect(sample.prompts.count == 12)
        #expect(sample.alpha == .infinity)
        #expect(try Sample.read(yaml, ["layers=[1,3]"]).1.sha256 != resolved.sha256)
    }

    @Test("The printed configuration names help and defaults")
    func comments() throws {
        let (_, resolved) = try Sample.read("model: m\nbatch_size: 32\n")
        #expect(
            resolved.yaml() == """
                batch_size: 32                            # questions a step (default: 64)
                lr: 0.0001                                # (default)
                preset: fixed                             # (default)
                model: m                                  # folder of the backbone (default: null)
                shuffle: true                             # (default)
                prompts: ["Question: {question}\\nAnswer:"]  # (default)
                layers: []                                # (default)
                adapter: null                             # (default)
                method:                                   # how the backbone is adapted
                  rank: 8                                 # (default)
                  alpha: null                             # (default)

                """)
        #expect(resolved.json["method"]?["rank"]?.integer == 8)
        #expect(resolved.json["prompts"]?.array?.count == 1)
    }
}

@Suite("Configuration problems")
struct ConfigurationProblemTests {
    @Test("All problems are found in one pass, each on a line with file, line, reason and remedy")
    func allAtOnce() {
        let lines = problems(
            """
            batchsize: 3
            lr: fast
            preset: papr
            layers: [1, 100]
            methd:
              rank: 2
            method:
              rank: 0
              alpha: [1]
            """, ["shufle=true"])
        #expect(
            lines == [
                "cannot use the configuration: run.yaml: model: it is missing; set a text",
                "cannot use the configuration: run.yaml:2: 'lr' must be a number above 0 up to 1, found 'fast'",
                "cannot use the configuration: run.yaml:3: 'preset' must be one of released, paper, fixed, found "
                    + "'papr'; did you mean 'paper'?",
                "cannot use the configuration: run.yaml:4: 'layers' must be a list, each an integer from 0 to 99, "
                    + "found a list of 2",
                "cannot use the configuration: run.yaml:8: 'method.rank' must be an integer from 1 to 1024, found '0'",
                "cannot use the configuration: run.yaml:9: 'method.alpha' must be a number, found a list of 1",
            ])
        // With a wrong choice at the root, which keys belong there is not certain. Without it they are reported.
        #expect(
            problems("batchsize: 3\nmodel: a\nmethd:\n  rank: 2\n", ["shufle=true"]) == [
                "cannot use the configuration: run.yaml:1: unknown key 'batchsize'; did you mean 'batch_size'?",
                "cannot use the configuration: run.yaml:4: unknown key 'methd'; did you mean 'method'?",
                "cannot use the configuration: argument shufle=true: unknown key 'shufle'; did you mean 'shuffle'?",
            ])
    }

    @Test("A key in the wrong section is found by its name")
    func wrongSection() {
        #expect(problems("model: a\nrank: 3\n").first?.hasSuffix("did you mean 'method.rank'?") == true)
    }

    @Test(
        "Wrong types, doubled names and crossed sections are refused",
        arguments: [
            ("model: a\nbatch_size: '64'", "found the text '64'"),
            ("model: a\nbatch_size: 64.0", "found '64.0'"),
            ("model: a\nbatch_size:", "found nothing"), ("model: a\nlr: nan", "found 'nan'"),
            ("model: a\nlr: 1e999", "found '1e999'"), ("model: a\nlr: 0x1p-3", "found '0x1p-3'"),
            ("model: a\nlr: 0", "above 0 up to 1, found '0'"),
            ("model: a\nshuffle: maybe", "must be true or false"),
            ("model: [a]", "'model' must be a text, found a list of 1"), ("model: ", "found nothing"),
            ("model: a\nlr: 1e-4\nlearning_rate: 1e-4", "run.yaml:3: 'lr' and 'learning_rate' name the same"),
            ("model: a\nmethod: lora", "'method' must be a section, found 'lora'"),
            ("model: {b: c}", "'model' must be a value, found a section"),
            ("model: a\nmethod: {}\nother: {}", "unknown key 'other'"),
            ("model: a\nlayers: [99999999999999999999]", "found a list of 1"),
        ])
    func refusals(yaml: String, words: String) {
        let lines = problems(yaml)
        #expect(lines.count == 1, "\(lines)")
        #expect(lines.first?.contains(words) == true, "\(lines)")
    }

    @Test("A problem of the caller's own stands at its key")
    func ownProblem() throws {
        var r = ConfigurationReader(try ConfigurationSource(yaml: "a:\n  heads: 5\n", name: "c.yaml"))
        r.section("a") {
            _ = $0.integer("heads", default: 4)
            $0.report("heads", because: "'heads' must divide the width 768", remedy: "use 4, 6, 8 or 12")
            $0.report("width", because: "'width' is odd")
        }
        let error = #expect(throws: ConfigurationProblems.self) { try r.finish() }
        #expect(
            error?.description == """
                cannot use the configuration: c.yaml: a.width: 'width' is odd
                cannot use the configuration: c.yaml:2: 'heads' must divide the width 768; use 4, 6, 8 or 12
                """)
    }

    @Test(
        "Malformed overrides are one-line errors",
        arguments: [
            ("batch_size", "it has no '='"), ("=3", "an empty key"), ("a..b=3", "an empty key"),
            ("method={rank: 3}", "a section cannot be set as a whole"), ("layers=[1,", "cannot read"),
            ("model='x' y: z", "cannot read"), ("model.x=3", "'model' is a value, not a section"),
            ("prompts=[[1]]", "only single values"), ("prompts=[a]\nb: c", "more than one value"),
        ])
    func overrideErrors(override: String, words: String) {
        let lines = problems("model: a", [override])
        #expect(lines.count == 1 && lines.first?.contains(words) == true, "\(lines)")
        #expect(lines.first?.contains("\n") == false)
    }
}

@Suite("Hostile configuration files")
struct HostileConfigurationTests {
    private func error(_ yaml: String) -> String {
        do {
            var reader = ConfigurationReader(try ConfigurationSource(yaml: yaml, name: "x.yaml"))
            _ = try reader.finish()
            return ""
        } catch { return "\(error)" }
    }

    @Test(
        "Text that is not bounded plain YAML is refused in one line",
        arguments: [
            ("a: &x 1\nb: *x\n", "anchors (&name) are not supported"), ("a: &x [1]\n", "anchors"),
            ("&x a: 1\n", "anchors"), ("a: *nowhere\n", "undefined alias"),
            ("a: !!python/object 1\n", "tags"),
            ("a: !!binary aGk=\n", "tags"), ("a: 1\na: 2\n", "x.yaml:1: the key 'a' is given twice"),
            ("a: {b: 1}\na.b: 2\n", "x.yaml:2: the key 'a.b' is given twice"), ("- 1\n- 2\n", "'key: value'"),
            ("just text", "'key: value'"), ("a: [", "x.yaml:"), ("a: \"open", "x.yaml:"),
            ("\ta: 1", "x.yaml:1"),
            ("a: 1\n---\nb: 2\n", "another document"), ("? [a, b]\n: 1\n", "a key that is not a word"),
            ("'': 1\n", "an empty key"), ("a: [[1]]\n", "only single values"),
            ("a: [{b: 1}]\n", "only single values"), ("a: \u{1}\n", "control characters"),
            ("a: \"\\ud800\"\n", "x.yaml:1"), ("<<: {a: 1}\n", "unknown key '<<'"),
            (String(repeating: "a.", count: 30) + "b: 1\n", "parts"),
        ])
    func refused(yaml: String, words: String) {
        let message = error(yaml)
        #expect(message.contains(words), "\(message)")
        #expect(!message.contains("\n"))
        #expect(message.utf8.count < 400)
    }

    @Test("Alias bombs are refused before they are expanded, in values and in keys")
    func bombs() {
        var values = "a0: &a0 [x, x]\n"
        var keys = "? &a0 [x, x]\n: 1\n"
        for level in 1...40 {
            values += "a\(level): &a\(level) [*a\(level - 1), *a\(level - 1)]\n"
            keys += "? &a\(level) [*a\(level - 1), *a\(level - 1)]\n: 1\n"
        }
        for bomb in [values, keys] {
            let message = error(bomb)
            #expect(message.contains("begin with '*'"), "\(message)")
        }
        // A small one passes the count and is refused for its anchor.
        #expect(error("? &a [x, x]\n: 1\n? &b [*a, *a]\n: 1\n? [*b, *b]\n: 2\n").contains("anchors"))
    }

    @Test("Texts with stars and question marks are no aliases")
    func innocentText() throws {
        let yaml = """
            a: |
              * one
              * two
              * three
              * four
              * five
              * six
              * seven
              * eight
              * nine
            b: "*ten*"
            c: What is *this*?
            """
        let source = try ConfigurationSource(yaml: yaml, name: "x.yaml")
        var reader = ConfigurationReader(source)
        #expect(reader.string("a", default: "").hasSuffix("* nine\n"))
        #expect(reader.string("b", default: "") == "*ten*")
        #expect(reader.string("c", default: "") == "What is *this*?")
    }

    @Test("Deep nesting, many keys and large files end quickly")
    func sizes() {
        #expect(error(String(repeating: "[", count: 120_000)).contains("x.yaml"))
        #expect(error("a: " + String(repeating: "{b: ", count: 60_000)).contains("x.yaml"))
        #expect(error(String(repeating: "- ", count: 60_000)).contains("x.yaml"))
        #expect(error(String(repeating: "? ", count: 100_000)).contains("'?'"))
        #expect(error((0..<20_000).map { "k\($0): 1\n" }.joined()).contains("more than 10000 keys"))
        #expect(error("a: " + String(repeating: "x", count: 1 << 20)).contains("larger than 256 kB"))
        let lines = error((0..<9_000).map { "k\($0).x.y: 1\n" }.joined())
        #expect(lines.split(separator: "\n").count == 21)
        #expect(lines.hasSuffix("8980 more unknown keys"))
        #expect(error("a: [" + String(repeating: "x,", count: 120_000) + "]").contains("more than 10000"))
    }

    @Test("A missing file, a folder and text that is not UTF-8")
    func files() throws {
        let folder = try TemporaryFolder()
        for path in [folder["none.yaml"], folder.path] {
            #expect(throws: VQAError.self) { try ConfigurationSource(file: path) }
        }
        var file = try AtomicFile(folder["latin.yaml"])
        try [0x61, 0x3A, 0x20, 0xE9, 0x0A].withUnsafeBytes { bytes in try file.write(bytes) }
        try file.commit()
        let error = #expect(throws: VQAError.self) { try ConfigurationSource(file: folder["latin.yaml"]) }
        #expect(error?.why == "it is not UTF-8 text")
        try writeFile("\u{FEFF}a: 1\r\n", to: folder["my.run.yaml"])
        let source = try ConfigurationSource(file: folder["my.run.yaml"])
        #expect(source.stem == "my.run")
        var reader = ConfigurationReader(source)
        #expect(reader.integer("a", default: 0) == 1)
    }
}
