// Attention over few positions. libtorch's kernel works block by block for long sequences and spends most of its time
// around the products when there are a dozen positions, as in a question: here each head's matrices stay in the
// processor's first cache and its pieces are vector loops.
#include "attention.hpp"

#include <ATen/autocast_mode.h>
#include <torch/csrc/autograd/functions/utils.h>
#include <torch/csrc/autograd/variable.h>

#include <algorithm>

#include "graph.hpp"
#include "kernels.hpp"
#include "team.hpp"

namespace ct {

namespace {

constexpr int64_t mostPositions = 128, mostSize = 256;

constexpr int64_t filled(int64_t count) { return divideUp(count, lanes) * lanes; }

/// What the computation is told beside the tensors.
struct Rule {
    /// Added to the scores, fp32, [B or 1, H or 1, T or 1, filled(S)], −∞ beyond S.
    at::Tensor mask;
    double scale;

    const float *maskRow(int64_t batch, int64_t head, int64_t position) const {
        auto offset = [&](int64_t axis, int64_t index) { return mask.size(axis) == 1 ? 0 : index * mask.stride(axis); };
        return mask.const_data_ptr<float>() + offset(0, batch) + offset(1, head) + offset(2, position);
    }
};

/// The matrix of one head in memory: [rows, size], elements of a row side by side.
template <typename Number>
struct Head {
    Number *data;
    int64_t stride;

    Head(const at::Tensor &x, int64_t batch, int64_t head)
        : data(static_cast<Number *>(x.data_ptr()) + batch * x.stride(0) + head * x.stride(1)), stride(x.stride(2)) {}

    /// As fp32, rows `width` apart, 0 beyond `size`.
    void read(int64_t rows, int64_t size, float *to, int64_t width) const {
        for (int64_t row = 0; row < rows; row++, to += width) {
            std::copy_n(data + row * stride, size, to);
            std::fill(to + size, to + width, 0.0f);
        }
    }
    /// Transposed: [size, rows], 0 beyond `rows`.
    void readTransposed(int64_t rows, int64_t size, float *to, int64_t width) const {
        std::fill(to, to + size * width, 0.0f);
        for (int64_t row = 0; row < rows; row++)
            for (int64_t i = 0; i < size; i++) to[i * width + row] = data[row * stride + i];
    }
    void write(const float *from, int64_t width, int64_t rows, int64_t size) const {
        for (int64_t row = 0; row < rows; row++)
            for (int64_t i = 0; i < size; i++) data[row * stride + i] = static_cast<Number>(from[row * width + i]);
    }
};

/// Space of one thread, given out piece by piece.
class Scratch {
  public:
    explicit Scratch(int64_t count) : numbers_(static_cast<size_t>(count)) {}
    float *take(int64_t count) {
        float *piece = numbers_.data() + used_;
        used_ += count;
        return piece;
    }

  private:
    std::vector<float> numbers_;
    int64_t used_ = 0;
};

/// query [B, H, T, D], keys and values [B, G, S, D], of which H / G query heads share each.
template <typename Number>
struct ShortAttention {
    const at::Tensor &query, &key, &value;
    const Rule &rule;
    int64_t heads = query.size(1), groups = key.size(1), asking = query.size(2), seen = key.size(2),
            size = query.size(3);
    int64_t width = filled(size), row = filled(seen);
    int64_t units = query.size(0) * groups, shared = heads / groups;

    /// The softmax of the scores of one head, [T, row], from its queries [T, width] and transposed keys [D, row].
    void weigh(const float *queries, const float *keys, int64_t batch, int64_t head, float *weights) const {
        std::fill(weights, weights + asking * row, 0.0f);
        kernels().multiply(queries, width, 1, keys, row, weights, row, asking, size, row);
        for (int64_t t = 0; t < asking; t++)
            kernels().softmax(weights + t * row, rule.maskRow(batch, head, t), row, static_cast<float>(rule.scale));
    }

    void forward(const at::Tensor &out) const {
        auto body = [&](int thread, int threads) {
            Scratch scratch(size * row + (seen + 2 * asking) * width + asking * row);
            float *keys = scratch.take(size * row), *values = scratch.take(seen * width);
            float *queries = scratch.take(asking * width), *mixed = scratch.take(asking * width);
            float *weights = scratch.take(asking * row);
            Share share(units, thread, threads);
            for (int64_t unit = share.first; unit < share.last; unit++) {
                int64_t batch = unit / groups, group = unit % groups;
                Head<Number>(key, batch, group).readTransposed(seen, size, keys, row);
                Head<Number>(value, batch, group).read(seen, size, values, width);
                for (int64_t head = group * shared; head < (group + 1) * shared; head++) {
                    Head<Number>(query, batch, head).read(asking, size, queries, width);
                    weigh(queries, keys, batch, head, weights);
                    std::fill(mixed, mixed + asking * width, 0.0f);
                    kernels().multiply(weights, row, 1, values, width, mixed, width, asking, seen, width);
                    Head<Number>(out, batch, head).write(mixed, width, asking, size);
                }
            }
        };
        runTeam(body);
    }

    /// The gradients of query, key and value, from that of the output.
    void backward(const at::Tensor &gradient, const at::Tensor &forQuery, const at::Tensor &forKey,
                  const at::Tensor &forValue) const {
        auto body = [&](int thread, int threads) {
            Scratch scratch(2 * size * row + 3 * (seen + asking) * width + 2 * asking * row);
            float *keysAcross = scratch.take(size * row), *valuesAcross = scratch.take(size * row);
            float *keys = scratch.take(seen * width), *towardsKeys = scratch.take(seen * width);
            float *towardsValues = scratch.take(seen * width), *queries = scratch.take(asking * width);
            float *arriving = scratch.take(asking * width), *towardsQueries = scratch.take(asking * width);
            float *weights = scratch.take(asking * row), *scores = scratch.take(asking * row);
            Share share(units, thread, threads);
            for (int64_t unit = share.first; unit < share.last; unit++) {
                int64_t batch = unit / groups, group = unit % groups;
                Head<Number>(key, batch, group).readTransposed(seen, size, keysAcross, row);
                Head<Number>(value, batch, group).readTransposed(seen, size, valuesAcross, row);
                Head<Number>(key, batch, group).read(seen, size, keys, width);
                std::fill(towardsKeys, towardsKeys + seen * width, 0.0f);
                std::fill(towardsValues, towardsValues + seen * width, 0.0f);
                for (int64_t head = group * shared; head < (group + 1) * shared; head++) {
                    Head<Number>(query, batch, head).read(asking, size, queries, width);
                    Head<Number>(gradient, batch, head).read(asking, size, arriving, width);
                    weigh(queries, keysAcross, batch, head, weights);
                    kernels().multiply(weights, 1, row, arriving, width, towardsValues, width, seen, asking, width);
                    std::fill(scores, scores + asking * row, 0.0f);
                    kernels().multiply(arriving, width, 1, valuesAcross, row, scores, row, asking, size, row);
                    for (int64_t t = 0; t < asking; t++)
                        kernels().softmaxGradient(weights + t * row, scores + t * row, row,
                                                  static_cast<float>(rule.scale));
                    kernels().multiply(scores, 1, row, queries, width, towardsKeys, width, seen, asking, width);
                    std::fill(towardsQueries, towardsQueries + asking * width, 0.0f);
                    kernels().multiply(scores, row, 1, keys, width, towardsQueries, width, asking, seen, width);
                    Head<Number>(forQuery, batch, head).write(towardsQueries, width, asking, size);
                }
                Head<Number>(forKey, batch, group).write(towardsKeys, width, seen, size);
                Head<Number>(forValue, batch, group).write(towardsValues, width, seen, size);
            }
        };
        runTeam(body);
    }
};

template <typename Body>
void withNumber(at::ScalarType type, Body &&body) {
    switch (type) {
        case at::kHalf: return body(at::Half());
        case at::kBFloat16: return body(at::BFloat16());
        default: return body(float());
    }
}

/// Of the same shape as x [B, H, T, D], with the heads of a position side by side, as a linear map takes and gives them.
at::Tensor besideHeads(const at::Tensor &x) {
    return at::empty({x.size(0), x.size(2), x.size(1), x.size(3)}, x.options()).transpose(1, 2);
}

at::Tensor withRows(const at::Tensor &x) { return x.stride(3) == 1 ? x : x.contiguous(); }

/// Gradients are computed from the inputs: to keep the weights would cost more than it saves.
struct ShortAttentionNode : torch::autograd::Node {
    torch::autograd::SavedVariable query, key, value;
    Rule rule;

    torch::autograd::variable_list apply(torch::autograd::variable_list &&gradients) override {
        if (!gradients[0].defined()) return torch::autograd::variable_list(3);
        at::Tensor q = query.unpack(), k = key.unpack(), v = value.unpack();
        if (at::GradMode::is_enabled())
            return differentiably({q, k, v}, gradients[0], [&] { return inOperations(q, k, v); });
        q = withRows(q), k = withRows(k), v = withRows(v);
        at::Tensor arriving = withRows(gradients[0]);
        at::Tensor forQuery = besideHeads(q), forKey = besideHeads(k), forValue = besideHeads(v);
        withNumber(q.scalar_type(), [&](auto number) {
            ShortAttention<decltype(number)>{q, k, v, rule}.backward(arriving, forQuery, forKey, forValue);
        });
        return {forQuery, forKey, forValue};
    }

    at::Tensor inOperations(const at::Tensor &q, const at::Tensor &k, const at::Tensor &v) const {
        at::Tensor mask = rule.mask.slice(3, 0, k.size(2)).to(q.scalar_type());
        return std::get<0>(at::_scaled_dot_product_attention_math(q, k, v, mask, 0.0, /*is_causal=*/false,
                                                                  std::nullopt, rule.scale, q.size(1) != k.size(1)));
    }

    void release_variables() override {
        query.reset_data();
        key.reset_data();
        value.reset_data();
    }
};

/// A mask in memory as `Rule` has it.
at::Tensor additive(const std::optional<at::Tensor> &mask, bool causal, int64_t asking, int64_t seen) {
    auto options = at::TensorOptions().dtype(at::kFloat);
    at::Tensor result;
    if (causal) {
        result = at::full({1, 1, asking, filled(seen)}, -INFINITY, options).triu_(1);
    } else if (!mask) {
        result = at::zeros({1, 1, 1, filled(seen)}, options);
    } else {
        result = at::zeros({mask->size(0), mask->size(1), mask->size(2), filled(seen)}, options);
        at::Tensor within = result.slice(3, 0, seen);
        if (mask->scalar_type() == at::kBool) within.masked_fill_(mask->logical_not(), -INFINITY);
        else within.copy_(*mask);
    }
    result.slice(3, seen).fill_(-INFINITY);
    return result;
}

}  // namespace

bool isShort(const at::Tensor &query, const at::Tensor &key, const at::Tensor &value,
             const std::optional<at::Tensor> &mask) {
    for (const at::Tensor *x : {&query, &key, &value})
        if (!x->device().is_cpu() || x->layout() != at::kStrided || x->dim() != 4 || x->numel() == 0 ||
            x->size(2) > mostPositions || x->size(3) > mostSize || x->scalar_type() != query.scalar_type())
            return false;
    at::ScalarType type = query.scalar_type();
    if (type != at::kFloat && type != at::kHalf && type != at::kBFloat16) return false;
    // Autocast would take fp32 numbers to its own type.
    if (type == at::kFloat && at::autocast::is_autocast_enabled(at::kCPU)) return false;
    if (key.sizes() != value.sizes() || key.size(0) != query.size(0) || key.size(3) != query.size(3) ||
        query.size(1) % key.size(1) != 0)
        return false;
    if (!mask) return true;
    auto fits = [&](int64_t axis, int64_t size) { return mask->size(axis) == 1 || mask->size(axis) == size; };
    return mask->device().is_cpu() && !mask->requires_grad() && mask->dim() == 4 && fits(0, query.size(0)) &&
           fits(1, query.size(1)) && fits(2, query.size(2)) && mask->size(3) == key.size(2) &&
           (mask->scalar_type() == at::kBool || mask->scalar_type() == at::kFloat || mask->scalar_type() == type);
}

at::Tensor shortAttention(const at::Tensor &query, const at::Tensor &key, const at::Tensor &value,
                          const std::optional<at::Tensor> &mask, bool causal, double scale) {
    at::Tensor out;
    Rule rule{at::Tensor(), scale};
    {
        at::NoGradGuard noGradient;
        rule.mask = additive(mask, causal, query.size(2), key.size(2));
        at::Tensor q = withRows(query), k = withRows(key), v = withRows(value);
        out = besideHeads(q);
        withNumber(q.scalar_type(),
                   [&](auto number) { ShortAttention<decltype(number)>{q, k, v, rule}.forward(out); });
    }
    if (!torch::autograd::compute_requires_grad(query, key, value)) return out;
    auto *node = new ShortAttentionNode;
    NodePointer kept = own(node);
    node->query = torch::autograd::SavedVariable(query, false);
    node->key = torch::autograd::SavedVariable(key, false);
    node->value = torch::autograd::SavedVariable(value, false);
    node->rule = rule;
    node->set_next_edges(torch::autograd::collect_next_edges(query, key, value));
    torch::autograd::set_history(out, kept);
    return out;
}

}  // namespace ct
