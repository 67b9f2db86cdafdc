/// Brings an answer to the form of a data set's references.
public protocol AnswerStemmer: Sendable {
    /// The name in reports.
    var name: String { get }
    /// The stemmed answer.
    func stem(_ answer: String) -> String
}

/// The stemming of OK-VQA's answers (LIVE's spec 6.3): word by word a table made by hand, else the verb of a form in `-ing`,
/// else the singular of a plural noun.
///
/// The data set's own program asks a tagger which words are plural nouns, and WordNet which verbs there are. Here a word is
/// taken for a plural when the rules give another word and it ends as plurals do, and the verb of a form in `-ing` comes
/// from spelling rules with a list of exceptions; `docs/data.md` says how often the two differ. Another program can take its
/// place: ``OKVQA/stemmer``.
public struct OKVQAStemmer: AnswerStemmer {
    /// There are no settings.
    public init() {}

    /// In reports.
    public let name = "stemmed"

    /// Stems each word; words are joined by single spaces.
    public func stem(_ answer: String) -> String {
        answer.split(whereSeparator: \.isWhitespace).map { stemmed(word: String($0)) }.joined(separator: " ")
    }

    private func stemmed(word: String) -> String {
        if let found = Self.table[word] { return found }
        if word.hasSuffix("ing"), let verb = Self.verb(ofForm: word) { return verb }
        return Self.isPluralLike(word) ? singular(of: word) : word
    }

    // MARK: Plurals

    /// Without a tagger: words in `-s` that are no third person or adjective by their ending, and the irregular plurals.
    private static func isPluralLike(_ word: String) -> Bool {
        if irregular.contains(where: { word == $0.0 }) || ["mice", "lice", "oxen"].contains(word) {
            return true
        }
        return word.count > 3 && word.hasSuffix("s") && !["ss", "us", "is"].contains { word.hasSuffix($0) }
    }

    /// Words with the same singular and plural.
    private static let uncountable: Set<String> = [
        "equipment", "fish", "information", "jeans", "money", "rice", "series", "sheep", "species",
    ]

    private static let irregular = [
        ("zombies", "zombie"), ("kine", "cow"), ("moves", "move"), ("sexes", "sex"), ("children", "child"),
        ("humans", "human"), ("men", "man"), ("people", "person"),
    ]

    /// Rules that look at the whole word.
    private static let wholeWords = ["oxen": "ox", "axes": "axis"]

    /// Endings and what takes their place, tried in this order; a set of letters must come before some of them.
    private static let endings: [(ending: String, after: Set<Character>?, stem: String)] = [
        ("databases", nil, "database"), ("quizzes", nil, "quiz"), ("matrices", nil, "matrix"),
        ("vertices", nil, "vertex"), ("indices", nil, "index"), ("passersby", nil, "passerby"),
        ("aliases", nil, "alias"), ("statuses", nil, "status"), ("octopi", nil, "octopus"),
        ("viri", nil, "virus"), ("crises", nil, "crisis"), ("testes", nil, "testis"), ("shoes", nil, "shoe"),
        ("oes", nil, "o"), ("buses", nil, "bus"), ("mice", nil, "mouse"), ("lice", nil, "louse"),
        ("xes", nil, "x"), ("ches", nil, "ch"), ("sses", nil, "ss"), ("shes", nil, "sh"),
        ("movies", nil, "movie"), ("series", nil, "series"), ("quies", nil, "quy"),
        ("ies", Set("bcdfghjklmnpqrstvwxyz"), "y"), ("lves", nil, "lf"), ("rves", nil, "rf"),
        ("tives", nil, "tive"), ("hives", nil, "hive"), ("ves", Set("abcdeghijklmnopqrstuvwxyz"), "fe"),
        ("analyses", nil, "analysis"), ("diagnoses", nil, "diagnosis"), ("parentheses", nil, "parenthesis"),
        ("prognoses", nil, "prognosis"), ("synopses", nil, "synopsis"), ("theses", nil, "thesis"),
        ("ta", nil, "tum"), ("ia", nil, "ium"), ("news", nil, "news"), ("ss", nil, "ss"), ("s", nil, ""),
    ]

    /// The singular by the rules of Rails' inflector, which the data set's program took over.
    func singular(of word: String) -> String {
        if Self.uncountable.contains(where: { word.hasSuffix($0) }) { return word }
        if let found = Self.irregular.first(where: { word == $0.0 || word.hasSuffix($0.0) && word.count > 6 })
        {
            return word.dropLast(found.0.count) + found.1
        }
        if let found = Self.wholeWords[word] { return found }
        for rule in Self.endings where word.hasSuffix(rule.ending) {
            let rest = word.dropLast(rule.ending.count)
            if let after = rule.after, !(rest.last.map(after.contains) ?? false) { continue }
            return rest + rule.stem
        }
        return word
    }
}
