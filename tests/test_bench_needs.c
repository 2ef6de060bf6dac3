/* A library that needs another (test_bench_probe.c), for test_bench_run.c. */
int bench_probe(void);
int bench_needs(void);

int bench_needs(void)
{
    return bench_probe();
}
