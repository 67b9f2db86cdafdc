// Several processes that compute together: libtorch's c10d over Gloo, which meet at a TCPStore.
#include "shim.hpp"

#ifdef CT_COLLECTIVES
#define USE_C10D_GLOO
#include <torch/csrc/distributed/c10d/ProcessGroupGloo.hpp>
#include <torch/csrc/distributed/c10d/TCPStore.hpp>
#endif

namespace ct {

#ifdef CT_COLLECTIVES

namespace {

using Group = c10d::ProcessGroupGloo;

Group &group(CTGroup handle) { return *reinterpret_cast<Group *>(handle); }

/// The tensors of the caller as Gloo takes them; it writes to their memory as it lies.
std::vector<at::Tensor> whole(const CTTensor *handles, int32_t n) {
    std::vector<at::Tensor> tensors = list(handles, n);
    for (at::Tensor &tensor : tensors) {
        TORCH_CHECK(tensor.is_contiguous(), "the tensor is not contiguous");
        tensor = tensor.detach();
    }
    return tensors;
}

void waitForAll(std::vector<c10::intrusive_ptr<c10d::Work>> &works) {
    for (auto &work : works) work->wait();
}

}  // namespace

void fillCollectives(CTTable &t) {
    t.group = [](const char *address, int32_t port, bool hostsStore, int32_t rank, int32_t size, double timeout,
                 CTGroup *out) CT_FUNCTION {
        return guard("process group", {}, [&] {
            std::chrono::milliseconds limit(static_cast<int64_t>(timeout * 1000));
            c10d::TCPStoreOptions options;
            options.port = static_cast<uint16_t>(port);
            options.isServer = hostsStore;
            options.numWorkers = static_cast<size_t>(size);
            options.waitWorkers = false;
            options.timeout = limit;
            auto store = c10::make_intrusive<c10d::TCPStore>(address, options);
            auto made = c10::make_intrusive<Group>(store, rank, size, Group::Options::create_default(limit));
            *out = reinterpret_cast<CTGroup>(made.release());
        });
    };
    t.release_group = [](CTGroup handle) noexcept {
        c10::intrusive_ptr<Group>::reclaim(reinterpret_cast<Group *>(handle)).reset();
    };
    t.group_sum = [](CTGroup handle, const CTTensor *tensors, int32_t n) CT_FUNCTION {
        return guard("sum over processes", {}, [&] {
            std::vector<c10::intrusive_ptr<c10d::Work>> works;
            for (at::Tensor &tensor : whole(tensors, n)) {
                std::vector<at::Tensor> one{tensor};
                works.push_back(group(handle).allreduce(one));
            }
            waitForAll(works);
        });
    };
    t.group_broadcast = [](CTGroup handle, const CTTensor *tensors, int32_t n, int32_t root) CT_FUNCTION {
        return guard("broadcast", {}, [&] {
            c10d::BroadcastOptions options;
            options.rootRank = root;
            std::vector<c10::intrusive_ptr<c10d::Work>> works;
            for (at::Tensor &tensor : whole(tensors, n)) {
                std::vector<at::Tensor> one{tensor};
                works.push_back(group(handle).broadcast(one, options));
            }
            waitForAll(works);
        });
    };
    t.group_gather = [](CTGroup handle, CTTensor tensor, CTTensorOrNull *out) CT_FUNCTION {
        return guard("gather from processes", {tensor}, [&] {
            std::vector<at::Tensor> own = whole(&tensor, 1);
            std::vector<std::vector<at::Tensor>> all(1);
            for (int rank = 0; rank < group(handle).getSize(); rank++) all[0].push_back(at::empty_like(own[0]));
            group(handle).allgather(all, own)->wait();
            *out = give(at::stack(all[0]));
        });
    };
    t.group_barrier = [](CTGroup handle) CT_FUNCTION {
        return guard("barrier", {}, [&] { group(handle).barrier()->wait(); });
    };
}

#else

namespace {

int32_t missing(const char *operation) noexcept {
    return guard(operation, {}, [] {
        C10_THROW_ERROR(NotImplementedError, "this libtorch has no c10d with Gloo");
    });
}

}  // namespace

void fillCollectives(CTTable &t) {
    t.group = [](const char *, int32_t, bool, int32_t, int32_t, double, CTGroup *) CT_FUNCTION {
        return missing("process group");
    };
    t.release_group = [](CTGroup) noexcept {};
    t.group_sum = [](CTGroup, const CTTensor *, int32_t) CT_FUNCTION { return missing("sum over processes"); };
    t.group_broadcast = [](CTGroup, const CTTensor *, int32_t, int32_t) CT_FUNCTION { return missing("broadcast"); };
    t.group_gather = [](CTGroup, CTTensor, CTTensorOrNull *) CT_FUNCTION { return missing("gather from processes"); };
    t.group_barrier = [](CTGroup) CT_FUNCTION { return missing("barrier"); };
}

#endif

}  // namespace ct
