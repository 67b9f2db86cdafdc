// The library itself, the life of tensors, creation, random numbers, shape and indexing.
#include "shim.hpp"

#include <ATen/CPUGeneratorImpl.h>
#include <ATen/Context.h>
#include <ATen/Parallel.h>
#include <ATen/Version.h>
#include <c10/core/impl/alloc_cpu.h>
#include <dlfcn.h>

#include <atomic>
#include <cstring>
#include <memory>
#include <string>

#if defined(__GLIBC__)
#include <malloc.h>
#endif

namespace ct {

namespace {

std::atomic<int64_t> liveTensors{0};

at::Generator generatorOrDefault(CTGenerator handle) {
    if (handle == nullptr) return at::detail::getDefaultCPUGenerator();
    return at::Generator(
        c10::intrusive_ptr<c10::GeneratorImpl>::reclaim_copy(reinterpret_cast<c10::GeneratorImpl *>(handle)));
}

at::TensorOptions options(int32_t type, int32_t kind, int32_t index) {
    return at::TensorOptions().dtype(scalarType(type)).device(device(kind, index));
}

/// Number of bytes that `sizes` of `type` take; throws when a size is negative or the product overflows.
int64_t byteCount(const int64_t *sizes, int32_t n, at::ScalarType type) {
    int64_t bytes = static_cast<int64_t>(c10::elementSize(type));
    for (int32_t i = 0; i < n; i++) {
        TORCH_CHECK(sizes[i] >= 0, "negative dimension ", sizes[i]);
        TORCH_CHECK(!__builtin_mul_overflow(bytes, sizes[i], &bytes), "the shape overflows");
    }
    return bytes;
}

using Indices = c10::List<std::optional<at::Tensor>>;

Indices indexList(const CTTensorOrNull *handles, int32_t n) {
    Indices indices;
    indices.reserve(static_cast<size_t>(n));
    for (int32_t i = 0; i < n; i++) indices.push_back(optional(handles[i]));
    return indices;
}

}  // namespace

CTTensor give(at::Tensor &&tensor) {
    liveTensors.fetch_add(1, std::memory_order_relaxed);
    return reinterpret_cast<CTTensor>(tensor.unsafeReleaseTensorImpl());
}

at::Tensor take(CTTensor handle) {
    liveTensors.fetch_sub(1, std::memory_order_relaxed);
    return at::Tensor(c10::intrusive_ptr<c10::TensorImpl, c10::UndefinedTensorImpl>::reclaim(
        reinterpret_cast<c10::TensorImpl *>(handle)));
}

at::ScalarType scalarType(int32_t type) {
    switch (type) {
        case CT_FLOAT32: return at::kFloat;
        case CT_FLOAT16: return at::kHalf;
        case CT_BFLOAT16: return at::kBFloat16;
        case CT_FLOAT64: return at::kDouble;
        case CT_INT64: return at::kLong;
        case CT_INT32: return at::kInt;
        case CT_INT16: return at::kShort;
        case CT_INT8: return at::kChar;
        case CT_UINT8: return at::kByte;
        case CT_BOOL: return at::kBool;
        default: TORCH_CHECK(false, "unknown element type ", type);
    }
}

/// The linker drops libtorch_cuda from programs that name no symbol of it, so it is opened by hand.
static bool hasCUDA() {
    static void *library = dlopen("libtorch_cuda.so", RTLD_NOW | RTLD_GLOBAL);
    (void)library;
    return at::hasCUDA();
}

at::Device device(int32_t kind, int32_t index) {
    switch (kind) {
        case CT_CPU: return at::Device(at::kCPU);
        case CT_CUDA:
            TORCH_CHECK(hasCUDA(), "this libtorch finds no CUDA device");
            TORCH_CHECK(index >= 0 && index < static_cast<int32_t>(at::getNumGPUs()), "there is no CUDA device ", index);
            return at::Device(at::kCUDA, static_cast<c10::DeviceIndex>(index));
        case CT_META: return at::Device(at::kMeta);
        case CT_MPS: return at::Device(at::kMPS);
        default: TORCH_CHECK(false, "unknown device kind ", kind);
    }
}

static void fillLibrary(CTTable &t) {
    t.abi_version = CT_ABI_VERSION;
    t.torch_version = TORCH_VERSION_MAJOR * 256 + TORCH_VERSION_MINOR;
    t.version = []() noexcept -> const char * { return TORCH_VERSION; };
    t.cpu_capability = []() noexcept -> const char * {
        thread_local std::string text;
        try {
            text = at::get_cpu_capability();
        } catch (...) {
            text = "unknown";
        }
        return text.c_str();
    };
    t.live_tensors = []() noexcept -> int64_t { return liveTensors.load(std::memory_order_relaxed); };
    t.set_threads = [](int32_t count) noexcept {
        guard("set_threads", {}, [&] { at::set_num_threads(count); });
    };
    t.threads = []() noexcept -> int32_t { return at::get_num_threads(); };
    t.cuda_available = []() noexcept -> bool {
        try {
            return hasCUDA();
        } catch (...) {
            return false;
        }
    };
    t.tune_allocator = []() noexcept {
#if defined(__GLIBC__)
        // Large temporaries would be mapped and unmapped at every step; keep their pages instead.
        mallopt(M_MMAP_THRESHOLD, 1 << 30);
        mallopt(M_TRIM_THRESHOLD, 1 << 30);
        mallopt(M_TOP_PAD, 64 << 20);
#endif
    };
}

static void fillLife(CTTable &t) {
    t.release = [](CTTensor tensor) noexcept {
        liveTensors.fetch_sub(1, std::memory_order_relaxed);
        c10::raw::intrusive_ptr::decref(reinterpret_cast<c10::TensorImpl *>(tensor));
    };
    t.share = [](CTTensor a, CTTensorOrNull *out) CT_FUNCTION {
        return guard("share", {a}, [&] { *out = give(at::Tensor(*Borrow(a))); });
    };
    t.dimensions = [](CTTensor a) noexcept -> int32_t { return static_cast<int32_t>(Borrow(a)->dim()); };
    t.sizes = [](CTTensor a, int64_t *sizes) noexcept {
        Borrow tensor(a);
        for (int64_t i = 0; i < tensor->dim(); i++) sizes[i] = tensor->sizes()[static_cast<size_t>(i)];
    };
    t.strides = [](CTTensor a, int64_t *strides) noexcept {
        Borrow tensor(a);
        for (int64_t i = 0; i < tensor->dim(); i++) strides[i] = tensor->strides()[static_cast<size_t>(i)];
    };
    t.count = [](CTTensor a) noexcept -> int64_t { return Borrow(a)->numel(); };
    t.element_type = [](CTTensor a) noexcept -> int32_t {
        switch (Borrow(a)->scalar_type()) {
            case at::kFloat: return CT_FLOAT32;
            case at::kHalf: return CT_FLOAT16;
            case at::kBFloat16: return CT_BFLOAT16;
            case at::kDouble: return CT_FLOAT64;
            case at::kLong: return CT_INT64;
            case at::kInt: return CT_INT32;
            case at::kShort: return CT_INT16;
            case at::kChar: return CT_INT8;
            case at::kByte: return CT_UINT8;
            case at::kBool: return CT_BOOL;
            default: return -1;
        }
    };
    t.device = [](CTTensor a, int32_t *kind, int32_t *index) noexcept {
        at::Device place = Borrow(a)->device();
        *index = place.has_index() ? place.index() : 0;
        *kind = place.is_cuda() ? CT_CUDA : place.is_meta() ? CT_META : place.is_mps() ? CT_MPS : CT_CPU;
    };
    t.is_contiguous = [](CTTensor a) noexcept -> bool { return Borrow(a)->is_contiguous(); };
    t.data = [](CTTensor a, void **out) CT_FUNCTION {
        return guard("data", {a}, [&] {
            Borrow tensor(a);
            TORCH_CHECK(tensor->device().is_cpu() && tensor->is_contiguous(),
                        "raw memory is given for contiguous tensors on the CPU only");
            *out = tensor->data_ptr();
        });
    };
    t.item = [](CTTensor a, double *out) CT_FUNCTION {
        return guard("item", {a}, [&] { *out = Borrow(a)->item().toDouble(); });
    };
    t.item_integer = [](CTTensor a, int64_t *out) CT_FUNCTION {
        return guard("item", {a}, [&] { *out = Borrow(a)->item().toLong(); });
    };
    t.copy_to_memory = [](CTTensor a, void *bytes, int64_t count) CT_FUNCTION {
        return guard("copy_to_memory", {a}, [&] {
            at::Tensor tensor = Borrow(a)->detach().to(at::kCPU).contiguous();
            TORCH_CHECK(static_cast<int64_t>(tensor.nbytes()) == count, "the tensor has ", tensor.nbytes(),
                        " bytes, not ", count);
            if (count > 0) std::memcpy(bytes, tensor.const_data_ptr(), static_cast<size_t>(count));
        });
    };
}

static void fillCreation(CTTable &t) {
    t.full = [](const int64_t *sizes, int32_t n, double value, int32_t type, int32_t kind, int32_t index,
                CTTensorOrNull *out) CT_FUNCTION {
        return guard("full", {}, [&] {
            byteCount(sizes, n, scalarType(type));
            *out = give(at::full(dims(sizes, n), value, options(type, kind, index)));
        });
    };
    t.empty = [](const int64_t *sizes, int32_t n, int32_t type, int32_t kind, int32_t index,
                 CTTensorOrNull *out) CT_FUNCTION {
        return guard("empty", {}, [&] {
            byteCount(sizes, n, scalarType(type));
            *out = give(at::empty(dims(sizes, n), options(type, kind, index)));
        });
    };
    t.arange = [](double start, double end, double step, int32_t type, CTTensorOrNull *out) CT_FUNCTION {
        return guard("arange", {}, [&] { *out = give(at::arange(start, end, step, options(type, CT_CPU, 0))); });
    };
    t.from_memory = [](const void *bytes, int64_t count, const int64_t *sizes, int32_t n, int32_t type,
                       CTTensorOrNull *out) CT_FUNCTION {
        return guard("from_memory", {}, [&] {
            int64_t needed = byteCount(sizes, n, scalarType(type));
            TORCH_CHECK(needed == count, "the shape needs ", needed, " bytes, there are ", count);
            at::Tensor tensor = at::empty(dims(sizes, n), options(type, CT_CPU, 0));
            if (count > 0) std::memcpy(tensor.mutable_data_ptr(), bytes, static_cast<size_t>(count));
            *out = give(std::move(tensor));
        });
    };
    t.from_mapped = [](const void *bytes, int64_t count, const int64_t *sizes, int32_t n, int32_t type, void *owner,
                       void (*releaseOwner)(void *), CTTensorOrNull *out) CT_FUNCTION {
        return guard("from_mapped", {}, [&] {
            // The deleter holds the owner; when anything below throws, this does.
            std::shared_ptr<void> kept(owner, releaseOwner);
            at::ScalarType scalar = scalarType(type);
            int64_t needed = byteCount(sizes, n, scalar);
            TORCH_CHECK(needed == count, "the shape needs ", needed, " bytes, there are ", count);
            TORCH_CHECK(reinterpret_cast<uintptr_t>(bytes) % c10::elementSize(scalar) == 0, "the data is not aligned");
            auto deleter = [kept](void *) {};
            *out = give(at::from_blob(const_cast<void *>(bytes), dims(sizes, n), deleter, options(type, CT_CPU, 0)));
        });
    };
}

static void fillRandom(CTTable &t) {
    t.generator = [](uint64_t seed, CTGenerator *out) CT_FUNCTION {
        return guard("generator", {}, [&] {
            at::Generator generator = at::detail::createCPUGenerator(seed);
            *out = reinterpret_cast<CTGenerator>(generator.unsafeReleaseGeneratorImpl());
        });
    };
    t.release_generator = [](CTGenerator generator) noexcept {
        c10::raw::intrusive_ptr::decref(reinterpret_cast<c10::GeneratorImpl *>(generator));
    };
    t.seed_default_generator = [](uint64_t seed) CT_FUNCTION {
        return guard("seed", {}, [&] { at::manual_seed(seed); });
    };
    t.default_generator_state = [](CTTensorOrNull *out) CT_FUNCTION {
        return guard("generator_state", {}, [&] { *out = give(at::detail::getDefaultCPUGenerator().get_state()); });
    };
    t.set_default_generator_state = [](CTTensor state) CT_FUNCTION {
        return guard("set_generator_state", {state}, [&] {
            at::Generator generator = at::detail::getDefaultCPUGenerator();
            generator.set_state(*Borrow(state));
        });
    };
    t.random_uniform = [](const int64_t *sizes, int32_t n, double low, double high, CTGenerator generator,
                          CTTensorOrNull *out) CT_FUNCTION {
        return guard("random_uniform", {}, [&] {
            byteCount(sizes, n, at::kFloat);
            *out = give(at::Tensor(at::empty(dims(sizes, n), at::kFloat).uniform_(low, high, generatorOrDefault(generator))));
        });
    };
    t.random_normal = [](const int64_t *sizes, int32_t n, double mean, double deviation, CTGenerator generator,
                         CTTensorOrNull *out) CT_FUNCTION {
        return guard("random_normal", {}, [&] {
            byteCount(sizes, n, at::kFloat);
            *out = give(at::Tensor(at::empty(dims(sizes, n), at::kFloat).normal_(mean, deviation, generatorOrDefault(generator))));
        });
    };
    t.random_integers = [](const int64_t *sizes, int32_t n, int64_t low, int64_t high, CTGenerator generator,
                           CTTensorOrNull *out) CT_FUNCTION {
        return guard("random_integers", {}, [&] {
            byteCount(sizes, n, at::kLong);
            *out = give(at::randint(low, high, dims(sizes, n), generatorOrDefault(generator), at::kLong));
        });
    };
    t.random_permutation = [](int64_t count, CTGenerator generator, CTTensorOrNull *out) CT_FUNCTION {
        return guard("random_permutation", {}, [&] {
            *out = give(at::randperm(count, generatorOrDefault(generator), at::TensorOptions(at::kLong)));
        });
    };
    t.multinomial = [](CTTensor a, int64_t samples, bool replacement, CTGenerator generator,
                       CTTensorOrNull *out) CT_FUNCTION {
        return guard("multinomial", {a}, [&] {
            *out = give(at::multinomial(*Borrow(a), samples, replacement, generatorOrDefault(generator)));
        });
    };
}

static void fillShape(CTTable &t) {
    t.reshape = [](CTTensor a, const int64_t *sizes, int32_t n, CTTensorOrNull *out) CT_FUNCTION {
        return guard("reshape", {a}, [&] { *out = give(Borrow(a)->reshape(dims(sizes, n))); });
    };
    t.expand = [](CTTensor a, const int64_t *sizes, int32_t n, CTTensorOrNull *out) CT_FUNCTION {
        return guard("expand", {a}, [&] { *out = give(Borrow(a)->expand(dims(sizes, n))); });
    };
    t.permute = [](CTTensor a, const int64_t *order, int32_t n, CTTensorOrNull *out) CT_FUNCTION {
        return guard("permute", {a}, [&] { *out = give(Borrow(a)->permute(dims(order, n))); });
    };
    t.transpose = [](CTTensor a, int64_t first, int64_t second, CTTensorOrNull *out) CT_FUNCTION {
        return guard("transpose", {a}, [&] { *out = give(Borrow(a)->transpose(first, second)); });
    };
    t.unsqueeze = [](CTTensor a, int64_t dimension, CTTensorOrNull *out) CT_FUNCTION {
        return guard("unsqueeze", {a}, [&] { *out = give(Borrow(a)->unsqueeze(dimension)); });
    };
    t.squeeze = [](CTTensor a, int64_t dimension, CTTensorOrNull *out) CT_FUNCTION {
        return guard("squeeze", {a}, [&] { *out = give(Borrow(a)->squeeze(dimension)); });
    };
    t.slice = [](CTTensor a, int64_t dimension, int64_t start, int64_t end, int64_t step,
                 CTTensorOrNull *out) CT_FUNCTION {
        return guard("slice", {a}, [&] { *out = give(Borrow(a)->slice(dimension, start, end, step)); });
    };
    t.select = [](CTTensor a, int64_t dimension, int64_t index, CTTensorOrNull *out) CT_FUNCTION {
        return guard("select", {a}, [&] { *out = give(Borrow(a)->select(dimension, index)); });
    };
    t.concatenate = [](const CTTensor *parts, int32_t n, int64_t dimension, CTTensorOrNull *out) CT_FUNCTION {
        return guard("concatenate", {n > 0 ? parts[0] : nullptr, n > 1 ? parts[1] : nullptr},
                     [&] { *out = give(at::cat(*BorrowList(parts, n), dimension)); });
    };
    t.stack = [](const CTTensor *parts, int32_t n, int64_t dimension, CTTensorOrNull *out) CT_FUNCTION {
        return guard("stack", {n > 0 ? parts[0] : nullptr, n > 1 ? parts[1] : nullptr},
                     [&] { *out = give(at::stack(*BorrowList(parts, n), dimension)); });
    };
    t.repeat_interleave = [](CTTensor a, int64_t repeats, int64_t dimension, CTTensorOrNull *out) CT_FUNCTION {
        return guard("repeat_interleave", {a},
                     [&] { *out = give(Borrow(a)->repeat_interleave(repeats, dimension)); });
    };
    t.repeat = [](CTTensor a, const int64_t *repeats, int32_t n, CTTensorOrNull *out) CT_FUNCTION {
        return guard("repeat", {a}, [&] { *out = give(Borrow(a)->repeat(dims(repeats, n))); });
    };
    t.flip = [](CTTensor a, const int64_t *dimensions, int32_t n, CTTensorOrNull *out) CT_FUNCTION {
        return guard("flip", {a}, [&] { *out = give(Borrow(a)->flip(dims(dimensions, n))); });
    };
    t.roll = [](CTTensor a, int64_t shift, int64_t dimension, CTTensorOrNull *out) CT_FUNCTION {
        return guard("roll", {a}, [&] { *out = give(Borrow(a)->roll(shift, dimension)); });
    };
    t.pad = [](CTTensor a, const int64_t *amounts, int32_t n, double value, CTTensorOrNull *out) CT_FUNCTION {
        return guard("pad", {a}, [&] { *out = give(at::constant_pad_nd(*Borrow(a), dims(amounts, n), value)); });
    };
    t.triangle = [](CTTensor a, bool upper, int64_t diagonal, CTTensorOrNull *out) CT_FUNCTION {
        return guard("triangle", {a}, [&] {
            *out = give(upper ? Borrow(a)->triu(diagonal) : Borrow(a)->tril(diagonal));
        });
    };
}

static void fillIndexing(CTTable &t) {
    t.index_select = [](CTTensor a, int64_t dimension, CTTensor index, CTTensorOrNull *out) CT_FUNCTION {
        return guard("index_select", {a, index},
                     [&] { *out = give(Borrow(a)->index_select(dimension, *Borrow(index))); });
    };
    t.index = [](CTTensor a, const CTTensorOrNull *indices, int32_t n, CTTensorOrNull *out) CT_FUNCTION {
        return guard("index", {a}, [&] { *out = give(at::index(*Borrow(a), indexList(indices, n))); });
    };
    t.index_put = [](CTTensor a, const CTTensorOrNull *indices, int32_t n, CTTensor values, bool accumulate,
                     CTTensorOrNull *out) CT_FUNCTION {
        return guard("index_put", {a, values}, [&] {
            *out = give(at::index_put(*Borrow(a), indexList(indices, n), *Borrow(values), accumulate));
        });
    };
    t.gather = [](CTTensor a, int64_t dimension, CTTensor index, CTTensorOrNull *out) CT_FUNCTION {
        return guard("gather", {a, index}, [&] { *out = give(Borrow(a)->gather(dimension, *Borrow(index))); });
    };
    t.scatter = [](CTTensor a, int64_t dimension, CTTensor index, CTTensor source, CTTensorOrNull *out) CT_FUNCTION {
        return guard("scatter", {a, index, source},
                     [&] { *out = give(Borrow(a)->scatter(dimension, *Borrow(index), *Borrow(source))); });
    };
    t.scatter_add = [](CTTensor a, int64_t dimension, CTTensor index, CTTensor source,
                       CTTensorOrNull *out) CT_FUNCTION {
        return guard("scatter_add", {a, index, source},
                     [&] { *out = give(Borrow(a)->scatter_add(dimension, *Borrow(index), *Borrow(source))); });
    };
    t.masked_select = [](CTTensor a, CTTensor mask, CTTensorOrNull *out) CT_FUNCTION {
        return guard("masked_select", {a, mask}, [&] { *out = give(Borrow(a)->masked_select(*Borrow(mask))); });
    };
    t.nonzero = [](CTTensor a, CTTensorOrNull *out) CT_FUNCTION {
        return guard("nonzero", {a}, [&] { *out = give(Borrow(a)->nonzero()); });
    };
}

void fillTensors(CTTable &t) {
    fillLibrary(t);
    fillLife(t);
    fillCreation(t);
    fillRandom(t);
    fillShape(t);
    fillIndexing(t);
}

}  // namespace ct

extern "C" __attribute__((visibility("default"))) const CTTable *ct_table(void) {
    static const CTTable table = [] {
        CTTable filled{};
        ct::fillErrors(filled);
        ct::fillTensors(filled);
        ct::fillOperations(filled);
        ct::fillLayers(filled);
        ct::fillGradients(filled);
        ct::fillQuantised(filled);
        ct::fillRotary(filled);
        ct::fillDecoder(filled);
        ct::fillCollectives(filled);
        return filled;
    }();
    return &table;
}
