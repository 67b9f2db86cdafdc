// Turns every C++ exception into an error code and a line of text, kept for the thread.
#include "shim.hpp"

#include <new>

namespace ct {

namespace {

struct LastError {
    int32_t code = CT_OK;
    std::string operation;
    std::string message;
};
thread_local LastError lastError;

/// Classes of c10 errors do not tell shapes from other misuse, so the text decides.
int32_t classify(const std::string &text) {
    auto has = [&](const char *part) { return text.find(part) != std::string::npos; };
    if (has("not enough memory") || has("can't allocate memory") || has("out of memory")) return CT_ERROR_OUT_OF_MEMORY;
    if (has("INTERNAL ASSERT")) return CT_ERROR_INTERNAL;
    if (has("not implemented for") || has("Could not run") || has("not implemented")) return CT_ERROR_NOT_IMPLEMENTED;
    if (has("out of range") || has("out of bounds")) return CT_ERROR_INDEX;
    if (has("scalar type") || has("type ") || has("dtype")) return CT_ERROR_TYPE;
    // Misuse of the graph has nothing to do with shapes.
    if (has("require grad") || has("requires grad") || has("the graph") || has("leaf ") || has("inplace operation"))
        return CT_ERROR_INTERNAL;
    return CT_ERROR_SHAPE;
}

/// The first line of a libtorch message, without the C++ stack that follows it.
std::string firstLine(const std::string &text) { return text.substr(0, text.find('\n')); }

std::string shapeText(CTTensorOrNull handle) {
    if (handle == nullptr) return "none";
    Borrow tensor(handle);
    std::string text = "[";
    for (int64_t i = 0; i < tensor->dim(); i++) {
        if (i > 0) text += ", ";
        text += std::to_string(tensor->size(i));
    }
    return text + "] " + c10::toString(tensor->scalar_type());
}

void remember(int32_t code, const char *operation, std::string message,
              std::initializer_list<CTTensorOrNull> arguments) {
    lastError.code = code;
    lastError.operation = operation;
    lastError.message = std::move(message);
    if (arguments.size() == 0) return;
    lastError.message += " (arguments";
    const char *separator = " ";
    for (CTTensorOrNull argument : arguments) {
        lastError.message += separator + shapeText(argument);
        separator = ", ";
    }
    lastError.message += ")";
}

}  // namespace

int32_t rememberCurrentException(const char *operation, std::initializer_list<CTTensorOrNull> arguments) noexcept {
    int32_t code = CT_ERROR_INTERNAL;
    try {
        try {
            throw;
        } catch (const CallbackFailed &error) {
            remember(code = CT_ERROR_CALLBACK, operation, firstLine(error.message), {});
        } catch (const c10::OutOfMemoryError &error) {
            remember(code = CT_ERROR_OUT_OF_MEMORY, operation, firstLine(error.what_without_backtrace()), arguments);
        } catch (const c10::IndexError &error) {
            remember(code = CT_ERROR_INDEX, operation, firstLine(error.what_without_backtrace()), arguments);
        } catch (const c10::TypeError &error) {
            remember(code = CT_ERROR_TYPE, operation, firstLine(error.what_without_backtrace()), arguments);
        } catch (const c10::NotImplementedError &error) {
            remember(code = CT_ERROR_NOT_IMPLEMENTED, operation, firstLine(error.what_without_backtrace()), arguments);
        } catch (const c10::Error &error) {
            std::string text = firstLine(error.what_without_backtrace());
            remember(code = classify(text), operation, std::move(text), arguments);
        } catch (const std::bad_alloc &) {
            remember(code = CT_ERROR_OUT_OF_MEMORY, operation, "not enough memory", arguments);
        } catch (const std::exception &error) {
            std::string text = firstLine(error.what());
            int32_t kind = classify(text);
            remember(code = kind == CT_ERROR_SHAPE ? CT_ERROR_INTERNAL : kind, operation, std::move(text), arguments);
        } catch (...) {
            remember(code = CT_ERROR_INTERNAL, operation, "an exception of unknown type", arguments);
        }
    } catch (...) {
        // Not even the message could be kept.
        lastError.code = code;
    }
    return code;
}

void fillErrors(CTTable &t) {
    t.last_error = [](int32_t *code, const char **operation, const char **message) noexcept {
        *code = lastError.code;
        *operation = lastError.operation.c_str();
        *message = lastError.message.c_str();
    };
}

}  // namespace ct
