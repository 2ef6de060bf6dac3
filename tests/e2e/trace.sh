#!/bin/sh
# What trace writes down: what a command and its children execute, read, list and look for; the same each time; joined.
. "$(dirname "$0")/lib.sh"
. "$(dirname "$0")/rootfs.sh"
need_root
need_fuse
command -v runc >/dev/null 2>&1 || command -v crun >/dev/null 2>&1 || command -v bwrap >/dev/null 2>&1 || skip "no runtime"
make_rootfs "$T/root"
chmod 1777 "$T/root/tmp"
mkdir "$T/root/d"
echo unused >"$T/root/d/unused"
cat >"$T/root/bin/job" <<'SCRIPT'
#!/bin/sh
ls /d >/dev/null
(cat /etc/group >/dev/null; /bin/id >/dev/null) &
wait
test -e /nothing
echo x >/tmp/file-$$-$(cat /proc/sys/kernel/random/uuid)
SCRIPT
chmod 0755 "$T/root/bin/job"
tar -C "$T/root" -cf "$T/layer.tar" .
image "$T/layout:x" gzip:"$T/layer.tar" >/dev/null
stage=oci:$T/layout:x

expect 0 "$STAGEFS" trace "$stage" -o "$T/first" -- /bin/job
for line in 'exec /bin/job' 'exec /bin/sh' 'exec /bin/id' 'list /d' 'read /etc/group' 'none /nothing'; do
    grep -qxF -- "$line" "$T/first" || fail "the trace lacks '$line': $(cat "$T/first")"
done
grep -qE '/tmp/|unused|[0-9]\+[0-9]' "$T/first" && fail "the trace has too much: $(cat "$T/first")"

# the same, but for order, whatever carries the sandbox, up to what that looks at by itself
for runtime in runc crun bwrap; do
    "$STAGEFS" run --runtime $runtime "$stage" -- /bin/true 2>/dev/null || continue # crun refuses some hosts
    expect 0 "$STAGEFS" trace --runtime $runtime "$stage" -o "$T/$runtime" -- /bin/job
    expect 0 "$STAGEFS" trace --runtime $runtime "$stage" -o "$T/again" -- /bin/job
    sort "$T/$runtime" >"$T/a"
    sort "$T/again" >"$T/b"
    cmp "$T/a" "$T/b" || fail "$runtime: two traces differ: $(diff "$T/a" "$T/b")"
    grep -v "^none\|^stat" "$T/a" >"$T/of-$runtime"
    [ -e "$T/any" ] || cp "$T/of-$runtime" "$T/any"
    diff "$T/any" "$T/of-$runtime" || fail "$runtime: what the command used differs"
done

# --append: other lines are kept, with their comments, and nothing comes twice
sed 's/^list \/d$/list \/d # mine/' "$T/first" >"$T/joined"
cp "$T/joined" "$T/before"
expect 0 "$STAGEFS" trace "$stage" --append -o "$T/joined" -- /bin/job
cmp "$T/before" "$T/joined" || fail "the same run added something"
expect 0 "$STAGEFS" trace "$stage" --append -o "$T/joined" -- /bin/cat /d/unused
[ "$(diff "$T/before" "$T/joined")" = "$(printf '%s\n' "$(wc -l <"$T/before")a$(($(wc -l <"$T/before") + 1))" '> read /d/unused')" ] ||
    fail "joined: $(diff "$T/before" "$T/joined")"
expect 0 "$STAGEFS" trace "$stage" --append -o "$T/made" -- /bin/true
grep -qx 'exec /bin/true' "$T/made" || fail "--append makes no file"
echo nonsense >"$T/bad"
expect 125 "$STAGEFS" trace "$stage" --append -o "$T/bad" -- /bin/true
says "bad:1"
grep -qx nonsense "$T/bad" || fail "a file that is no profile was replaced"

# what could not be started leaves no profile, nor changes one
for status in 125 126 127; do
    case $status in
    125) set -- --user nobody-here "$stage" -- /bin/true ;;
    126) set -- "$stage" -- /etc/passwd ;;
    127) set -- "$stage" -- /bin/no-such ;;
    esac
    expect $status "$STAGEFS" trace -o "$T/none" "$@"
    [ ! -e "$T/none" ] || fail "a profile of what ended with $status: $(cat "$T/none")"
    cp "$T/first" "$T/joined"
    expect $status "$STAGEFS" trace --append -o "$T/joined" "$@"
    cmp "$T/first" "$T/joined" || fail "what ended with $status was added"
done

# options end where the command begins, with "--" or without it
expect 0 "$STAGEFS" trace -o "$T/other" "$stage" --env X=1 /bin/sh -c 'echo "$X $1"' -o --pages
[ "$(cat "$T/stdout")" = "1 --pages" ] || fail "the command's own options: $(cat "$T/stdout")"
expect 0 "$STAGEFS" run --rm -v "$stage" -e X=2 -- /bin/sh -c 'echo "$X"'
[ "$(cat "$T/stdout")" = 2 ] || fail "behind --: $(cat "$T/stdout")"
expect 0 "$STAGEFS" run --from "$stage" --copy / /bin/sh -c 'echo "$0"' -v
[ "$(cat "$T/stdout")" = -v ] || fail "the stage told by options: $(cat "$T/stdout")"
expect 125 "$STAGEFS" run "$stage" -f "$T/Dockerfile" /bin/true
says "two stages given"

# without words, the command is what the image says
expect 125 "$STAGEFS" run "dir:$T/root"
says "neither ENTRYPOINT nor CMD"
"$STAGEFS" commit -q "$stage" --entrypoint '["/bin/echo", "from"]' --cmd '["the image"]' -t "oci:$T/own:x" >/dev/null
expect 0 "$STAGEFS" run "oci:$T/own:x"
[ "$(cat "$T/stdout")" = "from the image" ] || fail "ENTRYPOINT and CMD: $(cat "$T/stdout")"
expect 0 "$STAGEFS" trace "oci:$T/own:x" -o "$T/own.profile" --
grep -qx 'exec /bin/echo' "$T/own.profile" || fail "the trace of it: $(cat "$T/own.profile")"
expect 0 "$STAGEFS" run "oci:$T/own:x" /bin/echo alone
[ "$(cat "$T/stdout")" = alone ] || fail "words replace both: $(cat "$T/stdout")"

# --pages
expect 0 "$STAGEFS" trace "$stage" --pages -o "$T/pages" -- /bin/cat /d/unused
grep -qxF 'read /d/unused 0+7' "$T/pages" || fail "no bytes: $(cat "$T/pages")"
exit 0
