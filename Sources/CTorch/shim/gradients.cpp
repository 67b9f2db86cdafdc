// Autograd, autocast and optimiser steps.
#include "graph.hpp"
#include "shim.hpp"

#include <ATen/autocast_mode.h>
#include <torch/csrc/autograd/autograd.h>
#include <torch/csrc/autograd/function.h>
#include <torch/csrc/autograd/functions/utils.h>
#include <torch/csrc/autograd/variable.h>

#include <memory>

namespace ct {

namespace {

/// A node of the graph whose backward is a function of the caller.
struct CallbackNode : torch::autograd::Node {
    CTBackward backward;
    void *context;
    void (*releaseContext)(void *);

    CallbackNode(CTBackward backward, void *context, void (*releaseContext)(void *))
        : backward(backward), context(context), releaseContext(releaseContext) {}
    ~CallbackNode() override { release_variables(); }

    /// Called after a backward pass that does not retain the graph.
    void release_variables() override {
        if (context != nullptr) releaseContext(context);
        context = nullptr;
    }

    torch::autograd::variable_list apply(torch::autograd::variable_list &&gradients) override {
        TORCH_CHECK(context != nullptr, "trying to go backward through the graph a second time; retain it");
        TORCH_CHECK(!at::GradMode::is_enabled(), "the graph of a custom function has no second derivatives");
        std::vector<CTTensorOrNull> given;
        for (const at::Tensor &gradient : gradients)
            given.push_back(gradient.defined()
                                ? reinterpret_cast<CTTensorOrNull>(gradient.unsafeGetTensorImpl())
                                : nullptr);
        std::vector<CTTensorOrNull> results(num_outputs(), nullptr);
        char message[1024] = "";
        int32_t status = backward(context, given.data(), static_cast<int32_t>(given.size()), results.data(),
                                  static_cast<int32_t>(results.size()), message, sizeof message);
        torch::autograd::variable_list out;
        for (CTTensorOrNull result : results) out.push_back(result != nullptr ? take(result) : at::Tensor());
        if (status != CT_OK) throw CallbackFailed(message);
        return out;
    }
};

std::vector<at::Tensor> optionalList(const CTTensorOrNull *handles, int32_t n) {
    std::vector<at::Tensor> tensors;
    for (int32_t i = 0; i < n; i++) tensors.push_back(handles[i] != nullptr ? *Borrow(handles[i]) : at::Tensor());
    return tensors;
}

/// The fused updates walk the memory of a parameter, its gradient and its state side by side: all must be dense and
/// the gradient in the order of the parameter.
std::vector<at::Tensor> gradientsLike(const std::vector<at::Tensor> &parameters, const CTTensor *gradients) {
    std::vector<at::Tensor> found = list(gradients, static_cast<int32_t>(parameters.size()));
    for (size_t i = 0; i < parameters.size(); i++) {
        TORCH_CHECK(parameters[i].is_non_overlapping_and_dense(), "a parameter is a view with gaps");
        TORCH_CHECK(found[i].sizes() == parameters[i].sizes(), "a gradient has another shape than its parameter");
        if (found[i].strides() != parameters[i].strides())
            found[i] = at::empty_like(parameters[i], found[i].options()).copy_(found[i]);
    }
    return found;
}

std::vector<at::Tensor> stateLike(const std::vector<at::Tensor> &parameters, const CTTensor *states) {
    std::vector<at::Tensor> found = list(states, static_cast<int32_t>(parameters.size()));
    for (size_t i = 0; i < parameters.size(); i++)
        TORCH_CHECK(found[i].sizes() == parameters[i].sizes() && found[i].is_non_overlapping_and_dense(),
                    "the state of a parameter has another shape");
    return found;
}

at::DeviceType deviceType(int32_t kind) { return kind == CT_CUDA ? at::kCUDA : at::kCPU; }

}  // namespace

static void fillAutograd(CTTable &t) {
    t.requires_gradient = [](CTTensor a) noexcept -> bool { return Borrow(a)->requires_grad(); };
    t.is_leaf = [](CTTensor a) noexcept -> bool { return Borrow(a)->is_leaf(); };
    t.set_requires_gradient = [](CTTensor a, bool value) CT_FUNCTION {
        return guard("set_requires_gradient", {a}, [&] { Borrow(a)->set_requires_grad(value); });
    };
    t.detach = [](CTTensor a, CTTensorOrNull *out) CT_FUNCTION {
        return guard("detach", {a}, [&] { *out = give(Borrow(a)->detach()); });
    };
    t.gradient = [](CTTensor a, CTTensorOrNull *out) CT_FUNCTION {
        return guard("gradient", {a}, [&] {
            // Not Tensor::grad(), which prints a warning for tensors that are no leaves.
            at::Tensor gradient = Borrow(a)->unsafeGetTensorImpl()->grad();
            *out = gradient.defined() ? give(std::move(gradient)) : nullptr;
        });
    };
    t.set_gradient = [](CTTensor a, CTTensorOrNull gradient) CT_FUNCTION {
        return guard("set_gradient", {a, gradient}, [&] {
            Borrow tensor(a);
            if (gradient == nullptr) {
                tensor->mutable_grad() = at::Tensor();
                return;
            }
            Borrow value(gradient);
            TORCH_CHECK(value->sizes() == tensor->sizes(), "a gradient has the shape of its tensor");
            TORCH_CHECK(value->scalar_type() == tensor->scalar_type() && value->device() == tensor->device(),
                        "a gradient has the dtype and device of its tensor");
            tensor->mutable_grad() = *value;
        });
    };
    t.backward = [](const CTTensor *roots, const CTTensorOrNull *rootGradients, int32_t n, bool retainGraph,
                    bool createGraph) CT_FUNCTION {
        return guard("backward", {n > 0 ? roots[0] : nullptr}, [&] {
            torch::autograd::variable_list given;
            if (rootGradients != nullptr) given = optionalList(rootGradients, n);
            torch::autograd::backward(list(roots, n), given, retainGraph, createGraph);
        });
    };
    t.gradients = [](const CTTensor *outputs, int32_t outputCount, const CTTensorOrNull *outputGradients,
                     const CTTensor *inputs, int32_t inputCount, bool retainGraph, bool createGraph, bool allowUnused,
                     CTTensorOrNull *results) CT_FUNCTION {
        return guard("gradients", {outputCount > 0 ? outputs[0] : nullptr}, [&] {
            torch::autograd::variable_list given;
            if (outputGradients != nullptr) given = optionalList(outputGradients, outputCount);
            auto found = torch::autograd::grad(list(outputs, outputCount), list(inputs, inputCount), given,
                                               retainGraph, createGraph, allowUnused);
            for (int32_t i = 0; i < inputCount; i++) {
                at::Tensor &gradient = found[static_cast<size_t>(i)];
                results[i] = gradient.defined() ? give(std::move(gradient)) : nullptr;
            }
        });
    };
    t.custom_function = [](const CTTensor *inputs, int32_t inputCount, const CTTensor *values, int32_t valueCount,
                           CTBackward backward, void *context, void (*releaseContext)(void *),
                           CTTensorOrNull *results) CT_FUNCTION {
        return guard("custom_function", {}, [&] {
            // The node owns the context from here on, whatever happens below.
            NodePointer node = own(new CallbackNode(backward, context, releaseContext));
            node->set_next_edges(torch::autograd::collect_next_edges(list(inputs, inputCount)));
            std::vector<at::Tensor> outputs;
            for (int32_t i = 0; i < valueCount; i++) {
                outputs.push_back(Borrow(values[i])->detach());
                // Integers carry no gradient, but keep their place in the list that the callback receives.
                if (torch::autograd::isDifferentiableType(outputs.back().scalar_type()))
                    torch::autograd::set_history(outputs.back(), node);
                else node->add_input_metadata(torch::autograd::Node::undefined_input());
            }
            for (int32_t i = 0; i < valueCount; i++) results[i] = give(std::move(outputs[static_cast<size_t>(i)]));
        });
    };
    t.gradient_enabled = []() noexcept -> bool { return at::GradMode::is_enabled(); };
    t.set_gradient_enabled = [](bool value) noexcept { at::GradMode::set_enabled(value); };
}

static void fillAutocast(CTTable &t) {
    t.autocast_enabled = [](int32_t kind) noexcept -> bool {
        return at::autocast::is_autocast_enabled(deviceType(kind));
    };
    t.autocast_type = [](int32_t kind) noexcept -> int32_t {
        return at::autocast::get_autocast_dtype(deviceType(kind)) == at::kHalf ? CT_FLOAT16 : CT_BFLOAT16;
    };
    t.set_autocast = [](int32_t kind, bool enabled, int32_t type) CT_FUNCTION {
        return guard("autocast", {}, [&] {
            TORCH_CHECK(type == CT_FLOAT16 || type == CT_BFLOAT16, "autocast takes the dtype float16 or bfloat16");
            at::autocast::set_autocast_enabled(deviceType(kind), enabled);
            at::autocast::set_autocast_dtype(deviceType(kind), scalarType(type));
        });
    };
    t.clear_autocast_cache = []() noexcept { guard("autocast", {}, [] { at::autocast::clear_cache(); }); };
}

static void fillOptimisers(CTTable &t) {
    t.adam_step = [](const CTTensor *parameters, const CTTensor *gradients, const CTTensor *means,
                     const CTTensor *squares, const int64_t *steps, int32_t n, bool decoupled, double rate,
                     double beta1, double beta2, double decay, double epsilon) CT_FUNCTION {
        return guard("adam_step", {}, [&] {
            at::NoGradGuard noGradient;
            auto values = list(parameters, n), slopes = gradientsLike(values, gradients),
                 first = stateLike(values, means), second = stateLike(values, squares);
            std::vector<at::Tensor> counts;
            for (int32_t i = 0; i < n; i++) {
                at::TensorOptions scalar = at::device(values[static_cast<size_t>(i)].device()).dtype(at::kFloat);
                counts.push_back(at::full({}, static_cast<double>(steps[i]), scalar));
            }
            if (decoupled)
                at::_fused_adamw_(values, slopes, first, second, {}, counts, rate, beta1, beta2, decay, epsilon,
                                  /*amsgrad=*/false, /*maximize=*/false);
            else
                at::_fused_adam_(values, slopes, first, second, {}, counts, rate, beta1, beta2, decay, epsilon,
                                 /*amsgrad=*/false, /*maximize=*/false);
        });
    };
    t.adamw_original_step = [](const CTTensor *parameters, const CTTensor *gradients, const CTTensor *means,
                               const CTTensor *squares, const int64_t *steps, int32_t n, double rate, double beta1,
                               double beta2, double decay, double epsilon) CT_FUNCTION {
        return guard("adamw_original_step", {}, [&] {
            at::NoGradGuard noGradient;
            for (int32_t i = 0; i < n; i++) {
                double step = static_cast<double>(steps[i]);
                double size = rate * std::sqrt(1 - std::pow(beta2, step)) / (1 - std::pow(beta1, step));
                Borrow parameter(parameters[i]), gradient(gradients[i]), mean(means[i]), square(squares[i]);
                mean->mul_(beta1).add_(*gradient, 1 - beta1);
                square->mul_(beta2).addcmul_(*gradient, *gradient, 1 - beta2);
                parameter->addcdiv_(*mean, square->sqrt().add_(epsilon), -size);
                // Decay comes after the step, on the updated weight, with the plain rate.
                if (decay != 0) parameter->mul_(1 - rate * decay);
            }
        });
    };
    t.sgd_step = [](const CTTensor *parameters, const CTTensor *gradients, const CTTensor *momenta, int32_t n,
                    double rate, double momentum, double decay, bool nesterov) CT_FUNCTION {
        return guard("sgd_step", {}, [&] {
            at::NoGradGuard noGradient;
            auto values = list(parameters, n), slopes = gradientsLike(values, gradients);
            std::vector<at::Tensor> states;
            if (momentum != 0) states = stateLike(values, momenta);
            // Momentum starts at zero, so the first step needs no treatment of its own.
            at::_fused_sgd_(values, slopes, states, decay, momentum, rate, /*dampening=*/0, nesterov,
                            /*maximize=*/false, /*is_first_step=*/false);
        });
    };
    t.total_norm = [](const CTTensor *tensors, int32_t n, double *out) CT_FUNCTION {
        return guard("total_norm", {}, [&] {
            at::NoGradGuard noGradient;
            double sum = 0;
            for (int32_t i = 0; i < n; i++) {
                double norm = at::linalg_vector_norm(*Borrow(tensors[i]), 2, std::nullopt, false, at::kDouble)
                                  .item<double>();
                sum += norm * norm;
            }
            *out = std::sqrt(sum);
        });
    };
    t.scale_all = [](const CTTensor *tensors, int32_t n, double factor) CT_FUNCTION {
        return guard("scale_all", {}, [&] {
            at::NoGradGuard noGradient;
            at::_foreach_mul_(list(tensors, n), at::Scalar(factor));
        });
    };
}

void fillGradients(CTTable &t) {
    fillAutograd(t);
    fillAutocast(t);
    fillOptimisers(t);
}

}  // namespace ct
