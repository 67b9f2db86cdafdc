// Layers and losses.
#include "attention.hpp"
#include "fused.hpp"
#include "shim.hpp"

namespace ct {

namespace {

at::Tensor interpolate(const at::Tensor &input, at::IntArrayRef size, int32_t mode, bool alignCorners,
                       bool antialias) {
    TORCH_CHECK(!antialias || mode != CT_NEAREST, "nearest interpolation has no antialiasing");
    switch (mode) {
        case CT_NEAREST: return at::upsample_nearest2d(input, size);
        case CT_BILINEAR:
            return antialias ? at::_upsample_bilinear2d_aa(input, size, alignCorners)
                             : at::upsample_bilinear2d(input, size, alignCorners);
        case CT_BICUBIC:
            return antialias ? at::_upsample_bicubic2d_aa(input, size, alignCorners)
                             : at::upsample_bicubic2d(input, size, alignCorners);
        default: TORCH_CHECK(false, "unknown interpolation ", mode);
    }
}

}  // namespace

static void fillNeuralLayers(CTTable &t) {
    t.convolution = [](CTTensor input, CTTensor weight, CTTensorOrNull bias, const int64_t *stride,
                       const int64_t *padding, const int64_t *dilation, int64_t groups,
                       CTTensorOrNull *out) CT_FUNCTION {
        return guard("convolution", {input, weight, bias}, [&] {
            *out = give(at::conv2d(*Borrow(input), *Borrow(weight), optional(bias), dims(stride, 2), dims(padding, 2),
                                   dims(dilation, 2), groups));
        });
    };
    t.layer_norm = [](CTTensor input, const int64_t *shape, int32_t n, CTTensorOrNull weight, CTTensorOrNull bias,
                      double epsilon, CTTensorOrNull *out) CT_FUNCTION {
        return guard("layer_norm", {input, weight, bias}, [&] {
            *out = give(at::layer_norm(*Borrow(input), dims(shape, n), optional(weight), optional(bias), epsilon));
        });
    };
    t.rms_norm = [](CTTensor input, const int64_t *shape, int32_t n, CTTensorOrNull weight, double epsilon,
                    CTTensorOrNull *out) CT_FUNCTION {
        return guard("rms_norm", {input, weight}, [&] {
            *out = give(rmsNorm(*Borrow(input), dims(shape, n), optional(weight), epsilon));
        });
    };
    t.silu_multiply = [](CTTensor gate, CTTensor up, CTTensorOrNull *out) CT_FUNCTION {
        return guard("silu_multiply", {gate, up}, [&] { *out = give(siluMultiply(*Borrow(gate), *Borrow(up))); });
    };
    t.batch_norm = [](CTTensor input, CTTensorOrNull weight, CTTensorOrNull bias, CTTensor mean, CTTensor variance,
                      bool training, double momentum, double epsilon, CTTensorOrNull *out) CT_FUNCTION {
        return guard("batch_norm", {input, weight, bias, mean, variance}, [&] {
            *out = give(at::batch_norm(*Borrow(input), optional(weight), optional(bias), optional(mean),
                                       optional(variance), training, momentum, epsilon, /*cudnn_enabled=*/true));
        });
    };
    t.group_norm = [](CTTensor input, int64_t groups, CTTensorOrNull weight, CTTensorOrNull bias, double epsilon,
                      CTTensorOrNull *out) CT_FUNCTION {
        return guard("group_norm", {input, weight, bias}, [&] {
            *out = give(at::group_norm(*Borrow(input), groups, optional(weight), optional(bias), epsilon));
        });
    };
    t.embedding = [](CTTensor weight, CTTensor indices, CTTensorOrNull *out) CT_FUNCTION {
        return guard("embedding", {weight, indices},
                     [&] { *out = give(at::embedding(*Borrow(weight), *Borrow(indices))); });
    };
    t.dropout = [](CTTensor input, double probability, CTTensorOrNull *out) CT_FUNCTION {
        return guard("dropout", {input}, [&] { *out = give(at::dropout(*Borrow(input), probability, true)); });
    };
    t.attention = [](CTTensor query, CTTensor key, CTTensor value, CTTensorOrNull mask, double dropout, bool causal,
                     double scale, bool grouped, CTTensorOrNull *out) CT_FUNCTION {
        return guard("attention", {query, key, value, mask}, [&] {
            // Some of libtorch's kernels combine the two, others refuse.
            TORCH_CHECK(mask == nullptr || !causal, "give a mask or causal, not both");
            Borrow q(query), k(key), v(value);
            std::optional<at::Tensor> m = optional(mask);
            bool own = dropout == 0 && (grouped || q->dim() != 4 || k->dim() != 4 || q->size(1) == k->size(1)) &&
                       isShort(*q, *k, *v, m);
            *out = give(own ? shortAttention(*q, *k, *v, m, causal, scale)
                            : at::scaled_dot_product_attention(*q, *k, *v, m, dropout, causal, scale, grouped));
        });
    };
    t.average_pool = [](CTTensor input, int64_t height, int64_t width, CTTensorOrNull *out) CT_FUNCTION {
        return guard("average_pool", {input},
                     [&] { *out = give(at::adaptive_avg_pool2d(*Borrow(input), {height, width})); });
    };
    t.max_pool = [](CTTensor input, int64_t kernel, int64_t stride, int64_t padding, CTTensorOrNull *out) CT_FUNCTION {
        return guard("max_pool", {input},
                     [&] { *out = give(at::max_pool2d(*Borrow(input), kernel, stride, padding)); });
    };
    t.interpolate = [](CTTensor input, int64_t height, int64_t width, int32_t mode, bool alignCorners, bool antialias,
                       CTTensorOrNull *out) CT_FUNCTION {
        return guard("interpolate", {input}, [&] {
            *out = give(interpolate(*Borrow(input), {height, width}, mode, alignCorners, antialias));
        });
    };
}

static void fillLosses(CTTable &t) {
    t.cross_entropy = [](CTTensor logits, CTTensor target, CTTensorOrNull weight, int32_t reduction,
                         int64_t ignoreIndex, double smoothing, CTTensorOrNull *out) CT_FUNCTION {
        return guard("cross_entropy", {logits, target, weight}, [&] {
            *out = give(at::cross_entropy_loss(*Borrow(logits), *Borrow(target), optional(weight), reduction,
                                               ignoreIndex, smoothing));
        });
    };
    t.binary_cross_entropy = [](CTTensor logits, CTTensor target, CTTensorOrNull weight,
                                CTTensorOrNull positiveWeight, int32_t reduction, CTTensorOrNull *out) CT_FUNCTION {
        return guard("binary_cross_entropy", {logits, target, weight, positiveWeight}, [&] {
            *out = give(at::binary_cross_entropy_with_logits(*Borrow(logits), *Borrow(target), optional(weight),
                                                             optional(positiveWeight), reduction));
        });
    };
    t.kl_divergence = [](CTTensor input, CTTensor target, int32_t reduction, bool logTarget,
                         CTTensorOrNull *out) CT_FUNCTION {
        return guard("kl_divergence", {input, target},
                     [&] { *out = give(at::kl_div(*Borrow(input), *Borrow(target), reduction, logTarget)); });
    };
    t.mean_squared_error = [](CTTensor input, CTTensor target, int32_t reduction, CTTensorOrNull *out) CT_FUNCTION {
        return guard("mean_squared_error", {input, target},
                     [&] { *out = give(at::mse_loss(*Borrow(input), *Borrow(target), reduction)); });
    };
    t.absolute_error = [](CTTensor input, CTTensor target, int32_t reduction, CTTensorOrNull *out) CT_FUNCTION {
        return guard("absolute_error", {input, target},
                     [&] { *out = give(at::l1_loss(*Borrow(input), *Borrow(target), reduction)); });
    };
}

void fillLayers(CTTable &t) {
    fillNeuralLayers(t);
    fillLosses(t);
}

}  // namespace ct
