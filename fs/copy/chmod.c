/* --chmod: one octal number, or clauses as setmode(3) has them. A clause is kept as steps that are
 * done one after the other; 'X' looks at the mode as it was before all of them. */
#include "copy/chmod.h"

#include "base/banned.h"
#include <errno.h>
#include <sys/stat.h>

#define ALL_BITS   06777u /* what "a", or no letter, stands for; the sticky bit is not in it */
#define MAX_STEPS  256u
#define COPY_WORDS "ugo"

struct chmod_step {
    char what;     /* '+', '-', 'X', or the class whose bits are copied: 'u', 'g', 'o' */
    char how;      /* of a copy: '+', '-', '=' */
    uint32_t bits; /* to be set or cleared; of a copy: those it goes to, as 0700, 0070, 0007 */
};

struct sfs_chmod {
    bool is_octal;
    uint32_t octal;
    size_t count;
    struct chmod_step steps[MAX_STEPS];
};

struct clause {
    uint32_t who; /* bits of the classes that the letters before the operator name; 0: no letter */
    char op;
    uint32_t bits, x_bits; /* permissions that were read and are no step yet; x_bits: by 'X' */
    bool is_set;           /* a step of "=" has cleared what was there */
};

static int add(struct sfs_chmod *chmod, struct chmod_step step)
{
    if (chmod->count == MAX_STEPS)
        return -E2BIG;
    chmod->steps[chmod->count++] = step;
    return 0;
}

/* Makes steps of the permissions that were read so far. */
static int flush(struct sfs_chmod *chmod, struct clause *clause)
{
    uint32_t mask = clause->who ? clause->who : 07777;
    int r = 0;
    if (clause->op == '=') {
        uint32_t cleared = clause->who ? clause->who : ALL_BITS;
        r = add(chmod, (struct chmod_step){ .what = '-', .bits = cleared });
        clause->is_set = true;
    }
    if (r == 0 && clause->bits)
        r = add(chmod, (struct chmod_step){ .what = clause->op == '-' ? '-' : '+',
                                            .bits = clause->bits & mask });
    clause->bits = 0;
    return r;
}

static int flush_x(struct sfs_chmod *chmod, struct clause *clause)
{
    uint32_t bits = clause->x_bits & (clause->who ? clause->who : 07777);
    if (!clause->x_bits)
        return 0;
    clause->x_bits = 0;
    return add(chmod, (struct chmod_step){ .what = 'X', .bits = bits });
}

static int copy_from(struct sfs_chmod *chmod, struct clause *clause, char whose)
{
    int r = clause->bits ? flush(chmod, clause) : 0;
    if (r == 0)
        r = flush_x(chmod, clause);
    if (r < 0)
        return r;
    if (clause->op == '=')
        clause->is_set = true;
    uint32_t to = clause->who ? clause->who & 0777 : 0777;
    return add(chmod, (struct chmod_step){ .what = whose, .how = clause->op, .bits = to });
}

/* Takes one of the letters r w x X s t. False: it is none of them. */
static bool add_letter(struct clause *clause, char letter)
{
    bool only_other = clause->who != 0 && (clause->who & ~07u) == 0;
    switch (letter) {
    case 'r':
        clause->bits |= 0444;
        return true;
    case 'w':
        clause->bits |= 0222;
        return true;
    case 'x':
        clause->bits |= 0111;
        return true;
    case 'X':
        clause->x_bits |= clause->op != '-' ? 0111 : 0;
        return true;
    case 's':
        clause->bits |= only_other ? 0 : 06000;
        return true;
    case 't':
        clause->bits |= only_other ? 0 : 01000;
        clause->who |= only_other ? 0 : 01000;
        return true;
    default:
        return false;
    }
}

/* Reads one operator with its permissions: "+rwx", "=u", ... Returns what follows; NULL:
 * malformed. */
static const char *parse_action(struct sfs_chmod *chmod, struct clause *clause, const char *text)
{
    if (*text == '\0' || !strchr("+-=", *text))
        return NULL;
    clause->op = *text++;
    if (clause->op == '=')
        clause->is_set = false;
    clause->who &= ~01000u;
    for (;; text++) {
        if (*text && strchr(COPY_WORDS, *text)) {
            if (copy_from(chmod, clause, *text) < 0)
                return NULL;
        } else if (*text == '\0' || !add_letter(clause, *text)) {
            break;
        }
    }
    if (clause->bits || (clause->op == '=' && !clause->is_set)) {
        if (flush(chmod, clause) < 0)
            return NULL;
    }
    return flush_x(chmod, clause) < 0 ? NULL : text;
}

static const char *parse_clause(struct sfs_chmod *chmod, const char *text)
{
    struct clause clause = { 0 };
    for (;; text++) {
        if (*text == 'a')
            clause.who |= ALL_BITS;
        else if (*text == 'u')
            clause.who |= 04700;
        else if (*text == 'g')
            clause.who |= 02070;
        else if (*text == 'o')
            clause.who |= 00007;
        else
            break;
    }
    do
        text = parse_action(chmod, &clause, text);
    while (text && *text != '\0' && *text != ',');
    return text;
}

static int parse_octal(struct sfs_chmod *chmod, const char *text)
{
    chmod->is_octal = true;
    for (; *text; text++) {
        if (*text < '0' || *text > '7')
            return -EINVAL;
        chmod->octal = chmod->octal << 3 | (uint32_t)(*text - '0');
        if (chmod->octal > 07777)
            return -EINVAL;
    }
    return 0;
}

int sfs_chmod_open(const char *text, struct sfs_chmod **ret_chmod, struct sfs_error *err)
{
    AUTO(sfs_chmod_close) struct sfs_chmod *chmod = calloc(1, sizeof *chmod);
    if (!chmod)
        return sfs_fail_memory(err);
    if (text[0] >= '0' && text[0] <= '9') {
        if (parse_octal(chmod, text) < 0)
            return sfs_fail(err, EINVAL,
                            "invalid chmod parameter: '%s'. it should be octal string and between "
                            "0 and 07777",
                            text);
    } else {
        const char *p = parse_clause(chmod, text);
        while (p && *p == ',')
            p = parse_clause(chmod, p + 1);
        if (!p)
            return sfs_fail(err, EINVAL, "invalid chmod parameter: '%s': invalid syntax", text);
    }
    *ret_chmod = TAKE(chmod);
    return 0;
}

void sfs_chmod_close(struct sfs_chmod **chmod)
{
    free(*chmod);
    *chmod = NULL;
}

bool sfs_chmod_is_octal(const struct sfs_chmod *chmod)
{
    return chmod->is_octal;
}

static uint32_t apply_copy(const struct chmod_step *step, uint32_t mode)
{
    unsigned shift = step->what == 'u' ? 6 : step->what == 'g' ? 3 : 0;
    uint32_t value = (mode >> shift & 7) * 0111 & step->bits;
    if (step->how == '=')
        return (mode & ~step->bits) | value;
    return step->how == '+' ? mode | value : mode & ~value;
}

uint32_t sfs_chmod_apply(const struct sfs_chmod *chmod, uint32_t mode)
{
    uint32_t before = mode & 07777, after = before;
    if (S_ISLNK(mode))
        return before;
    if (chmod->is_octal)
        return chmod->octal;
    for (size_t i = 0; i < chmod->count; i++) {
        const struct chmod_step *step = &chmod->steps[i];
        if (step->what == '+')
            after |= step->bits;
        else if (step->what == '-')
            after &= ~step->bits;
        else if (step->what != 'X')
            after = apply_copy(step, after);
        else if ((before & 0111) || S_ISDIR(mode))
            after |= step->bits;
    }
    return after;
}
