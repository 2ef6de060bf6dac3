#!/bin/sh
# du --report: what its document says of a small tree, judged by jq, and what its page holds: the same, in a form that no
# name can break out of.
. "$(dirname "$0")/lib.sh"
need python3 jq
site=opt/lib/python3.12/site-packages
mkdir -p "$T/low/usr/bin" "$T/low/usr/share/doc/tool" "$T/low/var/lib/dpkg/info" "$T/high/$site/pkg/tests" "$T/high/$site/pkg-1.5.dist-info" \
    "$T/high/opt/pkgs" "$T/high/odd"
fill() { head -c "$2" /dev/zero | tr '\0' "$3" >"$1"; }
fill "$T/low/usr/bin/tool" 20000 t
fill "$T/low/usr/share/doc/tool/copyright" 3000 c
fill "$T/low/hidden" 50000 h
printf 'Package: tool\nVersion: 1:2.0\n' >"$T/low/var/lib/dpkg/status"
printf '/.\n/usr/bin/tool\n/usr/share/doc/tool/copyright\n' >"$T/low/var/lib/dpkg/info/tool.list"
fill "$T/high/hidden" 10 x
fill "$T/high/$site/pkg/lib.so.1" 100000 l
fill "$T/high/$site/pkg/lib.a" 70000 a
fill "$T/high/$site/pkg/tests/test_x.py" 6000 p
fill "$T/high/$site/pkg/copy-of-tool" 20000 t
fill "$T/high/$site/pkg/not-quite" 20000 u
printf 'Name: pkg\nVersion: 1.5\n' >"$T/high/$site/pkg-1.5.dist-info/METADATA"
printf 'pkg/lib.so.1,,\npkg/lib.a,,\npkg/tests/test_x.py,,\n' >"$T/high/$site/pkg-1.5.dist-info/RECORD"
fill "$T/high/opt/pkgs/pkg.conda" 9000 k
ln "$T/high/$site/pkg/lib.so.1" "$T/high/opt/pkgs/linked.so.1"
# Names that are text of a page, of a script, that turn lines around, and that are no text.
python3 - "$T/high/odd" <<'PY'
import os, sys
for name in [b'</script><script>alert(1)<', b'<!--', b'"><img src=x onerror=alert(1)>', b'evil\xe2\x80\xaegnp.exe', b'no\xfftext',
             b'new\nline', b'back\\slash', b'it\'s', 'größe'.encode(), b'\xe2\x80\xa8', b'&lt;']:
    open(os.fsencode(sys.argv[1]) + b'/' + name.replace(b'/', b'%'), 'wb').write(b'1' * 100)
os.makedirs(os.fsencode(sys.argv[1]) + b'/<')
open(os.fsencode(sys.argv[1]) + b'/</script><b>', 'wb').write(b'1' * 100)
PY
for layer in low high; do tar -C "$T/$layer" --sort=name --owner=0 --group=0 --numeric-owner -cf "$T/$layer.tar" .; done
image "$T/layout:base" gzip:"$T/low.tar" >/dev/null
image "$T/layout:whole" gzip:"$T/low.tar" zstd:"$T/high.tar" >/dev/null
I=oci:$T/layout:whole
printf 'read /%s/pkg/lib.so.1 0+4096 8192+4096\nopen /usr/bin/tool\nstat /%s/pkg/lib.a\n' "$site" "$site" >"$T/profile"

holds() { # holds WORDS EXPRESSION: it is true of the document
    jq -e "$2" "$T/report.json" >/dev/null || fail "$1: $(jq -c "${3:-.}" "$T/report.json" | head -c 2000)"
}
expect 0 "$STAGEFS" du --report "$T/page.html" --profile "$T/profile" --json "$I"
cp "$T/stdout" "$T/report.json"
holds "all bytes are those of all files" '.bytes == ([.all_files[].bytes] | add) and .files == (.all_files | length)'
for by in by_kind by_owner by_use; do
    holds "$by adds up" "([.$by[].bytes] | add) == .bytes and ([.$by[].files] | add) == .files" ".$by"
done
holds "the bytes are du's" ".bytes == $("$STAGEFS" du --json "$I" | jq .bytes)" .bytes
holds "a Debian package" '.by_owner[] | select(.name == "tool") | .owner == "Debian package" and .version == "1:2.0" and .bytes > 23000' .by_owner
holds "a Python distribution" '.by_owner[] | select(.name == "pkg") | .owner == "Python distribution" and .version == "1.5" and .bytes > 176000' .by_owner
holds "kinds" '[.by_kind[] | select(.kind == ("shared libraries", "static libraries", "tests", "caches")) | .bytes] | sort == [6000, 9000, 70000, 100000]' .by_kind
holds "a hard link is where it is used" '[.all_files[].path | select(endswith(".so.1"))] == ["'$site'/pkg/lib.so.1"]' .all_files
holds "uses" '[.by_use[] | [.use, .bytes > 0, .touched_bytes]] == [["read", true, 8192], ["opened", true, 0], ["looked up only", true, 0], ["not touched", true, 0]]' .by_use
holds "equal files of two layers, and no others" '[.duplicates.groups[] | [.bytes, [.files[].layer]]] == [[20000, [1, 0]]]' .duplicates
holds "only files of one size are read" '.duplicates.read_bytes == 60000' .duplicates
holds "what a layer hides" '.layers[0].wasted_bytes == 50000 and .layers[1].wasted_bytes == 0' .layers
holds "advice with its option" '.advice[] | select(.what == "static libraries") | .bytes == 70000 and .files == 1 and .risk == "low" and .option == "--drop '"'**/*.a'"'"' .advice
holds "advice, the most bytes first" '[.advice[].bytes] | . == (sort | reverse)' .advice
holds "odd names are there" '[.all_files[].path | select(startswith("odd/"))] | length == 12' .all_files
# What the base has cannot be dropped: it is not in the advice.
expect 0 "$STAGEFS" du --report "$T/stage.html" --json --base "oci:$T/layout:base" --from "$I" --copy /opt
cp "$T/stdout" "$T/report.json"
holds "no advice on the base" '[.advice[].what] | index("documentation") == null and index("static libraries") != null' .advice
holds "without a profile no uses" '.by_use == null and .touched_bytes == null'

# what the advice says is what its option does
"$STAGEFS" du --json --from "$I" --copy / --drop '**/*.a' >"$T/d.json"
[ "$(jq .bytes "$T/d.json")" = "$(($("$STAGEFS" du --json "$I" | jq .bytes) - 70000))" ] || fail "--drop saved something else"

# ---- the page
python3 - "$T/page.html" <<'PY' || fail "the page"
import base64, hashlib, json, re, sys
raw = open(sys.argv[1], 'rb').read()
page = raw.decode()                                     # all of it is UTF-8
assert len(re.findall('<script', page)) == 2, 'a name opened a script'
assert 'onerror=alert(1)>' not in page and '<b>' not in page and '<!--' not in page
assert not re.search('[\u200e\u200f\u2028-\u202e\u2066-\u2069]', page), 'a name turns the text around'
assert not re.search(r'(src|href)="(?!#)', page) and 'url(' not in page and '@import' not in page and 'fetch(' not in page
policy, = re.findall('http-equiv="Content-Security-Policy" content="(.*?)"', page)
assert policy.startswith("default-src 'none'") and 'unsafe' not in policy
for element in ('style', 'script'):
    text, = re.findall(f'<{element}>(.*?)</{element}>', page, re.S)
    digest = base64.b64encode(hashlib.sha256(text.encode()).digest()).decode()
    assert f"{element}-src 'sha256-{digest}'" in policy, element
text, = re.findall('<script type="application/json" id="data">(.*?)</script>', page, re.S)
assert '<' not in text and '&' not in text
data = json.loads(text)
names, ends = data['names'].split('/'), data['ends']
dirs = dict(zip(ends[::2], ends[1::2]))
def spread(runs):
    return [v for i in range(0, len(runs), 2) for v in [runs[i]] * runs[i + 1]]
files = [i for i in range(1, len(names)) if i not in dirs]
assert len(files) == len(data['sizes']) == data['summary']['files']
assert all(len(spread(data[c])) == len(files) for c in ('kind', 'owner', 'layer', 'use', 'base'))
assert sum(data['sizes']) == data['summary']['bytes'] and dirs[0] == len(names) - 1
def path(i):
    up = [d for d, end in dirs.items() if d and d < i <= end]
    return '/'.join(names[d] for d in sorted(up) + [i])
paths = {path(i): size for i, size in zip(files, data['sizes'])}
assert paths['usr/bin/tool'] == 20000 and paths['opt/pkgs/pkg.conda'] == 9000
for odd in ('evil\\342\\200\\256gnp.exe', 'no\\377text', 'new\\012line', 'back\\134slash', 'größe', "it's", '\\342\\200\\250', '&lt;', '</script><b>'):
    assert 'odd/' + odd in paths, (odd, sorted(paths))
PY

# ---- where it goes
expect 0 "$STAGEFS" du --report - "$I"
head -c 15 "$T/stdout" | grep -q '<!doctype html>' || fail "--report - does not print the page"
expect 2 "$STAGEFS" du --report - --json "$I"
says "both write to stdout"
expect 2 "$STAGEFS" du --report "$T/x.json" "$I"
says "--json prints"
expect 2 "$STAGEFS" du --report "$T/x.html" --layers "$I"
says "--layers"
expect 2 "$STAGEFS" du --report "$T/x.html" "$I" /usr
says "takes no PATH"
expect 2 "$STAGEFS" du --profile "$T/profile" "$I"
says "--profile goes with --report"
expect 1 "$STAGEFS" du --report "$T/x.html" --profile "$T/none" "$I"
says "$T/none"
expect 1 "$STAGEFS" du --report "$T/no/such/x.html" "$I"
says "$T/no/such"
[ ! -e "$T/x.html" ] || fail "a page of what failed"
