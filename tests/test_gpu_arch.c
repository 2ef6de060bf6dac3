/* Which device code runs on which GPU, and which PTX stays. */
#include "slim/gpu_arch.h"

#include <criterion/criterion.h>
#include <errno.h>

static struct sfs_error err;

static struct sfs_gpu_rules rules_of(const char *text, enum sfs_ptx_policy ptx)
{
    struct sfs_gpu_rules rules;
    cr_assert_eq(sfs_gpu_rules_parse(text, ptx, &rules, &err), 0, "%s: %s", text, err.text);
    return rules;
}

Test(gpu_rules, take_the_spellings_of_a_gpu)
{
    static const char *const same[] = { "sm_90", "90", "9.0", "sm_90a", "90a", "sm_90,90,9.0" };
    for (size_t i = 0; i < sizeof same / sizeof *same; i++) {
        struct sfs_gpu_rules rules = rules_of(same[i], SFS_PTX_NEEDED);
        cr_assert(rules.count == 1 && rules.gpus[0] == 90, "%s", same[i]);
    }
    AUTO(sfs_buf_close) struct sfs_buf text = { 0 };
    struct sfs_gpu_rules rules = rules_of("sm_120f,sm_80,12.1,90,sm_80", SFS_PTX_ALL);
    sfs_gpu_rules_print(&rules, &text);
    cr_assert_str_eq(text.data, "sm_80,sm_90,sm_120,sm_121");
}

Test(gpu_rules, refuse_what_is_no_gpu_and_name_it)
{
    static const char *const bad[] = { "",       "sm_",     "sm_9",   "sm_90,",
                                       ",sm_90", "sm_9000", "hopper", "sm_90b",
                                       "90aa",   "sm_90 ",  "9.",     ".9",
                                       "9.00",   "9.0a",    "sm_9.0", "sm_9999999999" };
    struct sfs_gpu_rules rules;
    for (size_t i = 0; i < sizeof bad / sizeof *bad; i++) {
        cr_assert_eq(sfs_gpu_rules_parse(bad[i], SFS_PTX_NEEDED, &rules, &err), -EINVAL, "'%s'",
                     bad[i]);
        cr_assert(strstr(err.text, "is not a GPU's architecture"), "%s", err.text);
    }
    AUTO(sfs_buf_close) struct sfs_buf many = { 0 };
    for (unsigned i = 0; i <= SFS_GPU_MAX; i++)
        sfs_buf_printf(&many, "%s%u", i ? "," : "", 50 + i);
    cr_assert_eq(sfs_gpu_rules_parse(many.data, SFS_PTX_NEEDED, &rules, &err), -EINVAL);
}

Test(gpu_code, runs_where_the_driver_would_load_it)
{
    static const struct {
        unsigned gpu;
        struct sfs_gpu_code code;
        bool cubin, trusted, ptx;
    } cases[] = {
        { 90, { 90, 0 }, true, true, true },       { 90, { 90, 'a' }, true, true, true },
        { 90, { 80, 0 }, false, false, true },     { 90, { 100, 0 }, false, false, false },
        { 89, { 80, 0 }, true, true, true },       { 80, { 86, 0 }, false, false, false },
        { 89, { 87, 0 }, true, false, true },      { 87, { 80, 0 }, true, false, true },
        { 87, { 87, 0 }, true, true, true },       { 103, { 100, 'a' }, false, false, false },
        { 103, { 100, 'f' }, true, true, true },   { 110, { 100, 'f' }, false, false, false },
        { 121, { 120, 'f' }, true, true, true },   { 120, { 121, 'f' }, false, false, false },
        { 120, { 90, 'a' }, false, false, false }, { 120, { 90, 0 }, false, false, true },
    };
    for (size_t i = 0; i < sizeof cases / sizeof *cases; i++) {
        cr_assert_eq(sfs_gpu_runs_cubin(cases[i].gpu, cases[i].code), cases[i].cubin, "%zu", i);
        cr_assert_eq(sfs_gpu_trusts_cubin(cases[i].gpu, cases[i].code), cases[i].trusted, "%zu", i);
        cr_assert_eq(sfs_gpu_runs_ptx(cases[i].gpu, cases[i].code), cases[i].ptx, "%zu", i);
    }
}

/* Which of these PTX stay beside these cubins: "80 90a". Numbers end by 0. */
static void expect_ptx(const char *gpus, enum sfs_ptx_policy policy, const unsigned *cubins,
                       const struct sfs_gpu_code *ptx, const char *expected)
{
    struct sfs_gpu_rules rules = rules_of(gpus, policy);
    struct sfs_gpu_choice choice = { 0 };
    AUTO(sfs_buf_close) struct sfs_buf text = { 0 };
    sfs_buf_add_str(&text, "");
    for (; *cubins; cubins++)
        sfs_gpu_choice_add_cubin(&choice, &rules, (struct sfs_gpu_code){ *cubins, 0 });
    for (size_t i = 0; ptx[i].arch; i++)
        sfs_gpu_choice_add_ptx(&choice, &rules, ptx[i]);
    for (size_t i = 0; ptx[i].arch; i++)
        if (sfs_gpu_keeps_ptx(&choice, &rules, ptx[i]))
            sfs_buf_printf(&text, "%s%u%.1s", text.size ? " " : "", ptx[i].arch, &ptx[i].feature);
    cr_assert_str_eq(text.data, expected, "%s, %s", gpus, sfs_ptx_policy_name(policy));
}

#define CUBINS(...) ((const unsigned[]){ __VA_ARGS__ __VA_OPT__(, ) 0 })
#define CODES(...)  ((const struct sfs_gpu_code[]){ __VA_ARGS__, { 0, 0 } })

Test(gpu_ptx, stays_where_a_gpu_has_nothing_better)
{
    const struct sfs_gpu_code *ptx = CODES({ 75, 0 }, { 80, 0 }, { 120, 0 });
    expect_ptx("sm_90", SFS_PTX_NEEDED, CUBINS(90, 80), ptx, "");
    expect_ptx("sm_90", SFS_PTX_NEEDED, CUBINS(80), ptx, "80");
    expect_ptx("sm_90", SFS_PTX_NEEDED, CUBINS(), ptx, "80");
    expect_ptx("sm_90,sm_75", SFS_PTX_NEEDED, CUBINS(), ptx, "75 80");
    expect_ptx("sm_90,sm_121", SFS_PTX_NEEDED, CUBINS(90), ptx, "120");
    expect_ptx("sm_70", SFS_PTX_NEEDED, CUBINS(), ptx, "");
    /* A Jetson's cubin may run on a desktop's GPU, or not. */
    expect_ptx("sm_89", SFS_PTX_NEEDED, CUBINS(87), ptx, "80");
    expect_ptx("sm_89", SFS_PTX_NEEDED, CUBINS(87, 86), ptx, "");
    expect_ptx("sm_90", SFS_PTX_NEEDED, CUBINS(), CODES({ 90, 'a' }, { 90, 0 }, { 80, 0 }),
               "90a 90");
}

Test(gpu_ptx, stays_by_policy)
{
    const struct sfs_gpu_code *ptx = CODES({ 75, 0 }, { 80, 0 }, { 120, 0 });
    expect_ptx("sm_90", SFS_PTX_NEWEST, CUBINS(90), ptx, "120");
    expect_ptx("sm_90", SFS_PTX_NEWEST, CUBINS(80), ptx, "80 120");
    expect_ptx("sm_90", SFS_PTX_ALL, CUBINS(90), ptx, "75 80 120");
}
