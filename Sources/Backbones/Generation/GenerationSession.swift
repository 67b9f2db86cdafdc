import Torch

/// What generation needs of a model with a prompt already given (decoder LM, VLM, or T5's decoder).
///
/// Legend: B rows of the batch, V vocabulary.
public protocol GenerationSession: AnyObject {
    /// Rows B of the batch at the moment.
    var rows: Int { get }
    /// Feeds the prompt; logits of the next token, float32 [B, V]. Called once.
    func start() throws -> Tensor
    /// Feeds one more token a row (int64 values, count == rows); logits of the next token, float32 [rows, V].
    func step(_ tokens: [Int]) throws -> Tensor
    /// Makes row i of the state a copy of the former row `order[i]` (beam search, several return sequences); may
    /// change the number of rows.
    func reorder(_ order: [Int]) throws
}

/// Why a sequence ends where it ends.
public enum FinishReason: String, Sendable {
    /// Its last token is an end-of-sequence token.
    case eos
    /// The longest allowed length was reached.
    case length
    /// Its last token completes one of the stop strings.
    case stopString
    /// The caller stopped the generation.
    case cancelled
}

/// What was generated after one prompt.
public struct GeneratedSequence: Sendable, Equatable {
    /// Which prompt it continues, from 0.
    public let prompt: Int
    /// The new tokens, an end-of-sequence token included; neither prompt nor padding.
    public let ids: [Int]
    /// Beam search: the sum of log-probabilities divided by length^`lengthPenalty`, the reference's
    /// `sequences_scores`. Nil without beams.
    public let score: Float?
    /// Why it ends.
    public let reason: FinishReason
}
