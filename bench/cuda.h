/* As much of CUDA as a first kernel, a first GEMM, a first convolution and a first communicator
 * take. Declared here and found with dlsym, so that nothing of CUDA is needed to build or to run;
 * names and numbers are those of the documented, stable interfaces. */
#ifndef BENCH_CUDA_H
#define BENCH_CUDA_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

/* One field a function; the names are looked up as they stand here. */
#define CUDA_DRIVER_FUNCTIONS(F)                                                                   \
    F(cuInit, (unsigned flags))                                                                    \
    F(cuDeviceGet, (int *device, int ordinal))                                                     \
    F(cuDeviceGetCount, (int *count))                                                              \
    F(cuDevicePrimaryCtxRetain, (void **context, int device))                                      \
    F(cuCtxSetCurrent, (void *context))                                                            \
    F(cuStreamCreate, (void **stream, unsigned flags))                                             \
    F(cuStreamQuery, (void *stream))                                                               \
    F(cuCtxSynchronize, (void))                                                                    \
    F(cuModuleLoadData, (void **module, const void *image))                                        \
    F(cuModuleGetFunction, (void **function, void *module, const char *name))                      \
    F(cuMemAlloc_v2, (uint64_t * pointer, size_t size))                                            \
    F(cuMemsetD32_v2, (uint64_t pointer, unsigned value, size_t count))                            \
    F(cuMemcpyDtoH_v2, (void *host, uint64_t device, size_t size))                                 \
    F(cuLaunchKernel, (void *function, unsigned grid_x, unsigned grid_y, unsigned grid_z,          \
                       unsigned block_x, unsigned block_y, unsigned block_z, unsigned shared,      \
                       void *stream, void **params, void **extra))

#define CUBLAS_FUNCTIONS(F)                                                                        \
    F(cublasCreate_v2, (void **handle))                                                            \
    F(cublasSgemm_v2,                                                                              \
      (void *handle, int transpose_a, int transpose_b, int m, int n, int k, const float *alpha,    \
       const void *a, int lda, const void *b, int ldb, const float *beta, void *c, int ldc))

#define CUDNN_FUNCTIONS(F)                                                                         \
    F(cudnnCreate, (void **handle))                                                                \
    F(cudnnCreateTensorDescriptor, (void **tensor))                                                \
    F(cudnnSetTensor4dDescriptor,                                                                  \
      (void *tensor, int format, int type, int n, int c, int h, int w))                            \
    F(cudnnCreateFilterDescriptor, (void **filter))                                                \
    F(cudnnSetFilter4dDescriptor,                                                                  \
      (void *filter, int type, int format, int k, int c, int h, int w))                            \
    F(cudnnCreateConvolutionDescriptor, (void **convolution))                                      \
    F(cudnnSetConvolution2dDescriptor,                                                             \
      (void *convolution, int pad_h, int pad_w, int stride_h, int stride_w, int dilation_h,        \
       int dilation_w, int mode, int type))                                                        \
    F(cudnnGetConvolutionForwardWorkspaceSize,                                                     \
      (void *handle, void *x, void *w, void *convolution, void *y, int algorithm, size_t *size))   \
    F(cudnnConvolutionForward,                                                                     \
      (void *handle, const void *alpha, void *x_desc, const void *x, void *w_desc, const void *w,  \
       void *convolution, int algorithm, void *workspace, size_t workspace_size, const void *beta, \
       void *y_desc, void *y))

#define NCCL_FUNCTIONS(F)                                                                          \
    F(ncclCommInitAll, (void **communicators, int count, const int *devices))                      \
    F(ncclGroupStart, (void))                                                                      \
    F(ncclGroupEnd, (void))                                                                        \
    F(ncclAllReduce, (const void *from, void *to, size_t count, int type, int operation,           \
                      void *communicator, void *stream))

#define CUDA_FIELD(name, arguments) int(*name) arguments;
struct cuda_driver {
    CUDA_DRIVER_FUNCTIONS(CUDA_FIELD)
};
struct cublas {
    CUBLAS_FUNCTIONS(CUDA_FIELD)
};
struct cudnn {
    CUDNN_FUNCTIONS(CUDA_FIELD)
};
struct nccl {
    NCCL_FUNCTIONS(CUDA_FIELD)
};
#undef CUDA_FIELD

/* Each fills all fields from `library`. Returns NULL, or the name of what it lacks. */
const char *cuda_find_driver(void *library, struct cuda_driver *functions);
const char *cuda_find_cublas(void *library, struct cublas *functions);
const char *cuda_find_cudnn(void *library, struct cudnn *functions);
const char *cuda_find_nccl(void *library, struct nccl *functions);

#endif
