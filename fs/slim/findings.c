/* One look into a library for all that narrowing may want of it. */
#include "slim/findings.h"

#include "base/banned.h"
#include "base/buf.h"
#include <errno.h>
#include <stagefs/auto.h>

void sfs_findings_done(struct sfs_findings *findings)
{
    free(findings->pieces);
    free(findings->complaint);
    sfs_ranges_done(&findings->symbols);
    free(findings->symbols_complaint);
    *findings = (struct sfs_findings){ 0 };
}

/* What is not understood is a finding, too. */
static int settle(int r, const struct sfs_error *words, char **complaint, struct sfs_error *err)
{
    if (r != -EBADMSG)
        return r < 0 && err ? (*err = *words, r) : r;
    *complaint = sfs_format("%s", words->text);
    return *complaint ? 0 : sfs_fail_memory(err);
}

int sfs_findings_make(const struct sfs_device_source *source, struct sfs_findings *ret_findings,
                      struct sfs_error *err)
{
    AUTO(sfs_findings_done) struct sfs_findings found = { 0 };
    struct sfs_error words;
    int r = sfs_device_code_find(source, &found, &words);
    r = settle(r, &words, &found.complaint, err);
    if (r < 0)
        return r;
    r = sfs_symbols_find(source, &found, &words);
    r = settle(r, &words, &found.symbols_complaint, err);
    if (r < 0)
        return r;
    *ret_findings = found;
    found = (struct sfs_findings){ 0 };
    return 0;
}
