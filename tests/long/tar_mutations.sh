#!/bin/sh
# Random mutations of odd tars, and what readers make of them: our own reader of headers, Go's (so docker, podman,
# containerd and umoci), libarchive's, and on each 50th GNU tar's. Names, types, sizes and contents are compared.
# 100,000 take about a minute; of these all readers list a quarter and refuse most others.
#
#   tests/long/tar_mutations.sh BUILD [COUNT [SEED]]      BUILD: a build directory; needs go, bsdtar's library and tar
#   tests/long/tar_mutations.sh --unpack BUILD [COUNT [SEED]]     umoci and skopeo unpack some 1,200 of them, too
#                                                                 (tar_judges.py): 15 minutes, as root
#
# VECTORS: a folder of tars (by default those of the tests). What must not be there: a tar that we list and Go refuses or
# reads otherwise, but for the first class below. The classes of differences, and what was decided:
#
# We list, another reader differs:
#   empty file, name with a slash at its end   a directory to us, GNU tar, libarchive and old tars; a file to Go. Kept.
#   GNU tar: another name, size or members     it passes over a body behind links, devices and FIFOs whose header has a
#                                              size. Go and libarchive do not.
#   GNU tar, libarchive: refuses               the last block is not filled up, which Go allows; numbers and checksums in
#                                              base 256. What docker runs is shown.
#   libarchive: another size, contents, more   3.6 believes the size of links and directories in a tar with pax headers,
#   or fewer members                           takes the later of size and realsize, and keeps records of a pax header
#                                              that another one replaces.
#   libarchive: another type                   it makes a directory of whatever has a slash at its end, and nothing of a
#                                              hard link that it finds no target for.
#   libarchive: another name or link           of `path` and `GNU.sparse.name` it takes the last, all others the second.
# We refuse, Go lists: since others read it otherwise, or nobody writes it:
#   ends with an extended header, an empty long name, two long names that differ (GNU tar takes the other one), a global
#   header that renames (GNU tar heeds it) or stands between (Go then forgets the one before), numbers with a NUL in
#   front or with signs, pax values that are malformed in a header that is not used, names without an end, GNU headers
#   that have text where times belong (Go takes it as a prefix), unknown kinds of ustar, star's sparse files, sparse
#   files without a size or of two, sparse maps of links, files with bytes whose names end with a slash (Go: a file; for
#   type NUL a directory without bytes), links without a target, owners and devices beyond what Linux has.
# Unpacked (--unpack), what both unpack is the same, modes, owners and times too, but for times before 1970, which
# containers/storage makes 1970. Of what we list they refuse more than Go's reader, on which both stand:
#   umoci: unknown typeflag        files of type '7' and 'S', and global pax headers.
#   skopeo: unhandled tar header   type 'S': no layer can hold one for podman, nor for docker, whose code this was.
#   skopeo: duplicates of paths    tar-split keeps no layer in which a name stands twice; docker and umoci take the last.
#   both: no such file             a hard link in front of its file: we look for that in all of the layer.
set -eu
unpack=
[ "${1:-}" != --unpack ] || {
    unpack=yes
    shift
}
build=${1:?a build directory} count=${2:-100000} seed=${3:-1}
here=$(cd "$(dirname "$0")" && pwd)
vectors=${VECTORS:-${SFS_VECTORS:-${SFS_SHARED:-$here/../../../shared}/vectors}/tar}
for tool in go ${unpack:+umoci skopeo python3}; do
    command -v "$tool" >/dev/null || {
        echo "needs $tool (Debian: golang-go, umoci, skopeo, python3)"
        exit 77
    }
done
[ -z "$unpack" ] || [ "$(id -u)" = 0 ] || {
    echo "--unpack takes root: tars hold devices and owners"
    exit 77
}
T=$(mktemp -d)
trap 'rm -rf "$T"' EXIT
ninja -C "$build" tests/tar_mutations tools/stagefs >/dev/null
each=$((count / 4000 + 1))
GOCACHE="$T/cache" GOFLAGS=-mod=mod go build -o "$T/lister" "$here/tar_lister.go"
mkdir "$T/examples"
mkdir "$T/samples"
timeout 1200 nice "$build/tests/tar_mutations" "$vectors" "$T/lister" "$count" "$seed" 50 "$T/examples" \
    ${unpack:+"$T/samples" "$each"} | tee "$T/counts"
grep -q ' mutations: ' "$T/counts" || exit 2
if grep 'we list, Go: ' "$T/counts" | grep -v 'ends with a slash'; then
    [ -z "${KEEP:-}" ] || cp -r "$T/examples" "$KEEP"
    echo "we list what Go reads otherwise"
    exit 1
fi
[ -n "$unpack" ] || exit 0
nice -n 19 python3 "$here/tar_judges.py" "$build/tools/stagefs" "$T/samples" "$T/examples" | tee "$T/judged"
grep -q ': the same (' "$T/judged" || exit 2
if grep '^ *[0-9][0-9]*  [a-z]*: a' "$T/judged" | grep -v 'a time before 1970 is 1970'; then
    [ -z "${KEEP:-}" ] || cp -r "$T/examples" "$KEEP"
    echo "we unpack what others unpack otherwise"
    exit 1
fi
