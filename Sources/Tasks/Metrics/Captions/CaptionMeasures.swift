#if canImport(Glibc)
    import Glibc
#else
    import Darwin
#endif

/// BLEU, ROUGE-L and CIDEr of captions with several references each, equal to the COCO caption evaluation
/// (tylin/coco-caption; as a package `pycocoevalcap`) after ``CaptionTokenizer``.
public struct CaptionMeasures: Sendable {
    /// How CIDEr compares two captions.
    public enum CIDEr: Sendable {
        /// CIDEr-D, which the evaluation calls CIDEr: counts are clipped to the reference's, and captions of different
        /// lengths are alike to a lesser degree.
        case clipped
        /// The cosine of the tf-idf vectors alone, as first published (arXiv 1411.5726, equations 2 and 3).
        case plain
    }

    /// Sums that BLEU is made of; they add up over samples.
    public struct BLEUCounts: Sendable, Equatable {
        /// Words of the candidate that are in a reference, and the same for 2- to 4-grams.
        public var matches = [Double](repeating: 0, count: 4)
        /// All 1- to 4-grams of the candidate.
        public var total = [Double](repeating: 0, count: 4)
        /// The candidate's words.
        public var length = 0.0
        /// The words of the reference nearest in length, the shorter one of two.
        public var referenceLength = 0.0

        /// Of no caption yet.
        public init() {}

        /// Adds the counts of another caption.
        public mutating func add(_ other: BLEUCounts) {
            for order in matches.indices {
                matches[order] += other.matches[order]
                total[order] += other.total[order]
            }
            length += other.length
            referenceLength += other.referenceLength
        }
    }

    /// For each sample, from 0 to 10.
    public let cider: [Double]
    /// For each sample, from 0 to 1.
    public let rougeL: [Double]
    /// For each sample.
    public let bleu: [BLEUCounts]

    /// Measures `candidates` against `references`; both go together by position, and a sample without references scores 0.
    /// The document frequencies of CIDEr are those of these references.
    public init(candidates: [String], references: [[String]], cider kind: CIDEr = .clipped) {
        let tokenizer = CaptionTokenizer()
        self.init(
            candidateTokens: candidates.map { tokenizer.tokens(of: $0) },
            referenceTokens: references.map { $0.map { tokenizer.tokens(of: $0) } }, cider: kind)
    }

    /// Measures captions that are tokens already.
    public init(candidateTokens: [[String]], referenceTokens: [[[String]]], cider kind: CIDEr = .clipped) {
        let count = min(candidateTokens.count, referenceTokens.count)
        let captions = CaptionCounts(
            candidates: Array(candidateTokens.prefix(count)), references: Array(referenceTokens.prefix(count))
        )
        bleu = concurrently(count) { Self.bleuCounts(captions.candidates[$0], captions.references[$0]) }
        rougeL = concurrently(count) { Self.rougeL(captions.candidates[$0], captions.references[$0]) }
        cider = Self.cider(captions, kind)
    }

    /// BLEU-1 to BLEU-4 of summed counts, from 0 to 1.
    public static func bleu(of counts: BLEUCounts) -> [Double] {
        // The official program's guards against division by zero.
        let tiny = 1e-15
        let small = 1e-9
        var product = 1.0
        let ratio = (counts.length + tiny) / (counts.referenceLength + small)
        let brevity = ratio < 1 ? exp(1 - 1 / ratio) : 1
        return (0..<4).map { order in
            product *= (counts.matches[order] + tiny) / (counts.total[order] + small)
            return pow(product, 1 / Double(order + 1)) * brevity
        }
    }

    private static func bleuCounts(_ candidate: CountedCaption, _ references: [CountedCaption]) -> BLEUCounts
    {
        var result = BLEUCounts()
        result.length = Double(candidate.length)
        let nearest = references.map(\.length).min {
            (abs($0 - candidate.length), $0) < (abs($1 - candidate.length), $1)
        }
        result.referenceLength = Double(nearest ?? 0)
        for order in 0..<4 {
            let grams = candidate.grams[order]
            var most = [Int32](repeating: 0, count: grams.grams.count)
            for reference in references {
                forEachShared(grams, reference.grams[order]) { place, _, count in
                    most[place] = max(most[place], count)
                }
            }
            result.matches[order] = Double(zip(grams.counts, most).reduce(0) { $0 + min($1.0, $1.1) })
            result.total[order] = Double(max(0, candidate.length - order))
        }
        return result
    }

    /// Calls `body` with the positions of n-grams that both have, and the second one's count.
    private static func forEachShared(_ a: GramCounts, _ b: GramCounts, _ body: (Int, Int, Int32) -> Void) {
        var i = 0
        var j = 0
        while i < a.grams.count, j < b.grams.count {
            if a.grams[i] == b.grams[j] { body(i, j, b.counts[j]) }
            let step = a.grams[i] <= b.grams[j]
            if b.grams[j] <= a.grams[i] { j += 1 }
            if step { i += 1 }
        }
    }

    // MARK: ROUGE-L

    private static func rougeL(_ candidate: CountedCaption, _ references: [CountedCaption]) -> Double {
        let beta2 = 1.2 * 1.2
        var precision = 0.0
        var recall = 0.0
        for reference in references {
            let common = Double(longestCommon(candidate.tokens, reference.tokens))
            precision = max(precision, common / Double(candidate.tokens.count))
            recall = max(recall, common / Double(reference.tokens.count))
        }
        guard precision > 0, recall > 0 else { return 0 }
        return (1 + beta2) * precision * recall / (recall + beta2 * precision)
    }

    /// The length of the longest common subsequence. Bits stand for the places of `a`: a row of the usual table is one
    /// addition (Crochemore and others, 2001), so that even captions of thousands of words take no time.
    private static func longestCommon(_ a: [Int32], _ b: [Int32]) -> Int {
        let width = (a.count + 63) / 64
        var places: [Int32: [UInt64]] = [:]
        for (index, word) in a.enumerated() {
            places[word, default: [UInt64](repeating: 0, count: width)][index / 64] |= 1 << UInt64(index % 64)
        }
        var row = [UInt64](repeating: .max, count: width)
        for word in b {
            guard let matches = places[word] else { continue }
            var carry = false
            for part in 0..<width {
                let common = row[part] & matches[part]
                let (first, overflow) = row[part].addingReportingOverflow(common)
                let (sum, second) = first.addingReportingOverflow(carry ? 1 : 0)
                carry = overflow || second
                row[part] = sum | (row[part] & ~matches[part])
            }
        }
        return (0..<a.count).count { row[$0 / 64] >> UInt64($0 % 64) & 1 == 0 }
    }

    // MARK: CIDEr

    /// The tf-idf weights of a caption.
    private struct Weights {
        var values: [[Double]]
        var norms: [Double]
        var length: Double
    }

    private static func cider(_ captions: CaptionCounts, _ kind: CIDEr) -> [Double] {
        let rarity = (0..<4).map { rarities(captions, $0) }
        func weights(_ caption: CountedCaption) -> Weights {
            let values = (0..<4).map { order in
                zip(caption.grams[order].grams, caption.grams[order].counts).map {
                    Double($1) * rarity[order][Int($0)]
                }
            }
            // The official program takes the number of bigrams for the length.
            return Weights(
                values: values, norms: values.map { $0.reduce(0) { $0 + $1 * $1 }.squareRoot() },
                length: Double(max(0, caption.length - 1)))
        }
        return zip(captions.candidates, captions.references).map { candidate, references in
            guard !references.isEmpty else { return 0 }
            let own = weights(candidate)
            var sum = 0.0
            for reference in references {
                sum += similarity(candidate, own, reference, weights(reference), kind)
            }
            return 10 * sum / 4 / Double(references.count)
        }
    }

    /// ln(samples) − ln(samples with the n-gram in a reference), for each n-gram.
    private static func rarities(_ captions: CaptionCounts, _ order: Int) -> [Double] {
        var frequency = [Int32](repeating: 0, count: captions.gramCount(order))
        var lastSample = [Int](repeating: -1, count: captions.gramCount(order))
        for (sample, references) in captions.references.enumerated() {
            for reference in references {
                for gram in reference.grams[order].grams where lastSample[Int(gram)] != sample {
                    lastSample[Int(gram)] = sample
                    frequency[Int(gram)] += 1
                }
            }
        }
        let all = log(Double(max(1, captions.references.count)))
        return frequency.map { all - log(Double(max(1, $0))) }
    }

    private static func similarity(
        _ candidate: CountedCaption, _ own: Weights, _ reference: CountedCaption, _ other: Weights,
        _ kind: CIDEr
    ) -> Double {
        let difference = own.length - other.length
        let penalty = kind == .clipped ? exp(-difference * difference / 72) : 1
        var sum = 0.0
        for order in 0..<4 {
            var product = 0.0
            forEachShared(candidate.grams[order], reference.grams[order]) { place, otherPlace, _ in
                let weight = other.values[order][otherPlace]
                let mine = own.values[order][place]
                product += (kind == .clipped ? min(mine, weight) : mine) * weight
            }
            if own.norms[order] != 0, other.norms[order] != 0 {
                product /= own.norms[order] * other.norms[order]
            }
            sum += product * penalty
        }
        return sum
    }
}
