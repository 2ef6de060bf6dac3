#!/bin/sh
# The client of registries before a registry that misbehaves (registry_stub.py): what it gets over, and what it refuses
# with one sentence. Nothing that is secret reaches another host or a message.
. "$(dirname "$0")/lib.sh"
need umoci jq python3
. "$HERE/registry_lib.sh"
probe() { timeout 100 "$REGISTRY_PROBE" "$@"; }
export HOME="$T/home"
mkdir -p "$HOME"

make_layout "$T/layout"
port=$(free_port) storage=$(free_port)
R=127.0.0.1:$port
python3 "$HERE/registry_stub.py" "$T/layout" "$port" "$storage" "$T/log" &
registry_pids=$!
wait_for_port "$port"
wait_for_port "$storage"
manifest=$(jq -r '.manifests[0].digest' "$T/layout/index.json")
blobs=$T/layout/blobs/sha256
layer=$(jq -r '.layers[0].digest' "$blobs/${manifest#sha256:}")
size=$(jq -r '.layers[0].size' "$blobs/${manifest#sha256:}")
offset=1000 count=2000000
tail -c +$((offset + 1)) "$blobs/${layer#sha256:}" | head -c $count >"$T/wanted"

# gets FAULT [TIMES THREADS]: the range comes in spite of it.
gets() {
    : >"$T/log"
    expect 0 probe blob "$R/$1" "$layer" "$size" $offset $count "${2:-1}" "${3:-1}"
    cmp -s "$T/wanted" "$T/stdout" || fail "$1: other bytes"
}
# refuses STATUS FAULT WORDS: a blob; refuses_manifest: a manifest.
refuses() {
    expect "$1" probe blob "$R/$2" "$layer" "$size" $offset $count
    says "$3"
}
refuses_manifest() {
    expect "$1" probe manifest "$R/$2:tag"
    says "$3"
}
# requests SERVER [WORD]: how many stand in the log.
requests() { grep "^$1 " "$T/log" | grep -c -- "${2:-.}" || true; }
EAGAIN=11 EACCES=13 EBADMSG=74 EKEYREJECTED=129 E2BIG=7 ENOENT=2 ENOTSUP=95

# These take their time, so they run beside the rest: a host that says nothing, or next to nothing. The time for one
# try is 15 s.
for fault in silent loris; do
    (
        started=$(date +%s) status=0
        timeout 30 "$REGISTRY_PROBE" manifest "$R/$fault:tag" >"$T/$fault.out" 2>&1 || status=$?
        echo "$status $(($(date +%s) - started))" >"$T/$fault.status"
    ) &
    registry_pids="$registry_pids $!"
done

# --- what it gets over
for fault in ok burst busyseconds busydate reset; do gets $fault; done
gets busyseconds/many 1 8
[ "$(requests registry)" -le 16 ] || fail "a 429 did not stop the others: $(requests registry) requests"
gets mid401 10 1
[ "$(requests registry /token)" -ge 3 ] || fail "no new token was got when one ended"
gets oauthname
gets scoped
grep -q '/token.*scope=repository%3Ascoped%3Apull%2Cextra&scope=' "$T/log" || fail "the scope that lacks does not come first"
gets ok/parallel 5 16

# --- not too much at once, and what nobody waits for goes behind
together() { sed -n 's/^together //p' "$T/log" | sort -n | tail -n 1; }
gets slow 1 20
[ "$(together)" -le 14 ] && [ "$(together)" -ge 9 ] || fail "$(together) requests at once"
: >"$T/log"
expect 0 probe --fill blob "$R/slow/fill" "$layer" "$size" $offset $count 1 6
[ "$(together)" -le 2 ] || fail "$(together) requests at once that nobody waits for"
: >"$T/log"
expect $EAGAIN probe --fill blob "$R/busyalways/fill" "$layer" "$size" $offset $count
[ "$(requests registry)" = 1 ] || fail "what nobody waits for goes on after a 429"

# --- the whole in place of a range
gets whole
grep -q "whole" "$T/stderr" || fail "that the whole blob came is not told"
gets wholebreak
expect 114 probe blob "$R/wholewaits/many" "$layer" "$size" $offset $count 1 8 # EALREADY for all but one

# --- redirects
gets redirect 5 4
[ "$(requests storage)" = 20 ] || fail "$(requests storage) requests reached the storage, not 20"
[ "$(requests registry blobs)" = 1 ] || fail "the redirect was asked for $(requests registry blobs) times"
gets expires 1 4
: >"$T/log"
expect 0 probe --creds user:password blob "$R/expires/slow" "$layer" "$size" 0 10 1 1
[ "$(requests storage Basic)" = 0 ] || fail "credentials reached the storage"
refuses 5 expired "answers with status 403"
! grep -q secret "$T/stderr" || fail "a signed URL is shown"
refuses $EBADMSG endless "redirects more than 10 times"
refuses $EBADMSG nowhere "redirects to what is no URL"
refuses $EBADMSG tofile "neither http nor https"
refuses $EACCES tolinklocal "link-local"

# --- wrong answers
refuses $EBADMSG wrongoffset "was asked for bytes"
refuses $EBADMSG wrongtotal "was asked for bytes"
refuses $EBADMSG hugetotal "/9223372036854775808"
refuses $EBADMSG tworanges "was asked for bytes"
refuses $EBADMSG longer "was asked for bytes"
refuses $EBADMSG gzip "encoded as gzip"
refuses_manifest $EBADMSG gzip "encoded (gzip)"
refuses_manifest $EBADMSG html "web page"
refuses_manifest $EBADMSG notjson "no manifest"
refuses_manifest $EBADMSG wrongtype "says that it is"
refuses_manifest $ENOTSUP schema1 "old form"
refuses_manifest $EKEYREJECTED manifestbytes "and says that it is"
expect $EKEYREJECTED probe manifest "$R/manifestbytes@$manifest"
says "in place of $manifest"
refuses_manifest $E2BIG bigmanifest "more than 4194304 bytes"
refuses_manifest $E2BIG headers "bytes of headers"
expect $ENOENT probe manifest "$R/ok:none"
says "has no"
expect $ENOENT probe tag "$R/ok:none"
says "has no"
expect $ENOTSUP probe tag "$R/nohead:tag"
says "status 405"
refuses_manifest $EAGAIN busyalways "wants fewer requests"
refuses_manifest $EAGAIN down "answers with status 503"
refuses $EBADMSG hugelength "sends 9223372036854775813 bytes"

# --- small ones, which are compared with their digest
expect 0 probe small "$R/ok" "$layer" "$size"
cmp -s "$blobs/${layer#sha256:}" "$T/stdout" || fail "other bytes than the layer's"
expect 0 probe small "$R/whole" "$layer" "$size"
expect 0 probe small "$R/redirect/small" "$layer" "$size"
expect $EKEYREJECTED probe small "$R/flipped" "$layer" "$size"
says "another digest"

# --- whoever waits can be ended: for an answer, and behind a 429
: >"$T/log"
for fault in silent busydate/cancel busyseconds/cancel; do
    started=$(date +%s)
    expect 125 probe cancel "$R/$fault" "$layer" "$size" # ECANCELED
    says "cancelled"
    [ $(($(date +%s) - started)) -le 3 ] || fail "$fault: cancelling took $(($(date +%s) - started)) s"
done

# --- config, list of referrers, and the tag that may have it, are asked for at the same time, by who will want them
: >"$T/log"
expect 0 "$STAGEFS" inspect "docker://$R/together:tag"
[ "$(requests together 'not listed')" = 1 ] || fail "inspect has no need of a list: $(cat "$T/log")"
"$STAGEFS" cache prune >/dev/null
: >"$T/log"
expect 0 "$STAGEFS" ls "docker://$R/together:tag" /
[ "$(requests together not)" = 0 ] || fail "the config is asked for before the list, or that before the tag: $(cat "$T/log")"

# --- logins
expect $EACCES probe manifest "$R/private:tag"
says "wants a login for private"
expect $EACCES probe --creds user:wrong manifest "$R/private:tag"
says "refuses the user name or the password"
! grep -q wrong "$T/stderr" || fail "the password is shown"
: >"$T/log"
expect $EACCES probe --creds user:wrong blob "$R/private/many" "$layer" "$size" $offset $count 1 8
[ "$(requests registry /token)" = 1 ] || fail "a wrong password was sent $(requests registry /token) times"
expect 0 probe --creds user:password manifest "$R/private:tag"
expect 0 probe --creds user:password manifest "$R/pingme:tag"
printf '{"auths":{"%s":{"identitytoken":"identity"}}}' "$R" >"$T/identity.json"
expect 0 probe --authfile "$T/identity.json" manifest "$R/private:tag"
expect $EACCES probe manifest "$R/denied:tag"
says "without a login"
expect $EACCES probe --creds user:password manifest "$R/denied:tag"
says "requested access is denied"
refuses_manifest $EACCES realmlinklocal "inside a network"
refuses_manifest $EACCES realmprivate "inside a network"
refuses_manifest $EBADMSG realmfile "neither http nor https"
refuses_manifest $EBADMSG tokenhtml "does not answer with JSON"

wait_for_file() { for _ in $(seq 300); do [ -s "$1" ] && return || sleep 0.1; done && fail "$1 did not come"; }
for fault in silent loris; do
    wait_for_file "$T/$fault.status"
    read -r status seconds <"$T/$fault.status"
    # Either it has given up by itself, or timeout(1) ended it while it tried again.
    [ "$status" = 124 ] || [ "$status" = 11 ] || fail "$fault: status $status after $seconds s"
done
