import Support

/// Turns a conversation into the text of a prompt, by the `chat_template` of a model.
///
/// It evaluates the part of the Jinja language that such templates use, with the settings of transformers 5.23
/// (`trim_blocks`, `lstrip_blocks`, `tojson` that keeps text outside ASCII, loop controls, `{% generation %}`), and gives
/// the same text. A template can compute on the messages and variables it is given and nothing else, and every resource
/// it uses is limited: see ``Limits``.
///
/// ```swift
/// if let template = try ChatTemplate(folder: "models/smollm2") {
///     let prompt = try template.render(messages: [["role": "user", "content": "What colour is the car?"]])
/// }
/// ```
///
/// What the reference has and this does not is refused with an error that names it: recursive loops, macros inside other
/// scopes, `call` blocks, template inheritance, text formatting with `%`, and filters that chat
/// templates do not use. Filters that give an iterator in the reference give a list. `safe` changes nothing.
public struct ChatTemplate: Sendable {
    /// What a template may use at most. The defaults are far above the needs of published templates.
    public struct Limits: Sendable {
        /// Bytes of the source.
        public var sourceBytes = 1 << 20
        /// Blocks and expressions inside one another in the source.
        public var nesting = 64
        /// Calls and expressions inside one another while rendering, and lists inside one another.
        public var depth = 160
        /// Operations; one on a long text or list counts once more for every 64 elements.
        public var steps = 2_000_000
        /// Bytes of texts and lists made while rendering, garbage included.
        public var madeBytes = 256 << 20
        /// Characters (code points) of the result.
        public var outputCharacters = 16 << 20
        /// Numbers in one range; the same as in the reference.
        public var rangeLength = 100_000

        /// The defaults.
        public init() {}
    }

    private let program: TemplateProgram
    private let limits: Limits
    private let name: String

    /// Parses a template.
    ///
    /// - Parameter name: what the template is called in errors.
    /// - Throws: `VQAError` with the line, when the text is no template, or uses what is not supported.
    public init(_ source: String, limits: Limits = Limits(), name: String = "chat template") throws {
        self.limits = limits
        self.name = name
        guard source.utf8.count <= limits.sourceBytes else {
            throw VQAError(
                "cannot read the chat template", at: name,
                because: "it has \(source.utf8.count) bytes, more than the limit of \(limits.sourceBytes)")
        }
        do {
            program = try TemplateParser.program(source, maximumNesting: limits.nesting)
        } catch let fault as LocatedFault {
            throw VQAError(
                "cannot read the chat template", at: "\(name), line \(fault.line)", because: fault.why)
        }
    }

    // MARK: Rendering

    /// The prompt of a conversation.
    ///
    /// - Parameters:
    ///   - messages: an array of objects, usually with `role` and `content`. Members of a message that are null are left
    ///     out, as transformers does since version 5.
    ///   - addGenerationPrompt: whether the beginning of the model's next turn is added.
    ///   - variables: what else the template sees: `bos_token`, `eos_token`, `tools`, `documents`. The last two are none
    ///     when they are not given.
    ///   - now: the date for templates that ask for it; the machine's own when nil.
    /// - Throws: `VQAError` with the line, when the template raises an exception, does something undefined, or reaches one
    ///   of its limits.
    public func render(
        messages: JSON, addGenerationPrompt: Bool = true, variables: [String: JSON] = [:],
        now: TemplateDate? = nil
    ) throws -> String {
        guard let list = messages.array, !list.isEmpty else {
            throw VQAError("cannot render the chat template", at: name, because: "there are no messages")
        }
        let cleaned = list.map { message -> JSON in
            guard let members = message.members else { return message }
            return .object(members.filter { !$0.value.isNull })
        }
        var values: [String: TemplateValue] = ["tools": .null, "documents": .null]
        do {
            for (name, value) in variables { values[name] = try TemplateValue(value, limit: limits.depth) }
            values["messages"] = try TemplateValue(.array(cleaned), limit: limits.depth)
        } catch let fault as TemplateFault {
            throw VQAError("cannot render the chat template", at: name, because: fault.why)
        }
        values["add_generation_prompt"] = .boolean(addGenerationPrompt)
        let rendering = TemplateRendering(program, limits: limits, variables: values, now: now)
        do { return try rendering.render().string } catch let fault as TemplateFault {
            throw VQAError(
                "cannot render the chat template", at: "\(name), line \(rendering.line)", because: fault.why)
        }
    }
}

// MARK: Model folders

extension ChatTemplate {
    /// Reads the template of a model folder; nil when there is none.
    ///
    /// `chat_template.jinja` counts most, then `chat_template.json` of older processors, then `chat_template` in
    /// tokenizer_config.json: a text, or a list of named texts of which `default` is taken.
    ///
    /// - Throws: `VQAError` when a file is damaged, or its template cannot be read.
    public init?(folder: String) throws {
        guard let (source, name) = try Self.source(inFolder: folder) else { return nil }
        try self.init(source, name: name)
    }

    private static func source(inFolder folder: String) throws -> (source: String, name: String)? {
        let plain = "\(folder)/chat_template.jinja"
        if fileExists(plain) {
            guard
                let text = String(validating: try readFile(plain, limit: Limits().sourceBytes), as: UTF8.self)
            else {
                throw VQAError("cannot read the chat template", at: plain, because: "it is not UTF-8")
            }
            return (text, plain)
        }
        for path in ["\(folder)/chat_template.json", "\(folder)/tokenizer_config.json"] where fileExists(path)
        {
            let json = try JSON(contentsOf: path, limit: 64 << 20)
            guard let value = json["chat_template"], !value.isNull else { continue }
            return (try source(in: value, of: path), path)
        }
        return nil
    }

    private static func source(in value: JSON, of path: String) throws -> String {
        if let text = value.string { return text }
        let named = (value.array ?? []).first { $0["name"]?.string == "default" }
        guard let text = named?["template"]?.string ?? value["default"]?.string else {
            throw VQAError(
                "cannot read the chat template", at: path,
                because: "\"chat_template\" is neither a text nor a list with one named \"default\"")
        }
        return text
    }
}
