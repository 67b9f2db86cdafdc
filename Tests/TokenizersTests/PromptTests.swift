import Support
import Testing
import Tokenizers

@Suite("Prompts without a chat template") struct PromptTests {
    private typealias Turn = ConversationTemplate.Turn

    private func prompt(_ name: String, system: String? = nil, _ turns: [Turn]) throws -> String {
        var template = try ConversationTemplate(named: name)
        if let system { template.system = system }
        return try template.prompt(turns)
    }

    @Test("vicuna_v1 is the prompt of LLaVA-1.5, to the byte")
    func vicuna() throws {
        let expected =
            "A chat between a curious user and an artificial intelligence assistant. The assistant gives helpful, "
            + "detailed, and polite answers to the user's questions. USER: <image>\nWhat is shown in the image? ASSISTANT:"
        for name in ["vicuna_v1", "v1"] {
            let template = try ConversationTemplate(named: name)
            #expect(try template.prompt("<image>\nWhat is shown in the image?") == expected)
        }
        #expect(
            try prompt(
                "vicuna_v1", system: "S.",
                [
                    Turn(.user, "Hi there"), Turn(.assistant, "Hello."), Turn(.user, "Bye"),
                    Turn(.assistant, "See you."),
                ])
                == "S. USER: Hi there ASSISTANT: Hello.</s>USER: Bye ASSISTANT: See you.</s>")
        #expect(
            try ConversationTemplate(named: "llava_v1").system.hasSuffix(
                "polite answers to the human's questions."))
    }

    @Test("v1_sq ends a self-asked question with both separators")
    func selfQuestioning() throws {
        #expect(
            try prompt(
                "v1_sq", system: "S.",
                [
                    Turn(.user, "<image>\nWhat is it?"), Turn(.assistant, "A cat."),
                    Turn(.questioner, "What color is the cat?"), Turn(.assistant, "Black."),
                    Turn(.user, "Is it big?"),
                    Turn(.assistant, "No."),
                ])
                == "S. USER: <image>\nWhat is it? ASSISTANT: A cat.</s>VUSER: What color is the cat?</s> ASSISTANT: "
                + "Black.</s>USER: Is it big? ASSISTANT: No.</s>")
        #expect(
            try prompt(
                "v1_sq", system: "S.", [Turn(.user, "a"), Turn(.assistant, "A cat."), Turn(.questioner, nil)])
                == "S. USER: a ASSISTANT: A cat.</s>VUSER:")
        let system = try ConversationTemplate(named: "v1_sq").system
        #expect(
            system.contains("user's questions.Also, the artificial")
                && system.hasSuffix("about uncertain details."))
    }

    @Test("llava_llama_2 puts the system text into the first brackets")
    func llama2() throws {
        let turns = [Turn(.user, "a"), Turn(.assistant, "b"), Turn(.user, "c"), Turn(.assistant, nil)]
        #expect(
            try prompt("llava_llama_2", turns)
                == "[INST] <<SYS>>\nYou are a helpful language and vision assistant. You are able to understand the visual "
                + "content that the user provides, and assist the user with a variety of tasks using natural language.\n"
                + "<</SYS>>\n\na [/INST] b </s><s>[INST] c [/INST]")
        #expect(
            try prompt("llava_llama_2", system: "", turns) == "[INST] a [/INST] b </s><s>[INST] c [/INST]")
    }

    @Test("plain joins the texts, ChatML names the roles")
    func others() throws {
        let turns = [Turn(.user, "<image>"), Turn(.assistant, "a cat sitting on a mat")]
        #expect(try prompt("plain", turns) == "<image>a cat sitting on a mat\n")
        #expect(try ConversationTemplate(named: "plain").prompt("<image>") == "<image>")
        let open = turns + [Turn(.user, "Sure?"), Turn(.assistant, nil)]
        #expect(
            try prompt("chatml", system: "S.", open)
                == "<|im_start|>system\nS.<|im_end|>\n<|im_start|>user\n<image><|im_end|>\n<|im_start|>assistant\n"
                + "a cat sitting on a mat<|im_end|>\n<|im_start|>user\nSure?<|im_end|>\n<|im_start|>assistant\n"
        )
        #expect(
            try prompt("chatml_direct", open)
                == "<|im_start|>system\nAnswer the questions.<|im_end|><|im_start|>user\n<image><|im_end|>"
                + "<|im_start|>assistant\na cat sitting on a mat<|im_end|><|im_start|>user\nSure?<|im_end|>"
                + "<|im_start|>assistant\n")
        #expect(
            try ConversationTemplate(named: "chatml").prompt("a").hasPrefix("<|im_start|>user\na<|im_end|>\n")
        )
    }

    @Test("wrong turns and names are refused with the reason")
    func refusals() throws {
        func refused(_ says: String, _ name: String, _ turns: [Turn]) {
            let error = #expect(throws: VQAError.self) { try prompt(name, turns) }
            #expect(error?.description.contains(says) == true, "\(error?.description ?? "")")
        }
        refused("did you mean vicuna_v1?", "vicuna_v2", [Turn(.user, "a")])
        refused("choose one of vicuna_v1, v1", "conversation_of_mine", [Turn(.user, "a")])
        refused("no turns", "plain", [])
        refused("turn 1", "plain", [Turn(.assistant, "a")])
        refused("turn 2: a question follows a question", "chatml", [Turn(.user, "a"), Turn(.user, "b")])
        refused("open", "chatml", [Turn(.user, nil)])
        refused("not the last", "chatml", [Turn(.user, "a"), Turn(.assistant, nil), Turn(.user, "b")])
        refused(
            "a model that asks", "vicuna_v1",
            [Turn(.user, "a"), Turn(.assistant, "b"), Turn(.questioner, nil)])
    }

    @Test("a prompt is cut at its image marks, and their number is that of the images")
    func imageMarks() throws {
        #expect(ImageMarks("no mark").texts == ["no mark"])
        #expect(ImageMarks("").texts == [""] && ImageMarks("").count == 0)
        #expect(ImageMarks("<image>\nWhat?").texts == ["", "\nWhat?"])
        #expect(ImageMarks("a<image><image>b<image>").texts == ["a", "", "b", ""])
        // A combining mark after the bracket makes one grapheme of both, which must not hide the mark.
        #expect(ImageMarks("<image>\u{301}x").texts.map { Array($0.utf8) } == [[], Array("\u{301}x".utf8)])
        #expect(ImageMarks("<image<image>>").texts == ["<image", ">"])
        #expect(try ImageMarks("<image> and <image>", images: 2).count == 2)
        for (text, images, says) in [
            ("What?", 1, "0 marks <image>, and 1 image is given"),
            ("<image>", 2, "1 mark <image>, and 2 images are given"), ("<image>", 0, "0 images are given"),
        ] {
            let error = #expect(throws: VQAError.self) { try ImageMarks(text, images: images) }
            #expect(error?.description.contains(says) == true, "\(error?.description ?? "")")
        }
    }

    @Test("LLaVA's order puts one mark in front")
    func leadingMark() {
        #expect(ImageMarks.leading("What is it?\n<image>") == "<image>\nWhat is it?")
        #expect(ImageMarks.leading(" <image> a <image> b ") == "<image>\na  b")
        #expect(ImageMarks.leading("<image>") == "<image>")
    }
}
