/* The numbers that the harness tells. */
#include "bench.h"
#include "stats.h"

#include <criterion/criterion.h>
#include <math.h>

static bool near(double a, double b)
{
    return fabs(a - b) < 1e-9;
}

Test(bench_summarize, finds_the_median_whatever_the_order)
{
    struct bench_summary summary = bench_summarize((double[]){ 5, 1, 4, 2, 3 }, 5);
    cr_assert_eq(summary.count, 5);
    cr_assert(near(summary.median, 3));
}

Test(bench_summarize, takes_the_middle_of_two)
{
    cr_assert(near(bench_summarize((double[]){ 1, 2, 4, 9 }, 4).median, 3));
}

Test(bench_summarize, says_nothing_of_no_samples)
{
    struct bench_summary summary = bench_summarize(NULL, 0);
    cr_assert_eq(summary.count, 0);
    cr_assert(near(summary.coverage, 0));
}

Test(bench_summarize, gives_the_quartiles)
{
    struct bench_summary summary = bench_summarize((double[]){ 1, 2, 3, 4, 5 }, 5);
    cr_assert(near(summary.quartile_low, 2));
    cr_assert(near(summary.quartile_high, 4));
}

Test(bench_summarize, owns_up_that_five_samples_do_not_make_95_percent)
{
    struct bench_summary summary = bench_summarize((double[]){ 1, 2, 3, 4, 5 }, 5);
    cr_assert(near(summary.low, 1) && near(summary.high, 5));
    cr_assert(near(summary.coverage, 1 - 2 / 32.0));
}

Test(bench_summarize, covers_95_percent_from_six_samples_on)
{
    double samples[200];
    for (unsigned n = 6; n <= 200; n++) {
        for (unsigned i = 0; i < n; i++)
            samples[i] = i;
        struct bench_summary summary = bench_summarize(samples, n);
        cr_assert_geq(summary.coverage, 0.95, "%u samples", n);
        cr_assert(summary.low <= summary.median && summary.median <= summary.high);
    }
}

Test(bench_summarize, knows_the_tabled_ranks)
{
    /* Conover, table of confidence intervals of the median: n = 10 -> 2nd and 9th; 20 -> 6th, 15th.
     */
    double samples[20];
    for (unsigned i = 0; i < 20; i++)
        samples[i] = i + 1;
    struct bench_summary ten = bench_summarize(samples, 10), twenty = bench_summarize(samples, 20);
    cr_assert(near(ten.low, 2) && near(ten.high, 9));
    cr_assert(near(twenty.low, 6) && near(twenty.high, 15));
}

Test(bench_summarize, stands_the_largest_number_of_runs)
{
    static double samples[BENCH_MAX_RUNS];
    for (unsigned i = 0; i < BENCH_MAX_RUNS; i++)
        samples[i] = i;
    struct bench_summary summary = bench_summarize(samples, BENCH_MAX_RUNS);
    cr_assert_geq(summary.coverage, 0.95);
    cr_assert_leq(summary.high - summary.low, 100);
}

Test(bench_compare, finds_what_is_clearly_slower)
{
    struct bench_summary slow = bench_summarize((double[]){ 51, 52, 53, 54, 55, 56 }, 6);
    struct bench_summary fast = bench_summarize((double[]){ 1, 2, 3, 4, 5, 6 }, 6);
    cr_assert_eq(bench_compare(&slow, &fast).verdict, BENCH_SLOWER);
    cr_assert_eq(bench_compare(&fast, &slow).verdict, BENCH_FASTER);
    cr_assert(near(bench_compare(&slow, &fast).ratio, 53.5 / 3.5));
}

Test(bench_compare, does_not_make_much_of_overlapping_intervals)
{
    struct bench_summary a = bench_summarize((double[]){ 1, 2, 3, 4, 5, 6 }, 6);
    struct bench_summary b = bench_summarize((double[]){ 2, 3, 4, 5, 6, 7 }, 6);
    struct bench_ratio ratio = bench_compare(&b, &a);
    cr_assert_eq(ratio.verdict, BENCH_NOT_SIGNIFICANT);
    cr_assert(ratio.low <= 1 && ratio.high >= 1);
}

Test(bench_compare, finds_no_difference_between_a_thing_and_itself)
{
    struct bench_summary a = bench_summarize((double[]){ 1, 1, 1, 1, 1, 1 }, 6);
    cr_assert_eq(bench_compare(&a, &a).verdict, BENCH_NOT_SIGNIFICANT);
}

Test(bench_compare, does_not_judge_by_three_runs)
{
    struct bench_summary slow = bench_summarize((double[]){ 51, 52, 53, 54 }, 4);
    struct bench_summary fast = bench_summarize((double[]){ 1, 2, 3 }, 3);
    cr_assert_eq(bench_compare(&slow, &fast).verdict, BENCH_TOO_FEW);
    cr_assert_eq(bench_compare(&fast, &slow).verdict, BENCH_TOO_FEW);
    cr_assert(near(bench_compare(&slow, &fast).ratio, 52.5 / 2));
}

Test(bench_compare, says_nothing_where_one_side_has_no_samples)
{
    struct bench_summary a = bench_summarize((double[]){ 1, 2 }, 2), none = { 0 };
    cr_assert_eq(bench_compare(&a, &none).verdict, BENCH_NOTHING);
    cr_assert_eq(bench_compare(&none, &a).verdict, BENCH_NOTHING);
}

Test(bench_shuffle, keeps_every_number_once)
{
    unsigned order[16], seen = 0;
    uint64_t state = 7;
    for (unsigned i = 0; i < 16; i++)
        order[i] = i;
    bench_shuffle(order, 16, &state);
    for (unsigned i = 0; i < 16; i++)
        seen |= 1u << order[i];
    cr_assert_eq(seen, 0xffff);
}

Test(bench_shuffle, puts_each_of_two_first_about_half_the_time)
{
    uint64_t state = 1;
    unsigned first = 0;
    for (unsigned i = 0; i < 10000; i++) {
        unsigned order[2] = { 0, 1 };
        bench_shuffle(order, 2, &state);
        first += order[0];
    }
    cr_assert(first > 4700 && first < 5300, "%u of 10000", first);
}

/* What `ls -lh` shows for files of these sizes. */
Test(bench_format, tells_sizes_as_ls_does)
{
    static const struct {
        uint64_t bytes;
        const char *text;
    } sizes[] = { { 0, "0" },
                  { 1023, "1023" },
                  { 1024, "1.0K" },
                  { 1025, "1.1K" },
                  { 10188, "10K" },
                  { 10240, "10K" },
                  { 10241, "11K" },
                  { 1047552, "1023K" },
                  { 1047553, "1.0M" },
                  { 1048576, "1.0M" },
                  { 1048577, "1.1M" },
                  { 59000000, "57M" },
                  { 1ull << 40, "1.0T" },
                  { UINT64_MAX, "16E" } };
    for (size_t i = 0; i < sizeof sizes / sizeof *sizes; i++) {
        char text[16];
        cr_assert_str_eq(bench_format_size(sizes[i].bytes, text, sizeof text), sizes[i].text);
    }
}
