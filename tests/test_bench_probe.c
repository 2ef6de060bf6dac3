/* A library to load, for test_bench_run.c. */
int bench_probe(void);

int bench_probe(void)
{
    return 42;
}
