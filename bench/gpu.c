/* Each stage needs the one before it; when one cannot be had, it and what hangs on it are left out
 * by name, and the rest is still measured (libraries load without a GPU, too). Results are looked
 * at: a kernel that did nothing has no time. */
#include "gpu.h"

#include "child.h"
#include "cuda.h"
#include "load.h"

#include <dlfcn.h>
#include <pthread.h>
#include <sched.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>

#define MATRIX       1024
#define NCCL_SECONDS 45 /* for a communicator and a sum, which take 1 to 5 */
#define IMAGE        64 /* pixels a side, of one image with 8 channels */

static const struct {
    const char *name, *glob;
} libraries[] = {
    { "@cuBLAS", "libcublas.so.*" },
    { "@cuDNN", "libcudnn.so.*" },
    { "@NCCL", "libnccl.so.*" },
};

int bench_gpu_plan(const struct bench_tree *tree, struct bench_list *plan)
{
    for (size_t i = 0; i < sizeof libraries / sizeof *libraries; i++) {
        AUTO(bench_list_close) struct bench_list found = { 0 };
        struct bench_reason reason;
        if (bench_tree_find(tree, libraries[i].glob, &found, &reason) < 0)
            continue;
        if (bench_list_add(plan, libraries[i].name) < 0)
            return -1;
        bench_tree_plan(tree, found.items[0], plan, &reason);
    }
    return 0;
}

void bench_gpu_run(const struct bench_dir *dir, const struct bench_list *plan, unsigned timeout_s,
                   struct bench_result *result)
{
    bench_load_spawn("--child-gpu", dir, plan, timeout_s, result);
}

/* ---- the child */

struct gpu {
    double begin;
    char *root;
    int plan_count;
    char **plan;
    struct cuda_driver driver;
    const char *without; /* why there is no usable GPU; NULL: there is */
    int device_count;
    uint64_t memory; /* on the device: three matrices */
};

/* Tells the time that a stage took if `status` is 0, else that it is left out. */
static bool tell_time(const char *name, double seconds, const char *function, int status)
{
    char reason[128];
    if (status == 0) {
        bench_tell_value(name, seconds);
        return true;
    }
    snprintf(reason, sizeof reason, "%s returned %d", function, status);
    bench_tell_left_out(name, reason);
    return false;
}

/* The same for a stage that ends now. */
static bool tell_stage(const char *name, double start, const char *function, int status)
{
    return tell_time(name, bench_now() - start, function, status);
}

static void leave_out(const char *const *names, size_t count, const char *reason)
{
    for (size_t i = 0; i < count; i++)
        bench_tell_left_out(names[i], reason);
}

/* Loads the driver; sets gpu->without when a later stage has nothing to stand on. */
static void load_driver(struct gpu *gpu)
{
    double start = bench_now();
    void *library = NULL;
    /* It belongs to the machine, not to the directory. Some keep it where only LD_LIBRARY_PATH
     * tells, which we do without. */
    static const char *const places[] = { "/usr/local/nvidia/lib64/libcuda.so.1", "libcuda.so.1" };
    for (size_t i = 0; !library && i < sizeof places / sizeof *places; i++)
        library = dlopen(places[i], RTLD_NOW | RTLD_GLOBAL);
    if (!library) {
        bench_tell_left_out("driver-load", dlerror());
        gpu->without = "no CUDA driver";
        return;
    }
    const char *missing = cuda_find_driver(library, &gpu->driver);
    if (missing) {
        bench_tell_left_out("driver-load", missing);
        gpu->without = "the CUDA driver is too old";
        return;
    }
    bench_tell_value("driver-load", bench_now() - start);
}

static void start_context(struct gpu *gpu)
{
    void *context = NULL;
    int device = 0;
    double start = bench_now();
    if (!tell_stage("cuInit", start, "cuInit", gpu->driver.cuInit(0))) {
        gpu->without = "cuInit failed";
        return;
    }
    gpu->driver.cuDeviceGetCount(&gpu->device_count);
    start = bench_now();
    int r = gpu->driver.cuDeviceGet(&device, 0);
    if (r == 0)
        r = gpu->driver.cuDevicePrimaryCtxRetain(&context, device);
    if (r == 0)
        r = gpu->driver.cuCtxSetCurrent(context);
    if (!tell_stage("context", start, "cuDevicePrimaryCtxRetain", r))
        gpu->without = "no context";
}

/* Built for Turing and compiled by the driver for what is there. */
static const char kernel_text[] = ".version 6.3\n.target sm_75\n.address_size 64\n"
                                  ".visible .entry touch(.param .u64 where)\n"
                                  "{\n"
                                  "  .reg .b64 %r<3>;\n"
                                  "  .reg .b32 %v;\n"
                                  "  ld.param.u64 %r1, [where];\n"
                                  "  cvta.to.global.u64 %r2, %r1;\n"
                                  "  mov.u32 %v, 4711;\n"
                                  "  st.global.u32 [%r2], %v;\n"
                                  "  ret;\n"
                                  "}\n";

static void run_kernel(struct gpu *gpu)
{
    void *module = NULL, *function = NULL;
    double start = bench_now();
    int r = gpu->driver.cuModuleLoadData(&module, kernel_text);
    if (!tell_stage("module", start, "cuModuleLoadData", r)) {
        bench_tell_left_out("kernel", "no module");
        return;
    }
    start = bench_now();
    r = gpu->driver.cuModuleGetFunction(&function, module, "touch");
    void *params[] = { &gpu->memory };
    if (r == 0)
        r = gpu->driver.cuLaunchKernel(function, 1, 1, 1, 1, 1, 1, 0, NULL, params, NULL);
    if (r == 0)
        r = gpu->driver.cuCtxSynchronize();
    double end = bench_now();
    unsigned value = 0;
    if (r == 0)
        r = gpu->driver.cuMemcpyDtoH_v2(&value, gpu->memory, sizeof value);
    if (r == 0 && value != 4711)
        bench_tell_left_out("kernel", "the kernel wrote something else");
    else
        tell_time("kernel", end - start, "cuLaunchKernel", r);
}

/* Memory for all stages, before they are timed. */
static void allocate(struct gpu *gpu)
{
    size_t floats = (size_t)MATRIX * MATRIX;
    if (gpu->driver.cuMemAlloc_v2(&gpu->memory, 3 * floats * sizeof(float)) != 0 ||
        gpu->driver.cuMemsetD32_v2(gpu->memory, 0x3f800000u /* 1.0f */, 2 * floats) != 0)
        gpu->without = "no memory on the GPU";
}

/* Loads the library called `name` in the plan; tells "NAME-load". NULL: left out. */
static void *load_library(struct gpu *gpu, const char *name)
{
    char stage[32];
    double start = bench_now();
    snprintf(stage, sizeof stage, "%s-load", name + 1);
    int from = 0;
    while (from < gpu->plan_count && strcmp(gpu->plan[from], name) != 0)
        from++;
    if (from == gpu->plan_count) {
        bench_tell_left_out(stage, "not in this directory");
        return NULL;
    }
    int end = ++from;
    while (end < gpu->plan_count && gpu->plan[end][0] != '@')
        end++;
    char reason[512];
    void *library = bench_load_all(gpu->root, gpu->plan + from, end - from, reason, sizeof reason);
    if (library)
        bench_tell_value(stage, bench_now() - start);
    else
        bench_tell_left_out(stage, reason);
    return library;
}

static float read_float(struct gpu *gpu, uint64_t where)
{
    float value = 0;
    gpu->driver.cuMemcpyDtoH_v2(&value, where, sizeof value);
    return value;
}

static const void *at(uint64_t device_address)
{
    return (const void *)(uintptr_t)device_address;
}

static void *at_mutable(uint64_t device_address)
{
    return (void *)(uintptr_t)device_address;
}

static void run_gemm(struct gpu *gpu, const struct cublas *cublas, void *handle)
{
    const float one = 1, zero = 0;
    size_t bytes = (size_t)MATRIX * MATRIX * sizeof(float);
    uint64_t a = gpu->memory, b = a + bytes, c = b + bytes;
    /* The kernel wrote over the first element. */
    gpu->driver.cuMemsetD32_v2(a, 0x3f800000u, 1);
    double start = bench_now();
    int r = cublas->cublasSgemm_v2(handle, 0, 0, MATRIX, MATRIX, MATRIX, &one, at(a), MATRIX, at(b),
                                   MATRIX, &zero, at_mutable(c), MATRIX);
    if (r == 0)
        r = gpu->driver.cuCtxSynchronize();
    double end = bench_now();
    if (r == 0 && read_float(gpu, c) != MATRIX)
        bench_tell_left_out("GEMM", "the product is wrong");
    else if (tell_time("GEMM", end - start, "cublasSgemm", r))
        bench_tell_value("start-up", end - gpu->begin);
}

static void measure_cublas(struct gpu *gpu)
{
    static const char *const stages[] = { "cuBLAS-handle", "GEMM", "start-up" };
    struct cublas cublas;
    void *library = load_library(gpu, "@cuBLAS");
    const char *missing = library ? cuda_find_cublas(library, &cublas) : "no cuBLAS";
    if (missing || gpu->without) {
        leave_out(stages, 3, gpu->without ? gpu->without : missing);
        return;
    }
    void *handle = NULL;
    double start = bench_now();
    if (tell_stage("cuBLAS-handle", start, "cublasCreate", cublas.cublasCreate_v2(&handle)))
        run_gemm(gpu, &cublas, handle);
    else
        leave_out(stages + 1, 2, "no handle");
}

struct convolution {
    void *handle, *input, *filter, *how, *output;
};

enum { NCHW = 0, CUDNN_FLOAT = 0, CROSS_CORRELATION = 1, IMPLICIT_GEMM = 0 };

static int describe_convolution(const struct cudnn *cudnn, struct convolution *c)
{
    int r = cudnn->cudnnCreateTensorDescriptor(&c->input);
    r = r ? r : cudnn->cudnnCreateTensorDescriptor(&c->output);
    r = r ? r : cudnn->cudnnCreateFilterDescriptor(&c->filter);
    r = r ? r : cudnn->cudnnCreateConvolutionDescriptor(&c->how);
    r = r ? r : cudnn->cudnnSetTensor4dDescriptor(c->input, NCHW, CUDNN_FLOAT, 1, 8, IMAGE, IMAGE);
    r = r ? r : cudnn->cudnnSetTensor4dDescriptor(c->output, NCHW, CUDNN_FLOAT, 1, 8, IMAGE, IMAGE);
    r = r ? r : cudnn->cudnnSetFilter4dDescriptor(c->filter, CUDNN_FLOAT, NCHW, 8, 8, 3, 3);
    return r ? r
             : cudnn->cudnnSetConvolution2dDescriptor(c->how, 1, 1, 1, 1, 1, 1, CROSS_CORRELATION,
                                                      CUDNN_FLOAT);
}

static void run_convolution(struct gpu *gpu, const struct cudnn *cudnn, struct convolution *c)
{
    const float one = 1, zero = 0;
    size_t bytes = (size_t)MATRIX * MATRIX * sizeof(float), workspace_size = 0;
    uint64_t x = gpu->memory, w = x + bytes, y = w + bytes, workspace = 0;
    double start = bench_now();
    int r = describe_convolution(cudnn, c);
    r = r ? r
          : cudnn->cudnnGetConvolutionForwardWorkspaceSize(
                c->handle, c->input, c->filter, c->how, c->output, IMPLICIT_GEMM, &workspace_size);
    if (r == 0 && workspace_size)
        r = gpu->driver.cuMemAlloc_v2(&workspace, workspace_size);
    r = r ? r
          : cudnn->cudnnConvolutionForward(c->handle, &one, c->input, at(x), c->filter, at(w),
                                           c->how, IMPLICIT_GEMM, at_mutable(workspace),
                                           workspace_size, &zero, c->output, at_mutable(y));
    if (r == 0)
        r = gpu->driver.cuCtxSynchronize();
    double end = bench_now();
    /* In a corner 4 of the 9 pixels of each of the 8 channels are inside. */
    if (r == 0 && read_float(gpu, y) != 32)
        bench_tell_left_out("convolution", "the result is wrong");
    else
        tell_time("convolution", end - start, "cudnnConvolutionForward", r);
}

static void measure_cudnn(struct gpu *gpu)
{
    static const char *const stages[] = { "cuDNN-handle", "convolution" };
    struct cudnn cudnn;
    struct convolution convolution = { 0 };
    void *library = load_library(gpu, "@cuDNN");
    const char *missing = library ? cuda_find_cudnn(library, &cudnn) : "no cuDNN";
    if (missing || gpu->without) {
        leave_out(stages, 2, gpu->without ? gpu->without : missing);
        return;
    }
    double start = bench_now();
    if (tell_stage("cuDNN-handle", start, "cudnnCreate", cudnn.cudnnCreate(&convolution.handle)))
        run_convolution(gpu, &cudnn, &convolution);
    else
        leave_out(stages + 1, 1, "no handle");
}

/* One of two GPUs that reduce: its primary context, which NCCL works in, too. */
struct rank {
    void *context, *stream, *communicator;
    uint64_t from, to; /* device addresses, of REDUCED floats each */
};

enum { REDUCED = 1 << 18, NCCL_FLOAT = 7, NCCL_SUM = 0, CUDA_NOT_READY = 600, NON_BLOCKING = 1 };

/* The communicator and the sum wait for the other GPU, and where the way to it is broken, for
 * ever. A thread tells which it was and leaves; the time limit of the run would call all of it
 * failed. */
static void *end_late_nccl(void *stage)
{
    struct timespec patience = { .tv_sec = NCCL_SECONDS };
    nanosleep(&patience, NULL);
    char reason[64];
    snprintf(reason, sizeof reason, "not done after %d s", NCCL_SECONDS);
    const char *late = *(const char *const *)stage;
    bench_tell_left_out(late, reason);
    if (strcmp(late, "all-reduce") != 0)
        bench_tell_left_out("all-reduce", "no communicator");
    _exit(0);
}

/* Before anything is timed. */
static int prepare_rank(struct gpu *gpu, int ordinal, struct rank *rank)
{
    const struct cuda_driver *driver = &gpu->driver;
    int device = 0, r = driver->cuDeviceGet(&device, ordinal);
    r = r ? r : driver->cuDevicePrimaryCtxRetain(&rank->context, device);
    r = r ? r : driver->cuCtxSetCurrent(rank->context);
    r = r ? r : driver->cuStreamCreate(&rank->stream, NON_BLOCKING);
    r = r ? r : driver->cuMemAlloc_v2(&rank->from, REDUCED * sizeof(float));
    r = r ? r : driver->cuMemAlloc_v2(&rank->to, REDUCED * sizeof(float));
    r = r ? r : driver->cuMemsetD32_v2(rank->from, 0x3f800000u, REDUCED);
    return r ? r : driver->cuCtxSynchronize();
}

/* Both ranks are this thread's, so they must be one group: each alone would wait for the other. */
static int start_reducing(struct gpu *gpu, const struct nccl *nccl, struct rank ranks[2])
{
    int r = nccl->ncclGroupStart();
    for (int i = 0; i < 2 && r == 0; i++) {
        gpu->driver.cuCtxSetCurrent(ranks[i].context);
        r = nccl->ncclAllReduce(at(ranks[i].from), at_mutable(ranks[i].to), REDUCED, NCCL_FLOAT,
                                NCCL_SUM, ranks[i].communicator, ranks[i].stream);
    }
    int end = nccl->ncclGroupEnd();
    return r ? r : end;
}

static int wait_for_stream(struct gpu *gpu, const struct rank *rank)
{
    int r;
    gpu->driver.cuCtxSetCurrent(rank->context);
    while ((r = gpu->driver.cuStreamQuery(rank->stream)) == CUDA_NOT_READY)
        sched_yield();
    return r;
}

static void reduce(struct gpu *gpu, const struct nccl *nccl, struct rank ranks[2])
{
    double start = bench_now();
    int r = start_reducing(gpu, nccl, ranks);
    for (int i = 0; i < 2 && r == 0; i++)
        r = wait_for_stream(gpu, &ranks[i]);
    double end = bench_now();
    bool right = true;
    for (int i = 0; i < 2 && r == 0; i++) {
        gpu->driver.cuCtxSetCurrent(ranks[i].context);
        right &= read_float(gpu, ranks[i].to + (REDUCED - 1) * sizeof(float)) == 2;
    }
    if (r == 0 && !right)
        bench_tell_left_out("all-reduce", "the sum is wrong");
    else
        tell_time("all-reduce", end - start, "ncclAllReduce", r);
}

static void run_nccl(struct gpu *gpu, const struct nccl *nccl, const char **stage)
{
    static const int devices[] = { 0, 1 };
    struct rank ranks[2] = { 0 };
    void *communicators[2] = { 0 };
    for (int i = 0; i < 2; i++) {
        int r = prepare_rank(gpu, i, &ranks[i]);
        if (r == 0)
            continue;
        tell_time("NCCL-communicator", 0, "preparing a GPU", r);
        bench_tell_left_out("all-reduce", "no communicator");
        return;
    }
    double start = bench_now();
    int r = nccl->ncclCommInitAll(communicators, 2, devices);
    if (!tell_stage("NCCL-communicator", start, "ncclCommInitAll", r)) {
        bench_tell_left_out("all-reduce", "no communicator");
        return;
    }
    *stage = "all-reduce";
    for (int i = 0; i < 2; i++)
        ranks[i].communicator = communicators[i];
    reduce(gpu, nccl, ranks);
}

static void measure_nccl(struct gpu *gpu)
{
    static const char *const stages[] = { "NCCL-communicator", "all-reduce" };
    static const char *stage = "NCCL-communicator"; /* outlives us, as the thread may */
    struct nccl nccl;
    void *library = load_library(gpu, "@NCCL");
    const char *missing = library ? cuda_find_nccl(library, &nccl) : "no NCCL";
    if (!missing && !gpu->without && gpu->device_count < 2)
        missing = "takes two GPUs";
    if (missing || gpu->without) {
        leave_out(stages, 2, gpu->without ? gpu->without : missing);
        return;
    }
    pthread_t watch;
    if (pthread_create(&watch, NULL, end_late_nccl, &stage) != 0) {
        leave_out(stages, 2, "no thread to watch it");
        return;
    }
    run_nccl(gpu, &nccl, &stage);
}

int bench_gpu_child(int argc, char **argv)
{
    static const char *const stages[] = { "cuInit", "context", "module", "kernel" };
    if (argc < 2)
        return 2;
    struct gpu gpu = {
        .begin = bench_now(), .root = argv[1], .plan_count = argc - 2, .plan = argv + 2
    };
    bench_load_delay(argv[0]);
    load_driver(&gpu);
    if (gpu.without)
        leave_out(stages, 4, gpu.without);
    else
        start_context(&gpu);
    if (!gpu.without)
        allocate(&gpu);
    if (!gpu.without)
        run_kernel(&gpu);
    measure_cublas(&gpu);
    measure_cudnn(&gpu);
    measure_nccl(&gpu);
    fflush(NULL);
    _exit(0);
}
