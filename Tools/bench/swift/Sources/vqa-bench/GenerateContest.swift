import Backbones
import Support
import Tokenizers
import Torch

/// SmolLM2 as `make setup` fetched it, 4 bits a weight unless `format` says otherwise: shows the tokens it continues a short
/// prompt with, then a round is the prompt and 64 tokens (`decode`), or 512 tokens of prompt and one more (`prefill`).
func measureGeneration(_ part: String, _ format: String) throws {
    try Engine.setThreads(2)
    let model = try LanguageModel("smollm2", format: WeightFormat(named: format))
    guard case .decoder(let decoder) = model.network else {
        throw VQAError("cannot measure", because: "smollm2 is no decoder")
    }
    let short = try model.tokenizer.encode("The capital of France is").ids
    let long = (0..<512).map { 1000 + $0 * 37 % 40000 }
    func run(_ prompt: [Int], _ count: Int) throws -> [Int] {
        try withoutGradients {
            let embeddings = try decoder.embed(Tensor(prompt, [1, prompt.count]))
            let session = try DecoderSession(decoder, embeddings: embeddings, maxNewTokens: count)
            var ids = [Int(try session.start().argmax(1).integerItem())]
            while ids.count < count {
                ids.append(Int(try session.step([ids[ids.count - 1]]).argmax(1).integerItem()))
            }
            return ids
        }
    }
    let shown = try model.tokenizer.decode(run(short, 3))
    try serve(.string(shown)) {
        _ = part == "prefill" ? try run(long, 1) : try run(short, 64)
    }
}
