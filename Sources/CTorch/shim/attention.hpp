// Attention over few positions, faster than libtorch's.
#pragma once

#include <ATen/ATen.h>

#include <optional>

namespace ct {

/// Whether `shortAttention` computes it: on the CPU, float32, float16 or bfloat16, at most 128 positions of at most 256
/// numbers, with a mask [B or 1, H or 1, T or 1, S] without gradient, or none.
bool isShort(const at::Tensor &query, const at::Tensor &key, const at::Tensor &value,
             const std::optional<at::Tensor> &mask);

/// softmax(query keyᵀ · scale + mask) value for query [B, H, T, D], key and value [B, G, S, D] where G divides H. Sums are
/// in float32. It may be differentiated twice; a row that sees no key comes out as 0.
at::Tensor shortAttention(const at::Tensor &query, const at::Tensor &key, const at::Tensor &value,
                          const std::optional<at::Tensor> &mask, bool causal, double scale);

}  // namespace ct
