/// The share of right labels where the answers are a few fixed words; case and white space around them do not count.
public struct LabelAccuracy: AnswerMetric {
    /// The words that are answers.
    public let labels: [String]
    /// In reports.
    public let name: String

    /// Accuracy over `labels`.
    public init(labels: [String], name: String = "accuracy") {
        self.labels = labels
        self.name = name
    }

    /// 1 for the right label.
    public func scores(of answers: [String], for samples: [Sample]) -> [Double] {
        ExactMatch().scores(of: answers, for: samples)
    }

    /// True for one of the labels.
    public func isExpected(_ answer: String, for sample: Sample) -> Bool {
        labels.contains(answer[...].trimmed.lowercased())
    }
}

/// Accuracy of true and false with the share of sentences that are right for every image they were written for.
///
/// Source: lil-lab/nlvr, `nlvr/metrics_images.py` and `nlvr2/eval/metrics.py`, which call the accuracy precision. The
/// sample's label `sentence` names its sentence.
public struct ConsistencyAccuracy: AnswerMetric {
    /// The measure has no settings.
    public init() {}

    /// In reports.
    public let name = "accuracy"

    /// 1 for the right one of true and false.
    public func scores(of answers: [String], for samples: [Sample]) -> [Double] {
        ExactMatch().scores(of: answers, for: samples)
    }

    /// True for `true` and `false`, in any case of letters.
    public func isExpected(_ answer: String, for sample: Sample) -> Bool {
        ["true", "false"].contains(answer[...].trimmed.lowercased())
    }

    /// `consistency`, in per cent.
    public func figures(of answers: [String], for samples: [Sample]) -> Figures? {
        let groups = groupRows(scores(of: answers, for: samples), of: samples) {
            $0.labels["sentence"] ?? $0.id.text
        }
        return Figures(["consistency"], rows: groups.map { [$0.hit, $0.count] }) { sums in
            [percent(sums[0], of: sums[1])]
        }
    }
}
