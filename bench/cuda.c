/* Looking up CUDA's functions by name. */
#include "cuda.h"

#include <dlfcn.h>
#include <string.h>

/* POSIX promises that dlsym's void * holds a function's address; C wants it copied, not cast. */
static const char *find(void *library, const char *name, void *field)
{
    void *symbol = dlsym(library, name);
    memcpy(field, &symbol, sizeof symbol);
    return symbol ? NULL : name;
}

/* Fills one field after the other of a table of functions. Each table has a type of its own, so
 * there is a function for each, whose lines only the macro tells apart. */
#define FIND(name, arguments)                                                                      \
    if (!missing)                                                                                  \
        missing = find(library, #name, &functions->name);

const char *cuda_find_driver(void *library, struct cuda_driver *functions)
{
    const char *missing = NULL;
    CUDA_DRIVER_FUNCTIONS(FIND)
    return missing;
}

const char *cuda_find_cublas(void *library, struct cublas *functions)
{
    const char *missing = NULL;
    CUBLAS_FUNCTIONS(FIND)
    return missing;
}

const char *cuda_find_cudnn(void *library, struct cudnn *functions)
{
    const char *missing = NULL;
    CUDNN_FUNCTIONS(FIND)
    return missing;
}

const char *cuda_find_nccl(void *library, struct nccl *functions)
{
    const char *missing = NULL;
    NCCL_FUNCTIONS(FIND)
    return missing;
}
