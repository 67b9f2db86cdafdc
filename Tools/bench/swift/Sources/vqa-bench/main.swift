// Our side of the benchmarks. Tools/bench/peers/bench.py starts it beside the peers.
//
// vqa-bench prepare bert|decoder|search FOLDER   writes the weights and batches that both sides of `training` work on
// vqa-bench training bert|decoder same|stores FOLDER
// vqa-bench training search search FOLDER
// vqa-bench images FILE…
// vqa-bench tokens one|batch|load TEXTS.json TOKENIZER.json
// vqa-bench generate prefill|decode FORMAT
// vqa-bench bandwidth 4|8
// vqa-bench overhead LIBRARY
// vqa-bench score FOLDER
// vqa-bench captions CORPUS.json
// vqa-bench decoding products|small|large
import Support

/// The case of that name.
func known<Name: RawRepresentable>(_ text: String) throws -> Name where Name.RawValue == String {
    guard let name = Name(rawValue: text) else {
        throw VQAError("cannot measure", because: "\(text) is unknown; see main.swift")
    }
    return name
}

let arguments = Array(CommandLine.arguments.dropFirst())
do {
    switch (arguments.first, arguments.dropFirst().first, arguments.dropFirst(2).first) {
    case ("prepare", let kind?, let folder?):
        try TrainingContest(known(kind), folder: folder).prepare(in: folder)
    case ("training", let kind?, let mode?):
        try TrainingContest(known(kind), folder: arguments.dropFirst(3).first ?? ".").run(known(mode))
    case ("images", _?, _): try measureImages(Array(arguments.dropFirst()))
    case ("tokens", let round?, let texts?):
        try measureTokens(known(round), texts: texts, tokenizer: arguments.dropFirst(3).first ?? "tokenizer.json")
    case ("generate", let part?, let format?): try measureGeneration(part, format)
    case ("bandwidth", let bits?, _): try measureBandwidth(bits: bits == "8" ? 8 : 4)
    case ("score", let folder?, _): try measureScoring(folder)
    case ("captions", let corpus?, _): try measureCaptions(corpus)
    case ("overhead", let library?, _): try measureOverhead(library: library)
    case ("decoding", let part?, _): try measureDecoding(part)
    default: throw VQAError("cannot measure", because: "the arguments are unknown; see main.swift")
    }
} catch {
    print("error: \(error)")
    exitProgram()
}
