#!/bin/sh
# A trimmed stage is checked before it is written, and healed; slim does all of it.
. "$(dirname "$0")/lib.sh"
. "$(dirname "$0")/rootfs.sh"
need_root
need_fuse
need python3
make_rootfs "$T/root"
chmod 1777 "$T/root/tmp"
tar -C "$T/root" -cf "$T/base.tar" .
mkdir -p "$T/new/opt/app/deep" "$T/new/opt/other"
printf '#!/bin/sh\n. /opt/app/part.sh\ncat /opt/app/data\n' >"$T/new/opt/app/job"
chmod 0755 "$T/new/opt/app/job"
echo 'part=1' >"$T/new/opt/app/part.sh"
echo data >"$T/new/opt/app/data"
echo more >"$T/new/opt/app/more"
echo deep >"$T/new/opt/app/deep/file"
ln -s deep/file "$T/new/opt/app/link"
head -c 200000 /dev/urandom >"$T/new/opt/other/unused"
tar -C "$T/new" -cf "$T/new.tar" .
image "$T/layout:base" gzip:"$T/base.tar" >/dev/null
image "$T/layout:builder" gzip:"$T/base.tar" gzip:"$T/new.tar" >/dev/null
"$STAGEFS" run "oci:$T/layout:base" -- /bin/true 2>/dev/null || skip "no runtime"
set -- --base "oci:$T/layout:base" --from "oci:$T/layout:builder" --copy /opt
digest() { python3 -c 'import json, sys; print(len(json.load(open(sys.argv[1]))["manifests"]))' "$T/out/index.json" 2>/dev/null || echo 0; }

# commit --check: what fails leaves nothing
expect 1 "$STAGEFS" commit "$@" --check 'exit 4' -t "oci:$T/out:x"
says "the check 'exit 4' ended with 4 in the stage"
[ ! -e "$T/out/index.json" ] || fail "a stage that failed its check was written"
expect 0 "$STAGEFS" commit "$@" --user app --env A=b --check '[ "$A" = b ] && id -u' -t "oci:$T/out:x"
grep -qx 1000 "$T/stderr" || fail "the check was not run as USER: $(cat "$T/stderr")"
grep -q '^sha256:' "$T/stdout" && [ "$(wc -l <"$T/stdout")" = 1 ] || fail "standard output: $(cat "$T/stdout")"
expect 0 "$STAGEFS" commit "$@" --check '["/bin/cat", "/opt/app/data"]' -t "oci:$T/out:x"
expect 1 "$STAGEFS" commit "$@" --check '["/bin/nothing"]' -t "oci:$T/out:y"
says "/bin/nothing"
expect 2 "$STAGEFS" commit "$@" --check '["/bin/cat", 3]' -t "oci:$T/out:y"
says "JSON"
expect 2 "$STAGEFS" commit "$@" --heal -t "oci:$T/out:y"
says "--heal goes with"

# a trimmed stage that lacks something: who wanted what
expect 0 "$STAGEFS" trace "$@" -o "$T/profile" -- /opt/app/job
before=$(digest)
for runtime in runc crun bwrap; do
    "$STAGEFS" run --runtime $runtime "oci:$T/layout:base" -- /bin/true 2>/dev/null || continue
    expect 1 "$STAGEFS" commit "$@" --trim "$T/profile" --runtime $runtime --check '/opt/app/job; cat /opt/app/more' -t "oci:$T/out:z"
    tail -n 1 "$T/stderr" >"$T/last"
    grep -qF "where it looked in vain for /opt/app/more, wanted by /bin/cat" "$T/last" || fail "$runtime: $(cat "$T/stderr")"
done
[ "$(digest)" = "$before" ] || fail "a stage that failed its check was written"
expect 0 "$STAGEFS" commit "$@" --trim "$T/profile" --check '/opt/app/job; cat /opt/app/more; true' -t "oci:$T/out:z"
grep -qF "were looked for in vain (1), such as /opt/app/more, wanted by /bin/cat: --heal keeps them" "$T/stderr" ||
    fail "no word of what was missed: $(cat "$T/stderr")"

# a program's name is an image's to choose, and makes no line of a profile
mkdir -p "$T/new/opt/app/$(printf 'a\nstat ')"
cp "$T/root/bin/cat" "$T/new/opt/app/$(printf 'a\nstat ')/x"
tar -C "$T/new" -cf "$T/new2.tar" .
image "$T/layout:odd" gzip:"$T/base.tar" gzip:"$T/new2.tar" >/dev/null
expect 0 "$STAGEFS" commit --base "oci:$T/layout:base" --from "oci:$T/layout:odd" --copy /opt --trim "$T/profile" \
    --keep '/opt/app/a*' --check '/opt/app/a*/x /opt/app/more' --heal-profile "$T/odd" -t "oci:$T/out:odd"
grep -q '^open /opt/app/more # wanted by /opt/app/a?stat /x$' "$T/odd" || fail "the odd program: $(cat "$T/odd")"

# --heal: found by look-ups, by listings, through symlinks; the profile is added to
cat >"$T/healed" <<'TEXT'
# of mine
stat /opt/app
TEXT
expect 0 "$STAGEFS" commit "$@" --trim "$T/profile" --check 'cat /opt/app/more /opt/app/link' \
    --check 'cd /opt/other; [ "$(echo *)" = unused ]' --heal-profile "$T/healed" -t "oci:$T/out:healed"
"$STAGEFS" ls -R "oci:$T/out:healed" /opt >"$T/names"
for name in more file unused job data; do grep -qw $name "$T/names" || fail "$name was not kept: $(cat "$T/names")"; done
grep -qx '# of mine' "$T/healed" && grep -q '^open /opt/app/more # wanted by /bin/cat$' "$T/healed" ||
    fail "the profile: $(cat "$T/healed")"
expect 0 "$STAGEFS" commit "$@" --trim "$T/profile" --trim "$T/healed" --check 'cat /opt/app/more /opt/app/link' -t "oci:$T/out:z"

# what --drop leaves out is not brought back, and what fails anyway is said to
expect 1 "$STAGEFS" commit "$@" --trim "$T/profile" --drop /opt/app/more --heal --check 'cat /opt/app/more' -t "oci:$T/out:z"
tail -n 1 "$T/stderr" | grep -qF "looked in vain for /opt/app/more" || fail "$(cat "$T/stderr")"
expect 1 "$STAGEFS" commit "$@" --trim "$T/profile" --heal --check 'cat /opt/nothing' -t "oci:$T/out:z"
tail -n 1 "$T/stderr" | grep -qF "in the whole stage, too" || fail "$(cat "$T/stderr")"

# slim: all of it
expect 0 "$STAGEFS" slim "$@" --exec /opt/app/job -o "$T/kept" -t "oci:$T/out:slim"
grep -qx 'exec /opt/app/job' "$T/kept" || fail "the profile: $(cat "$T/kept")"
grep -qE '^builder +[0-9]' "$T/stdout" && grep -qE '^plain COPY +[0-9]' "$T/stdout" && grep -qE '^trimmed +[0-9]' "$T/stdout" &&
    tail -n 1 "$T/stdout" | grep -q '^sha256:' || fail "the table: $(cat "$T/stdout")"
expect 0 "$STAGEFS" run "oci:$T/out:slim" -- /opt/app/job
grep -qx data "$T/stdout" || fail "the image does not run: $(cat "$T/stderr")"
"$STAGEFS" ls -R "oci:$T/out:slim" /opt | grep -q unused && fail "what nobody uses was kept"
expect 0 "$STAGEFS" slim --json "$@" --exec /opt/app/job --check 'cat /opt/app/link' -t "oci:$T/out:slim2"
python3 - "$T/stdout" <<'PY' || fail "the document: $(cat "$T/stdout")"
import json, sys
d = json.load(open(sys.argv[1]))
names = [i["name"] for i in d["images"]]
assert names == ["builder", "plain COPY", "trimmed"], names
_, plain, trimmed = d["images"]
assert d["healed"] > 0 and d["rounds"] > 1 and d["manifest"].startswith("sha256:")
assert trimmed["compressed"] < plain["compressed"] and trimmed["unpacked"] <= plain["unpacked"] - 200000
assert trimmed["files"] < plain["files"] and plain["start_reads"] > 0 and trimmed["start_reads"] > 0
PY
expect 1 "$STAGEFS" slim "$@" --exec /opt/app/job --check 'cat /opt/app/link' --no-heal -t "oci:$T/out:no"
expect 1 "$STAGEFS" slim "$@" --exec 'exit 3' -t "oci:$T/out:no"
says "'exit 3' ended with 3 in the whole stage"
expect 2 "$STAGEFS" slim "$@" -t "oci:$T/out:no"
says "--exec"
expect 0 "$STAGEFS" slim "oci:$T/layout:builder" --exec '["/bin/cat", "/opt/app/data"]' --check '["/bin/ls", "/opt"]' --gpu-arch sm_90 \
    --heal-profile "$T/other" -t "oci:$T/out:alone"
grep -qE '^one layer +[0-9]' "$T/stdout" && grep -qE '^trimmed +[0-9]' "$T/stdout" && grep -qE '^pruned +[0-9]' "$T/stdout" ||
    fail "the table: $(cat "$T/stdout")"
"$STAGEFS" ls "oci:$T/out:alone" /bin | tr '\n' ' ' >"$T/names"
[ "$(cat "$T/names")" = "cat ls " ] || fail "an image without a base holds $(cat "$T/names")"
expect 0 "$STAGEFS" slim "$@" --trim "$T/kept" --fast -t "oci:$T/out:again"
grep -qE '^plain COPY +- ' "$T/stdout" || fail "--fast measured: $(cat "$T/stdout")"
expect 0 "$STAGEFS" diff "oci:$T/out:slim" "oci:$T/out:again"
grep -q "0 added, 0 removed, 0 changed" "$T/stdout" || fail "the same profile gives another image: $(cat "$T/stdout")"
exit 0
