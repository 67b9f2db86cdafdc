// Arithmetic, reductions, order and products.
#include "shim.hpp"

#include <cmath>
#include <iterator>

namespace ct {

namespace {

at::Tensor unary(CTUnary operation, const at::Tensor &a) {
    switch (operation) {
        case CT_NEG: return a.neg();
        case CT_ABS: return a.abs();
        case CT_SIGN: return a.sign();
        case CT_EXP: return a.exp();
        case CT_LOG: return a.log();
        case CT_LOG1P: return a.log1p();
        case CT_EXPM1: return a.expm1();
        case CT_SQRT: return a.sqrt();
        case CT_RSQRT: return a.rsqrt();
        case CT_SQUARE: return a.square();
        case CT_RECIPROCAL: return a.reciprocal();
        case CT_SIN: return a.sin();
        case CT_COS: return a.cos();
        case CT_TANH: return a.tanh();
        case CT_SIGMOID: return a.sigmoid();
        case CT_LOGSIGMOID: return at::log_sigmoid(a);
        case CT_SOFTPLUS: return at::softplus(a);
        case CT_ERF: return a.erf();
        case CT_RELU: return a.relu();
        case CT_RELU6: return at::clamp(a, 0, 6);
        case CT_SILU: return at::silu(a);
        case CT_GELU: return at::gelu(a);
        case CT_GELU_TANH: return at::gelu(a, "tanh");
        case CT_QUICK_GELU: return a * at::sigmoid(a * 1.702);
        case CT_FLOOR: return a.floor();
        case CT_CEIL: return a.ceil();
        case CT_ROUND: return a.round();
        case CT_ISNAN: return a.isnan();
        case CT_ISFINITE: return a.isfinite();
        case CT_LOGICAL_NOT: return a.logical_not();
    }
    TORCH_CHECK(false, "unknown operation ", static_cast<int>(operation));
}

template <typename Operand>
at::Tensor binary(CTBinary operation, const at::Tensor &a, const Operand &b) {
    switch (operation) {
        case CT_ADD: return at::add(a, b);
        case CT_SUB: return at::sub(a, b);
        case CT_MUL: return at::mul(a, b);
        case CT_DIV: return at::div(a, b);
        case CT_FLOOR_DIVIDE: return at::floor_divide(a, b);
        case CT_REMAINDER: return at::remainder(a, b);
        case CT_POW: return at::pow(a, b);
        case CT_EQ: return at::eq(a, b);
        case CT_NE: return at::ne(a, b);
        case CT_LT: return at::lt(a, b);
        case CT_LE: return at::le(a, b);
        case CT_GT: return at::gt(a, b);
        case CT_GE: return at::ge(a, b);
        case CT_MAXIMUM:
            if constexpr (std::is_same_v<Operand, at::Tensor>) return at::maximum(a, b);
            else return at::clamp_min(a, b);
        case CT_MINIMUM:
            if constexpr (std::is_same_v<Operand, at::Tensor>) return at::minimum(a, b);
            else return at::clamp_max(a, b);
        case CT_LOGICAL_AND:
        case CT_LOGICAL_OR:
            if constexpr (std::is_same_v<Operand, at::Tensor>)
                return operation == CT_LOGICAL_AND ? at::logical_and(a, b) : at::logical_or(a, b);
            break;
    }
    TORCH_CHECK(false, "this operation takes no number as its second argument");
}

at::Tensor reduce(CTReduction operation, const at::Tensor &a, at::IntArrayRef over, bool keep) {
    std::vector<int64_t> all;
    if (over.empty()) {
        for (int64_t i = 0; i < a.dim(); i++) all.push_back(i);
        over = all;
    }
    switch (operation) {
        case CT_SUM: return at::sum(a, over, keep);
        case CT_MEAN: return at::mean(a, over, keep);
        case CT_AMAX: return at::amax(a, over, keep);
        case CT_AMIN: return at::amin(a, over, keep);
        case CT_ANY: return at::any(a, at::OptionalIntArrayRef(over), keep);
        case CT_ALL: return at::all(a, at::OptionalIntArrayRef(over), keep);
        case CT_LOGSUMEXP: return at::logsumexp(a, over, keep);
        case CT_VAR: return at::var(a, over, std::optional<at::Scalar>(0), keep);
        case CT_VAR_UNBIASED: return at::var(a, over, std::optional<at::Scalar>(1), keep);
        case CT_NORM2: return at::linalg_vector_norm(a, 2, over, keep);
        case CT_PROD:
            TORCH_CHECK(over.size() == 1, "a product takes one dimension");
            return at::prod(a, over[0], keep);
    }
    TORCH_CHECK(false, "unknown reduction ", static_cast<int>(operation));
}

const char *const unaryNames[] = {
    "neg", "abs", "sign", "exp", "log", "log1p", "expm1", "sqrt", "rsqrt", "square", "reciprocal", "sin", "cos",
    "tanh", "sigmoid", "logsigmoid", "softplus", "erf", "relu", "relu6", "silu", "gelu", "gelu_tanh", "quick_gelu",
    "floor", "ceil", "round", "isnan", "isfinite", "logical_not",
};
const char *const binaryNames[] = {
    "add", "sub", "mul", "div", "floor_divide", "remainder", "pow", "maximum", "minimum", "eq", "ne", "lt", "le",
    "gt", "ge", "logical_and", "logical_or",
};
const char *const reductionNames[] = {
    "sum", "mean", "amax", "amin", "prod", "any", "all", "logsumexp", "var", "var_unbiased", "norm2",
};
static_assert(std::size(unaryNames) == CT_LOGICAL_NOT + 1);
static_assert(std::size(binaryNames) == CT_LOGICAL_OR + 1);
static_assert(std::size(reductionNames) == CT_NORM2 + 1);

}  // namespace

at::Scalar scalar(double value, at::ScalarType type) {
    constexpr double limit = 9223372036854775808.0;  // 2^63
    bool fits = value >= -limit && value < limit && value == std::trunc(value);
    if (fits && c10::isIntegralType(type, /*includeBool=*/true)) return at::Scalar(static_cast<int64_t>(value));
    return at::Scalar(value);
}

static void fillElements(CTTable &t) {
    t.unary = [](CTUnary operation, CTTensor a, CTTensorOrNull *out) CT_FUNCTION {
        return guard(unaryNames[operation], {a}, [&] { *out = give(unary(operation, *Borrow(a))); });
    };
    t.binary = [](CTBinary operation, CTTensor a, CTTensor b, CTTensorOrNull *out) CT_FUNCTION {
        return guard(binaryNames[operation], {a, b},
                     [&] { *out = give(binary(operation, *Borrow(a), *Borrow(b))); });
    };
    t.binary_scalar = [](CTBinary operation, CTTensor a, double b, CTTensorOrNull *out) CT_FUNCTION {
        return guard(binaryNames[operation], {a}, [&] {
            Borrow tensor(a);
            *out = give(binary(operation, *tensor, scalar(b, tensor->scalar_type())));
        });
    };
    t.scaled_add = [](CTTensor a, CTTensor b, double scale, CTTensorOrNull *out) CT_FUNCTION {
        return guard("scaled_add", {a, b}, [&] {
            *out = give(at::add(*Borrow(a), *Borrow(b), scalar(scale, at::result_type(*Borrow(a), *Borrow(b)))));
        });
    };
    t.clamp = [](CTTensor a, double low, double high, CTTensorOrNull *out) CT_FUNCTION {
        return guard("clamp", {a}, [&] {
            Borrow tensor(a);
            at::ScalarType type = tensor->scalar_type();
            *out = give(at::clamp(*tensor, scalar(low, type), scalar(high, type)));
        });
    };
    t.where_ = [](CTTensor condition, CTTensor a, CTTensor b, CTTensorOrNull *out) CT_FUNCTION {
        return guard("where", {condition, a, b},
                     [&] { *out = give(at::where(*Borrow(condition), *Borrow(a), *Borrow(b))); });
    };
    t.masked_fill = [](CTTensor a, CTTensor mask, double value, CTTensorOrNull *out) CT_FUNCTION {
        return guard("masked_fill", {a, mask},
                     [&] { *out = give(at::masked_fill(*Borrow(a), *Borrow(mask), value)); });
    };
    t.to = [](CTTensor a, int32_t type, int32_t kind, int32_t index, bool copy, CTTensorOrNull *out) CT_FUNCTION {
        return guard("to", {a}, [&] {
            *out = give(Borrow(a)->to(device(kind, index), scalarType(type), /*non_blocking=*/false, copy));
        });
    };
    t.clone = [](CTTensor a, CTTensorOrNull *out) CT_FUNCTION {
        return guard("clone", {a}, [&] { *out = give(Borrow(a)->clone()); });
    };
    t.contiguous = [](CTTensor a, CTTensorOrNull *out) CT_FUNCTION {
        return guard("contiguous", {a}, [&] { *out = give(Borrow(a)->contiguous()); });
    };
    t.copy_into = [](CTTensor destination, CTTensor source) CT_FUNCTION {
        return guard("copy", {destination, source}, [&] {
            Borrow to(destination), from(source);
            TORCH_CHECK(to->sizes() == from->sizes(), "the shapes differ");
            to->copy_(*from);
        });
    };
    t.add_into = [](CTTensor destination, CTTensor source, double scale) CT_FUNCTION {
        return guard("add_into", {destination, source}, [&] {
            Borrow to(destination), from(source);
            to->add_(*from, scalar(scale, at::result_type(*to, *from)));
        });
    };
    t.scale_in_place = [](CTTensor destination, double factor) CT_FUNCTION {
        return guard("scale", {destination}, [&] {
            Borrow to(destination);
            to->mul_(scalar(factor, to->scalar_type()));
        });
    };
    t.fill = [](CTTensor destination, double value) CT_FUNCTION {
        return guard("fill", {destination}, [&] { Borrow(destination)->fill_(value); });
    };
}

static void fillReductions(CTTable &t) {
    t.reduce = [](CTReduction operation, CTTensor a, const int64_t *over, int32_t n, bool keep,
                  CTTensorOrNull *out) CT_FUNCTION {
        return guard(reductionNames[operation], {a},
                     [&] { *out = give(reduce(operation, *Borrow(a), dims(over, n), keep)); });
    };
    t.argmax = [](CTTensor a, int64_t dimension, bool keep, CTTensorOrNull *out) CT_FUNCTION {
        return guard("argmax", {a}, [&] { *out = give(at::argmax(*Borrow(a), dimension, keep)); });
    };
    t.argmin = [](CTTensor a, int64_t dimension, bool keep, CTTensorOrNull *out) CT_FUNCTION {
        return guard("argmin", {a}, [&] { *out = give(at::argmin(*Borrow(a), dimension, keep)); });
    };
    t.cumulative_sum = [](CTTensor a, int64_t dimension, CTTensorOrNull *out) CT_FUNCTION {
        return guard("cumulative_sum", {a}, [&] { *out = give(at::cumsum(*Borrow(a), dimension)); });
    };
    t.sort = [](CTTensor a, int64_t dimension, bool descending, CTTensorOrNull *values,
                CTTensorOrNull *indices) CT_FUNCTION {
        return guard("sort", {a}, [&] {
            auto [sorted, order] = at::sort(*Borrow(a), /*stable=*/true, dimension, descending);
            *values = give(std::move(sorted));
            *indices = give(std::move(order));
        });
    };
    t.top = [](CTTensor a, int64_t k, int64_t dimension, bool largest, CTTensorOrNull *values,
               CTTensorOrNull *indices) CT_FUNCTION {
        return guard("top", {a}, [&] {
            auto [best, order] = at::topk(*Borrow(a), k, dimension, largest, /*sorted=*/true);
            *values = give(std::move(best));
            *indices = give(std::move(order));
        });
    };
    t.softmax = [](CTTensor a, int64_t dimension, CTTensorOrNull *out) CT_FUNCTION {
        return guard("softmax", {a}, [&] { *out = give(at::softmax(*Borrow(a), dimension)); });
    };
    t.log_softmax = [](CTTensor a, int64_t dimension, CTTensorOrNull *out) CT_FUNCTION {
        return guard("log_softmax", {a}, [&] { *out = give(at::log_softmax(*Borrow(a), dimension)); });
    };
}

static void fillProducts(CTTable &t) {
    t.matmul = [](CTTensor a, CTTensor b, CTTensorOrNull *out) CT_FUNCTION {
        return guard("matmul", {a, b}, [&] { *out = give(at::matmul(*Borrow(a), *Borrow(b))); });
    };
    t.linear = [](CTTensor input, CTTensor weight, CTTensorOrNull bias, CTTensorOrNull *out) CT_FUNCTION {
        return guard("linear", {input, weight, bias},
                     [&] { *out = give(at::linear(*Borrow(input), *Borrow(weight), optional(bias))); });
    };
    t.einsum = [](const char *equation, const CTTensor *parts, int32_t n, CTTensorOrNull *out) CT_FUNCTION {
        return guard("einsum", {n > 0 ? parts[0] : nullptr, n > 1 ? parts[1] : nullptr},
                     [&] { *out = give(at::einsum(equation, *BorrowList(parts, n))); });
    };
    t.singular_values = [](CTTensor a, CTTensorOrNull *u, CTTensorOrNull *s,
                           CTTensorOrNull *vTransposed) CT_FUNCTION {
        return guard("singular_values", {a}, [&] {
            auto [left, values, right] = at::linalg_svd(*Borrow(a), /*full_matrices=*/false);
            *u = give(std::move(left));
            *s = give(std::move(values));
            *vTransposed = give(std::move(right));
        });
    };
}

void fillOperations(CTTable &t) {
    fillElements(t);
    fillReductions(t);
    fillProducts(t);
}

}  // namespace ct
