import Support

/// Everything that `report.html` shows. Plain data: whoever fills it needs to know nothing of HTML, and every text is
/// escaped when the page is made.
public struct ReportContent: Sendable {
    /// For example `DVP on MiniLM, easy-VQA`.
    public var title: String
    /// One line below the title; may be empty.
    public var subtitle = ""
    /// The score that the run is about.
    public var headline: Score
    /// What it has to be compared with: the same metric without the image, from priors, from the untrained model.
    public var baselines: [Score] = []
    /// Settings, costs and machine, in the order of the page.
    public var facts: [Fact] = []
    /// The training loss by step.
    public var loss: [LossPoint] = []
    /// What a search of the insertion layer found; nil without one.
    public var placement: Placement?
    /// Accuracy by the type of the question.
    public var questionTypes: [Group] = []
    /// Accuracy by the type of the answer.
    public var answerTypes: [Group] = []
    /// Test examples, right and wrong.
    public var examples: [Example] = []
    /// The command that repeats the run.
    public var reproduceCommand = ""
    /// A command that asks the trained model a question.
    public var askCommand = ""
    /// The resolved configuration, shown folded.
    public var configuration = ""
    /// Remarks that a reader must not miss, such as that the data set saturates.
    public var notes: [String] = []

    /// The least a page can show; the rest is filled in as far as it is known.
    public init(title: String, headline: Score) {
        self.title = title
        self.headline = headline
    }

    /// An accuracy in percent with its confidence interval.
    public struct Score: Sendable {
        /// What was measured.
        public var name: String
        /// Percent, 0 to 100.
        public var percent: Double
        /// The ends of the 95 % interval in percent.
        public var interval: ClosedRange<Double>?
        /// Questions it was measured on.
        public var count: Int?

        /// A score with what is known of its certainty.
        public init(name: String, percent: Double, interval: ClosedRange<Double>? = nil, count: Int? = nil) {
            self.name = name
            self.percent = percent
            self.interval = interval
            self.count = count
        }
    }

    /// A label and its value.
    public struct Fact: Sendable {
        /// The heading it stands under, such as `Training` or `Machine`.
        public var group: String
        /// What it is.
        public var label: String
        /// The value as it is to be read, with its unit.
        public var value: String

        /// A fact under a heading.
        public init(_ group: String, _ label: String, _ value: String) {
            self.group = group
            self.label = label
            self.value = value
        }
    }

    /// The loss of one optimiser step. Values that are not finite are left out of the curve and counted.
    public struct LossPoint: Sendable {
        /// Counted from the start of the run.
        public var step: Int
        /// The loss as it was optimised.
        public var loss: Double

        /// One point of the curve.
        public init(step: Int, loss: Double) {
            self.step = step
            self.loss = loss
        }
    }

    /// The accuracy of one type of question or answer.
    public struct Group: Sendable {
        /// The type's name.
        public var name: String
        /// Accuracy in percent, 0 to 100.
        public var percent: Double
        /// Questions of the type.
        public var count: Int

        /// One row of the chart.
        public init(name: String, percent: Double, count: Int) {
            self.name = name
            self.percent = percent
            self.count = count
        }
    }

    /// A search of the insertion layer.
    public struct Placement: Sendable {
        /// One layer.
        public struct Layer: Sendable {
            /// From 0.
            public var number: Int
            /// The bandit's preference α.
            public var preference: Double
            /// Its probability π, 0 to 1.
            public var probability: Double
            /// How often it was drawn.
            public var pulls: Int
            /// Its mean reward in points and half of the 95 % interval; nil when it was never drawn.
            public var reward: Double?
            /// Half of that mean's 95 % interval.
            public var margin: Double?
            /// Accuracy on the held-out questions with the prompt there, in percent.
            public var percent: Double

            /// What is known of a layer.
            public init(
                number: Int, preference: Double, probability: Double, pulls: Int, reward: Double?,
                margin: Double?, percent: Double
            ) {
                self.number = number
                self.preference = preference
                self.probability = probability
                self.pulls = pulls
                self.reward = reward
                self.margin = margin
                self.percent = percent
            }
        }

        /// The chosen layer.
        public var chosen: Int
        /// In the order of the layers.
        public var layers: [Layer]
        /// The policy along the search, one probability for each of ``layers``.
        public var history: [(step: Int, policy: [Double])]
        /// In words: how sure the choice is.
        public var verdict: String

        /// A finished search.
        public init(
            chosen: Int, layers: [Layer], history: [(step: Int, policy: [Double])], verdict: String
        ) {
            self.chosen = chosen
            self.layers = layers
            self.history = history
            self.verdict = verdict
        }
    }

    /// One test question with what was answered.
    public struct Example: Sendable {
        /// The bytes of a PNG, JPEG, GIF or WebP file; nil shows no image.
        public var image: [UInt8]?
        /// As it was asked.
        public var question: String
        /// The expected answers, the most frequent first.
        public var expected: [String]
        /// The model's answer after post-processing.
        public var prediction: String
        /// Whether it counts as right; the page can show either kind alone.
        public var isRight: Bool
        /// The score of a metric with shades, 0 to 1; shown when it is neither.
        public var score: Double?
        /// The most probable answers, best first.
        public var candidates: [Candidate] = []

        /// One card of the gallery.
        public init(
            image: [UInt8]?, question: String, expected: [String], prediction: String, isRight: Bool,
            score: Double? = nil, candidates: [Candidate] = []
        ) {
            self.image = image
            self.question = question
            self.expected = expected
            self.prediction = prediction
            self.isRight = isRight
            self.score = score
            self.candidates = candidates
        }
    }

    /// An answer and its probability, 0 to 1.
    public struct Candidate: Sendable {
        /// An answer the model considered.
        public var answer: String
        /// 0 to 1.
        public var probability: Double

        /// One bar of the card.
        public init(answer: String, probability: Double) {
            self.answer = answer
            self.probability = probability
        }
    }
}

extension ReportContent {
    /// The facts that a run's record holds, in the order of the page. What the record does not know is left out.
    public static func facts(of record: RunRecord) -> [Fact] {
        let (run, train, meta) = (record.runInfo, record.trainInfo, record.metaInfo)
        let share =
            train.totalParameters > 0
            ? " (\(decimal(100 * Double(train.trainableParameters) / Double(train.totalParameters), 3)) %)"
            : ""
        let machine = meta.machine
        let memory = (machine["memory_bytes"]?.integer).map {
            decimal(Double($0) / Double(1 << 30), 1) + " GiB"
        }
        let cores = (machine["logical_cores"]?.integer).map { "\($0) cores" }
        let all: [Fact] = [
            Fact("Setup", "Method", run.method), Fact("Setup", "Preset", run.preset),
            Fact("Setup", "Backbone", run.backbone), Fact("Setup", "Task", run.task),
            Fact("Setup", "Configuration", String(run.configurationSHA256.prefix(12))),
            Fact("Cost", "Trainable parameters", grouped(train.trainableParameters) + share),
            Fact("Cost", "All parameters", train.totalParameters > 0 ? grouped(train.totalParameters) : ""),
            Fact("Cost", "Adapter size", train.adapterBytes > 0 ? byteText(train.adapterBytes) : ""),
            Fact("Cost", "Steps", train.steps > 0 ? grouped(train.steps) : ""),
            Fact("Cost", "Training time", seconds(train.trainSeconds)),
            Fact("Cost", "Evaluation time", seconds(train.evaluationSeconds)),
            Fact("Cost", "Peak memory", train.peakMemoryBytes > 0 ? byteText(train.peakMemoryBytes) : ""),
            Fact("Machine", "Processor", machine["processor"]?.string ?? ""),
            Fact("Machine", "Cores and memory", [cores, memory].compactMap(\.self).joined(separator: ", ")),
            Fact("Machine", "System", machine["system"]?.string ?? ""),
            Fact("Machine", "Precision", meta.dtype),
            Fact("Machine", "Versions", versions(of: meta)), Fact("Machine", "Started", run.createdAt),
        ]
        return all.filter { !$0.value.isEmpty }
    }

    private static func seconds(_ value: Double) -> String {
        value <= 0 ? "" : value < 60 ? "\(decimal(value, 1)) s" : durationText(value)
    }

    private static func versions(of meta: RunRecord.MetaInfo) -> String {
        let program = meta.programVersion.isEmpty ? [] : ["vqa \(meta.programVersion)"]
        return (program + meta.libraries.sorted { $0.key < $1.key }.map { "\($0.key) \($0.value)" })
            .joined(separator: ", ")
    }
}
