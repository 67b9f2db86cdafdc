import Support

/// Turns one record of a task of VL-ICL Bench into samples. Keys: ys-zong/VL-ICL, `utils/ICL_utils.py`,
/// `utils/model_inference.py`, `T2I_inference.py` and `evals/eval.py`.
struct VLICLRecord {
    let record: JSONRecord
    let task: String
    let images: String?

    /// The query of the record.
    func query() throws -> Sample {
        if VLICLBench.imageTasks.contains(task) { return try imageQuery() }
        var sample = try sample(
            record.value("image"), id: try record.id("id"), question: try record.text("question"))
        guard let answer = record.value("answer").flatMap(JSONRecord.word) else {
            throw record.failure("the answer is neither a string nor an integer")
        }
        (sample.answers, sample.answer) = ([answer], answer)
        if task.hasPrefix("operator_induction") {
            let operation = try record.text("operator")
            guard ["+", "-", "x"].contains(operation) else {
                throw record.failure("the operator '\(operation.prefix(10))' is none of +, -, x")
            }
            sample.questionType = operation
        }
        if task == "open_mi" { sample.labels["class"] = answer }
        if task == "clevr" { sample.questionType = String(sample.question.prefix { $0 != ":" }) }
        return sample
    }

    /// The demonstrations of the record.
    func support() throws -> [Sample] {
        switch task {
        case "open_mi": return try classes(supportOfClasses().map(\.key))
        case "open_t2i_mi", "fast_count_t2i", "fast_attr_t2i": return try classes(record.texts("classes"))
        case "cobsat":
            let question = try record.text("question")
            let sample = try sample(record.value("image"), id: try record.id("id"), question: question)
            return [try withConcept(sample)]
        case "matching_mi": return try pairs()
        case let name where name.hasPrefix("operator_induction"):
            var sample = try sample(
                record.value("image"), id: try record.id("id"), question: try record.text("question"))
            let answers = record.value("answer")?.array?.compactMap(JSONRecord.word) ?? []
            guard answers.count == 3 else { throw record.failure("the answer is no list of three numbers") }
            (sample.answers, sample.answer) = (answers, answers[0])
            return [sample]
        default: return [try query()]
        }
    }

    /// The query of a task whose answer is an image. The program of the benchmark never opens the image that the record may
    /// name: it takes the name for what the model draws, or makes one of the id.
    private func imageQuery() throws -> Sample {
        let id = try record.id("id")
        let name = try record.value("image").map(names)?.joined(separator: "|") ?? "\(id).jpg"
        var sample = Sample(id: id, imageID: name, question: try record.text("question"))
        sample.labels["task"] = task
        guard task != "cobsat" else {
            let concepts = record.value("answer")?.array?.compactMap(JSONRecord.word) ?? []
            guard concepts.count == 2 else { throw record.failure("the answer is no list of two texts") }
            sample.passages = ["latent": concepts[0], "non_latent": concepts[1]]
            return try withConcept(sample)
        }
        let (label, classes) = (try record.text("task_label"), try record.texts("classes"))
        guard classes.contains(label) else {
            throw record.failure("the task_label '\(label.prefix(40))' is none of the classes")
        }
        sample.labels["class"] = label
        sample.passages["answer"] = try record.optionalWord("answer")
        // Only this task's judge is known to ask for it.
        guard task != "open_t2i_mi" || sample.passages["answer"] != nil else {
            throw record.failure("the record has no answer")
        }
        return sample
    }

    /// What `cobsat` leaves unsaid: `latent` is the key of the concept that all demonstrations share.
    private func withConcept(_ sample: Sample) throws -> Sample {
        let latent = try record.text("latent")
        guard let concept = try record.optionalWord(latent) else {
            throw record.failure("the record has no '\(latent.prefix(40))', which it calls latent")
        }
        guard let theme = try record.optionalWord("task") else {
            throw record.failure("the record has no task")
        }
        var sample = sample
        (sample.labels["latent"], sample.labels["concept"], sample.questionType) = (latent, concept, theme)
        return sample
    }

    /// The classes of a query with their images.
    private func supportOfClasses() throws -> [JSON.Member] {
        guard let classes = record.value("support")?.members else {
            throw record.failure("the record has no support")
        }
        return classes
    }

    /// The images of the named classes of a query.
    private func classes(_ names: [String]) throws -> [Sample] {
        let query = try record.id("id")
        let support = Dictionary(
            try supportOfClasses().map { ($0.key, $0.value) }, uniquingKeysWith: { first, _ in first })
        return try names.flatMap { name -> [Sample] in
            guard let content = support[name], let images = content["images"]?.array else {
                throw record.failure("the class '\(name.prefix(40))' has no list of images")
            }
            return try images.enumerated().map { number, image in
                var sample = try sample(
                    image, id: QuestionID("\(query)/\(name)/\(number)"),
                    question: try request(name, number, content))
                if task == "open_mi" { (sample.answers, sample.answer) = ([name], name) }
                (sample.labels["query"], sample.labels["class"]) = (query.text, name)
                return sample
            }
        }
    }

    /// What the image of a class is shown with (`utils/ICL_utils.py`).
    private func request(_ name: String, _ number: Int, _ content: JSON) throws -> String {
        if task == "open_mi" { return "This is a" }
        if task == "open_t2i_mi" { return "Generate a \(name)" }
        guard let captions = content["captions"]?.array, captions.indices.contains(number),
            let caption = captions[number].string
        else { throw record.failure("the class '\(name.prefix(40))' has not a caption for each image") }
        return task == "fast_attr_t2i" ? "Generate a \(caption)" : "Generate \(caption)"
    }

    /// The matching and the other pair of a record.
    private func pairs() throws -> [Sample] {
        let id = try record.id("id")
        return try ["same", "diff"].map { kind in
            guard let pair = record.value(kind), let question = pair["question"]?.string,
                let answer = pair["answer"].flatMap(JSONRecord.word)
            else { throw record.failure("the record has no '\(kind)' with question and answer") }
            var sample = try sample(pair["image"], id: QuestionID("\(id)/\(kind)"), question: question)
            (sample.answers, sample.answer) = ([answer], answer)
            return sample
        }
    }

    private func sample(_ image: JSON?, id: QuestionID, question: String) throws -> Sample {
        let paths = try names(image)
        var sample = Sample(id: id, imageID: paths.joined(separator: "|"), question: question)
        if let images { sample.images = try paths.map { try path($0, inside: images) } }
        sample.labels["task"] = task
        return sample
    }

    /// The names of one image or of a list of images.
    private func names(_ image: JSON?) throws -> [String] {
        let names = (image?.array ?? image.map { [$0] } ?? []).map(\.string)
        guard !names.isEmpty, names.allSatisfy({ $0 != nil }) else {
            throw record.failure("the image is no list of names")
        }
        return names.compactMap { $0 }
    }
}
