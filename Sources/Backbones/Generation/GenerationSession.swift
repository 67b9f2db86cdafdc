import Torch

/// What generation needs of a model with a prompt already given: a decoder, a joined model, or an encoder–decoder.
public protocol GenerationSession: AnyObject {
    /// Rows B of the batch at the moment.
    var rows: Int { get }

    /// Feeds the prompt and gives the scores of the next token, float32 [B, V]. Called once.
    func start() throws -> Tensor

    /// Feeds one more token a row and gives the scores of the one after it, float32 [rows, V].
    func step(_ tokens: [Int]) throws -> Tensor

    /// Makes row i of the state a copy of the former row `order[i]`; the number of rows may change.
    func reorder(_ order: [Int]) throws
}
