// Nodes of the graph that are ours.
#pragma once

#include <torch/csrc/autograd/autograd.h>
#include <torch/csrc/autograd/function.h>
#include <torch/csrc/autograd/saved_variable.h>

#include <memory>
#include <type_traits>

namespace ct {

/// libtorch counts nodes with std::shared_ptr or, in later versions, with its own intrusive pointer.
using NodePointer = decltype(torch::autograd::Edge::function);

template <typename Pointer = NodePointer>
Pointer own(torch::autograd::Node *node) {
    if constexpr (std::is_same_v<Pointer, std::shared_ptr<torch::autograd::Node>>) return Pointer(node);
    else return Pointer::unsafe_steal_from_new(node);
}

/// The gradients of `inputs`, nothing for those that need none, from that of what `forward` computes of them in libtorch's
/// own operations. For those who differentiate a second time; the loops of ours cannot be.
template <typename Forward>
torch::autograd::variable_list differentiably(const torch::autograd::variable_list &inputs,
                                              const at::Tensor &gradient, Forward &&forward) {
    torch::autograd::variable_list wanted, result(inputs.size());
    for (const at::Tensor &input : inputs)
        if (input.requires_grad()) wanted.push_back(input);
    auto found = torch::autograd::grad({forward()}, wanted, {gradient}, /*retain_graph=*/true, /*create_graph=*/true);
    for (size_t i = 0, next = 0; i < inputs.size(); i++)
        if (inputs[i].requires_grad()) result[i] = found[next++];
    return result;
}

}  // namespace ct
