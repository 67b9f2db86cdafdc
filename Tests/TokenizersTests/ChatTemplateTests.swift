import Foundation
import Support
import Testing
import Tokenizers

@Suite("Chat templates") struct ChatTemplateTests {
    private let golden: JSON

    init() throws { golden = try fixture("chat_templates.json") }

    private func now() throws -> TemplateDate {
        let parts = golden["now"]?.integers ?? []
        try #require(parts.count == 6)
        return try TemplateDate(
            year: parts[0], month: parts[1], day: parts[2], hour: parts[3], minute: parts[4], second: parts[5]
        )
    }

    /// Nil when the template is refused, with the error checked to be one line.
    private func rendered(
        _ source: String, messages: JSON, generate: Bool, variables: JSON
    ) throws -> (text: String?, error: String) {
        let named = Dictionary(uniqueKeysWithValues: (variables.members ?? []).map { ($0.key, $0.value) })
        do {
            let template = try ChatTemplate(source)
            return (
                try template.render(
                    messages: messages, addGenerationPrompt: generate, variables: named, now: try now()), ""
            )
        } catch let error as VQAError {
            #expect(!error.description.contains("\n"))
            return (nil, error.description)
        }
    }

    @Test("templates of the published forms give the text of the reference for every conversation")
    func families() throws {
        var compared = 0
        for family in try #require(golden["families"]?.array) {
            let source = try #require(family["template"]?.string)
            for test in try #require(family["cases"]?.array) {
                let title = try #require(test["messages"]?.string)
                var variables = try #require(golden["tokens"])
                if test["tools"] == true { variables = variables.setting("tools", golden["tools"] ?? .null) }
                let result = try rendered(
                    source, messages: try #require(golden["conversations"]?[title]),
                    generate: test["generate"] == true, variables: variables)
                let name = "\(family["name"]?.string ?? ""): \(title) \(result.error)"
                #expect(
                    result.text.map { Array($0.utf8) } == test["text"]?.string.map { Array($0.utf8) },
                    "\(name)")
                compared += 1
            }
        }
        #expect(compared > 700)
    }

    @Test("every feature of the language gives the text of the reference, or is refused as there")
    func features() throws {
        var compared = 0
        for test in try #require(golden["features"]?.array) {
            let source = try #require(test["template"]?.string)
            let result = try rendered(
                source, messages: try #require(golden["conversations"]?["question"]), generate: true,
                variables: try #require(golden["data"]))
            #expect(
                result.text.map { Array($0.utf8) } == test["text"]?.string.map { Array($0.utf8) },
                "\(source) \(result.text ?? "") \(result.error)")
            compared += 1
        }
        #expect(compared > 500)
    }
}
