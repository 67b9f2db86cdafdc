// Nodes of the graph that are ours.
#pragma once

#include <torch/csrc/autograd/function.h>

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

}  // namespace ct
