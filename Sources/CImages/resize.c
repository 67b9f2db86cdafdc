#include "CImages.h"

#include <string.h>

/* Resizing as Pillow does it: two passes, fixed-point weights, 8-bit values between the passes. The loops are
   written with the vector types of clang and gcc; on x86-64 Linux a second copy is compiled for AVX2 and
   taken when the processor has it. Integer sums do not depend on their order, so both copies give the same
   bytes. */

typedef uint8_t bytes4 __attribute__((vector_size(4)));
typedef uint8_t bytes8 __attribute__((vector_size(8)));
typedef uint8_t bytes16 __attribute__((vector_size(16)));
typedef int32_t ints4 __attribute__((vector_size(16)));
typedef int32_t ints8 __attribute__((vector_size(32)));

#define INLINE static inline __attribute__((always_inline))

#if defined(__x86_64__) && defined(__linux__)
#define HAS_AVX2_COPY 1
#endif

static const int32_t rounding = 1 << (CIMAGES_PRECISION - 1);

/* ---- Horizontal pass ---- */

/* Rows done together, so that the weights are spread over the channels once for all of them. */
#define ROW_GROUP 4

/* A copied row is followed by as many zeros as the last group of taps and its 16-byte load can reach. */
static size_t padded_row(int in_width, int taps) { return ((size_t)in_width + (size_t)taps) * 3 + 16; }

size_t cimages_scratch_size(int in_width, int taps) { return padded_row(in_width, taps) * ROW_GROUP; }

/* Adds four pixels times four weights. The lanes are red, green, blue and one unused of two pixels. */
INLINE void add_pixels(const uint8_t *pixels, const ints8 *weights, ints8 *low, ints8 *high) {
    bytes16 packed;
    memcpy(&packed, pixels, 16);
    bytes8 first = __builtin_shufflevector(packed, packed, 0, 1, 2, 2, 3, 4, 5, 5);
    bytes8 second = __builtin_shufflevector(packed, packed, 6, 7, 8, 8, 9, 10, 11, 11);
    *low += __builtin_convertvector(first, ints8) * weights[0];
    *high += __builtin_convertvector(second, ints8) * weights[1];
}

INLINE void store_pixel(const ints8 *low, const ints8 *high, uint8_t *target) {
    ints8 both = *low + *high;
    ints4 first = __builtin_shufflevector(both, both, 0, 1, 2, 3);
    ints4 second = __builtin_shufflevector(both, both, 4, 5, 6, 7);
    ints4 value = (first + second + rounding) >> CIMAGES_PRECISION;
    value &= ~(value >> 31);
    ints4 above = value > 255;
    bytes4 packed = __builtin_convertvector((value & ~above) | (255 & above), bytes4);
    memcpy(target, &packed, 3);
}

/* `group` rows of pixels, copied to `rows`. */
INLINE void resize_group(int group, const uint8_t *rows, size_t row_bytes, cimages_axis axis,
                         uint8_t *target) {
    size_t target_bytes = (size_t)axis.count * 3;
    for (int i = 0; i < axis.count; i++) {
        const int32_t *weights = axis.weights + (size_t)i * (size_t)axis.taps;
        const uint8_t *pixels = rows + (size_t)(axis.starts[i] - axis.origin) * 3;
        ints8 low[ROW_GROUP] = {0}, high[ROW_GROUP] = {0};
        for (int tap = 0; tap < axis.taps; tap += CIMAGES_TAP_GROUP) {
            ints4 four;
            memcpy(&four, weights + tap, 16);
            ints8 spread[2] = {__builtin_shufflevector(four, four, 0, 0, 0, 0, 1, 1, 1, 1),
                               __builtin_shufflevector(four, four, 2, 2, 2, 2, 3, 3, 3, 3)};
            for (int row = 0; row < group; row++) {
                add_pixels(pixels + tap * 3 + row * row_bytes, spread, &low[row], &high[row]);
            }
        }
        for (int row = 0; row < group; row++) {
            store_pixel(&low[row], &high[row], target + row * target_bytes + i * 3);
        }
    }
}

INLINE void resize_rows(const uint8_t *source, size_t stride, int in_width, int rows, cimages_axis axis,
                        uint8_t *target, uint8_t *scratch) {
    size_t in_bytes = (size_t)in_width * 3, out_bytes = (size_t)axis.count * 3;
    size_t row_bytes = padded_row(in_width, axis.taps);
    memset(scratch, 0, row_bytes * ROW_GROUP);
    int row = 0;
    for (; row + ROW_GROUP <= rows; row += ROW_GROUP) {
        for (int i = 0; i < ROW_GROUP; i++) {
            memcpy(scratch + i * row_bytes, source + (row + i) * stride, in_bytes);
        }
        resize_group(ROW_GROUP, scratch, row_bytes, axis, target + row * out_bytes);
    }
    for (; row < rows; row++) {
        memcpy(scratch, source + row * stride, in_bytes);
        resize_group(1, scratch, row_bytes, axis, target + row * out_bytes);
    }
}

/* ---- Vertical pass ---- */

/* Bytes of a row done together: their sums stay in registers while the taps are walked. */
#define COLUMN_GROUP 32

INLINE void store_sums(const ints8 *sum, uint8_t *target) {
    ints8 value = *sum >> CIMAGES_PRECISION;
    value &= ~(value >> 31);
    ints8 above = value > 255;
    bytes8 packed = __builtin_convertvector((value & ~above) | (255 & above), bytes8);
    memcpy(target, &packed, 8);
}

/* COLUMN_GROUP bytes of one output row; `source` is the first input row of the window. */
INLINE void resize_columns(const uint8_t *source, size_t stride, const int32_t *weights, int taps,
                           uint8_t *target) {
    ints8 sums[COLUMN_GROUP / 8];
    for (int part = 0; part < COLUMN_GROUP / 8; part++) sums[part] = (ints8){0} + rounding;
    for (int tap = 0; tap < taps; tap++, source += stride) {
        for (int part = 0; part < COLUMN_GROUP / 8; part++) {
            bytes8 packed;
            memcpy(&packed, source + part * 8, 8);
            sums[part] += __builtin_convertvector(packed, ints8) * weights[tap];
        }
    }
    for (int part = 0; part < COLUMN_GROUP / 8; part++) store_sums(&sums[part], target + part * 8);
}

INLINE uint8_t resized_byte(const uint8_t *source, size_t stride, const int32_t *weights, int taps) {
    int32_t sum = rounding;
    for (int tap = 0; tap < taps; tap++) sum += source[tap * stride] * weights[tap];
    int32_t value = sum >> CIMAGES_PRECISION;
    return (uint8_t)(value < 0 ? 0 : value > 255 ? 255 : value);
}

INLINE void resize_column(const uint8_t *source, size_t stride, size_t row_bytes, cimages_axis axis,
                          int index, uint8_t *target) {
    const int32_t *weights = axis.weights + (size_t)index * (size_t)axis.taps;
    int taps = axis.taps;
    /* Weights past the window are zero and must not be read against rows that do not exist. */
    while (taps > 1 && weights[taps - 1] == 0) taps--;
    source += (size_t)(axis.starts[index] - axis.origin) * stride;
    size_t x = 0;
    for (; x + COLUMN_GROUP <= row_bytes; x += COLUMN_GROUP) {
        resize_columns(source + x, stride, weights, taps, target + x);
    }
    for (; x < row_bytes; x++) target[x] = resized_byte(source + x, stride, weights, taps);
}

/* ---- The choice of the copy ---- */

#ifdef HAS_AVX2_COPY
#define AVX2 __attribute__((target("avx2"))) static

AVX2 void resize_rows_avx2(const uint8_t *source, size_t stride, int in_width, int rows, cimages_axis axis,
                           uint8_t *target, uint8_t *scratch) {
    resize_rows(source, stride, in_width, rows, axis, target, scratch);
}

AVX2 void resize_column_avx2(const uint8_t *source, size_t stride, size_t row_bytes, cimages_axis axis,
                             int index, uint8_t *target) {
    resize_column(source, stride, row_bytes, axis, index, target);
}
#endif

void cimages_resize_rows(const uint8_t *source, size_t stride, int in_width, int rows, cimages_axis axis,
                         uint8_t *target, uint8_t *scratch) {
#ifdef HAS_AVX2_COPY
    if (__builtin_cpu_supports("avx2")) {
        resize_rows_avx2(source, stride, in_width, rows, axis, target, scratch);
        return;
    }
#endif
    resize_rows(source, stride, in_width, rows, axis, target, scratch);
}

void cimages_resize_column(const uint8_t *source, size_t stride, size_t row_bytes, cimages_axis axis,
                           int index, uint8_t *target) {
#ifdef HAS_AVX2_COPY
    if (__builtin_cpu_supports("avx2")) {
        resize_column_avx2(source, stride, row_bytes, axis, index, target);
        return;
    }
#endif
    resize_column(source, stride, row_bytes, axis, index, target);
}

/* ---- Bytes to floats ---- */

void cimages_lookup_row(const uint8_t *rgb, int width, const float *tables, float *red, float *green,
                        float *blue) {
    for (int x = 0; x < width; x++) {
        red[x] = tables[rgb[3 * x]];
        green[x] = tables[256 + rgb[3 * x + 1]];
        blue[x] = tables[512 + rgb[3 * x + 2]];
    }
}
