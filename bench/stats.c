/* The interval is made of order statistics: the number of samples below the true median is
 * binomial(n, 1/2), so [k-th smallest, k-th largest] misses it with probability 2 P(B < k). */
#include "stats.h"

#include <math.h>
#include <stdlib.h>
#include <string.h>

static int compare_doubles(const void *a, const void *b)
{
    double x = *(const double *)a, y = *(const double *)b;
    return (x > y) - (x < y);
}

/* Linear between the two samples beside it. */
static double quantile(const double *sorted, unsigned count, double q)
{
    double position = q * (count - 1);
    unsigned below = (unsigned)position;
    if (below + 1 >= count)
        return sorted[count - 1];
    return sorted[below] + (position - below) * (sorted[below + 1] - sorted[below]);
}

/* The largest k whose interval still covers 0.95, or 1, which is the range. */
static unsigned interval_rank(unsigned count, double *ret_coverage)
{
    unsigned k = 1;
    double term = ldexp(1.0, -(int)count); /* P(B = 0); 2^-1000 is still a double */
    double tail = term;                    /* P(B < k) */
    *ret_coverage = 1 - 2 * tail;
    while (2 * (k + 1) <= count) {
        term *= (double)(count - k + 1) / k;
        if (1 - 2 * (tail + term) < 0.95)
            break;
        tail += term;
        *ret_coverage = 1 - 2 * tail;
        k++;
    }
    return k;
}

struct bench_summary bench_summarize(const double *samples, unsigned count)
{
    struct bench_summary summary = { 0 };
    double sorted[BENCH_MAX_RUNS];
    if (count == 0 || count > BENCH_MAX_RUNS)
        return summary;
    memcpy(sorted, samples, count * sizeof *sorted);
    qsort(sorted, count, sizeof *sorted, compare_doubles);
    unsigned k = interval_rank(count, &summary.coverage);
    summary.count = count;
    summary.median = quantile(sorted, count, 0.5);
    summary.low = sorted[k - 1];
    summary.high = sorted[count - k];
    summary.quartile_low = quantile(sorted, count, 0.25);
    summary.quartile_high = quantile(sorted, count, 0.75);
    return summary;
}

struct bench_ratio bench_compare(const struct bench_summary *summary,
                                 const struct bench_summary *reference)
{
    struct bench_ratio ratio = { .verdict = BENCH_NOTHING };
    if (!summary->count || !reference->count || reference->low <= 0)
        return ratio;
    ratio.ratio = summary->median / reference->median;
    ratio.low = summary->low / reference->high;
    ratio.high = summary->high / reference->low;
    if (summary->count < BENCH_MIN_RUNS || reference->count < BENCH_MIN_RUNS)
        ratio.verdict = BENCH_TOO_FEW;
    else if (ratio.low > 1)
        ratio.verdict = BENCH_SLOWER;
    else if (ratio.high < 1)
        ratio.verdict = BENCH_FASTER;
    else
        ratio.verdict = BENCH_NOT_SIGNIFICANT;
    return ratio;
}

const char *bench_verdict_name(enum bench_verdict verdict)
{
    static const char *const names[] = { "not measured", "not significant", "faster", "slower",
                                         "too few runs" };
    return names[verdict];
}

/* splitmix64: small, and good enough to shuffle with. */
static uint64_t next_random(uint64_t *state)
{
    uint64_t z = (*state += 0x9e3779b97f4a7c15u);
    z = (z ^ (z >> 30)) * 0xbf58476d1ce4e5b9u;
    z = (z ^ (z >> 27)) * 0x94d049bb133111ebu;
    return z ^ (z >> 31);
}

void bench_shuffle(unsigned *order, unsigned count, uint64_t *state)
{
    for (unsigned i = count; i > 1; i--) {
        unsigned other = (unsigned)(next_random(state) % i);
        unsigned moved = order[i - 1];
        order[i - 1] = order[other];
        order[other] = moved;
    }
}
