// The C face of libtorch. `Torch` (Swift) calls it; no libtorch header is visible here.
//
// The functions live in a shared library of their own (Sources/CTorch/shim), opened at the first tensor operation:
// linking libtorch into the program would cost every start 200 ms.
//
// Every function returns CT_OK or an error code and writes its results through pointers. After an error the results
// are untouched and `last_error` tells what happened on this thread. No C++ exception crosses this border.
#pragma once

#include <stdbool.h>
#include <stdint.h>

#pragma clang diagnostic push
#pragma clang diagnostic ignored "-Wnullability-completeness"
#pragma clang assume_nonnull begin

/// Grows with every change of this file; the program refuses a library built for another one.
#define CT_ABI_VERSION 6

/// One counted reference to a tensor of libtorch.
typedef struct CTTensorImpl *CTTensor;
typedef CTTensor _Nullable CTTensorOrNull;
typedef struct CTGeneratorImpl *CTGenerator;
/// This process's place among several that compute together.
typedef struct CTGroupImpl *CTGroup;

enum {
    CT_OK = 0,
    CT_ERROR_SHAPE = 1,
    CT_ERROR_INDEX = 2,
    CT_ERROR_TYPE = 3,
    CT_ERROR_NOT_IMPLEMENTED = 4,
    CT_ERROR_OUT_OF_MEMORY = 5,
    CT_ERROR_CALLBACK = 6,
    CT_ERROR_INTERNAL = 7,
};

/// Element types, numbered as in this file only.
enum {
    CT_FLOAT32 = 0, CT_FLOAT16 = 1, CT_BFLOAT16 = 2, CT_FLOAT64 = 3,
    CT_INT64 = 4, CT_INT32 = 5, CT_INT16 = 6, CT_INT8 = 7, CT_UINT8 = 8, CT_BOOL = 9,
};

enum { CT_CPU = 0, CT_CUDA = 1, CT_META = 2, CT_MPS = 3 };

typedef enum CTUnary {
    CT_NEG, CT_ABS, CT_SIGN, CT_EXP, CT_LOG, CT_LOG1P, CT_EXPM1, CT_SQRT, CT_RSQRT, CT_SQUARE, CT_RECIPROCAL,
    CT_SIN, CT_COS, CT_TANH, CT_SIGMOID, CT_LOGSIGMOID, CT_SOFTPLUS, CT_ERF, CT_RELU, CT_RELU6, CT_SILU, CT_GELU,
    CT_GELU_TANH, CT_QUICK_GELU, CT_FLOOR, CT_CEIL, CT_ROUND, CT_ISNAN, CT_ISFINITE, CT_LOGICAL_NOT,
} CTUnary;

typedef enum CTBinary {
    CT_ADD, CT_SUB, CT_MUL, CT_DIV, CT_FLOOR_DIVIDE, CT_REMAINDER, CT_POW, CT_MAXIMUM, CT_MINIMUM,
    CT_EQ, CT_NE, CT_LT, CT_LE, CT_GT, CT_GE, CT_LOGICAL_AND, CT_LOGICAL_OR,
} CTBinary;

/// Reductions over dimensions. No dimension given means all of them.
typedef enum CTReduction {
    CT_SUM, CT_MEAN, CT_AMAX, CT_AMIN, CT_PROD, CT_ANY, CT_ALL, CT_LOGSUMEXP, CT_VAR, CT_VAR_UNBIASED, CT_NORM2,
} CTReduction;

/// How a loss is folded: over nothing, the mean, the sum.
enum { CT_REDUCE_NONE = 0, CT_REDUCE_MEAN = 1, CT_REDUCE_SUM = 2 };

enum { CT_NEAREST = 0, CT_BILINEAR = 1, CT_BICUBIC = 2 };

/// Computes the gradients of a function recorded by `custom_function`: receives the gradients of its outputs (null
/// where there is none) and writes those of its inputs (owned by the caller; null where there is none). When it fails
/// it writes the reason, ended by a zero byte, into `message` of `capacity` bytes.
typedef int32_t (*CTBackward)(
    void *context, const CTTensorOrNull _Nullable *_Nonnull gradients, int32_t count,
    CTTensorOrNull _Nullable *_Nonnull results, int32_t resultCount, char *message, int32_t capacity);

/// Blocks of quantised numbers as GGUF files hold them.
enum { CT_BLOCK_Q4_0 = 0, CT_BLOCK_Q4_1 = 1, CT_BLOCK_Q8_0 = 2 };

/// A linear layer of a decoder plan, y = W x + bias + scale · B (A x). The plan keeps references of its own.
typedef struct CTDecoderLinear {
    /// Floating-point [out, in], or packed when `bits` is 4 or 8.
    CTTensor weight;
    int32_t bits;
    int64_t out;
    int64_t in;
    CTTensorOrNull bias;
    /// [r, in] and [out, r]; both or none.
    CTTensorOrNull loraA;
    CTTensorOrNull loraB;
    double loraScale;
} CTDecoderLinear;

typedef struct CTDecoderLayer {
    CTTensor inputNorm;
    CTTensor outputNorm;
    CTDecoderLinear query, key, value, output, gate, up, down;
} CTDecoderLayer;

/// A decoder of the LLaMA family.
typedef struct CTDecoderModel {
    const CTDecoderLayer *layers;
    int32_t layerCount;
    int32_t heads;
    int32_t keyValueHeads;
    int32_t headSize;
    /// A query sees its own key and those before it, `window` in all; 0 for no limit.
    int64_t window;
    double epsilon;
    CTTensor finalNorm;
    /// Of the rotation: [positions, rotated / 2].
    CTTensor cosines;
    CTTensor sines;
    CTDecoderLinear head;
    /// Rows of tokens; only weight, bits, out and in count.
    CTDecoderLinear embedding;
} CTDecoderModel;

typedef struct CTDecoderImpl *CTDecoder;

/// One token a row. All pointers are to one element a row, unless stated otherwise.
typedef struct CTDecoderStep {
    int64_t rows;
    /// Token ids, or null when `embeddings` [rows, width] has the input.
    const int64_t *_Nullable tokens;
    CTTensorOrNull embeddings;
    /// Of the rotation.
    const int64_t *positions;
    /// Keys already in the cache; the new one is written behind them.
    const int64_t *lengths;
    /// The first key that counts: those before it are padding.
    const int64_t *starts;
    /// One tensor a layer, [rows, keyValueHeads, capacity, headSize].
    const CTTensor _Nonnull *_Nonnull keys;
    const CTTensor _Nonnull *_Nonnull values;
} CTDecoderStep;

typedef struct CTTable {
    int32_t abi_version;
    /// The libtorch the library was compiled for: major version × 256 + minor version.
    int32_t torch_version;

    // Library
    void (*last_error)(int32_t *code, const char *_Nullable *_Nonnull operation,
                       const char *_Nullable *_Nonnull message);
    const char *_Nonnull (*version)(void);
    const char *_Nonnull (*cpu_capability)(void);
    int64_t (*live_tensors)(void);
    void (*set_threads)(int32_t count);
    int32_t (*threads)(void);
    bool (*cuda_available)(void);
    void (*tune_allocator)(void);

    // Tensors: life, facts, transfer
    void (*release)(CTTensor tensor);
    int32_t (*share)(CTTensor tensor, CTTensorOrNull *out);
    int32_t (*dimensions)(CTTensor tensor);
    void (*sizes)(CTTensor tensor, int64_t *sizes);
    void (*strides)(CTTensor tensor, int64_t *strides);
    int64_t (*count)(CTTensor tensor);
    int32_t (*element_type)(CTTensor tensor);
    void (*device)(CTTensor tensor, int32_t *kind, int32_t *index);
    bool (*is_contiguous)(CTTensor tensor);
    int32_t (*data)(CTTensor tensor, void *_Nullable *_Nonnull out);
    int32_t (*item)(CTTensor tensor, double *out);
    int32_t (*item_integer)(CTTensor tensor, int64_t *out);
    int32_t (*copy_to_memory)(CTTensor tensor, void *bytes, int64_t byteCount);

    // Creation
    int32_t (*full)(const int64_t *sizes, int32_t n, double value, int32_t type, int32_t device, int32_t index,
                    CTTensorOrNull *out);
    int32_t (*empty)(const int64_t *sizes, int32_t n, int32_t type, int32_t device, int32_t index,
                     CTTensorOrNull *out);
    int32_t (*arange)(double start, double end, double step, int32_t type, CTTensorOrNull *out);
    int32_t (*from_memory)(const void *_Nullable bytes, int64_t byteCount, const int64_t *sizes, int32_t n,
                           int32_t type, CTTensorOrNull *out);
    /// The library owns `owner` from the call on and releases it with the storage, or at once when it fails.
    int32_t (*from_mapped)(const void *_Nullable bytes, int64_t byteCount, const int64_t *sizes, int32_t n,
                           int32_t type, void *owner, void (*releaseOwner)(void *owner), CTTensorOrNull *out);

    // Random numbers
    int32_t (*generator)(uint64_t seed, CTGenerator _Nullable *_Nonnull out);
    void (*release_generator)(CTGenerator generator);
    int32_t (*seed_default_generator)(uint64_t seed);
    int32_t (*default_generator_state)(CTTensorOrNull *out);
    int32_t (*set_default_generator_state)(CTTensor state);
    int32_t (*random_uniform)(const int64_t *sizes, int32_t n, double low, double high, CTGenerator _Nullable generator,
                              CTTensorOrNull *out);
    int32_t (*random_normal)(const int64_t *sizes, int32_t n, double mean, double deviation,
                             CTGenerator _Nullable generator, CTTensorOrNull *out);
    int32_t (*random_integers)(const int64_t *sizes, int32_t n, int64_t low, int64_t high,
                               CTGenerator _Nullable generator, CTTensorOrNull *out);
    int32_t (*random_permutation)(int64_t count, CTGenerator _Nullable generator, CTTensorOrNull *out);
    int32_t (*multinomial)(CTTensor probabilities, int64_t samples, bool replacement,
                           CTGenerator _Nullable generator, CTTensorOrNull *out);

    // Element by element
    int32_t (*unary)(CTUnary operation, CTTensor a, CTTensorOrNull *out);
    int32_t (*binary)(CTBinary operation, CTTensor a, CTTensor b, CTTensorOrNull *out);
    int32_t (*binary_scalar)(CTBinary operation, CTTensor a, double b, CTTensorOrNull *out);
    int32_t (*scaled_add)(CTTensor a, CTTensor b, double scale, CTTensorOrNull *out);
    int32_t (*clamp)(CTTensor a, double low, double high, CTTensorOrNull *out);
    int32_t (*where_)(CTTensor condition, CTTensor a, CTTensor b, CTTensorOrNull *out);
    int32_t (*masked_fill)(CTTensor a, CTTensor mask, double value, CTTensorOrNull *out);
    int32_t (*to)(CTTensor a, int32_t type, int32_t device, int32_t index, bool copy, CTTensorOrNull *out);
    int32_t (*clone)(CTTensor a, CTTensorOrNull *out);
    int32_t (*contiguous)(CTTensor a, CTTensorOrNull *out);
    int32_t (*copy_into)(CTTensor destination, CTTensor source);
    int32_t (*add_into)(CTTensor destination, CTTensor source, double scale);
    int32_t (*scale_in_place)(CTTensor destination, double factor);
    int32_t (*fill)(CTTensor destination, double value);

    // Shape
    int32_t (*reshape)(CTTensor a, const int64_t *sizes, int32_t n, CTTensorOrNull *out);
    int32_t (*expand)(CTTensor a, const int64_t *sizes, int32_t n, CTTensorOrNull *out);
    int32_t (*permute)(CTTensor a, const int64_t *order, int32_t n, CTTensorOrNull *out);
    int32_t (*transpose)(CTTensor a, int64_t first, int64_t second, CTTensorOrNull *out);
    int32_t (*unsqueeze)(CTTensor a, int64_t dimension, CTTensorOrNull *out);
    int32_t (*squeeze)(CTTensor a, int64_t dimension, CTTensorOrNull *out);
    int32_t (*slice)(CTTensor a, int64_t dimension, int64_t start, int64_t end, int64_t step, CTTensorOrNull *out);
    int32_t (*select)(CTTensor a, int64_t dimension, int64_t index, CTTensorOrNull *out);
    int32_t (*concatenate)(const CTTensor _Nonnull *_Nonnull parts, int32_t n, int64_t dimension,
                           CTTensorOrNull *out);
    int32_t (*stack)(const CTTensor _Nonnull *_Nonnull parts, int32_t n, int64_t dimension, CTTensorOrNull *out);
    int32_t (*repeat_interleave)(CTTensor a, int64_t repeats, int64_t dimension, CTTensorOrNull *out);
    int32_t (*repeat)(CTTensor a, const int64_t *repeats, int32_t n, CTTensorOrNull *out);
    int32_t (*flip)(CTTensor a, const int64_t *dimensions, int32_t n, CTTensorOrNull *out);
    int32_t (*roll)(CTTensor a, int64_t shift, int64_t dimension, CTTensorOrNull *out);
    int32_t (*pad)(CTTensor a, const int64_t *amounts, int32_t n, double value, CTTensorOrNull *out);
    int32_t (*triangle)(CTTensor a, bool upper, int64_t diagonal, CTTensorOrNull *out);

    // Indexing
    int32_t (*index_select)(CTTensor a, int64_t dimension, CTTensor index, CTTensorOrNull *out);
    int32_t (*index)(CTTensor a, const CTTensorOrNull _Nullable *_Nonnull indices, int32_t n, CTTensorOrNull *out);
    int32_t (*index_put)(CTTensor a, const CTTensorOrNull _Nullable *_Nonnull indices, int32_t n, CTTensor values,
                         bool accumulate, CTTensorOrNull *out);
    int32_t (*gather)(CTTensor a, int64_t dimension, CTTensor index, CTTensorOrNull *out);
    int32_t (*scatter)(CTTensor a, int64_t dimension, CTTensor index, CTTensor source, CTTensorOrNull *out);
    int32_t (*scatter_add)(CTTensor a, int64_t dimension, CTTensor index, CTTensor source, CTTensorOrNull *out);
    int32_t (*masked_select)(CTTensor a, CTTensor mask, CTTensorOrNull *out);
    int32_t (*nonzero)(CTTensor a, CTTensorOrNull *out);

    // Reductions, order
    int32_t (*reduce)(CTReduction operation, CTTensor a, const int64_t *_Nullable dimensions, int32_t n, bool keep,
                      CTTensorOrNull *out);
    int32_t (*argmax)(CTTensor a, int64_t dimension, bool keep, CTTensorOrNull *out);
    int32_t (*argmin)(CTTensor a, int64_t dimension, bool keep, CTTensorOrNull *out);
    int32_t (*cumulative_sum)(CTTensor a, int64_t dimension, CTTensorOrNull *out);
    int32_t (*sort)(CTTensor a, int64_t dimension, bool descending, CTTensorOrNull *values, CTTensorOrNull *indices);
    int32_t (*top)(CTTensor a, int64_t k, int64_t dimension, bool largest, CTTensorOrNull *values,
                   CTTensorOrNull *indices);
    int32_t (*softmax)(CTTensor a, int64_t dimension, CTTensorOrNull *out);
    int32_t (*log_softmax)(CTTensor a, int64_t dimension, CTTensorOrNull *out);

    // Products
    int32_t (*matmul)(CTTensor a, CTTensor b, CTTensorOrNull *out);
    int32_t (*linear)(CTTensor input, CTTensor weight, CTTensorOrNull bias, CTTensorOrNull *out);
    int32_t (*einsum)(const char *equation, const CTTensor _Nonnull *_Nonnull parts, int32_t n, CTTensorOrNull *out);
    int32_t (*singular_values)(CTTensor a, CTTensorOrNull *u, CTTensorOrNull *s, CTTensorOrNull *vTransposed);

    // Layers
    int32_t (*convolution)(CTTensor input, CTTensor weight, CTTensorOrNull bias, const int64_t *stride,
                           const int64_t *padding, const int64_t *dilation, int64_t groups, CTTensorOrNull *out);
    int32_t (*layer_norm)(CTTensor input, const int64_t *shape, int32_t n, CTTensorOrNull weight, CTTensorOrNull bias,
                          double epsilon, CTTensorOrNull *out);
    int32_t (*rms_norm)(CTTensor input, const int64_t *shape, int32_t n, CTTensorOrNull weight, double epsilon,
                        CTTensorOrNull *out);
    int32_t (*silu_multiply)(CTTensor gate, CTTensor up, CTTensorOrNull *out);
    int32_t (*batch_norm)(CTTensor input, CTTensorOrNull weight, CTTensorOrNull bias, CTTensor mean,
                          CTTensor variance, bool training, double momentum, double epsilon, CTTensorOrNull *out);
    int32_t (*group_norm)(CTTensor input, int64_t groups, CTTensorOrNull weight, CTTensorOrNull bias, double epsilon,
                          CTTensorOrNull *out);
    int32_t (*embedding)(CTTensor weight, CTTensor indices, CTTensorOrNull *out);
    int32_t (*dropout)(CTTensor input, double probability, CTTensorOrNull *out);
    int32_t (*attention)(CTTensor query, CTTensor key, CTTensor value, CTTensorOrNull mask, double dropout,
                         bool causal, double scale, bool grouped, CTTensorOrNull *out);
    int32_t (*average_pool)(CTTensor input, int64_t height, int64_t width, CTTensorOrNull *out);
    int32_t (*max_pool)(CTTensor input, int64_t kernel, int64_t stride, int64_t padding, CTTensorOrNull *out);
    int32_t (*interpolate)(CTTensor input, int64_t height, int64_t width, int32_t mode, bool alignCorners,
                           bool antialias, CTTensorOrNull *out);

    // Losses
    int32_t (*cross_entropy)(CTTensor logits, CTTensor target, CTTensorOrNull weight, int32_t reduction,
                             int64_t ignoreIndex, double smoothing, CTTensorOrNull *out);
    int32_t (*binary_cross_entropy)(CTTensor logits, CTTensor target, CTTensorOrNull weight,
                                    CTTensorOrNull positiveWeight, int32_t reduction, CTTensorOrNull *out);
    int32_t (*kl_divergence)(CTTensor input, CTTensor target, int32_t reduction, bool logTarget,
                             CTTensorOrNull *out);
    int32_t (*mean_squared_error)(CTTensor input, CTTensor target, int32_t reduction, CTTensorOrNull *out);
    int32_t (*absolute_error)(CTTensor input, CTTensor target, int32_t reduction, CTTensorOrNull *out);

    // Gradients
    bool (*requires_gradient)(CTTensor tensor);
    bool (*is_leaf)(CTTensor tensor);
    int32_t (*set_requires_gradient)(CTTensor tensor, bool value);
    int32_t (*detach)(CTTensor tensor, CTTensorOrNull *out);
    int32_t (*gradient)(CTTensor tensor, CTTensorOrNull *out);
    int32_t (*set_gradient)(CTTensor tensor, CTTensorOrNull gradient);
    int32_t (*backward)(const CTTensor _Nonnull *_Nonnull roots,
                        const CTTensorOrNull _Nullable *_Nullable rootGradients, int32_t n, bool retainGraph,
                        bool createGraph);
    int32_t (*gradients)(const CTTensor _Nonnull *_Nonnull outputs, int32_t outputCount,
                         const CTTensorOrNull _Nullable *_Nullable outputGradients,
                         const CTTensor _Nonnull *_Nonnull inputs, int32_t inputCount, bool retainGraph,
                         bool createGraph, bool allowUnused, CTTensorOrNull _Nullable *_Nonnull results);
    /// The library owns `context` from the call on, whatever becomes of it.
    int32_t (*custom_function)(const CTTensor _Nonnull *_Nonnull inputs, int32_t inputCount,
                               const CTTensor _Nonnull *_Nonnull values, int32_t valueCount, CTBackward backward,
                               void *context, void (*releaseContext)(void *context),
                               CTTensorOrNull _Nullable *_Nonnull results);
    bool (*gradient_enabled)(void);
    void (*set_gradient_enabled)(bool value);
    bool (*autocast_enabled)(int32_t device);
    int32_t (*autocast_type)(int32_t device);
    int32_t (*set_autocast)(int32_t device, bool enabled, int32_t type);
    void (*clear_autocast_cache)(void);

    // Optimisers: lists of equal length, updated in place
    int32_t (*adam_step)(const CTTensor _Nonnull *_Nonnull parameters, const CTTensor _Nonnull *_Nonnull gradients,
                         const CTTensor _Nonnull *_Nonnull means, const CTTensor _Nonnull *_Nonnull squares,
                         const int64_t *steps, int32_t n, bool decoupled, double rate, double beta1, double beta2,
                         double decay, double epsilon);
    int32_t (*adamw_original_step)(const CTTensor _Nonnull *_Nonnull parameters,
                                   const CTTensor _Nonnull *_Nonnull gradients,
                                   const CTTensor _Nonnull *_Nonnull means, const CTTensor _Nonnull *_Nonnull squares,
                                   const int64_t *steps, int32_t n, double rate, double beta1, double beta2,
                                   double decay, double epsilon);
    int32_t (*sgd_step)(const CTTensor _Nonnull *_Nonnull parameters, const CTTensor _Nonnull *_Nonnull gradients,
                        const CTTensor _Nonnull *_Nonnull momenta, int32_t n, double rate, double momentum,
                        double decay, bool nesterov);
    int32_t (*total_norm)(const CTTensor _Nonnull *_Nonnull tensors, int32_t n, double *out);
    int32_t (*scale_all)(const CTTensor _Nonnull *_Nonnull tensors, int32_t n, double factor);

    // Packed weights of 4 or 8 bits (Sources/CTorch/shim/kernels.hpp has the layout)
    /// Chooses the kernels by instruction set: `baseline`, `avx2`, `avx512`; null for the best. False when the processor
    /// cannot run them.
    bool (*select_kernels)(const char *_Nullable name);
    const char *_Nonnull (*kernels)(void);
    int32_t (*quantise)(CTTensor weight, int32_t bits, CTTensorOrNull *out);
    int32_t (*pack_values)(CTTensor values, CTTensor scales, CTTensor minima, int32_t bits, CTTensorOrNull *out);
    int32_t (*pack_blocks)(const void *_Nullable bytes, int64_t byteCount, int32_t kind, int64_t rows,
                           int64_t columns, CTTensorOrNull *out);
    int32_t (*dequantise)(CTTensor packed, int32_t bits, int64_t rows, int64_t columns, int32_t type,
                          CTTensorOrNull *out);
    int32_t (*packed_rows)(CTTensor packed, int32_t bits, int64_t count, int64_t columns, CTTensor indices,
                           CTTensorOrNull *out);
    /// `rounds`: more than a few rows of fp32 may be multiplied in bf16.
    int32_t (*packed_linear)(CTTensor input, CTTensor packed, int32_t bits, int64_t rows, CTTensorOrNull bias,
                             bool rounds, CTTensorOrNull *out);

    // Decoding: one step of a whole decoder in one call
    int32_t (*decoder)(const CTDecoderModel *model, CTDecoder _Nullable *_Nonnull out);
    void (*release_decoder)(CTDecoder decoder);
    int32_t (*decoder_step)(CTDecoder decoder, const CTDecoderStep *step, CTTensorOrNull *logits);
    /// x [B, H, T, D], cosines and sines [B or 1, T, half]: number i turns with number i + half.
    int32_t (*rotary)(CTTensor input, CTTensor cosines, CTTensor sines, CTTensorOrNull *out);

    // Several processes (c10d, Gloo). Tensors are changed in place and must be contiguous
    int32_t (*group)(const char *address, int32_t port, bool hostsStore, int32_t rank, int32_t size, double timeout,
                     CTGroup _Nullable *_Nonnull out);
    void (*release_group)(CTGroup group);
    int32_t (*group_sum)(CTGroup group, const CTTensor _Nonnull *_Nonnull tensors, int32_t n);
    int32_t (*group_broadcast)(CTGroup group, const CTTensor _Nonnull *_Nonnull tensors, int32_t n, int32_t root);
    /// [size, …]: the tensors of all processes, by rank.
    int32_t (*group_gather)(CTGroup group, CTTensor tensor, CTTensorOrNull *out);
    int32_t (*group_barrier)(CTGroup group);
} CTTable;

/// Opens the shared library at `path` and returns its table, or null with the reason in `message` (of `capacity`
/// bytes). The library stays open for the life of the process.
const CTTable *_Nullable ct_open(const char *path, char *message, int32_t capacity);

/// Whether the processor multiplies bf16 natively.
bool ct_cpu_has_bfloat16(void);

#pragma clang assume_nonnull end
#pragma clang diagnostic pop
