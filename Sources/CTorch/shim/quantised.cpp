// Weights of 4 or 8 bits: w = scale · q + minimum, in groups of 32 along the input. Storage, and the product with its
// gradient. kernels.hpp describes the layout.
#include "quantised.hpp"

#include <ATen/Parallel.h>
#include <ATen/autocast_mode.h>
#include <torch/csrc/autograd/autograd.h>
#include <torch/csrc/autograd/functions/utils.h>
#include <torch/csrc/autograd/variable.h>

#include <algorithm>
#include <atomic>
#include <cmath>
#include <cstring>

#include "graph.hpp"
#include "team.hpp"

namespace ct {

namespace {

/// Up to this many rows of input are multiplied with the packed weights themselves; for more of them it is quicker to
/// unpack.
constexpr int64_t fewRows = 32;

/// Numbers of a scratch tile of unpacked weights: 8 MiB, which stay in the last-level cache, in few enough tiles that
/// starting the threads for each costs little.
constexpr int64_t scratchSize = 1 << 21;

void checkBits(int32_t bits) { TORCH_CHECK(bits == 4 || bits == 8, "a packed weight has 4 or 8 bits, not ", bits); }

std::vector<int64_t> packedSizes(int32_t bits, int64_t out, int64_t in) {
    checkBits(bits);
    constexpr int64_t limit = int64_t(1) << 40;
    TORCH_CHECK(out > 0 && in > 0 && out < limit && in < limit, "a packed weight has rows and columns, not [", out,
                ", ", in, "]");
    return {divideUp(out, tileRows), divideUp(in, groupSize), tileBytes(bits)};
}

// --- Storage

/// One row of one tile: the scale, the minimum and 32 values.
struct RowGroup {
    c10::Half scale;
    c10::Half minimum;
    uint8_t values[groupSize] = {};
};

template <int bits>
void put(const RowGroup &group, uint8_t *tile, int64_t row) {
    std::memcpy(tile + 2 * row, &group.scale, 2);
    std::memcpy(tile + tileHead / 2 + 2 * row, &group.minimum, 2);
    constexpr int columns = 32 / bits;
    for (int word = 0; word < bits; word++) {
        uint32_t value = 0;
        for (int i = 0; i < columns; i++) value |= uint32_t(group.values[word * columns + i]) << (bits * i);
        std::memcpy(tile + tileHead + word * 64 + row * 4, &value, 4);
    }
}

/// Makes packed weights; `fill` gives a group of a row, in order on each thread, and false when it cannot be represented.
template <typename Fill>
at::Tensor pack(int32_t bits, int64_t out, int64_t in, Fill fill) {
    at::Tensor packed = at::zeros(packedSizes(bits, out, in), at::kByte);
    uint8_t *tiles = packed.mutable_data_ptr<uint8_t>();
    int64_t groups = divideUp(in, groupSize);
    std::atomic<bool> failed{false};
    auto body = [&](int thread, int threads) {
        Share share(out, thread, threads);
        for (int64_t row = share.first; row < share.last; row++) {
            for (int64_t index = 0; index < groups; index++) {
                RowGroup group;
                if (!fill(thread, row, index, group)) failed = true;
                uint8_t *tile = tiles + (row / tileRows * groups + index) * tileBytes(bits);
                bits == 4 ? put<4>(group, tile, row % tileRows) : put<8>(group, tile, row % tileRows);
            }
        }
    };
    runTeam(body);
    TORCH_CHECK(!failed, "a weight is not finite or too large for a 16-bit scale");
    return packed;
}

bool isFinite(c10::Half value) { return std::isfinite(static_cast<float>(value)); }

/// Round to nearest between the smallest and the largest number of each group. Row by row, so that beside a weight of two
/// bytes a number there is never one of four.
at::Tensor quantise(const at::Tensor &weight, int32_t bits) {
    checkBits(bits);
    TORCH_CHECK(weight.dim() == 2 && weight.is_floating_point(), "needs a matrix [out, in] of floating-point numbers");
    at::Tensor source = weight.detach().to(at::kCPU).contiguous();
    if (source.scalar_type() == at::kDouble) source = source.to(at::kFloat);
    MatrixView view = plainView(source);
    int64_t width = padded(view.in), last = view.in - 1;
    at::Tensor rows = at::empty({std::max(1, at::get_num_threads()), width}, at::kFloat);
    float *numbers = rows.mutable_data_ptr<float>();
    float most = static_cast<float>((1 << bits) - 1);
    return pack(bits, view.out, view.in, [=](int thread, int64_t row, int64_t index, RowGroup &group) {
        float *x = numbers + thread * width;
        if (index == 0) {
            kernels().readRow(view, row, x);
            std::fill(x + view.in, x + width, x[last]);  // extends no group's range
        }
        x += index * groupSize;
        float low, high;
        if (!kernels().bounds(x, &low, &high)) return false;
        group.minimum = low;
        group.scale = (high - static_cast<float>(group.minimum)) / most;
        if (!(isFinite(group.scale) && isFinite(group.minimum))) return false;
        if (group.scale > 0) kernels().steps(x, group.minimum, group.scale, most, group.values);
        int64_t count = std::min(groupSize, view.in - index * groupSize);
        std::fill(group.values + count, group.values + groupSize, 0);
        return true;
    });
}

/// Given values, scales and minima.
at::Tensor packValues(const at::Tensor &values, const at::Tensor &scales, const at::Tensor &minima, int32_t bits) {
    checkBits(bits);
    TORCH_CHECK(values.dim() == 2 && values.scalar_type() == at::kByte, "values are uint8 [out, in]");
    int64_t out = values.size(0), in = values.size(1), groups = divideUp(in, groupSize);
    for (const at::Tensor &side : {scales, minima})
        TORCH_CHECK(side.dim() == 2 && side.size(0) == out && side.size(1) == groups && side.is_floating_point(),
                    "scales and minima are floating-point [out, in / 32]");
    at::Tensor q = values.to(at::kCPU).contiguous(), s = scales.detach().to(at::kCPU, at::kHalf).contiguous(),
               m = minima.detach().to(at::kCPU, at::kHalf).contiguous();
    const uint8_t *numbers = q.const_data_ptr<uint8_t>();
    const c10::Half *scale = s.const_data_ptr<c10::Half>(), *minimum = m.const_data_ptr<c10::Half>();
    uint8_t most = static_cast<uint8_t>((1 << bits) - 1);
    return pack(bits, out, in, [=](int, int64_t row, int64_t index, RowGroup &group) {
        group.scale = scale[row * groups + index];
        group.minimum = minimum[row * groups + index];
        int64_t count = std::min(groupSize, in - index * groupSize);
        for (int64_t i = 0; i < count; i++) {
            group.values[i] = numbers[row * in + index * groupSize + i];
            if (group.values[i] > most) return false;
        }
        return isFinite(group.scale) && isFinite(group.minimum);
    });
}

/// GGUF's blocks of 32 numbers (ggml-common.h): Q4_0 is d and 16 bytes, w = d (q − 8); Q4_1 is d, m and 16 bytes,
/// w = d q + m; Q8_0 is d and 32 signed bytes, w = d q. d and m are fp16, little-endian. Byte i of a 4-bit block holds
/// number i in its lower and number i + 16 in its upper half. Times 8 and 128 are exact in fp16.
at::Tensor packBlocks(const uint8_t *bytes, int64_t byteCount, int32_t kind, int64_t out, int64_t in) {
    int32_t bits = kind == CT_BLOCK_Q8_0 ? 8 : 4;
    packedSizes(bits, out, in);
    TORCH_CHECK(kind == CT_BLOCK_Q4_0 || kind == CT_BLOCK_Q4_1 || kind == CT_BLOCK_Q8_0, "unknown kind of block");
    TORCH_CHECK(in % groupSize == 0, "rows of blocks have a multiple of 32 columns, not ", in);
    int64_t head = kind == CT_BLOCK_Q4_1 ? 4 : 2, size = head + bits * 4, groups = in / groupSize, needed = 0;
    TORCH_CHECK(!__builtin_mul_overflow(out, groups * size, &needed) && needed == byteCount, "the blocks of [", out,
                ", ", in, "] do not take ", byteCount, " bytes");
    return pack(bits, out, in, [=](int, int64_t row, int64_t index, RowGroup &group) {
        const uint8_t *block = bytes + (row * groups + index) * size, *values = block + head;
        std::memcpy(&group.scale, block, 2);
        if (kind == CT_BLOCK_Q4_1) std::memcpy(&group.minimum, block + 2, 2);
        else group.minimum = static_cast<float>(group.scale) * (bits == 4 ? -8.0f : -128.0f);
        for (int64_t i = 0; i < groupSize; i++) {
            if (bits == 8) group.values[i] = static_cast<uint8_t>(values[i] ^ 0x80);
            else group.values[i] = i < 16 ? values[i] & 15 : values[i - 16] >> 4;
        }
        return isFinite(group.scale) && isFinite(group.minimum);
    });
}

/// Rows first ≤ row < last as fp32, on all threads.
void unpack(const MatrixView &w, int64_t first, int64_t last, float *out) {
    auto body = [&](int thread, int threads) {
        Share share(last - first, thread, threads);
        for (int64_t row = share.first; row < share.last; row++) kernels().readRow(w, first + row, out + row * w.in);
    };
    runTeam(body);
}

/// The same as bf16.
void unpackRounded(const MatrixView &w, int64_t first, int64_t last, c10::BFloat16 *out) {
    auto body = [&](int thread, int threads) {
        Share share(last - first, thread, threads);
        std::vector<float> numbers(w.in);
        for (int64_t row = share.first; row < share.last; row++) {
            kernels().readRow(w, first + row, numbers.data());
            kernels().roundRow(numbers.data(), w.in, &out[row * w.in].x);
        }
    };
    runTeam(body);
}

at::Tensor rows(const MatrixView &w, const at::Tensor &indices) {
    TORCH_CHECK(indices.scalar_type() == at::kLong && indices.device().is_cpu(), "indices are int64 on the CPU");
    at::Tensor list = indices.contiguous();
    const int64_t *index = list.const_data_ptr<int64_t>();
    for (int64_t i = 0; i < list.numel(); i++)
        TORCH_CHECK_INDEX(index[i] >= 0 && index[i] < w.out, "index ", index[i], " is out of range of ", w.out, " rows");
    std::vector<int64_t> sizes = indices.sizes().vec();
    sizes.push_back(w.in);
    at::Tensor result = at::empty(sizes, at::kFloat);
    float *out = result.mutable_data_ptr<float>();
    for (int64_t i = 0; i < list.numel(); i++) kernels().readRow(w, index[i], out + i * w.in);
    return result;
}

// --- Product

/// x [T, in] for few rows, in fp32.
at::Tensor multiplyFew(const MatrixView &w, const at::Tensor &input) {
    at::Tensor x = input.to(at::kFloat).contiguous();
    int64_t count = x.size(0), width = padded(w.in);
    at::Tensor y = at::empty({count, w.out}, at::kFloat), scaled = at::empty({count, width}, at::kFloat),
               sums = at::empty({count, w.groups()}, at::kFloat);
    const float *from = x.const_data_ptr<float>();
    float *ready = scaled.mutable_data_ptr<float>(), *totals = sums.mutable_data_ptr<float>(),
          *to = y.mutable_data_ptr<float>();
    for (int64_t row = 0; row < count; row++)
        kernels().prepare(w.bits(), from + row * w.in, w.in, ready + row * width, totals + row * w.groups());
    auto body = [&](int thread, int threads) {
        Share share(w.blocks(), thread, threads);
        kernels().product(w, ready, width, totals, count, share.first, share.last, to, w.out);
    };
    runTeam(body);
    return y;
}

/// Calls `body` with one tile of rows after the other: its first row, the number of rows and the tile [rows, in].
template <typename Body>
void forEachTile(const MatrixView &w, at::ScalarType type, Body body) {
    int64_t step = std::max<int64_t>(64, scratchSize / w.in / tileRows * tileRows);
    bool rounds = type == at::kBFloat16;
    at::Tensor scratch = at::empty({std::min(step, w.out), w.in}, rounds ? type : at::kFloat);
    for (int64_t first = 0; first < w.out; first += step) {
        int64_t count = std::min(step, w.out - first);
        if (rounds) unpackRounded(w, first, first + count, scratch.mutable_data_ptr<c10::BFloat16>());
        else unpack(w, first, first + count, scratch.mutable_data_ptr<float>());
        body(first, count, scratch.narrow(0, 0, count).to(type));
    }
}

at::Tensor multiply(const MatrixView &w, const at::Tensor &x, bool rounds) {
    if (x.size(0) <= fewRows) return multiplyFew(w, x).to(x.scalar_type());
    at::Tensor y = at::empty({x.size(0), w.out}, x.options());
    if (rounds && x.scalar_type() == at::kFloat) {
        at::Tensor rounded = x.to(at::kBFloat16);
        forEachTile(w, at::kBFloat16, [&](int64_t first, int64_t count, const at::Tensor &tile) {
            y.narrow(1, first, count).copy_(at::mm(rounded, tile.t()));
        });
        return y;
    }
    forEachTile(w, x.scalar_type(), [&](int64_t first, int64_t count, const at::Tensor &tile) {
        at::Tensor part = y.narrow(1, first, count);
        at::mm_out(part, x, tile.t());
    });
    return y;
}

/// The gradient of x for the gradient `given` [T, out] of the product, added up in fp32.
at::Tensor multiplyBack(const MatrixView &w, const at::Tensor &given) {
    at::Tensor result;
    forEachTile(w, given.scalar_type(), [&](int64_t first, int64_t count, const at::Tensor &tile) {
        at::Tensor part = given.narrow(1, first, count);
        if (!result.defined()) result = at::mm(part, tile).to(at::promoteTypes(given.scalar_type(), at::kFloat));
        else if (given.scalar_type() == result.scalar_type()) result.addmm_(part, tile);
        else result.add_(at::mm(part, tile));
    });
    return result.to(given.scalar_type());
}

struct ProductNode : torch::autograd::Node {
    at::Tensor packed;
    MatrixView view;
    std::vector<int64_t> sizes;

    torch::autograd::variable_list apply(torch::autograd::variable_list &&gradients) override {
        TORCH_CHECK(!at::GradMode::is_enabled(), "a product with packed weights has no second derivatives");
        at::Tensor &given = gradients[0];
        if (!given.defined()) return {at::Tensor()};
        return {multiplyBack(view, given.reshape({-1, view.out})).reshape(sizes)};
    }
};

at::Tensor linear(const at::Tensor &input, const at::Tensor &packed, int32_t bits, int64_t out,
                  const std::optional<at::Tensor> &bias, bool rounds) {
    TORCH_CHECK(input.device().is_cpu() && packed.device().is_cpu(), "packed weights multiply on the CPU only");
    TORCH_CHECK(input.dim() > 0 && input.is_floating_point(), "the input is floating-point [..., in]");
    at::Tensor x = input;
    if (at::autocast::is_autocast_enabled(at::kCPU)) x = x.to(at::autocast::get_autocast_dtype(at::kCPU));
    MatrixView view = packedView(packed, bits, out, x.size(-1));
    std::vector<int64_t> sizes = x.sizes().vec();
    sizes.back() = out;
    at::Tensor y;
    {
        at::NoGradGuard noGradient;
        at::Tensor flat = x.detach().reshape({-1, view.in});
        y = flat.size(0) == 0 ? at::empty({0, out}, x.options()) : multiply(view, flat, rounds);
        y = y.reshape(sizes);
    }
    if (at::GradMode::is_enabled() && x.requires_grad()) {
        auto *node = new ProductNode;
        NodePointer kept = own(node);
        node->packed = packed;
        node->view = view;
        node->sizes = x.sizes().vec();
        node->set_next_edges(torch::autograd::collect_next_edges(x));
        torch::autograd::set_history(y, kept);
    }
    if (!bias) return y;
    bool recorded = at::GradMode::is_enabled() && (y.requires_grad() || bias->requires_grad());
    return recorded ? y + bias->to(y.scalar_type()) : y.add_(*bias);
}

}  // namespace

MatrixView packedView(const at::Tensor &packed, int32_t bits, int64_t out, int64_t in) {
    std::vector<int64_t> sizes = packedSizes(bits, out, in);
    TORCH_CHECK(packed.scalar_type() == at::kByte && packed.device().is_cpu() && packed.is_contiguous() &&
                    packed.sizes() == at::IntArrayRef(sizes),
                "the packed weights of [", out, ", ", in, "] are uint8 ", at::IntArrayRef(sizes), " on the CPU, not ",
                packed.scalar_type(), " ", packed.sizes(), " on ", packed.device());
    return {packed.const_data_ptr<uint8_t>(), bits == 4 ? Format::packed4 : Format::packed8, out, in};
}

MatrixView plainView(const at::Tensor &weight) {
    TORCH_CHECK(weight.dim() == 2 && weight.device().is_cpu() && weight.is_contiguous(),
                "a weight is a contiguous matrix on the CPU");
    Format format = Format::float32;
    switch (weight.scalar_type()) {
        case at::kFloat: break;
        case at::kHalf: format = Format::float16; break;
        case at::kBFloat16: format = Format::bfloat16; break;
        default: TORCH_CHECK(false, "a weight is float32, float16 or bfloat16, not ", weight.scalar_type());
    }
    return {static_cast<const uint8_t *>(weight.const_data_ptr()), format, weight.size(0), weight.size(1)};
}

void fillQuantised(CTTable &t) {
    t.select_kernels = [](const char *name) noexcept -> bool { return selectKernels(name); };
    t.kernels = []() noexcept -> const char * { return kernels().name; };
    t.quantise = [](CTTensor weight, int32_t bits, CTTensorOrNull *out) CT_FUNCTION {
        return guard("quantise", {weight}, [&] { *out = give(quantise(*Borrow(weight), bits)); });
    };
    t.pack_values = [](CTTensor values, CTTensor scales, CTTensor minima, int32_t bits,
                       CTTensorOrNull *out) CT_FUNCTION {
        return guard("pack_values", {values, scales, minima}, [&] {
            *out = give(packValues(*Borrow(values), *Borrow(scales), *Borrow(minima), bits));
        });
    };
    t.pack_blocks = [](const void *bytes, int64_t byteCount, int32_t kind, int64_t rows, int64_t columns,
                       CTTensorOrNull *out) CT_FUNCTION {
        return guard("pack_blocks", {}, [&] {
            *out = give(packBlocks(static_cast<const uint8_t *>(bytes), byteCount, kind, rows, columns));
        });
    };
    t.dequantise = [](CTTensor packed, int32_t bits, int64_t rows, int64_t columns, int32_t type,
                      CTTensorOrNull *out) CT_FUNCTION {
        return guard("dequantise", {packed}, [&] {
            Borrow tensor(packed);
            MatrixView view = packedView(*tensor, bits, rows, columns);
            at::Tensor result = at::empty({rows, columns}, at::kFloat);
            unpack(view, 0, rows, result.mutable_data_ptr<float>());
            *out = give(result.to(scalarType(type)));
        });
    };
    t.packed_rows = [](CTTensor packed, int32_t bits, int64_t count, int64_t columns, CTTensor indices,
                       CTTensorOrNull *out) CT_FUNCTION {
        return guard("packed_rows", {packed, indices}, [&] {
            Borrow tensor(packed);
            *out = give(rows(packedView(*tensor, bits, count, columns), *Borrow(indices)));
        });
    };
    t.packed_linear = [](CTTensor input, CTTensor packed, int32_t bits, int64_t rows, CTTensorOrNull bias, bool rounds,
                         CTTensorOrNull *out) CT_FUNCTION {
        return guard("packed_linear", {input, packed, bias}, [&] {
            *out = give(linear(*Borrow(input), *Borrow(packed), bits, rows, optional(bias), rounds));
        });
    };
}

}  // namespace ct
