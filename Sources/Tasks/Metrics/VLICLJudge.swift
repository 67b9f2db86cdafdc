import Support

/// VL-ICL Bench's score of drawn images, from what its judge said about them. No judge is run here: the benchmark asks
/// LLaVA-1.6 (7B, Vicuna) about each image that the model under test has drawn, and takes a reply with `yes` in it, in any
/// case of letters, for agreement.
///
/// Source: ys-zong/VL-ICL, `evals/eval.py`. Its functions for `fast_count_t2i` and `fast_attr_t2i` are called there but not
/// published, so that these two have no score here.
public enum VLICLJudge {
    /// What the judge is asked about the image that was drawn for `query`: one question for `open_t2i_mi`; two for `cobsat`,
    /// about the concept that had to be inferred and about the one that was said.
    ///
    /// - Throws: for a sample of another task.
    public static func questions(about query: Sample) throws -> [String] {
        switch query.labels["task"] {
        case "open_t2i_mi":
            return try concepts(["answer"], of: query).map {
                "Decide whether the image contains \($0). Answer with 'yes' or 'no'.\n"
            }
        case "cobsat":
            return try concepts(["latent", "non_latent"], of: query).map {
                "Decide whether the image contains the following concept: \($0). Answer with 'yes' or 'no'.\n"
            }
        case let task:
            throw VQAError(
                "cannot score the replies of a judge", at: "query \(query.id)",
                because: "the benchmark has published no judge's questions for \(task ?? "this task")",
                remedy: "only open_t2i_mi and cobsat have them")
        }
    }

    /// The figures of the benchmark's program, in per cent: `total`, and for `cobsat` also `latent` and `non_latent`. An
    /// image for `cobsat` counts in `total` when the judge agreed to both questions.
    ///
    /// - Parameters:
    ///   - replies: for each query the replies to its ``questions(about:)``, in their order.
    ///   - queries: of one task.
    public static func scores(of replies: [[String]], for queries: [Sample]) throws -> [String: Double] {
        func refuse(_ place: String, _ why: String) -> VQAError {
            VQAError("cannot score the replies of a judge", at: place, because: why)
        }
        guard let first = queries.first else { throw refuse("the queries", "there are none") }
        guard replies.count == queries.count else {
            throw refuse("the replies", "there are \(replies.count) for \(queries.count) queries")
        }
        let task = first.labels["task"]
        var sums = [0, 0, 0]
        for (texts, query) in zip(replies, queries) {
            let asked = try questions(about: query).count
            guard query.labels["task"] == task, texts.count == asked else {
                throw refuse(
                    "query \(query.id)",
                    query.labels["task"] == task
                        ? "it has \(texts.count) replies to \(asked) questions" : "it is of another task")
            }
            let agreed = texts.map { $0.lowercased().contains("yes") }
            sums[0] += agreed.allSatisfy { $0 } ? 1 : 0
            for (position, agrees) in agreed.enumerated() where agrees { sums[position + 1] += 1 }
        }
        let shares = sums.map { percent(Double($0), of: Double(queries.count)) }
        return task == "cobsat"
            ? ["total": shares[0], "latent": shares[1], "non_latent": shares[2]] : ["total": shares[0]]
    }

    private static func concepts(_ keys: [String], of query: Sample) throws -> [String] {
        try keys.map { key in
            guard let concept = query.passages[key] else {
                throw VQAError(
                    "cannot ask a judge", at: "query \(query.id)",
                    because: "the sample has no '\(key)' to look for",
                    remedy: "give a query, not a demonstration")
            }
            return concept
        }
    }
}
