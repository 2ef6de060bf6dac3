/* The stages of a CUDA start, one by one, in a fresh process. */
#ifndef BENCH_GPU_H
#define BENCH_GPU_H

#include "bench.h"
#include "tree_copy.h"

/* Finds cuBLAS, cuDNN and NCCL in the tree: in `plan`, "@NAME" and then what it takes to load it.
 * What is not there is left out by the child. -1: memory is gone. */
int bench_gpu_plan(const struct bench_tree *tree, struct bench_list *plan);

/* Runs the stages in a fresh process: a value for each. */
void bench_gpu_run(const struct bench_dir *dir, const struct bench_list *plan, unsigned timeout_s,
                   struct bench_result *result);

/* The child's side; argv is what follows "--child-gpu": DELAY_MS ROOT PLAN... Returns the exit
 * status. */
int bench_gpu_child(int argc, char **argv);

#endif
