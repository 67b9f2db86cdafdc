// The kernels for one instruction set; kernels.cpp includes this file once for each. Before it: KERNEL_NAMESPACE, and
// WIDTH, the number of floats in a vector register. Vectors are the compiler's own, so one text serves all processors.

namespace ct::KERNEL_NAMESPACE {

#define INLINE static inline __attribute__((always_inline))

typedef float Floats __attribute__((vector_size(WIDTH * 4)));
typedef int32_t Ints __attribute__((vector_size(WIDTH * 4)));
typedef uint32_t Words __attribute__((vector_size(WIDTH * 4)));
typedef uint16_t Shorts __attribute__((vector_size(WIDTH * 2)));
typedef uint8_t Bytes __attribute__((vector_size(WIDTH)));
typedef uint8_t Bytes16 __attribute__((vector_size(16)));
typedef uint8_t Bytes32 __attribute__((vector_size(32)));

/// Registers that hold one column of a tile.
constexpr int parts = tileRows / WIDTH;

template <typename Vector>
INLINE Vector load(const void *address) {
    Vector value;
    __builtin_memcpy(&value, address, sizeof value);
    return value;
}

INLINE void store(float *address, Floats value) { __builtin_memcpy(address, &value, sizeof value); }

/// The same number in every lane. Taking 0 away, unlike adding it, changes no number and costs nothing.
INLINE Floats spread(float value) { return value - Floats{}; }

typedef float Floats4 __attribute__((vector_size(16)));

/// All lanes brought together by `combine`, halves first: one lane after the other would wait for each step.
template <typename Combine>
INLINE float fold(Floats value, Combine combine) {
#if WIDTH == 16
    typedef float Floats8 __attribute__((vector_size(32)));
    Floats8 half = combine((Floats8)__builtin_shufflevector(value, value, 0, 1, 2, 3, 4, 5, 6, 7),
                           (Floats8)__builtin_shufflevector(value, value, 8, 9, 10, 11, 12, 13, 14, 15));
    Floats4 quarter = combine((Floats4)__builtin_shufflevector(half, half, 0, 1, 2, 3),
                              (Floats4)__builtin_shufflevector(half, half, 4, 5, 6, 7));
#elif WIDTH == 8
    Floats4 quarter = combine((Floats4)__builtin_shufflevector(value, value, 0, 1, 2, 3),
                              (Floats4)__builtin_shufflevector(value, value, 4, 5, 6, 7));
#else
    Floats4 quarter = value;
#endif
    quarter = combine(quarter, (Floats4)__builtin_shufflevector(quarter, quarter, 2, 3, 0, 1));
    return combine(quarter[0], quarter[1]);
}

INLINE float sum(Floats value) {
    return fold(value, [](auto a, auto b) { return a + b; });
}

/// fp16 to fp32.
INLINE Floats fromHalf(Shorts half) {
#if KERNEL_HALF
    typedef _Float16 Halves __attribute__((vector_size(WIDTH * 2)));
    return __builtin_convertvector((Halves)half, Floats);
#else
    // Moves exponent and mantissa into place and scales by 2^112, which makes subnormal numbers right as well; the
    // largest exponent stands for infinity and NaN.
    Words bits = __builtin_convertvector(half, Words);
    Words magnitude = (bits & 0x7fff) << 13;
    Floats value = (Floats)magnitude * spread(5.192296858534828e33f);
    Words special = (Words)(magnitude >= 0x0f800000u);
    value = (Floats)(((Words)value & ~special) | ((magnitude | 0x7f800000u) & special));
    return (Floats)((Words)value | (bits & 0x8000) << 16);
#endif
}

/// WIDTH numbers of a row, as fp32.
template <Format format>
INLINE Floats read(const void *row, int64_t index) {
    if constexpr (format == Format::float32) {
        return load<Floats>(static_cast<const float *>(row) + index);
    } else {
        Shorts bits = load<Shorts>(static_cast<const uint16_t *>(row) + index);
        if constexpr (format == Format::float16) return fromHalf(bits);
        else return (Floats)(__builtin_convertvector(bits, Words) << 16);
    }
}

/// One number of a row, as fp32.
template <Format format>
INLINE float readOne(const void *row, int64_t index) {
    if constexpr (format == Format::float32) {
        return static_cast<const float *>(row)[index];
    } else {
        Shorts bits = {static_cast<const uint16_t *>(row)[index]};
        if constexpr (format == Format::float16) return fromHalf(bits)[0];
        else return ((Floats)(__builtin_convertvector(bits, Words) << 16))[0];
    }
}

// --- Products

/// The 16 rows of one block of packed weights, for `rows` rows of input.
template <int rows, int bits>
INLINE void packedBlock(const uint8_t *tile, int64_t groups, const float *x, int64_t xStride, const float *sums,
                        float (*y)[tileRows]) {
    constexpr int columns = 32 / bits;
    // Sums that do not wait for each other: enough to keep the multipliers busy.
    constexpr int chains = rows * parts >= 4 ? 1 : 4 / (rows * parts);
    Floats total[rows][parts] = {};
    for (int64_t group = 0; group < groups; group++, tile += tileBytes(bits)) {
        // Far enough ahead to come in time, also where the address lies beyond the matrix, which does no harm.
        for (int64_t line = 0; line < tileBytes(bits); line += 64) __builtin_prefetch(tile + 2560 + line);
        Floats partial[chains][rows][parts] = {};
        const float *input = x + group * groupSize;
#pragma clang loop unroll(full)
        for (int word = 0; word < bits; word++) {
            Words values[parts];
            for (int part = 0; part < parts; part++)
                values[part] = load<Words>(tile + tileHead + word * 64 + part * WIDTH * 4);
#pragma clang loop unroll(full)
            for (int column = 0; column < columns; column++) {
                Floats weights[parts];
                for (int part = 0; part < parts; part++) {
                    // A column stays where it is in the word, which makes it larger by a power of two; the input is
                    // smaller by the same. The last one would reach the sign.
                    Words value = values[part];
                    if (column + 1 < columns) value &= ((1u << bits) - 1) << (bits * column);
                    else value >>= bits * column;
                    weights[part] = __builtin_convertvector((Ints)value, Floats);
                }
                for (int row = 0; row < rows; row++) {
                    Floats number = spread(input[row * xStride + word * columns + column]);
                    for (int part = 0; part < parts; part++)
                        partial[column % chains][row][part] += weights[part] * number;
                }
            }
        }
        for (int part = 0; part < parts; part++) {
            Floats scale = fromHalf(load<Shorts>(tile + part * WIDTH * 2));
            Floats minimum = fromHalf(load<Shorts>(tile + tileHead / 2 + part * WIDTH * 2));
            for (int row = 0; row < rows; row++) {
                Floats whole = partial[0][row][part];
                for (int chain = 1; chain < chains; chain++) whole += partial[chain][row][part];
                total[row][part] += whole * scale;
                total[row][part] += minimum * spread(sums[row * groups + group]);
            }
        }
    }
    for (int row = 0; row < rows; row++)
        for (int part = 0; part < parts; part++) store(y[row] + part * WIDTH, total[row][part]);
}

/// Four rows of a matrix in memory row by row, for `rows` rows of input.
template <int rows, Format format>
INLINE void plainRows(const uint8_t *const (&w)[4], int64_t in, const float *x, int64_t xStride, float (*y)[tileRows]) {
    Floats total[rows][4] = {};
    int64_t i = 0;
    for (; i + WIDTH <= in; i += WIDTH) {
        Floats input[rows];
        for (int row = 0; row < rows; row++) input[row] = load<Floats>(x + row * xStride + i);
        for (int o = 0; o < 4; o++) {
            Floats weights = read<format>(w[o], i);
            for (int row = 0; row < rows; row++) total[row][o] += weights * input[row];
        }
    }
    for (int o = 0; o < 4; o++) {
        for (int row = 0; row < rows; row++) {
            float whole = sum(total[row][o]);
            for (int64_t rest = i; rest < in; rest++) whole += readOne<format>(w[o], rest) * x[row * xStride + rest];
            y[row][o] = whole;
        }
    }
}

template <int rows, Format format>
static void block(const MatrixView &w, const float *x, int64_t xStride, const float *sums, int64_t index,
                  float (*y)[tileRows]) {
    if constexpr (format == Format::packed4 || format == Format::packed8) {
        constexpr int bits = format == Format::packed4 ? 4 : 8;
        packedBlock<rows, bits>(w.data + index * w.groups() * tileBytes(bits), w.groups(), x, xStride, sums, y);
    } else {
        int64_t bytes = w.in * (format == Format::float32 ? 4 : 2);
        for (int64_t first = 0; first < tileRows; first += 4) {
            int64_t row = index * tileRows + first;
            if (row >= w.out) return;
            // The last rows are computed again rather than rows that are not there.
            const uint8_t *addresses[4];
            for (int64_t o = 0; o < 4; o++) addresses[o] = w.data + (row + o < w.out ? row + o : w.out - 1) * bytes;
            float results[rows][tileRows];
            plainRows<rows, format>(addresses, w.in, x, xStride, results);
            for (int r = 0; r < rows; r++)
                for (int64_t o = 0; o < 4; o++) y[r][first + o] = results[r][o];
        }
    }
}

template <Format format>
static void productOf(const MatrixView &w, const float *x, int64_t xStride, const float *sums, int64_t rows,
                      int64_t first, int64_t last, float *y, int64_t yStride) {
    for (int64_t index = first; index < last; index++) {
        int64_t start = index * tileRows;
        int64_t count = w.out - start < tileRows ? w.out - start : tileRows;
        // Four rows of input share one pass over the block, which stays in the cache for the next four.
        for (int64_t row = 0; row < rows; row += 4) {
            const float *input = x + row * xStride, *inputSums = sums + row * w.groups();
            int64_t now = rows - row < 4 ? rows - row : 4;
            float results[4][tileRows];
            switch (now) {
                case 1: block<1, format>(w, input, xStride, inputSums, index, results); break;
                case 2: block<2, format>(w, input, xStride, inputSums, index, results); break;
                case 3: block<3, format>(w, input, xStride, inputSums, index, results); break;
                default: block<4, format>(w, input, xStride, inputSums, index, results); break;
            }
            for (int64_t r = 0; r < now; r++)
                for (int64_t o = 0; o < count; o++) y[(row + r) * yStride + start + o] = results[r][o];
        }
    }
}

static void product(const MatrixView &w, const float *x, int64_t xStride, const float *sums, int64_t rows,
                    int64_t first, int64_t last, float *y, int64_t yStride) {
    switch (w.format) {
        case Format::float32: return productOf<Format::float32>(w, x, xStride, sums, rows, first, last, y, yStride);
        case Format::float16: return productOf<Format::float16>(w, x, xStride, sums, rows, first, last, y, yStride);
        case Format::bfloat16: return productOf<Format::bfloat16>(w, x, xStride, sums, rows, first, last, y, yStride);
        case Format::packed4: return productOf<Format::packed4>(w, x, xStride, sums, rows, first, last, y, yStride);
        case Format::packed8: return productOf<Format::packed8>(w, x, xStride, sums, rows, first, last, y, yStride);
    }
}

static void prepare(int32_t bits, const float *x, int64_t n, float *scaled, float *sums) {
    // 1 / 2^(bits · column), for the columns of a word except the last; it repeats every 32 / bits numbers.
    float factors[groupSize];
    for (int64_t i = 0; i < groupSize; i++) {
        int64_t columns = 32 / bits, column = i % columns;
        factors[i] = column + 1 < columns ? 1 / static_cast<float>(1u << (bits * column)) : 1;
    }
    for (int64_t start = 0; start < n; start += groupSize, x += groupSize, scaled += groupSize) {
        float last[groupSize] = {};
        if (n - start < groupSize) {
            __builtin_memcpy(last, x, static_cast<unsigned long>(n - start) * sizeof(float));
            x = last;
        }
        Floats total = {};
        for (int64_t i = 0; i < groupSize; i += WIDTH) {
            Floats value = load<Floats>(x + i);
            store(scaled + i, value * load<Floats>(factors + i));
            total += value;
        }
        sums[start / groupSize] = sum(total);
    }
}

// --- Reading rows

/// The 32 values of one row of a tile, in the order of the columns.
template <int bits>
INLINE void tileRow(const uint8_t *tile, int64_t row, uint8_t *values) {
    uint8_t gathered[4 * bits];
    for (int word = 0; word < bits; word++)
        __builtin_memcpy(gathered + word * 4, tile + tileHead + word * 64 + row * 4, 4);
    if constexpr (bits == 8) {
        __builtin_memcpy(values, gathered, 32);
    } else {
        Bytes16 pairs = load<Bytes16>(gathered), low = pairs & 15, high = pairs >> 4;
        Bytes32 all = __builtin_shufflevector(low, high, 0, 16, 1, 17, 2, 18, 3, 19, 4, 20, 5, 21, 6, 22, 7, 23, 8, 24,
                                              9, 25, 10, 26, 11, 27, 12, 28, 13, 29, 14, 30, 15, 31);
        __builtin_memcpy(values, &all, 32);
    }
}

template <int bits>
static void readPacked(const MatrixView &w, int64_t row, float *out) {
    const uint8_t *tile = w.data + row / tileRows * w.groups() * tileBytes(bits);
    int64_t lane = row % tileRows;
    for (int64_t start = 0; start < w.in; start += groupSize, tile += tileBytes(bits)) {
        Floats scale = spread(readOne<Format::float16>(tile, lane));
        Floats minimum = spread(readOne<Format::float16>(tile + tileHead / 2, lane));
        uint8_t values[groupSize];
        tileRow<bits>(tile, lane, values);
        float last[groupSize];
        bool whole = w.in - start >= groupSize;
        float *target = whole ? out + start : last;
        for (int64_t i = 0; i < groupSize; i += WIDTH) {
            Ints number = __builtin_convertvector(load<Bytes>(values + i), Ints);
            store(target + i, __builtin_convertvector(number, Floats) * scale + minimum);
        }
        if (!whole)
            for (int64_t i = start; i < w.in; i++) out[i] = last[i - start];
    }
}

template <Format format>
static void readPlain(const MatrixView &w, int64_t row, float *out) {
    const uint8_t *start = w.data + row * w.in * (format == Format::float32 ? 4 : 2);
    int64_t i = 0;
    for (; i + WIDTH <= w.in; i += WIDTH) store(out + i, read<format>(start, i));
    for (; i < w.in; i++) out[i] = readOne<format>(start, i);
}

static void readRow(const MatrixView &w, int64_t row, float *out) {
    switch (w.format) {
        case Format::float32: return readPlain<Format::float32>(w, row, out);
        case Format::float16: return readPlain<Format::float16>(w, row, out);
        case Format::bfloat16: return readPlain<Format::bfloat16>(w, row, out);
        case Format::packed4: return readPacked<4>(w, row, out);
        case Format::packed8: return readPacked<8>(w, row, out);
    }
}

// --- Rounding

static void roundRow(const float *x, int64_t n, uint16_t *out) {
    for (int64_t i = 0; i < n; i++) {
        uint32_t bits;
        __builtin_memcpy(&bits, x + i, 4);
        out[i] = static_cast<uint16_t>((bits + 0x7fff + (bits >> 16 & 1)) >> 16);
    }
}

static bool bounds(const float *x, float *low, float *high) {
    Floats least = load<Floats>(x), most = least, nothing = {};
    for (int64_t i = 0; i < groupSize; i += WIDTH) {
        Floats value = load<Floats>(x + i);
        least = value < least ? value : least;
        most = value > most ? value : most;
        nothing += value * 0.0f;  // stays 0 but for what is not finite
    }
    *low = fold(least, [](auto a, auto b) { return a < b ? a : b; });
    *high = fold(most, [](auto a, auto b) { return a > b ? a : b; });
    return sum(nothing) == 0;
}

static void steps(const float *x, float minimum, float scale, float most, uint8_t *values) {
    // Adding 1.5 · 2^23 rounds to the nearest integer, to the even one of two.
    Floats magic = spread(12582912.0f), last = spread(most), zero = {};
    for (int64_t i = 0; i < groupSize; i += WIDTH) {
        Floats value = (load<Floats>(x + i) - minimum) / spread(scale);
        value = value < zero ? zero : value;
        value = value > last ? last : value;
        Bytes rounded = __builtin_convertvector((Ints)(value + magic) - (Ints)magic, Bytes);
        __builtin_memcpy(values + i, &rounded, WIDTH);
    }
}

// --- Pieces of a decoder step

/// e^x by 2^n e^r with |r| ≤ ln 2 / 2, to about 1e-7 of the result.
INLINE Floats exponential(Floats x) {
    Floats low = spread(-87.0f), high = spread(88.0f);
    x = x < low ? low : x;
    x = x > high ? high : x;
    // Adding 1.5 · 2^23 rounds to an integer and leaves it in the lowest bits.
    Floats magic = spread(12582912.0f);
    Floats shifted = x * 1.44269504f + magic;
    Floats n = shifted - magic;
    Floats r = x - n * 0.693145752f;
    r = r - n * 1.42860677e-6f;
    Floats value = spread(1.0f / 5040);
    value = value * r + 1.0f / 720;
    value = value * r + 1.0f / 120;
    value = value * r + 1.0f / 24;
    value = value * r + 1.0f / 6;
    value = value * r + 0.5f;
    value = value * r + 1.0f;
    value = value * r + 1.0f;
    Ints power = ((Ints)shifted - (Ints)magic) << 23;
    return (Floats)((Ints)value + power);
}

static void rmsNorm(const float *x, const float *weight, int64_t n, float epsilon, float *y) {
    Floats squares = {};
    int64_t i = 0;
    for (; i + WIDTH <= n; i += WIDTH) {
        Floats value = load<Floats>(x + i);
        squares += value * value;
    }
    float total = sum(squares);
    for (; i < n; i++) total += x[i] * x[i];
    float factor = 1 / __builtin_sqrtf(total / static_cast<float>(n) + epsilon);
    for (i = 0; i < n; i++) y[i] = x[i] * factor * weight[i];
}

static void siluMultiply(const float *gate, const float *up, int64_t n, float *y) {
    int64_t i = 0;
    for (; i + WIDTH <= n; i += WIDTH) {
        Floats value = load<Floats>(gate + i);
        store(y + i, value / (exponential(-value) + 1.0f) * load<Floats>(up + i));
    }
    for (; i < n; i++) y[i] = gate[i] / (exponential(spread(-gate[i]))[0] + 1) * up[i];
}

/// The product of a query with a row of the cache.
template <Format format>
INLINE float dot(const float *query, const void *row, int64_t size) {
    Floats first = {}, second = {};
    int64_t i = 0;
    for (; i + 2 * WIDTH <= size; i += 2 * WIDTH) {
        first += load<Floats>(query + i) * read<format>(row, i);
        second += load<Floats>(query + i + WIDTH) * read<format>(row, i + WIDTH);
    }
    for (; i + WIDTH <= size; i += WIDTH) first += load<Floats>(query + i) * read<format>(row, i);
    float total = sum(first + second);
    for (; i < size; i++) total += query[i] * readOne<format>(row, i);
    return total;
}

/// `vectors` registers of Σ weights[j] · row j, from element `start` on, added to `out`.
template <Format format, int vectors>
INLINE void mixPart(const float *weights, const RowsView &rows, int64_t start, float *out) {
    constexpr int64_t elementBytes = format == Format::float32 ? 4 : 2;
    auto row = static_cast<const uint8_t *>(rows.data);
    Floats total[vectors];
    for (int k = 0; k < vectors; k++) total[k] = load<Floats>(out + start + k * WIDTH);
    for (int64_t j = 0; j < rows.count; j++, row += rows.stride * elementBytes) {
        Floats weight = spread(weights[j]);
        for (int k = 0; k < vectors; k++) total[k] += weight * read<format>(row, start + k * WIDTH);
    }
    for (int k = 0; k < vectors; k++) store(out + start + k * WIDTH, total[k]);
}

/// Σ weights[j] · row j, added to `out`.
template <Format format>
INLINE void mix(const float *weights, const RowsView &rows, int64_t size, float *out) {
    constexpr int64_t elementBytes = format == Format::float32 ? 4 : 2;
    int64_t i = 0;
    for (; i + 4 * WIDTH <= size; i += 4 * WIDTH) mixPart<format, 4>(weights, rows, i, out);
    for (; i + WIDTH <= size; i += WIDTH) mixPart<format, 1>(weights, rows, i, out);
    for (; i < size; i++) {
        auto row = static_cast<const uint8_t *>(rows.data);
        for (int64_t j = 0; j < rows.count; j++, row += rows.stride * elementBytes)
            out[i] += weights[j] * readOne<format>(row, i);
    }
}

template <Format format>
static void attendOver(const float *query, const RowsView &keys, const RowsView &values, const float *key,
                       const float *value, int64_t size, float scale, float *scores, float *out) {
    constexpr int64_t elementBytes = format == Format::float32 ? 4 : 2;
    int64_t count = keys.count;
    float last = dot<Format::float32>(query, key, size) * scale, most = last;
    auto row = static_cast<const uint8_t *>(keys.data);
    for (int64_t j = 0; j < count; j++, row += keys.stride * elementBytes) {
        scores[j] = dot<format>(query, row, size) * scale;
        most = scores[j] > most ? scores[j] : most;
    }
    // The vectors reach beyond the last score; what is there comes out as nothing.
    for (int64_t j = count; j < count + WIDTH; j++) scores[j] = -1e30f;
    float own = exponential(spread(last - most))[0];
    Floats total = {};
    for (int64_t j = 0; j < count; j += WIDTH) {
        Floats weight = exponential(load<Floats>(scores + j) - most);
        store(scores + j, weight);
        total += weight;
    }
    float share = 1 / (sum(total) + own);
    for (int64_t i = 0; i < size; i++) out[i] = value[i] * own;
    mix<format>(scores, values, size, out);
    for (int64_t i = 0; i < size; i++) out[i] *= share;
}

static void attend(const float *query, const RowsView &keys, const RowsView &values, const float *key,
                   const float *value, int64_t size, float scale, float *scores, float *out) {
    switch (keys.format) {
        case Format::float16:
            return attendOver<Format::float16>(query, keys, values, key, value, size, scale, scores, out);
        case Format::bfloat16:
            return attendOver<Format::bfloat16>(query, keys, values, key, value, size, scale, scores, out);
        default: return attendOver<Format::float32>(query, keys, values, key, value, size, scale, scores, out);
    }
}

#include "gradients.inl"

static const Kernels table = {
    KERNEL_NAME,  product, prepare,  readRow, roundRow,        bounds,          steps,               rmsNorm,
    siluMultiply, attend,  multiply, softmax, softmaxGradient, rmsNormGradient, siluMultiplyGradient,
};

#undef INLINE

}  // namespace ct::KERNEL_NAMESPACE

#undef KERNEL_NAMESPACE
#undef KERNEL_NAME
#undef KERNEL_HALF
#undef WIDTH
