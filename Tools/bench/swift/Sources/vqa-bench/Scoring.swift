import Support
import Tasks

/// A round computes the VQA accuracy of every prediction of a folder with questions.json, annotations.json and
/// predictions.json, which are loaded before.
func measureScoring(_ folder: String) throws {
    let task = VQAv2()
    let data = try task.load(
        TaskFiles(questions: folder + "/questions.json", annotations: folder + "/annotations.json"),
        split: nil)
    let given = try readPredictions(folder + "/predictions.json").reduce(into: [:]) { $0[$1.id] = $1.answer }
    let answers = data.samples.map { given[$0.id] ?? "" }
    let mean = { VQAAccuracy().scores(of: answers, for: data.samples).reduce(0, +) / Double(answers.count) }
    try serve(.array([.number(mean())])) { _ = mean() }
}

/// A round computes BLEU, ROUGE-L and CIDEr of the captions of a corpus, which are tokens already, as pycocoevalcap's are.
func measureCaptions(_ path: String) throws {
    let corpus = try JSON(contentsOf: path)
    func tokens(_ text: JSON) -> [String] { (text.string ?? "").split(separator: " ").map(String.init) }
    let candidates = (corpus["candidates"]?.array ?? []).map(tokens)
    let references = (corpus["references"]?.array ?? []).map { ($0.array ?? []).map(tokens) }
    func measures() -> [Double] {
        let found = CaptionMeasures(candidateTokens: candidates, referenceTokens: references)
        var counts = CaptionMeasures.BLEUCounts()
        for part in found.bleu { counts.add(part) }
        let count = Double(candidates.count)
        return CaptionMeasures.bleu(of: counts)
            + [found.rougeL.reduce(0, +) / count, found.cider.reduce(0, +) / count]
    }
    try serve(.array(measures().map { .number($0) })) { _ = measures() }
}
