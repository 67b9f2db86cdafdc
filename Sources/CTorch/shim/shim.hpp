// What the files of the shim share: borrowing and giving tensors across the border, and the guard that turns every
// C++ exception into an error code.
#pragma once

#include <ATen/ATen.h>
#include <c10/util/SmallVector.h>
#include <torch/version.h>

#include <exception>
#include <initializer_list>
#include <string>
#include <vector>

#include "../include/CTorch.h"

#if TORCH_VERSION_MAJOR < 2 || (TORCH_VERSION_MAJOR == 2 && TORCH_VERSION_MINOR < 7)
#error "libtorch 2.7 or newer is needed"
#endif

#define CT_FUNCTION noexcept -> int32_t

namespace ct {

/// A tensor that belongs to the caller, seen as at::Tensor without touching its count.
class Borrow {
  public:
    explicit Borrow(CTTensorOrNull handle)
        : tensor_(c10::intrusive_ptr<c10::TensorImpl, c10::UndefinedTensorImpl>::reclaim(
              handle != nullptr ? reinterpret_cast<c10::TensorImpl *>(handle)
                                : c10::UndefinedTensorImpl::singleton())) {}
    Borrow(const Borrow &) = delete;
    Borrow &operator=(const Borrow &) = delete;
    ~Borrow() { (void)tensor_.unsafeReleaseTensorImpl(); }

    const at::Tensor &operator*() const { return tensor_; }
    const at::Tensor *operator->() const { return &tensor_; }

  private:
    at::Tensor tensor_;
};

/// An optional tensor argument: nothing when the handle is null. Takes a counted reference, which is cheap beside any
/// operation that has an optional argument.
inline std::optional<at::Tensor> optional(CTTensorOrNull handle) {
    if (handle == nullptr) return std::nullopt;
    return *Borrow(handle);
}

inline std::vector<at::Tensor> list(const CTTensor *handles, int32_t n) {
    std::vector<at::Tensor> tensors;
    tensors.reserve(static_cast<size_t>(n));
    for (int32_t i = 0; i < n; i++) tensors.push_back(*Borrow(handles[i]));
    return tensors;
}

/// Tensors that belong to the caller, seen as a list without touching their counts; a few of them need no heap.
class BorrowList {
  public:
    BorrowList(const CTTensor *handles, int32_t n) {
        tensors_.reserve(static_cast<size_t>(n));
        for (int32_t i = 0; i < n; i++)
            tensors_.push_back(
                at::Tensor(c10::intrusive_ptr<c10::TensorImpl, c10::UndefinedTensorImpl>::reclaim(
                    reinterpret_cast<c10::TensorImpl *>(handles[i]))));
    }
    BorrowList(const BorrowList &) = delete;
    BorrowList &operator=(const BorrowList &) = delete;
    ~BorrowList() {
        for (at::Tensor &tensor : tensors_) (void)tensor.unsafeReleaseTensorImpl();
    }

    at::TensorList operator*() const { return tensors_; }

  private:
    c10::SmallVector<at::Tensor, 8> tensors_;
};

/// Hands one counted reference to the caller.
CTTensor give(at::Tensor &&tensor);

/// Takes back a reference that the caller gives up.
at::Tensor take(CTTensor handle);

inline at::IntArrayRef dims(const int64_t *values, int32_t n) {
    return at::IntArrayRef(values, static_cast<size_t>(n));
}

at::ScalarType scalarType(int32_t type);
at::Device device(int32_t kind, int32_t index);

/// A number as an argument beside tensors of `type`: integer tensors stay integer when it has no fraction.
at::Scalar scalar(double value, at::ScalarType type);

/// An error of the caller's own callback, on its way through libtorch back to the caller.
struct CallbackFailed : std::exception {
    std::string message;

    explicit CallbackFailed(std::string message) : message(std::move(message)) {}
    const char *what() const noexcept override { return message.c_str(); }
};

/// Keeps what happened for `last_error`; called inside a catch block.
int32_t rememberCurrentException(const char *operation, std::initializer_list<CTTensorOrNull> arguments) noexcept;

/// Runs `body`; whatever it throws becomes an error code.
template <typename Body>
inline int32_t guard(const char *operation, std::initializer_list<CTTensorOrNull> arguments, Body &&body) noexcept {
    try {
        body();
        return CT_OK;
    } catch (...) {
        return rememberCurrentException(operation, arguments);
    }
}

void fillErrors(CTTable &table);
void fillTensors(CTTable &table);
void fillOperations(CTTable &table);
void fillLayers(CTTable &table);
void fillGradients(CTTable &table);
void fillQuantised(CTTable &table);
void fillRotary(CTTable &table);
void fillDecoder(CTTable &table);
void fillCollectives(CTTable &table);

}  // namespace ct
