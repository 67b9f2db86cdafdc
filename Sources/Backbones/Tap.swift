import Torch

/// A named place in a forward pass where a tensor can be read or replaced.
public enum TapSite: String, Sendable, CaseIterable {
    /// What enters a block, [B, T, D].
    case blockInput
    /// What the attention to the own sequence reads, [B, T, D]: after the norm of a pre-norm block; in a post-norm block
    /// (BERT, DeBERTa, Q-Former) the block's input, which the residual sum keeps as it was. Perceivers have no such site.
    case attentionInput
    /// The attention output after its projection, before the residual sum, [B, T, D].
    case attentionOutput
    /// The attention output of each head before the projection, [B, H, T, D/H].
    case headOutput
    /// The output of the attention to another sequence (an image, an encoder's output) after its projection, before the
    /// residual sum, [B, T, D]; only where there is one.
    case crossAttentionOutput
    /// The feed-forward output before the residual sum, [B, T, D].
    case mlpOutput
    /// What leaves a block, [B, T, D].
    case blockOutput
    /// The output of the last norm, [B, T, D]; its layer is the number of blocks.
    case finalNorm
}

/// Looks at, or replaces, the tensors that pass the sites of a backbone.
///
/// This is the one way into a forward pass: adapters, in-context vectors and debugging all use it.
public struct Tap {
    private let sites: Set<TapSite>
    private let body: (TapSite, Int, Tensor) throws -> Tensor

    /// - Parameters:
    ///   - sites: the sites to call `body` at.
    ///   - body: receives site, layer (from 0) and tensor; returns the tensor to go on with, of the same shape.
    public init(_ sites: Set<TapSite>, _ body: @escaping (TapSite, Int, Tensor) throws -> Tensor) {
        self.sites = sites
        self.body = body
    }

    func callAsFunction(_ site: TapSite, _ layer: Int, _ tensor: Tensor) throws -> Tensor {
        sites.contains(site) ? try body(site, layer, tensor) : tensor
    }
}

extension Tap? {
    /// The tensor to go on with at a site.
    func at(_ site: TapSite, _ layer: Int, _ tensor: Tensor) throws -> Tensor {
        guard let self else { return tensor }
        return try self(site, layer, tensor)
    }
}
