#include "CTorch.h"

#include <dlfcn.h>
#include <stdio.h>
#if defined(__x86_64__)
#include <cpuid.h>
#endif

const CTTable *ct_open(const char *path, char *message, int32_t capacity) {
    // RTLD_GLOBAL lets libtorch's own plug-ins (CUDA, oneDNN) resolve against the one copy that is loaded.
    void *library = dlopen(path, RTLD_NOW | RTLD_GLOBAL);
    if (library == NULL) {
        const char *reason = dlerror();
        snprintf(message, (size_t)capacity, "%s", reason != NULL ? reason : "dlopen failed");
        return NULL;
    }
    const CTTable *(*table)(void) = (const CTTable *(*)(void))dlsym(library, "ct_table");
    if (table == NULL) {
        snprintf(message, (size_t)capacity, "it has no symbol ct_table");
        return NULL;
    }
    const CTTable *found = table();
    if (found->abi_version != CT_ABI_VERSION) {
        snprintf(message, (size_t)capacity, "it was built for interface %d, this program needs %d",
                 (int)found->abi_version, CT_ABI_VERSION);
        return NULL;
    }
    // Classes of libtorch change between minor versions. Not every version tells its own.
    uint64_t (*installed)(void) = (uint64_t(*)(void))dlsym(library, "aoti_torch_abi_version");
    if (installed != NULL && (int32_t)(installed() >> 48) != found->torch_version) {
        snprintf(message, (size_t)capacity, "it was built for libtorch %d.%d, the one installed is %d.%d",
                 (int)found->torch_version >> 8, (int)found->torch_version & 255, (int)(installed() >> 56),
                 (int)(installed() >> 48) & 255);
        return NULL;
    }
    return found;
}

bool ct_cpu_has_bfloat16(void) {
#if defined(__x86_64__)
    unsigned eax = 0, ebx = 0, ecx = 0, edx = 0;
    return __get_cpuid_count(7, 1, &eax, &ebx, &ecx, &edx) && ((eax >> 5) & 1);  // AVX512_BF16
#elif defined(__aarch64__) && defined(__ARM_FEATURE_BF16)
    return true;
#else
    return false;
#endif
}
