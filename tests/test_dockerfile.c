/* The lexical layer of Dockerfiles, by BuildKit's own vectors and by cases of our own. */
#include "support.h"

#include "base/buf.h"
#include "base/io.h"
#include "dockerfile/dockerfile.h"
#include <criterion/criterion.h>
#include <dirent.h>
#include <errno.h>
#include <fcntl.h>

/* As Go's %q writes a string. */
static void quote(struct sfs_buf *out, const char *text)
{
    sfs_buf_add_str(out, "\"");
    for (const unsigned char *p = (const unsigned char *)text; *p; p++) {
        const char *named = strchr("\aa\bb\ff\nn\rr\tt\vv", *p);
        if (strncmp((const char *)p, "\xf4\x8f\xbf\xbfu0000", 9) == 0) {
            sfs_buf_add_str(out, "\\x00");
            p += 8;
        } else if (*p == '"' || *p == '\\')
            sfs_buf_printf(out, "\\%c", *p);
        else if (*p < 0x20 && named)
            sfs_buf_printf(out, "\\%c", named[1]);
        else if (*p < 0x20 || *p == 0x7f)
            sfs_buf_printf(out, "\\x%02x", *p);
        else
            sfs_buf_printf(out, "%c", *p);
    }
    sfs_buf_add_str(out, "\"");
}

static void dump(struct sfs_buf *out, const struct sfs_instruction *instruction)
{
    sfs_buf_printf(out, "(%s", instruction->keyword);
    for (size_t i = 0; i < instruction->flags.count; i++) {
        sfs_buf_add_str(out, i == 0 ? " [" : " ");
        quote(out, instruction->flags.items[i]);
        if (i + 1 == instruction->flags.count)
            sfs_buf_add_str(out, "]");
    }
    if (instruction->child) {
        sfs_buf_add_str(out, " ");
        dump(out, instruction->child);
    }
    for (size_t i = 0; i < instruction->args.count; i++) {
        sfs_buf_add_str(out, " ");
        quote(out, instruction->args.items[i]);
    }
    sfs_buf_add_str(out, ")");
}

static DIR *open_cases(const char *name, char path[4096])
{
    support_vectors(name, path);
    DIR *dir = opendir(path);
    cr_assert_not_null(dir, "%s is not there", path);
    return dir;
}

Test(dockerfile, agrees_with_the_parser_vectors)
{
    char root[4096];
    DIR *dir = open_cases("dockerfile/parse", root);
    int checked = 0;
    for (struct dirent *entry; (entry = readdir(dir));) {
        if (entry->d_name[0] == '.')
            continue;
        char path[8192];
        char *text, *result;
        size_t size, result_size;
        snprintf(path, sizeof path, "%s/%s/Dockerfile", root, entry->d_name);
        cr_assert_eq(sfs_io_read_file(AT_FDCWD, path, 1 << 20, &text, &size, NULL), 0);
        snprintf(path, sizeof path, "%s/%s/result", root, entry->d_name);
        cr_assert_eq(sfs_io_read_file(AT_FDCWD, path, 1 << 20, &result, &result_size, NULL), 0);
        struct sfs_dockerfile dockerfile;
        struct sfs_error err;
        int r = sfs_dockerfile_parse(text, size, entry->d_name, &dockerfile, &err);
        cr_assert_eq(r, 0, "%s", r < 0 ? err.text : "");
        struct sfs_buf out = { 0 };
        for (size_t i = 0; i < dockerfile.count; i++) {
            dump(&out, &dockerfile.instructions[i]);
            sfs_buf_add_str(&out, "\n");
        }
        while (result_size > 0 && result[result_size - 1] == '\n')
            result[--result_size] = 0;
        out.data[out.size - 1] = 0;
        cr_expect_str_eq(out.data, result, "%s:\n%s\n---\n%s", entry->d_name, out.data, result);
        sfs_dockerfile_close(&dockerfile);
        sfs_buf_close(&out);
        free(text);
        free(result);
        checked++;
    }
    closedir(dir);
    cr_assert_gt(checked, 5);
}

Test(dockerfile, refuses_what_buildkit_refuses)
{
    char root[4096];
    DIR *dir = open_cases("dockerfile/parse-must-fail", root);
    for (struct dirent *entry; (entry = readdir(dir));) {
        if (entry->d_name[0] == '.')
            continue;
        char path[8192], *text;
        size_t size;
        snprintf(path, sizeof path, "%s/%s/Dockerfile", root, entry->d_name);
        cr_assert_eq(sfs_io_read_file(AT_FDCWD, path, 1 << 20, &text, &size, NULL), 0);
        struct sfs_dockerfile dockerfile;
        cr_assert_eq(sfs_dockerfile_parse(text, size, "x", &dockerfile, NULL), -EINVAL, "%s",
                     entry->d_name);
        free(text);
    }
    closedir(dir);
}

Test(dockerfile, refuses_a_nul_wherever_it_stands)
{
    static const struct {
        const char *text;
        size_t size;
        const char *words;
    } files[] = {
#define WITH_NUL(text, words) { text, sizeof text - 1, words }
        WITH_NUL("#a=b\0c\nFROM scratch\n", "f:1: there is a NUL byte"),
        WITH_NUL("FROM scratch\n# \0\n", "f:2: there is a NUL byte"),
        WITH_NUL("FROM a\nRUN <<E\n\0\nE\n", "f:3: there is a NUL byte"),
        WITH_NUL("F\0R\0O\0M\0", "f:1: there is a NUL byte"),
#undef WITH_NUL
    };
    for (size_t i = 0; i < sizeof files / sizeof *files; i++) {
        struct sfs_dockerfile dockerfile;
        struct sfs_error err;
        cr_expect_eq(sfs_dockerfile_parse(files[i].text, files[i].size, "f", &dockerfile, &err),
                     -EINVAL);
        cr_expect_str_eq(err.text, files[i].words);
    }
}

static void check(const char *text, const char *expected)
{
    struct sfs_dockerfile dockerfile;
    struct sfs_error err;
    int r = sfs_dockerfile_parse(text, strlen(text), "Dockerfile", &dockerfile, &err);
    if (r < 0) {
        cr_assert_str_eq(err.text, expected);
        return;
    }
    struct sfs_buf out = { 0 };
    for (size_t i = 0; i < dockerfile.count; i++)
        dump(&out, &dockerfile.instructions[i]);
    cr_assert_str_eq(out.data, expected);
    sfs_buf_close(&out);
    sfs_dockerfile_close(&dockerfile);
}

Test(dockerfile, joins_lines_as_the_escape_directive_says)
{
    check("# escape=`\nRUN a `\n b\\\nCMD c", "(run \"a  b\\\\\")(cmd \"c\")");
    check("#comment\n# escape=`\nRUN a \\\n b", "(run \"a  b\")");
    check("RUN a \\\n# a comment inside\n\n  b", "(run \"a   b\")");
    check("RUN a \\\\\nCMD b", "(run \"a \\\\\\\\\")(cmd \"b\")");
    check("\xef\xbb\xbf"
          "FROM a",
          "(from \"a\")");
    check("from a\r\nrun b\r\n", "(from \"a\")(run \"b\")");
}

Test(dockerfile, takes_what_go_takes_for_json)
{
    check("CMD [\"a\\u0000b\"]", "(cmd \"a\\x00b\")");
    check("CMD [\"a\\ud800\"]", "(cmd \"a\xef\xbf\xbd\")");
    check("CMD [\"a\xff\"]", "(cmd \"a\xef\xbf\xbd\")");
    check("CMD [1e5]",
          "Dockerfile:1: when using JSON array syntax, arrays must be comprised of strings only");
}

Test(dockerfile, tells_the_line_of_a_mistake)
{
    check("# escape=`\n# escape=`\nFROM a",
          "Dockerfile:2: only one escape parser directive can be used");
    check("# escape=x\nFROM a", "Dockerfile:1: invalid escape token 'x' does not match ` or \\");
    check("FROM a\n\nENV x=y z\n",
          "Dockerfile:3: can't find = in \"z\": must be of the form name=value");
    check("FROM a\nENV x", "Dockerfile:2: env must have two arguments");
    check("FROM a\nCOPY <<EOF /x\nhello\n", "Dockerfile:2: unterminated heredoc (no line 'EOF')");
    check("", "Dockerfile: file with no instructions");
    check("FROM a\nCMD [\"a\", 1]",
          "Dockerfile:2: when using JSON array syntax, arrays must be comprised of strings only");
}

Test(dockerfile, takes_blanks_before_a_delimiter)
{
    static const char text[] = "RUN << E\none\nE\nRUN cat <<  \"A B\"\ntwo $x\nA B\n";
    struct sfs_dockerfile dockerfile;
    struct sfs_error err = { "" };
    cr_assert_eq(sfs_dockerfile_parse(text, strlen(text), "x", &dockerfile, &err), 0, "%s",
                 err.text);
    cr_assert_eq(dockerfile.count, 2);
    cr_assert_str_eq(dockerfile.instructions[0].heredocs[0].content, "one\n");
    cr_assert_str_eq(dockerfile.instructions[1].heredocs[0].name, "A B");
    cr_assert_not(dockerfile.instructions[1].heredocs[0].expand);
    sfs_dockerfile_close(&dockerfile);
}

Test(dockerfile, trims_the_blanks_of_every_script)
{
    check(" FROM a　\nENV a=b c=d\n", "(from \"a\")(env \"a\" \"b\" \"=\" \"c\" \"d\" \"=\")");
    check("FROM a\n # a comment\nCMD b", "(from \"a\")(cmd \"b\")");
}

Test(dockerfile, reads_heredocs)
{
    static const char text[] =
        "COPY <<one <<-'two' 3<<three /dir/\na $x\none\n\tb\n\ttwo\nthree\nRUN <<EOF\nline\nEOF\n"
        "CMD [\"<<no\"]\nRUN echo \"<<no\"\n";
    struct sfs_dockerfile dockerfile;
    struct sfs_error err = { "" };
    cr_assert_eq(sfs_dockerfile_parse(text, strlen(text), "x", &dockerfile, &err), 0, "%s",
                 err.text);
    cr_assert_eq(dockerfile.count, 4);
    const struct sfs_instruction *copy = &dockerfile.instructions[0];
    cr_assert_eq(copy->heredoc_count, 3);
    cr_assert_str_eq(copy->heredocs[0].name, "one");
    cr_assert_str_eq(copy->heredocs[0].content, "a $x\n");
    cr_assert(copy->heredocs[0].expand);
    cr_assert_str_eq(copy->heredocs[1].content, "\tb\n");
    cr_assert(copy->heredocs[1].chomp && !copy->heredocs[1].expand);
    cr_assert_eq(copy->heredocs[2].fd, 3);
    cr_assert_eq(copy->line, 1);
    cr_assert_eq(copy->last_line, 6);
    cr_assert_str_eq(dockerfile.instructions[1].heredocs[0].content, "line\n");
    cr_assert_eq(dockerfile.instructions[3].heredoc_count, 0);
    sfs_dockerfile_close(&dockerfile);
}
