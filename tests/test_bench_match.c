/* Which paths a pattern of --lib means. */
#include "match.h"

#include <criterion/criterion.h>

Test(bench_match, takes_two_stars_for_any_number_of_directories)
{
    cr_assert(
        bench_path_matches("**/libcublas*.so.*", "usr/local/cuda-13.0/lib64/libcublas.so.13"));
    cr_assert(bench_path_matches("**/libcublas*.so.*", "libcublasLt.so.13"));
    cr_assert(bench_path_matches("opt/**/lib*.so", "opt/a/b/c/libx.so"));
    cr_assert(bench_path_matches("opt/**/lib*.so", "opt/libx.so"));
    cr_assert(bench_path_matches("opt/**", "opt/a/b.so"));
    cr_assert_not(bench_path_matches("opt/**/lib*.so", "usr/libx.so"));
}

Test(bench_match, keeps_one_star_within_a_name)
{
    cr_assert(bench_path_matches("lib/*.so", "lib/a.so"));
    cr_assert_not(bench_path_matches("lib/*.so", "lib/a/b.so"));
}

Test(bench_match, goes_back_to_the_last_two_stars)
{
    cr_assert(bench_path_matches("**/a/b/*.so", "a/a/b/x.so"));
    cr_assert(bench_path_matches("**/a/**/b/*.so", "x/a/a/c/b/b/y.so"));
    cr_assert_not(bench_path_matches("**/a/b/*.so", "a/a/c/x.so"));
}

Test(bench_match, passes_over_a_slash_in_front)
{
    cr_assert(bench_path_matches("/opt/conda/lib/libz.so", "opt/conda/lib/libz.so"));
}

Test(bench_match, takes_a_bare_name_for_one_in_any_directory)
{
    cr_assert(bench_path_matches("libz.so*", "usr/lib/libz.so.1"));
    cr_assert_not(bench_path_matches("libz.so*", "libz.so/other"));
}

Test(bench_match, wants_the_whole_path)
{
    cr_assert_not(bench_path_matches("opt/lib.so", "opt/lib.so.1"));
    cr_assert_not(bench_path_matches("opt/lib.so/more", "opt/lib.so"));
    cr_assert_not(bench_path_matches("lib/x.so", "opt/lib/x.so"));
}
