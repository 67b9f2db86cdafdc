// Layers that are one pass over memory here and half a dozen operations in libtorch.
#pragma once

#include <ATen/ATen.h>

#include <optional>

namespace ct {

/// As at::rms_norm; in one pass on the CPU for float32 with a weight over the last dimension.
at::Tensor rmsNorm(const at::Tensor &x, at::IntArrayRef shape, const std::optional<at::Tensor> &weight,
                   double epsilon);

/// silu(gate) · up; in one pass on the CPU for float32.
at::Tensor siluMultiply(const at::Tensor &gate, const at::Tensor &up);

}  // namespace ct
