// Loops over raw memory that libtorch has no operation for: products with packed weights and the pieces of a decoder
// step. They are compiled once for every instruction set and chosen when the program runs.
#pragma once

#include <cstdint>

namespace ct {

/// Packed weights lie in tiles of 16 rows by 32 columns (one group): 16 scales and 16 minima as fp16, then the values.
/// Each 64 bytes of values are 16 words, one a row, that hold 32 / bits neighbouring columns from the lowest bits
/// upwards. So one vector register holds the same column of many rows, and a product reads memory from front to back.
/// Tiles follow each other along the columns. Rows and columns beyond the matrix are zero.
constexpr int64_t tileRows = 16;
constexpr int64_t groupSize = 32;
constexpr int64_t tileHead = 2 * 2 * tileRows;

/// The most floats that a vector register of any instruction set holds.
constexpr int64_t lanes = 16;

constexpr int64_t tileBytes(int32_t bits) { return tileHead + tileRows * groupSize * bits / 8; }
constexpr int64_t divideUp(int64_t a, int64_t b) { return (a + b - 1) / b; }

/// Columns of a row of input, a whole number of groups.
constexpr int64_t padded(int64_t columns) { return divideUp(columns, groupSize) * groupSize; }

enum class Format : int32_t { float32, float16, bfloat16, packed4, packed8 };

/// A matrix [out, in] in memory: row by row, or packed.
struct MatrixView {
    const uint8_t *data = nullptr;
    Format format = Format::float32;
    int64_t out = 0;
    int64_t in = 0;

    int32_t bits() const { return format == Format::packed4 ? 4 : 8; }
    int64_t groups() const { return divideUp(in, groupSize); }
    /// Blocks of 16 rows, the last of which may be partial: the unit in which threads share a product.
    int64_t blocks() const { return divideUp(out, tileRows); }
};

/// Rows of numbers of a cache: `count` of them, `stride` elements apart.
struct RowsView {
    const void *data;
    Format format;
    int64_t stride;
    int64_t count;
};

struct Kernels {
    const char *name;
    /// y[r · yStride + o] = Σ x[r][i] w[o][i] for the rows o of blocks first ≤ block < last. For packed weights x and
    /// `sums` are what `prepare` made, rows of x being `xStride` apart and those of the sums w.groups().
    void (*product)(const MatrixView &w, const float *x, int64_t xStride, const float *sums, int64_t rows,
                    int64_t first, int64_t last, float *y, int64_t yStride);
    /// Makes a row of `n` numbers ready for packed weights: padded(n) numbers, scaled by powers of two so that a column
    /// need not be moved within its word, and the sum of each group.
    void (*prepare)(int32_t bits, const float *x, int64_t n, float *scaled, float *sums);
    /// Row `row` of a matrix as fp32, `in` numbers.
    void (*readRow)(const MatrixView &w, int64_t row, float *out);
    /// The nearest bf16 of finite numbers, to the even one of two.
    void (*roundRow)(const float *x, int64_t n, uint16_t *out);
    /// The smallest and the largest of 32 numbers; false unless all are finite.
    bool (*bounds)(const float *x, float *low, float *high);
    /// The nearest of the steps 0 … most from `minimum` on for each of 32 numbers; scale is above 0.
    void (*steps)(const float *x, float minimum, float scale, float most, uint8_t *values);
    /// y = x / √(mean(x²) + epsilon) · weight
    void (*rmsNorm)(const float *x, const float *weight, int64_t n, float epsilon, float *y);
    /// y = silu(gate) · up
    void (*siluMultiply)(const float *gate, const float *up, int64_t n, float *y);
    /// Attention of one query over the rows of a cache and one more key and value. `scores` has room for all rows and
    /// 16 more.
    void (*attend)(const float *query, const RowsView &keys, const RowsView &values, const float *key,
                   const float *value, int64_t size, float scale, float *scores, float *out);
    /// c[m, n] += a[m, inner] b[inner, n], for small matrices: number (i, k) of a lies at i · aRow + k · aColumn, rows of
    /// b and c one after the other. n is a multiple of `lanes`.
    void (*multiply)(const float *a, int64_t aRow, int64_t aColumn, const float *b, int64_t bRow, float *c,
                     int64_t cRow, int64_t m, int64_t inner, int64_t n);
    /// scores ← softmax(scores · scale + mask), all 0 where the mask leaves nothing; n is a multiple of `lanes`.
    void (*softmax)(float *scores, const float *mask, int64_t n, float scale);
    /// gradient ← scale · weights · (gradient − Σ weights · gradient): of the scores, from that of their softmax.
    void (*softmaxGradient)(const float *weights, float *gradient, int64_t n, float scale);
    /// Of a row of rmsNorm: the gradient of x, and that of the weight, which is added and may be null.
    void (*rmsNormGradient)(const float *x, const float *weight, const float *gradient, int64_t n, float epsilon,
                            float *towardsX, float *towardsWeight);
    /// Of siluMultiply.
    void (*siluMultiplyGradient)(const float *gate, const float *up, const float *gradient, int64_t n,
                                 float *towardsGate, float *towardsUp);
};

/// The kernels in use: the best that the processor can run, unless `selectKernels` chose others.
const Kernels &kernels();

/// Chooses by name (`baseline`, `avx2`, `avx512`); false when there are none of this name or the processor cannot run
/// them. Null chooses the best again.
bool selectKernels(const char *name);

}  // namespace ct
