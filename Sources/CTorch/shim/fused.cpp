#include "fused.hpp"

#include <torch/csrc/autograd/functions/utils.h>
#include <torch/csrc/autograd/variable.h>

#include <vector>

#include "graph.hpp"
#include "kernels.hpp"
#include "team.hpp"

namespace ct {

namespace {

/// Threads that are worth waking for so many numbers.
int threadsFor(int64_t numbers) { return numbers < 16'384 ? 1 : teamSize(); }

bool isPlain(const at::Tensor &x) {
    return x.device().is_cpu() && x.layout() == at::kStrided && x.scalar_type() == at::kFloat && x.numel() > 0;
}

/// `count` rows of `size` numbers.
struct Rows {
    int64_t count, size;

    explicit Rows(const at::Tensor &x) : count(x.numel() / x.size(-1)), size(x.size(-1)) {}

    /// Runs body(first row, one past the last, thread), on all threads.
    template <typename Body>
    void share(Body &&body) const {
        auto piece = [&](int thread, int threads) {
            Share own(count, thread, threads);
            body(own.first, own.last, thread);
        };
        runTeam(piece, threadsFor(count * size));
    }
};

struct RMSNormNode : torch::autograd::Node {
    torch::autograd::SavedVariable input, scale;
    double epsilon;

    torch::autograd::variable_list apply(torch::autograd::variable_list &&gradients) override {
        if (!gradients[0].defined()) return torch::autograd::variable_list(2);
        at::Tensor x = input.unpack(), weight = scale.unpack();
        if (at::GradMode::is_enabled())
            return differentiably({x, weight}, gradients[0],
                                  [&] { return at::rms_norm(x, weight.sizes(), weight, epsilon); });
        at::Tensor from = x.contiguous(), factors = weight.contiguous(), arriving = gradients[0].contiguous();
        at::Tensor towards = at::empty(x.sizes(), x.options());
        Rows rows(x);
        // A row of sums for each thread, added up in their order: the same result in every run.
        at::Tensor sums;
        if (task_should_compute_output(1)) sums = at::zeros({teamSize(), rows.size}, x.options());
        const float *in = from.const_data_ptr<float>(), *w = factors.const_data_ptr<float>();
        const float *gradient = arriving.const_data_ptr<float>();
        float *out = towards.mutable_data_ptr<float>();
        float *partial = sums.defined() ? sums.mutable_data_ptr<float>() : nullptr;
        rows.share([&](int64_t first, int64_t last, int thread) {
            float *own = partial == nullptr ? nullptr : partial + thread * rows.size;
            for (int64_t at = first * rows.size; at < last * rows.size; at += rows.size)
                kernels().rmsNormGradient(in + at, w, gradient + at, rows.size, static_cast<float>(epsilon), out + at,
                                          own);
        });
        return {towards, sums.defined() ? sums.sum(0) : at::Tensor()};
    }

    void release_variables() override {
        input.reset_data();
        scale.reset_data();
    }
};

struct SiLUMultiplyNode : torch::autograd::Node {
    torch::autograd::SavedVariable gate, up;

    torch::autograd::variable_list apply(torch::autograd::variable_list &&gradients) override {
        if (!gradients[0].defined()) return torch::autograd::variable_list(2);
        at::Tensor a = gate.unpack(), b = up.unpack();
        if (at::GradMode::is_enabled())
            return differentiably({a, b}, gradients[0], [&] { return at::silu(a) * b; });
        at::Tensor gates = a.contiguous(), ups = b.contiguous(), arriving = gradients[0].contiguous();
        at::Tensor forGate = at::empty(a.sizes(), a.options()), forUp = at::empty(b.sizes(), b.options());
        const float *x = gates.const_data_ptr<float>(), *y = ups.const_data_ptr<float>();
        const float *gradient = arriving.const_data_ptr<float>();
        float *first = forGate.mutable_data_ptr<float>(), *second = forUp.mutable_data_ptr<float>();
        Rows rows(a);
        rows.share([&](int64_t begin, int64_t end, int) {
            int64_t at = begin * rows.size;
            kernels().siluMultiplyGradient(x + at, y + at, gradient + at, (end - begin) * rows.size, first + at,
                                           second + at);
        });
        return {forGate, forUp};
    }

    void release_variables() override {
        gate.reset_data();
        up.reset_data();
    }
};

}  // namespace

at::Tensor rmsNorm(const at::Tensor &x, at::IntArrayRef shape, const std::optional<at::Tensor> &weight,
                   double epsilon) {
    if (!weight || !isPlain(x) || !isPlain(*weight) || shape.size() != 1 || x.dim() == 0 || x.size(-1) != shape[0] ||
        weight->sizes() != shape)
        return at::rms_norm(x, shape, weight, epsilon);
    at::Tensor out;
    {
        at::NoGradGuard noGradient;
        at::Tensor from = x.contiguous(), factors = weight->contiguous();
        out = at::empty(x.sizes(), x.options());
        const float *in = from.const_data_ptr<float>(), *w = factors.const_data_ptr<float>();
        float *to = out.mutable_data_ptr<float>();
        Rows rows(x);
        rows.share([&](int64_t first, int64_t last, int) {
            for (int64_t at = first * rows.size; at < last * rows.size; at += rows.size)
                kernels().rmsNorm(in + at, w, rows.size, static_cast<float>(epsilon), to + at);
        });
    }
    if (!torch::autograd::compute_requires_grad(x, *weight)) return out;
    auto *node = new RMSNormNode;
    NodePointer kept = own(node);
    node->input = torch::autograd::SavedVariable(x, false);
    node->scale = torch::autograd::SavedVariable(*weight, false);
    node->epsilon = epsilon;
    node->set_next_edges(torch::autograd::collect_next_edges(x, *weight));
    torch::autograd::set_history(out, kept);
    return out;
}

at::Tensor siluMultiply(const at::Tensor &gate, const at::Tensor &up) {
    if (!isPlain(gate) || !isPlain(up) || gate.sizes() != up.sizes() || gate.dim() == 0) return at::silu(gate) * up;
    at::Tensor out;
    {
        at::NoGradGuard noGradient;
        at::Tensor gates = gate.contiguous(), ups = up.contiguous();
        out = at::empty(gate.sizes(), gate.options());
        const float *x = gates.const_data_ptr<float>(), *y = ups.const_data_ptr<float>();
        float *to = out.mutable_data_ptr<float>();
        Rows rows(gate);
        rows.share([&](int64_t first, int64_t last, int) {
            int64_t at = first * rows.size;
            kernels().siluMultiply(x + at, y + at, (last - first) * rows.size, to + at);
        });
    }
    if (!torch::autograd::compute_requires_grad(gate, up)) return out;
    auto *node = new SiLUMultiplyNode;
    NodePointer kept = own(node);
    node->gate = torch::autograd::SavedVariable(gate, false);
    node->up = torch::autograd::SavedVariable(up, false);
    node->set_next_edges(torch::autograd::collect_next_edges(gate, up));
    torch::autograd::set_history(out, kept);
    return out;
}

}  // namespace ct
