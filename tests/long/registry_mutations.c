/* What of a registry and of its settings comes as text, mutated at random: TOML, challenges, names,
 * ranges. For a sanitized build:
 *
 *   registry_mutations [SECONDS [SEED]]
 *
 * It tells how many inputs were read, and how many of them made sense. */
#include "base/buf.h"
#include "registry/challenge.h"
#include "registry/name.h"
#include "registry/repository_parts.h"
#include "registry/toml.h"
#include <jansson.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>

static const char *const seeds[] = {
    "[[registry]]\nprefix = \"a.example/b\" # c\nlocation='d'\n[[registry.mirror]]\nlocation = "
    "\"e:5\"\ninsecure = true\n",
    "server = 'https://x'\n[host.\"https://y\"]\ncapabilities = [ \"pull\", 'resolve',\n]\n[host."
    "\"https://y\".header]\nx = [\"\\u00e9\\n\"]\n",
    "a = { b.c = -1_0, d = [[{}], []] }\n[e.f.'g']\n",
    "Bearer realm=\"https://a/t?x=y\",service=\"s\",scope=\"repository:a:pull\",error=\"b\\\"c\"",
    "Negotiate YIIab/+c==, Digest a=b , Basic realm=\"x\"",
    "host.example:5000/a/b-c__d:tag@sha256:"
    "0123456789abcdef0123456789abcdef0123456789abcdef0123456789abcdef",
    "[::1]:5000/a.b:c",
    "bytes 0-99/18446744073709551615",
};
static uint64_t state;

static size_t below(size_t limit)
{
    state ^= state << 13;
    state ^= state >> 7;
    state ^= state << 17;
    return (size_t)(state % limit);
}

/* All readers get it: what one of them refuses, another may go far into. */
static unsigned read_all(const char *text, size_t size)
{
    unsigned good = 0;
    json_t *json = NULL;
    struct sfs_error err;
    struct sfs_name name;
    struct sfs_challenge challenge;
    good += sfs_toml_parse(text, size, "it", &json, &err) == 0;
    json_decref(json);
    good += sfs_challenge_parse(text, &challenge, &err) == 0 && challenge.scheme;
    sfs_challenge_done(&challenge);
    good += sfs_name_parse(text, &name, &err) == 0;
    sfs_name_done(&name);
    return good + sfs_content_range_is(text, 0, 99, 100);
}

static void mutate(struct sfs_buf *text)
{
    static const char marks[] = "\"'[]{}=,.#\\\n \t/:@-_u0\0\xff";
    for (size_t n = 1 + below(4); n > 0 && text->size > 0; n--) {
        size_t at = below(text->size), more = below(text->size - at) + 1;
        switch (below(4)) {
        case 0:
            text->data[at] = marks[below(sizeof marks - 1)];
            break;
        case 1:
            memmove(text->data + at, text->data + at + more, text->size - at - more);
            text->size -= more;
            break;
        case 2:
            for (size_t i = 0; i < more && text->size < 4096; i++) {
                char c = text->data[at + i];
                sfs_buf_add(text, &c, 1);
            }
            break;
        default:
            sfs_buf_add_str(text, seeds[below(sizeof seeds / sizeof *seeds)]);
        }
    }
    sfs_buf_add(text, "", 1);
    text->size -= text->size > 0;
}

int main(int argc, char **argv)
{
    time_t end = time(NULL) + (argc > 1 ? strtol(argv[1], NULL, 10) : 30);
    state = argc > 2 ? strtoull(argv[2], NULL, 10) : 1;
    state += !state;
    unsigned long long count = 0, good = 0;
    for (; count % 1024 || time(NULL) < end; count++) {
        struct sfs_buf text = { 0 };
        sfs_buf_add_str(&text, seeds[below(sizeof seeds / sizeof *seeds)]);
        mutate(&text);
        /* Of its own size, so that a sanitizer sees what is read behind its end. */
        char *copy = malloc(text.size + 1);
        if (!copy)
            return 1;
        memcpy(copy, text.data, text.size);
        copy[text.size] = 0;
        good += read_all(copy, text.size);
        free(copy);
        sfs_buf_close(&text);
    }
    printf("%llu inputs, %llu made sense\n", count, good);
    return 0;
}
