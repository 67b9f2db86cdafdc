import Support

/// How a conversation becomes a prompt in releases that have no chat template: a system text, role names and separators.
///
/// The names, texts and separators are those of LLaVA's `conversation.py`, and of SQ-LLaVA's copy of it.
///
/// ```swift
/// let prompt = try ConversationTemplate(named: "vicuna_v1").prompt("<image>\nWhat is shown?")
/// // A chat between … questions. USER: <image>⏎What is shown? ASSISTANT:
/// ```
public struct ConversationTemplate: Sendable, Equatable {
    /// Who speaks.
    public enum Role: Sendable {
        /// The human.
        case user
        /// The model.
        case assistant
        /// The model in the part of a human that asks: SQ-LLaVA's `VUSER`. Other templates refuse it.
        case questioner
    }

    /// One turn of a conversation.
    public struct Turn: Sendable, Equatable {
        /// Who speaks.
        public let role: Role
        /// What is said; nil when the model is to say it.
        public let text: String?

        /// A turn that is said, or left open.
        public init(_ role: Role, _ text: String?) {
            self.role = role
            self.text = text
        }
    }

    private enum Style: Sendable { case colons, colonsWithQuestioner, llama2, plain, chatML, chatMLDirect }

    /// What the template is called.
    public let name: String
    /// What stands at the head of a prompt. May be replaced; where it is empty, its separators are left out too.
    public var system: String
    private let style: Style

    private init(_ name: String, _ style: Style, system: String = "") {
        self.name = name
        self.style = style
        self.system = system
    }

    // MARK: By name

    private static let vicuna =
        "A chat between a curious user and an artificial intelligence assistant. The assistant gives helpful, "
        + "detailed, and polite answers to the user's questions."

    private static let questioning =
        "Also, the artificial intelligence assistant is a curious virtual user. The virtual user asks complex "
        + "questions that are relevant to the content in the image, for example, asking about background knowledge "
        + "of the objects in the image, asking to discuss about events happening in the image, etc. Again, do not ask "
        + "about uncertain details."

    /// Every template:
    ///
    /// * `vicuna_v1`, also `v1`: Vicuna, LLaVA-1.5, evaluation of SQ-LLaVA.
    /// * `llava_v1`: the same with "human" for "user" in the system text.
    /// * `v1_sq`: training of SQ-LLaVA; has the role of a questioner.
    /// * `llava_llama_2`: LLaVA on Llama-2-chat. The beginning-of-text token comes from the tokenizer.
    /// * `plain`: texts with nothing between them and a line break after an answer; alignment of LLaVA's projector.
    /// * `chatml`: turns between `<|im_start|>` and `<|im_end|>`, one a line, without a system text of its own.
    /// * `chatml_direct`: LLaVA-1.6 on Hermes; ChatML without line breaks between turns.
    public static let all: [ConversationTemplate] = [
        ConversationTemplate("vicuna_v1", .colons, system: vicuna),
        ConversationTemplate("v1", .colons, system: vicuna),
        ConversationTemplate(
            "llava_v1", .colons,
            system:
                "A chat between a curious human and an artificial intelligence assistant. The assistant gives "
                + "helpful, detailed, and polite answers to the human's questions."),
        ConversationTemplate("v1_sq", .colonsWithQuestioner, system: vicuna + questioning),
        ConversationTemplate(
            "llava_llama_2", .llama2,
            system:
                "You are a helpful language and vision assistant. You are able to understand the visual content "
                + "that the user provides, and assist the user with a variety of tasks using natural language."
        ),
        ConversationTemplate("plain", .plain),
        ConversationTemplate("chatml", .chatML),
        ConversationTemplate("chatml_direct", .chatMLDirect, system: "Answer the questions."),
    ]

    /// The template of that name.
    ///
    /// - Throws: `VQAError` that names the nearest match when there is none.
    public init(named name: String) throws {
        guard let found = Self.all.first(where: { $0.name == name }) else {
            let names = Self.all.map(\.name)
            throw VQAError(
                "cannot use the conversation template", at: name, because: "there is none of this name",
                remedy: nearestMatch(to: name, in: names).map { "did you mean \($0)?" }
                    ?? "choose one of \(names.joined(separator: ", "))")
        }
        self = found
    }

    // MARK: Prompts

    /// The prompt of one question, up to where the model's answer begins.
    public func prompt(_ question: String) throws -> String {
        try prompt([Turn(.user, question), Turn(.assistant, nil)])
    }

    /// The prompt of a conversation. Only the last turn may be open, and only the model's.
    ///
    /// - Throws: `VQAError` when the turns do not alternate, begin with another than the user, or ask for a role that the
    ///   template does not have.
    public func prompt(_ turns: [Turn]) throws -> String {
        try check(turns)
        switch style {
        case .colons, .colonsWithQuestioner: return colons(turns)
        case .llama2: return llama2(turns)
        case .plain:
            return turns.reduce(system) { prompt, turn in
                guard let text = turn.text else { return prompt }
                return prompt + text + (turn.role == .assistant ? "\n" : "")
            }
        case .chatML: return chatML(turns, end: "<|im_end|>\n")
        case .chatMLDirect: return chatML(turns, end: "<|im_end|>")
        }
    }

    private func check(_ turns: [Turn]) throws {
        func refusal(_ index: Int, _ why: String) -> VQAError {
            VQAError("cannot write the prompt", at: "\(name), turn \(index + 1)", because: why)
        }
        guard !turns.isEmpty else { throw refusal(0, "there are no turns") }
        for (index, turn) in turns.enumerated() {
            if turn.role == .questioner, style != .colonsWithQuestioner {
                throw refusal(index, "the template has no role for a model that asks")
            }
            let isAnswer = turn.role == .assistant
            guard isAnswer == (index % 2 == 1) else {
                throw refusal(
                    index, isAnswer ? "an answer follows no question" : "a question follows a question")
            }
            if turn.text == nil, index < turns.count - 1 {
                throw refusal(index, "an open turn is not the last")
            }
            if turn.text == nil, turn.role == .user { throw refusal(index, "the user's turn is open") }
        }
    }

    /// `ROLE: text`, with a blank after questions and `</s>` after answers. An asking model also ends with `</s>`. An
    /// open turn ends at the colon, without a blank.
    private func colons(_ turns: [Turn]) -> String {
        var prompt = system.isEmpty ? "" : system + " "
        for turn in turns {
            let role = turn.role == .user ? "USER" : turn.role == .assistant ? "ASSISTANT" : "VUSER"
            guard let text = turn.text else { return prompt + role + ":" }
            let end = turn.role == .user ? " " : turn.role == .assistant ? "</s>" : "</s> "
            prompt += "\(role): \(text)\(end)"
        }
        return prompt
    }

    /// Questions in brackets, the system text inside the first. Every round but the first begins with `<s>`; that of
    /// the first is left to the tokenizer.
    private func llama2(_ turns: [Turn]) -> String {
        var prompt = ""
        for (index, turn) in turns.enumerated() {
            guard let text = turn.text else { break }
            if turn.role == .assistant {
                prompt += " \(text) </s>"
            } else {
                let head = index == 0 && !system.isEmpty ? "<<SYS>>\n\(system)\n<</SYS>>\n\n" : ""
                prompt += (index == 0 ? "" : "<s>") + "[INST] \(head)\(text) [/INST]"
            }
        }
        return prompt
    }

    private func chatML(_ turns: [Turn], end: String) -> String {
        var prompt = system.isEmpty ? "" : "<|im_start|>system\n\(system)\(end)"
        for turn in turns {
            prompt += "<|im_start|>\(turn.role == .user ? "user" : "assistant")\n"
            guard let text = turn.text else { return prompt }
            prompt += text + end
        }
        return prompt
    }
}
