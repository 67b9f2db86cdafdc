// Rotary positions as one operation: as slices, products and a concatenation it would go through the memory seven times.
#include "graph.hpp"
#include "shim.hpp"
#include "team.hpp"

#include <torch/csrc/autograd/autograd.h>
#include <torch/csrc/autograd/functions/utils.h>
#include <torch/csrc/autograd/variable.h>

namespace ct {

namespace {

/// x [B, H, T, D] and the tables [B or 1, T, R / 2]: number i < R / 2 of a head turns with number i + R / 2, and what is
/// beyond R stays.
struct Rotation {
    int64_t batches, heads, length, size, half;
    /// From one row of the tables to the next in B: 0 when all share one.
    int64_t tableStride;

    template <typename Number>
    void run(const at::Tensor &x, const float *cosines, const float *sines, Number *out) const {
        const Number *in = x.const_data_ptr<Number>();
        auto body = [&](int thread, int threads) {
            Share share(batches * heads * length, thread, threads);
            for (int64_t row = share.first; row < share.last; row++) {
                int64_t time = row % length, head = row / length % heads, batch = row / length / heads;
                const Number *from = in + batch * x.stride(0) + head * x.stride(1) + time * x.stride(2);
                const float *cosine = cosines + batch * tableStride + time * half,
                            *sine = sines + batch * tableStride + time * half;
                Number *to = out + row * size;
                for (int64_t i = 0; i < half; i++) {
                    float first = from[i], second = from[i + half];
                    to[i] = static_cast<Number>(first * cosine[i] - second * sine[i]);
                    to[i + half] = static_cast<Number>(second * cosine[i] + first * sine[i]);
                }
                for (int64_t i = 2 * half; i < size; i++) to[i] = from[i];
            }
        };
        runTeam(body);
    }
};

at::Tensor compute(const at::Tensor &input, const at::Tensor &cosines, const at::Tensor &sines) {
    at::NoGradGuard noGradient;
    at::Tensor x = input.stride(3) == 1 ? input : input.contiguous();
    at::Tensor out = at::empty(x.sizes(), x.options());
    int64_t half = cosines.size(2);
    Rotation rotation{x.size(0), x.size(1), x.size(2), x.size(3), half, cosines.size(0) == 1 ? 0 : x.size(2) * half};
    const float *cosine = cosines.const_data_ptr<float>(), *sine = sines.const_data_ptr<float>();
    switch (x.scalar_type()) {
        case at::kFloat: rotation.run(x, cosine, sine, out.mutable_data_ptr<float>()); break;
        case at::kHalf: rotation.run(x, cosine, sine, out.mutable_data_ptr<at::Half>()); break;
        case at::kBFloat16: rotation.run(x, cosine, sine, out.mutable_data_ptr<at::BFloat16>()); break;
        default: TORCH_CHECK(false, "rotation takes the dtype float32, float16 or bfloat16, not ", x.scalar_type());
    }
    return out;
}

at::Tensor rotate(const at::Tensor &x, const at::Tensor &cosines, const at::Tensor &sines);

/// The gradient turns back by the same angle.
struct RotationNode : torch::autograd::Node {
    at::Tensor cosines, sines;

    torch::autograd::variable_list apply(torch::autograd::variable_list &&gradients) override {
        if (!gradients[0].defined()) return {at::Tensor()};
        return {rotate(gradients[0], cosines, sines.neg())};
    }
};

at::Tensor rotate(const at::Tensor &x, const at::Tensor &cosines, const at::Tensor &sines) {
    at::Tensor out = compute(x, cosines, sines);
    if (!at::GradMode::is_enabled() || !x.requires_grad()) return out;
    auto *node = new RotationNode;
    NodePointer kept = own(node);
    node->cosines = cosines;
    node->sines = sines;
    node->set_next_edges(torch::autograd::collect_next_edges(x));
    torch::autograd::set_history(out, kept);
    return out;
}

}  // namespace

void fillRotary(CTTable &t) {
    t.rotary = [](CTTensor input, CTTensor cosines, CTTensor sines, CTTensorOrNull *out) CT_FUNCTION {
        return guard("rotary", {input, cosines, sines}, [&] {
            Borrow x(input), cosine(cosines), sine(sines);
            TORCH_CHECK(x->device().is_cpu() && x->dim() == 4, "the input is [B, H, T, D] on the CPU");
            TORCH_CHECK(cosine->dim() == 3 && cosine->sizes() == sine->sizes() &&
                            (cosine->size(0) == 1 || cosine->size(0) == x->size(0)) && cosine->size(1) == x->size(2) &&
                            2 * cosine->size(2) <= x->size(3),
                        "cosines and sines are [B or 1, T, at most D / 2]");
            auto table = [](const at::Tensor &given) {
                return given.detach().to(at::kCPU, at::kFloat).contiguous();
            };
            *out = give(rotate(*x, table(*cosine), table(*sine)));
        });
    };
}

}  // namespace ct
