import Support
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

    /// Called before the losses of a step, numbered from 0.
    func beginStep(_ step: Int, epoch: Int) throws
    /// Called when the gradients of a step are there, before they are used.
    func beforeUpdate() throws
    /// Called after the update; what it gives is written beside the loss of the step.
    func endStep() throws -> [JSON.Member]
    /// What it keeps from step to step besides parameters, for checkpoints.
    var state: JSON { get }
    /// Goes on from a state that ``state`` gave.
    func restore(_ state: JSON, source: String) throws
}

extension Learner {
    /// Nothing.
    public func beginStep(_ step: Int, epoch: Int) throws {}
    /// Nothing.
    public func beforeUpdate() throws {}
    /// Nothing.
    public func endStep() throws -> [JSON.Member] { [] }
    /// Nothing.
    public var state: JSON { .null }
    /// Nothing.
    public func restore(_ state: JSON, source: String) throws {}
}
