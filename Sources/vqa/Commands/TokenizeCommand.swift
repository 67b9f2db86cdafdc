import ArgumentParser
import Backbones
import Support
import Tokenizers

struct TokenizeCommand: ParsableCommand {
    static let configuration = CommandConfiguration(
        commandName: "tokenize",
        abstract: "Turns a text into the tokens of a model, or ids back into text.",
        usage: """
            vqa tokenize --model <model> --text <text> [--no-special-tokens]
            vqa tokenize --model <model> --decode <ids> [--special-tokens] [--json]
            """,
        discussion: """
            Example:

              vqa tokenize --model minilm --text "What colour is the car?"
              {"ids":[101,2054,6120,2003,1996,2482,1029,102],"tokens":["[CLS]","what",…]}

              vqa tokenize --model minilm --decode 2054,6120,2003,1996,2482,1029
              what colour is the car?
            """)

    @Option(
        help: ArgumentHelp(
            "A model's folder, a tokenizer.json, or the short name of a model.", valueName: "model"))
    var model: String

    @Option(parsing: .unconditional, help: ArgumentHelp("The text to turn into tokens.", valueName: "text"))
    var text: String?

    @Option(
        parsing: .unconditional,
        help: ArgumentHelp("Ids with commas between them; prints their text.", valueName: "ids"))
    var decode: String?

    @Flag(
        inversion: .prefixedNo,
        help: "With or without special tokens such as [CLS]. Tokens come with them, decoded text without.")
    var specialTokens: Bool?

    @Flag(help: "Print the decoded text as JSON too. Tokens are always printed as JSON.")
    var json = false

    func validate() throws {
        if (text == nil) == (decode == nil) { throw ValidationError("Give either --text or --decode.") }
    }

    func run() throws {
        let tokenizer = try Tokenizer(ofModel: model)
        if let text {
            let encoding = try tokenizer.encode(text, addSpecialTokens: specialTokens ?? true)
            try Output.print(
                .object([
                    JSON.Member("ids", .array(encoding.ids.map { .integer($0) })),
                    JSON.Member("tokens", .array(encoding.tokens.map { .string($0) })),
                ]))
        } else if let decode {
            let text = try tokenizer.decode(
                wholeNumbers(decode), skipSpecialTokens: !(specialTokens ?? false))
            try json ? Output.print(["text": .string(text)]) : Output.print(text)
        }
    }
}

/// Whole numbers with commas between them.
func wholeNumbers(_ text: String) throws -> [Int] {
    try text.split(separator: ",", omittingEmptySubsequences: false).map { part in
        guard let id = Int(part.filter { $0 != " " }) else {
            throw VQAError(
                "cannot read the ids", at: text, because: "'\(part)' is not a whole number",
                remedy: "write 1,2,3")
        }
        return id
    }
}
