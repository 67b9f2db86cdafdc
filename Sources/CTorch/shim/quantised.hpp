// What the files about packed weights share.
#pragma once

#include "kernels.hpp"
#include "shim.hpp"

namespace ct {

/// Looks at a tensor of packed weights; throws when it does not hold a matrix [out, in] of `bits` bits.
MatrixView packedView(const at::Tensor &packed, int32_t bits, int64_t out, int64_t in);

/// Looks at a matrix of floating-point numbers; throws unless it is contiguous, on the CPU and of a type in `Format`.
MatrixView plainView(const at::Tensor &weight);

}  // namespace ct
