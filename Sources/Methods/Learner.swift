import Torch

/// What the training loop needs from a method: a loss for a list of items, and what it trains.
public protocol Learner: AnyObject {
    /// Number of training items; the loop numbers them from 0.
    var itemCount: Int { get }
    /// The cost of an item, for grouping similar ones; its token count.
    func length(of item: Int) -> Int
    /// The trained parameters with their names, in a fixed order.
    func trained() throws -> [NamedTensor]
    /// The same, grouped for the optimiser.
    func groups(decay: Double, headRateScale: Double) throws -> [ParameterGroup]
    /// The mean loss over `items`, recorded for gradients; dropout draws from the default generator.
    func loss(_ items: [Int]) throws -> Tensor
}
