// One step of a decoder of the LLaMA family: one token for each of a few rows, the whole model in one call. Operation by
// operation the calls alone would cost more than the arithmetic of a small model. B rows, D width, H heads.
#include "quantised.hpp"

#include <ATen/core/grad_mode.h>

#include <algorithm>
#include <chrono>
#include <cmath>
#include <cstring>
#include <limits>

#include "team.hpp"

namespace ct {

namespace {

constexpr int64_t mostRows = 64;

struct Matrix {
    MatrixView view;
    /// Keeps the memory of the view.
    at::Tensor weight;
    /// Empty when there is none.
    at::Tensor bias, loraA, loraB;
    /// Of loraA; no rows when there is none.
    MatrixView low;
    float loraScale = 0;
};

struct Layer {
    at::Tensor inputNorm, outputNorm;
    Matrix query, key, value, output, gate, up, down;
};

at::Tensor floats(CTTensor handle, at::IntArrayRef sizes, const char *what) {
    Borrow tensor(handle);
    TORCH_CHECK(tensor->sizes() == sizes, what, " has shape ", tensor->sizes(), ", not ", sizes);
    return tensor->detach().to(at::kCPU, at::kFloat).contiguous();
}

Matrix matrix(const CTDecoderLinear &linear, int64_t out, int64_t in, const char *what) {
    TORCH_CHECK(linear.out == out && linear.in == in, what, " is [", linear.out, ", ", linear.in, "], not [", out,
                ", ", in, "]");
    Matrix result;
    result.weight = Borrow(linear.weight)->detach();
    result.view = linear.bits == 0 ? plainView(result.weight) : packedView(result.weight, linear.bits, out, in);
    TORCH_CHECK(result.view.out == out && result.view.in == in, what, " has weights ", result.weight.sizes(), ", not [",
                out, ", ", in, "]");
    if (linear.bias != nullptr) result.bias = floats(linear.bias, {out}, "a bias");
    TORCH_CHECK((linear.loraA == nullptr) == (linear.loraB == nullptr), "a LoRA has two matrices");
    if (linear.loraA != nullptr) {
        TORCH_CHECK(Borrow(linear.loraA)->dim() == 2, "A of a LoRA is a matrix");
        int64_t rank = Borrow(linear.loraA)->size(0);
        result.loraA = floats(linear.loraA, {rank, in}, "A of a LoRA");
        result.loraB = floats(linear.loraB, {out, rank}, "B of a LoRA");
        result.low = plainView(result.loraA);
        result.loraScale = static_cast<float>(linear.loraScale);
    }
    return result;
}

// --- What one thread has for itself

/// The input of some products: as it is, and made ready for packed weights of either size when one asks for it.
class Input {
  public:
    std::vector<float> numbers;
    int64_t width = 0;

    void reserve(int64_t rows, int64_t most) {
        for (auto *memory : {&numbers, &scaled_[0], &scaled_[1]}) memory->resize(rows * padded(most));
        for (auto &sums : sums_) sums.resize(rows * divideUp(most, groupSize));
    }
    /// Forgets what was made ready; call it when the numbers, `width` a row, have changed.
    void changed(int64_t newWidth) {
        width = newWidth;
        ready_[0] = ready_[1] = false;
    }

    /// y = W x for the blocks of a thread's share.
    void product(const MatrixView &w, int64_t rows, const Share &share, float *y, int64_t yStride) {
        if (w.format != Format::packed4 && w.format != Format::packed8) {
            kernels().product(w, numbers.data(), width, nullptr, rows, share.first, share.last, y, yStride);
            return;
        }
        int which = w.format == Format::packed4 ? 0 : 1;
        float *scaled = scaled_[which].data(), *sums = sums_[which].data();
        if (!ready_[which]) {
            for (int64_t row = 0; row < rows; row++)
                kernels().prepare(w.bits(), numbers.data() + row * width, width, scaled + row * padded(width),
                                  sums + row * w.groups());
            ready_[which] = true;
        }
        kernels().product(w, scaled, padded(width), sums, rows, share.first, share.last, y, yStride);
    }

  private:
    std::vector<float> scaled_[2], sums_[2];
    bool ready_[2] = {};
};

struct Scratch {
    Input input;
    std::vector<float> low, up, query, key, scores;
};

/// The memory of a cache of one layer.
struct Cache {
    uint8_t *data;
    Format format;
    int64_t rowStride, headStride, stride, capacity;

    int64_t elementBytes() const { return format == Format::float32 ? 4 : 2; }
    uint8_t *at(int64_t row, int64_t head, int64_t position) const {
        return data + (row * rowStride + head * headStride + position * stride) * elementBytes();
    }
};

Cache cache(CTTensor handle, int64_t rows, int64_t heads, int64_t size) {
    Borrow tensor(handle);
    TORCH_CHECK(tensor->dim() == 4 && tensor->size(0) == rows && tensor->size(1) == heads && tensor->size(3) == size &&
                    (tensor->stride(3) == 1 || size == 1) && tensor->device().is_cpu(),
                "a cache is [", rows, ", ", heads, ", capacity, ", size, "] on the CPU, not ", tensor->sizes());
    TORCH_CHECK(!tensor->requires_grad(), "a cache takes no gradient");
    Format format = Format::float32;
    switch (tensor->scalar_type()) {
        case at::kFloat: break;
        case at::kHalf: format = Format::float16; break;
        case at::kBFloat16: format = Format::bfloat16; break;
        default: TORCH_CHECK(false, "a cache is float32, float16 or bfloat16, not ", tensor->scalar_type());
    }
    return {static_cast<uint8_t *>(tensor->mutable_data_ptr()), format,           tensor->stride(0),
            tensor->stride(1),                                  tensor->stride(2), tensor->size(2)};
}

void write(const float *numbers, int64_t count, Format format, uint8_t *to) {
    for (int64_t i = 0; i < count; i++) {
        if (format == Format::float32) {
            std::memcpy(to + 4 * i, numbers + i, 4);
        } else {
            uint16_t bits = format == Format::float16 ? c10::Half(numbers[i]).x : c10::BFloat16(numbers[i]).x;
            std::memcpy(to + 2 * i, &bits, 2);
        }
    }
}

class Decoder {
  public:
    explicit Decoder(const CTDecoderModel &model);
    at::Tensor step(const CTDecoderStep &step);

  private:
    int64_t heads_, keyHeads_, size_, width_, inner_ = 0, window_, vocabulary_;
    float epsilon_;
    std::vector<Layer> layers_;
    at::Tensor finalNorm_, cosines_, sines_;
    Matrix head_, embedding_;

    // Of one step. The rows of all threads together:
    std::vector<float> hidden_, query_, key_, value_, mixed_, product_, activation_;
    std::vector<Scratch> scratch_;
    std::vector<Cache> keyCaches_, valueCaches_;
    Barrier barrier_;
    Pace pace_;

    void check(const CTDecoderStep &step);
    void prepare(const CTDecoderStep &step, int threads);
    void run(const CTDecoderStep &step, int thread, int threads, float *logits);
    void normalise(Scratch &own, int64_t rows, const at::Tensor &weight);
    void apply(Scratch &own, const Matrix &matrix, int64_t rows, int thread, int threads, float *y);
    void addTo(std::vector<float> &sum, const std::vector<float> &term, int64_t rows, int thread, int threads);
    void attend(const CTDecoderStep &step, size_t layer, int64_t row, int64_t head, Scratch &own);
    void rotate(const float *x, int64_t position, float *y);
};

Decoder::Decoder(const CTDecoderModel &model)
    : heads_(model.heads), keyHeads_(model.keyValueHeads), size_(model.headSize), window_(model.window),
      epsilon_(static_cast<float>(model.epsilon)) {
    TORCH_CHECK(heads_ > 0 && keyHeads_ > 0 && heads_ % keyHeads_ == 0 && size_ > 0 && size_ <= 4096 &&
                    heads_ <= 4096 && window_ >= 0,
                "a decoder has heads in groups, not ", heads_, " for ", keyHeads_, " of size ", size_);
    width_ = Borrow(model.finalNorm)->numel();
    finalNorm_ = floats(model.finalNorm, {width_}, "the final norm");
    Borrow cosines(model.cosines);
    TORCH_CHECK(cosines->dim() == 2 && 2 * cosines->size(1) <= size_, "the cosines are [positions, at most ",
                size_ / 2, "], not ", cosines->sizes());
    cosines_ = floats(model.cosines, cosines->sizes(), "the cosines");
    sines_ = floats(model.sines, cosines->sizes(), "the sines");
    vocabulary_ = model.head.out;
    head_ = matrix(model.head, vocabulary_, width_, "the head");
    embedding_ = matrix(model.embedding, model.embedding.out, width_, "the embedding");
    for (int32_t i = 0; i < model.layerCount; i++) {
        const CTDecoderLayer &given = model.layers[i];
        Layer layer;
        layer.inputNorm = floats(given.inputNorm, {width_}, "a norm");
        layer.outputNorm = floats(given.outputNorm, {width_}, "a norm");
        layer.query = matrix(given.query, heads_ * size_, width_, "a query layer");
        layer.key = matrix(given.key, keyHeads_ * size_, width_, "a key layer");
        layer.value = matrix(given.value, keyHeads_ * size_, width_, "a value layer");
        layer.output = matrix(given.output, width_, heads_ * size_, "an output layer");
        layer.gate = matrix(given.gate, given.gate.out, width_, "a gate");
        layer.up = matrix(given.up, given.gate.out, width_, "the layer beside a gate");
        layer.down = matrix(given.down, width_, given.gate.out, "a down layer");
        inner_ = std::max(inner_, given.gate.out);
        layers_.push_back(std::move(layer));
    }
}

void Decoder::check(const CTDecoderStep &step) {
    TORCH_CHECK(step.rows > 0 && step.rows <= mostRows, "a step takes 1 to ", mostRows, " rows, not ", step.rows);
    keyCaches_.clear();
    valueCaches_.clear();
    int64_t capacity = std::numeric_limits<int64_t>::max();
    for (size_t i = 0; i < layers_.size(); i++) {
        keyCaches_.push_back(cache(step.keys[i], step.rows, keyHeads_, size_));
        valueCaches_.push_back(cache(step.values[i], step.rows, keyHeads_, size_));
        TORCH_CHECK(keyCaches_[i].format == valueCaches_[i].format, "keys and values have different types");
        capacity = std::min({capacity, keyCaches_[i].capacity, valueCaches_[i].capacity});
    }
    for (int64_t row = 0; row < step.rows; row++) {
        TORCH_CHECK_INDEX(step.lengths[row] >= 0 && step.lengths[row] < capacity, "length ", step.lengths[row],
                          " is out of range of a cache of ", capacity);
        TORCH_CHECK_INDEX(step.starts[row] >= 0 && step.starts[row] <= step.lengths[row], "start ", step.starts[row],
                          " is out of range of ", step.lengths[row], " keys");
        TORCH_CHECK_INDEX(step.positions[row] >= 0 && step.positions[row] < cosines_.size(0), "position ",
                          step.positions[row], " is out of range of ", cosines_.size(0), " positions");
        if (step.tokens == nullptr) continue;
        TORCH_CHECK_INDEX(step.tokens[row] >= 0 && step.tokens[row] < embedding_.view.out, "token ", step.tokens[row],
                          " is out of range of ", embedding_.view.out);
    }
}

/// Reserves all memory, so that nothing on the threads can fail.
void Decoder::prepare(const CTDecoderStep &step, int threads) {
    size_t rows = static_cast<size_t>(step.rows), width = static_cast<size_t>(width_),
           queries = static_cast<size_t>(heads_ * size_), keys = static_cast<size_t>(keyHeads_ * size_),
           inner = static_cast<size_t>(inner_);
    hidden_.resize(rows * width);
    query_.resize(rows * queries);
    key_.resize(rows * keys);
    value_.resize(rows * keys);
    mixed_.resize(rows * queries);
    product_.resize(rows * width);
    activation_.resize(rows * inner);
    int64_t rank = 0, longest = 0;
    for (const Layer &layer : layers_)
        for (const Matrix *matrix : {&layer.query, &layer.key, &layer.value, &layer.output, &layer.gate, &layer.up,
                                     &layer.down})
            rank = std::max(rank, matrix->low.out);
    for (int64_t row = 0; row < step.rows; row++) longest = std::max(longest, step.lengths[row]);
    scratch_.resize(static_cast<size_t>(threads));
    for (Scratch &own : scratch_) {
        own.input.reserve(step.rows, std::max({width_, heads_ * size_, inner_}));
        own.low.resize(rows * static_cast<size_t>(std::max(rank, head_.low.out)));
        own.up.resize(rows * inner);
        own.query.resize(static_cast<size_t>(size_));
        own.key.resize(static_cast<size_t>(size_));
        own.scores.resize(static_cast<size_t>(longest + tileRows));
    }
    if (step.tokens != nullptr) {
        for (size_t row = 0; row < rows; row++)
            kernels().readRow(embedding_.view, step.tokens[row], hidden_.data() + row * width);
    } else {
        TORCH_CHECK(step.embeddings != nullptr, "a step takes tokens or embeddings");
        at::Tensor given = floats(step.embeddings, {step.rows, width_}, "the input");
        std::memcpy(hidden_.data(), given.const_data_ptr(), given.nbytes());
    }
}

at::Tensor Decoder::step(const CTDecoderStep &step) {
    check(step);
    int threads = pace_.threads(teamSize());
    prepare(step, threads);
    at::Tensor logits = at::empty({step.rows, vocabulary_}, at::kFloat);
    float *to = logits.mutable_data_ptr<float>();
    auto body = [&](int thread, int threads) { run(step, thread, threads, to); };
    auto start = std::chrono::steady_clock::now();
    runTeam(body, threads);
    std::chrono::nanoseconds time = std::chrono::steady_clock::now() - start;
    pace_.finished(threads, time.count(), barrier_.takeLost());
    return logits;
}

/// What each thread does. Threads share every product by rows; small things that all need, such as norms, each computes
/// for itself, which is cheaper than to wait. Between two barriers no thread reads what another one writes.
void Decoder::run(const CTDecoderStep &step, int thread, int threads, float *logits) {
    Scratch &own = scratch_[static_cast<size_t>(thread)];
    int64_t rows = step.rows;
    for (size_t index = 0; index < layers_.size(); index++) {
        const Layer &layer = layers_[index];
        normalise(own, rows, layer.inputNorm);
        apply(own, layer.query, rows, thread, threads, query_.data());
        apply(own, layer.key, rows, thread, threads, key_.data());
        apply(own, layer.value, rows, thread, threads, value_.data());
        barrier_.wait(threads);
        Share units(rows * heads_, thread, threads);
        for (int64_t unit = units.first; unit < units.last; unit++)
            attend(step, index, unit / heads_, unit % heads_, own);
        barrier_.wait(threads);
        std::copy(mixed_.begin(), mixed_.end(), own.input.numbers.begin());
        own.input.changed(heads_ * size_);
        apply(own, layer.output, rows, thread, threads, product_.data());
        addTo(hidden_, product_, rows, thread, threads);
        barrier_.wait(threads);
        normalise(own, rows, layer.outputNorm);
        int64_t inner = layer.gate.view.out;
        apply(own, layer.gate, rows, thread, threads, activation_.data());
        apply(own, layer.up, rows, thread, threads, own.up.data());
        Share blocks(layer.gate.view.blocks(), thread, threads);
        int64_t first = blocks.first * tileRows, count = std::min(inner, blocks.last * tileRows) - first;
        for (int64_t row = 0; row < rows && count > 0; row++) {
            float *gate = activation_.data() + row * inner + first;
            kernels().siluMultiply(gate, own.up.data() + row * inner + first, count, gate);
        }
        barrier_.wait(threads);
        std::copy(activation_.begin(), activation_.begin() + rows * inner, own.input.numbers.begin());
        own.input.changed(inner);
        apply(own, layer.down, rows, thread, threads, product_.data());
        addTo(hidden_, product_, rows, thread, threads);
        barrier_.wait(threads);
    }
    normalise(own, rows, finalNorm_);
    apply(own, head_, rows, thread, threads, logits);
}

void Decoder::normalise(Scratch &own, int64_t rows, const at::Tensor &weight) {
    const float *scale = weight.const_data_ptr<float>();
    for (int64_t row = 0; row < rows; row++)
        kernels().rmsNorm(hidden_.data() + row * width_, scale, width_, epsilon_,
                          own.input.numbers.data() + row * width_);
    own.input.changed(width_);
}

/// A thread's rows of y [B, out] for the input it holds.
void Decoder::apply(Scratch &own, const Matrix &matrix, int64_t rows, int thread, int threads, float *y) {
    int64_t out = matrix.view.out, rank = matrix.low.out;
    Share share(matrix.view.blocks(), thread, threads);
    own.input.product(matrix.view, rows, share, y, out);
    int64_t first = share.first * tileRows, last = std::min(out, share.last * tileRows);
    if (matrix.bias.defined()) {
        const float *bias = matrix.bias.const_data_ptr<float>();
        for (int64_t row = 0; row < rows; row++)
            for (int64_t o = first; o < last; o++) y[row * out + o] += bias[o];
    }
    if (rank == 0) return;
    own.input.product(matrix.low, rows, Share(matrix.low.blocks(), 0, 1), own.low.data(), rank);
    const float *up = matrix.loraB.const_data_ptr<float>();
    for (int64_t row = 0; row < rows; row++) {
        const float *low = own.low.data() + row * rank;
        for (int64_t o = first; o < last; o++) {
            float sum = 0;
            for (int64_t i = 0; i < rank; i++) sum += up[o * rank + i] * low[i];
            y[row * out + o] += matrix.loraScale * sum;
        }
    }
}

/// Adds a thread's own part of a product to the hidden states.
void Decoder::addTo(std::vector<float> &sum, const std::vector<float> &term, int64_t rows, int thread, int threads) {
    Share share(divideUp(width_, tileRows), thread, threads);
    int64_t first = share.first * tileRows, last = std::min(width_, share.last * tileRows);
    for (int64_t row = 0; row < rows; row++)
        for (int64_t i = row * width_ + first; i < row * width_ + last; i++)
            sum[static_cast<size_t>(i)] += term[static_cast<size_t>(i)];
}

/// One query head of one row. Each head rotates the new key for itself; the first of a group also puts it, and the new
/// value, into the cache, where the others do not look for it.
void Decoder::attend(const CTDecoderStep &step, size_t layer, int64_t row, int64_t head, Scratch &own) {
    int64_t group = heads_ / keyHeads_, keyHead = head / group, length = step.lengths[row];
    const Cache &keys = keyCaches_[layer], &values = valueCaches_[layer];
    const float *value = value_.data() + (row * keyHeads_ + keyHead) * size_;
    rotate(query_.data() + (row * heads_ + head) * size_, step.positions[row], own.query.data());
    rotate(key_.data() + (row * keyHeads_ + keyHead) * size_, step.positions[row], own.key.data());
    if (head % group == 0) {
        write(own.key.data(), size_, keys.format, keys.at(row, keyHead, length));
        write(value, size_, values.format, values.at(row, keyHead, length));
    }
    int64_t start = window_ > 0 ? std::max(step.starts[row], length - window_ + 1) : step.starts[row];
    RowsView oldKeys{keys.at(row, keyHead, start), keys.format, keys.stride, length - start};
    RowsView oldValues{values.at(row, keyHead, start), values.format, values.stride, length - start};
    kernels().attend(own.query.data(), oldKeys, oldValues, own.key.data(), value, size_,
                     1 / std::sqrt(static_cast<float>(size_)), own.scores.data(),
                     mixed_.data() + (row * heads_ + head) * size_);
}

/// Number i turns with number i + half, as in the Hugging Face checkpoints.
void Decoder::rotate(const float *x, int64_t position, float *y) {
    int64_t half = cosines_.size(1);
    const float *cosine = cosines_.const_data_ptr<float>() + position * half,
                *sine = sines_.const_data_ptr<float>() + position * half;
    for (int64_t i = 0; i < half; i++) {
        y[i] = x[i] * cosine[i] - x[i + half] * sine[i];
        y[i + half] = x[i + half] * cosine[i] + x[i] * sine[i];
    }
    for (int64_t i = 2 * half; i < size_; i++) y[i] = x[i];
}

}  // namespace

void fillDecoder(CTTable &t) {
    t.decoder = [](const CTDecoderModel *model, CTDecoder *out) CT_FUNCTION {
        return guard("decoder", {}, [&] { *out = reinterpret_cast<CTDecoder>(new Decoder(*model)); });
    };
    t.release_decoder = [](CTDecoder decoder) noexcept { delete reinterpret_cast<Decoder *>(decoder); };
    t.decoder_step = [](CTDecoder decoder, const CTDecoderStep *step, CTTensorOrNull *logits) CT_FUNCTION {
        return guard("decoder_step", {}, [&] {
            at::NoGradGuard noGradient;
            *logits = give(reinterpret_cast<Decoder *>(decoder)->step(*step));
        });
    };
}

}  // namespace ct
