#!/bin/sh
# The portable build runs where nothing of ours is installed: a bare Debian 13, as a plain user, and mounts there as root.
. "$(dirname "$0")/lib.sh"
need_root
need debootstrap python3 unshare setpriv meson ninja xz bzip2 zstd
! ldd "$STAGEFS" | grep -q 'lib[a-z]*san\.so' || skip "the portable build is no other in the sanitized build"
glibc=$(getconf GNU_LIBC_VERSION | cut -d' ' -f2)
[ "$(printf '%s\n' "$glibc" 2.36 | sort -V | tail -n 1)" = 2.36 ] || skip "it is built on Debian 12 (this machine has glibc $glibc)"
# A private mount namespace: what is mounted below is gone with this test, however it ends.
[ "${PORTABLE_PRIVATE:-}" ] || {
    unshare --mount true 2>/dev/null || skip "mounts cannot be had here"
    trap - EXIT INT TERM
    rm -rf "$T"
    PORTABLE_PRIVATE=1 exec unshare --mount --propagation private "$0"
}

suite=trixie
cache=${STAGEFS_TEST_CACHE:-/var/cache/stagefs-tests}
bare=$cache/$suite
if [ ! -d "$bare" ]; then
    own=$(. /etc/os-release && echo "${VERSION_CODENAME:-}")
    mirror=$(apt-get indextargets --format '$(RELEASE) $(COMPONENT) $(REPO_URI)' 'Created-By: Packages' |
        awk -v s="$own" '$1 == s && $2 == "main" { print $3; exit }')
    [ -n "$mirror" ] || skip "apt names no mirror to make a bare $suite from"
    mkdir -p "$cache"
    # In a directory of its own and renamed when it is whole: an interrupted one is never used.
    fresh=$(mktemp -d "$cache/$suite.XXXXXX")
    chmod 755 "$fresh"
    debootstrap --variant=minbase "$suite" "$fresh" "$mirror" >"$T/debootstrap" 2>&1 || {
        rm -rf --one-file-system "$fresh"
        skip "debootstrap $suite: $(tail -n 1 "$T/debootstrap")"
    }
    rm -rf "$fresh"/var/cache/apt/archives/*.deb
    mv -T "$fresh" "$bare" 2>/dev/null || rm -rf --one-file-system "$fresh"
fi
chroot "$bare" sh -c 'ls /usr/lib/x86_64-linux-gnu/lib*.so*' >"$T/has"
! grep -Eq 'lib(fuse3|archive|isal|jansson|deflate)\.so' "$T/has" || fail "$bare is not bare"

"$HERE/../../bench/portable" "$T/out" >"$T/tarball"
tarball=$(cat "$T/tarball")
[ "$(stat -c %s "$tarball")" -lt 10000000 ] || fail "the tarball has grown to $(stat -c %s "$tarball") bytes"

# The cached tree is only read: all that is written goes to a tmpfs on its /tmp and /dev.
root=$T/root
mkdir "$root" "$T/tars"
mount --bind "$bare" "$root"
mount -o remount,bind,ro "$root"
mount -t tmpfs -o mode=1777,exec,dev none "$root/tmp"
mount -t tmpfs -o dev none "$root/dev"
mount -t proc none "$root/proc"
mknod -m 666 "$root/dev/null" c 1 3
python3 "$HERE/layers.py" "$T/tars"
image "$root/tmp/layout:x" gzip:"$T/tars/0.tar" >/dev/null
cp "$tarball" "$root/tmp/stagefs.tar.gz"
chmod -R a+rX "$root/tmp"
inside() { chroot "$root" /usr/bin/env -i HOME=/tmp PATH=/usr/sbin:/usr/bin:/sbin:/bin LC_ALL=C.UTF-8 "$@"; }
as_root() { inside STAGEFS_CACHE_DIR=/tmp/root-cache "$@"; }
as_user() { inside STAGEFS_CACHE_DIR=/tmp/user-cache setpriv --reuid=65534 --regid=65534 --clear-groups "$@"; }

as_user sh -euc 'mkdir -p /tmp/un/packed && tar -C /tmp/un/packed -xzf /tmp/stagefs.tar.gz && mv /tmp/un/packed/stagefs-* /tmp/moved'
as_user ln -s /tmp/moved/bin/stagefs /tmp/stagefs
# Every library but the C library's comes from what was unpacked.
for program in bin/stagefs libexec/stagefs/stagefs-bench; do
    as_user /lib64/ld-linux-x86-64.so.2 --list "/tmp/moved/$program" >"$T/maps" || fail "$program cannot be loaded: $(cat "$T/maps")"
    grep '=>' "$T/maps" | grep -Ev '=> (/tmp/moved/|/lib(/x86_64-linux-gnu|64)/(libc|libm|ld-linux-x86-64)\.so)' &&
        fail "$program takes a library from elsewhere"
done
expect 0 as_user /tmp/stagefs --version
grep -Eq '^stagefs [0-9]+\.[0-9]+' "$T/stdout" || fail "--version says $(cat "$T/stdout")"
expect 0 as_user /tmp/stagefs ls oci:/tmp/layout:x /etc
grep -qx passwd "$T/stdout" || fail "ls does not list /etc/passwd"
expect 0 as_user /tmp/stagefs verify oci:/tmp/layout:x
expect 0 as_user /tmp/stagefs commit oci:/tmp/layout:x -t oci:/tmp/out:y --compression zstd
expect 0 as_user /tmp/stagefs commit oci:/tmp/layout:x -t docker-archive:/tmp/archive.tar
as_user /tmp/stagefs ls -lAR oci:/tmp/layout:x / >"$T/want"
as_user /tmp/stagefs ls -lAR docker-archive:/tmp/archive.tar / >"$T/got"
same docker-archive "$T/want" "$T/got"
# A libarchive comes along for what it decodes, with what it needs, and without what Debian's brings.
mkdir "$root/tmp/context"
echo packed >"$T/file"
tar -C "$T" -cf "$T/t.tar" file
xz -k "$T/t.tar" && bzip2 -k "$T/t.tar" && zstd -q "$T/t.tar"
for end in xz bz2 zst; do
    cp "$T/t.tar.$end" "$root/tmp/context/"
    printf 'ADD t.tar.%s /%s/\n' $end $end
done >"$T/adds"
{ echo FROM scratch && cat "$T/adds"; } >"$root/tmp/Dockerfile"
chmod -R a+rX "$root/tmp/context" "$root/tmp/Dockerfile"
expect 0 as_user env TMPDIR=/tmp /tmp/stagefs commit -q -f /tmp/Dockerfile --context /tmp/context -t oci:/tmp/added:x
for end in xz bz2 zst; do
    expect 0 as_user /tmp/stagefs cat oci:/tmp/added:x /$end/file
    grep -qx packed "$T/stdout" || fail "the tar.$end was not unpacked"
done
! ls "$root/tmp/moved/lib" | grep -E 'icu|xml2|stdc' >&2 || fail "what libarchive brings is in the tarball"
# libcurl comes along, with all that it needs.
expect 1 as_user /tmp/stagefs ls docker://127.0.0.1:9/name
says "127.0.0.1:9 does not answer"
expect 0 as_user /tmp/moved/libexec/stagefs/stagefs-bench --help
expect 0 as_user /tmp/moved/libexec/stagefs/stagefs-bench --dir a=/usr --lib 'lib/**/libz.so.*' --runs 2

[ -c /dev/fuse ] || {
    echo "no /dev/fuse: mounting was left out"
    exit 0
}
mknod -m 666 "$root/dev/fuse" c 10 229
as_user /tmp/stagefs cat oci:/tmp/layout:x /etc/passwd >"$T/wanted"
mkdir "$root/tmp/mnt"
expect 0 as_root /tmp/stagefs mount oci:/tmp/layout:x /tmp/mnt
as_root cat /tmp/mnt/etc/passwd >"$T/got"
cmp "$T/wanted" "$T/got" || fail "the mount shows other bytes"
expect 0 as_root /tmp/stagefs umount /tmp/mnt
! grep -q ' /tmp/mnt ' "$root/proc/self/mounts" || fail "still mounted"
as_user mkdir /tmp/users
expect 1 as_user /tmp/stagefs mount oci:/tmp/layout:x /tmp/users
grep -q fusermount3 "$T/stderr" || fail "does not say that fusermount3 is missing: $(cat "$T/stderr")"
# Found by where stagefs itself stands, also when a link called it.
expect 0 as_root /tmp/stagefs bench dir:/usr/lib/x86_64-linux-gnu --lib 'libz.so.*' --runs 2
grep -q libz.so "$T/stdout" || fail "bench measured nothing: $(cat "$T/stdout")"
