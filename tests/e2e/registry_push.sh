#!/bin/sh
# Pushing to Debian's docker-registry: only what is not there is sent; what arrives is judged by skopeo, and is the same
# bytes. With passwords, without a right to push, and to a registry that is read-only.
. "$(dirname "$0")/lib.sh"
need docker-registry skopeo umoci jq python3 htpasswd
. "$HERE/registry_lib.sh"
export HOME="$T/home" STAGEFS_CACHE_DIR="$T/cache"
mkdir -p "$HOME/.config/containers"

make_layout "$T/layout"
blobs=$T/layout/blobs/sha256
manifest=$(jq -r '.manifests[0].digest' "$T/layout/index.json")
layer=$(jq -r '.layers[0].digest' "$blobs/${manifest#sha256:}")
start_registry plain
R=127.0.0.1:$port
log=$T/plain/log
# count METHOD PATTERN: how many such requests the registry has answered since `mark`.
mark() { marked=$(wc -l <"$log"); }
count() { tail -n +$((marked + 1)) "$log" | grep -c "\"$1 [^\"]*$2[^\"]* HTTP" || true; }
pushed() { # REF DIGEST: is that what skopeo finds there, and can it read all of it?
    [ "$(skopeo inspect --tls-verify=false --format '{{.Digest}}' "docker://$1")" = "$2" ] || fail "$1 is not $2"
    rm -rf "$T/back"
    skopeo copy -q --src-tls-verify=false "docker://$1" "oci:$T/back:x" || fail "skopeo cannot read $1"
}

# --- a layout: the same bytes, the digest on stdout, and nothing is sent twice
expect 0 "$STAGEFS" push "oci:$T/layout:one" "docker://$R/some/name:one"
[ "$(cat "$T/stdout")" = "$manifest" ] || fail "another digest is told: $(cat "$T/stdout")"
pushed "$R/some/name:one" "$manifest"
cmp "$T/back/blobs/sha256/${layer#sha256:}" "$blobs/${layer#sha256:}" || fail "other bytes arrived"
mark
expect 0 "$STAGEFS" push --json "oci:$T/layout:one" "docker://$R/some/name:one"
[ "$(jq -c '[.sent, .sent_size, .there]' "$T/stdout")" = "[0,0,2]" ] || fail "$(cat "$T/stdout")"
[ "$(count POST uploads)" = 0 ] || fail "an upload was begun for what is there"
[ "$(count PUT manifests)" = 1 ] || fail "the manifest was not put once"
expect 0 "$STAGEFS" push "oci:$T/layout:one" "docker://$R/some/name@$manifest"
expect 2 "$STAGEFS" push "oci:$T/layout:one" "docker://$R/some/name@sha256:$(printf '%064d' 0)"
says "names a digest"
expect 2 "$STAGEFS" push "oci:$T/layout:one" "oci:$T/elsewhere:one"
says "is no image in a registry"

# --- an index: one platform, or all
jq -cn --arg d "$manifest" --argjson s "$(wc -c <"$blobs/${manifest#sha256:}")" '{schemaVersion: 2,
    mediaType: "application/vnd.oci.image.index.v1+json", manifests: [{mediaType: "application/vnd.oci.image.manifest.v1+json",
    digest: $d, size: $s, platform: {os: "linux", architecture: "amd64"}}, {mediaType: "application/vnd.oci.image.manifest.v1+json",
    digest: $d, size: $s, platform: {os: "plan9", architecture: "mips"}}]}' | tr -d '\n' >"$T/index"
index=$(sha256sum <"$T/index" | cut -d' ' -f1)
cp "$T/index" "$blobs/$index"
jq -c --arg d "sha256:$index" --argjson s "$(wc -c <"$T/index")" '.manifests += [{mediaType: "application/vnd.oci.image.index.v1+json",
    digest: $d, size: $s, annotations: {"org.opencontainers.image.ref.name": "all"}}]' "$T/layout/index.json" >"$T/new"
cp "$T/new" "$T/layout/index.json"
expect 0 "$STAGEFS" push --platform linux/amd64 "oci:$T/layout:all" "docker://$R/some/one:all"
[ "$(cat "$T/stdout")" = "$manifest" ] || fail "not the platform's image: $(cat "$T/stdout")"
expect 0 "$STAGEFS" push --all "oci:$T/layout:all" "docker://$R/some/all:all"
[ "$(cat "$T/stdout")" = "sha256:$index" ] || fail "not the index: $(cat "$T/stdout")"
[ "$(skopeo inspect --raw --tls-verify=false "docker://$R/some/all:all" | sha256sum | cut -d' ' -f1)" = "$index" ] || fail "another index"

# --- archives; a docker-archive's tars are compressed
skopeo copy -q "oci:$T/layout:one" "oci-archive:$T/a.tar:one"
expect 0 "$STAGEFS" push "oci-archive:$T/a.tar" "docker://$R/arch/oci"
pushed "$R/arch/oci:latest" "$manifest"
skopeo copy -q "oci:$T/layout:one" "docker-archive:$T/d.tar:some/name:one"
expect 0 "$STAGEFS" push "docker-archive:$T/d.tar" "docker://$R/arch/docker:one"
pushed "$R/arch/docker:one" "$(cat "$T/stdout")"
umoci unpack --rootless --image "$T/back:x" "$T/unpacked" >/dev/null 2>&1
cmp "$T/unpacked/rootfs/big" "$T/tree/big" || fail "the docker-archive's files are others"
jq -e '.layers[0].mediaType | endswith("tar+gzip")' "$T/back/blobs/sha256/$(jq -r '.manifests[0].digest' "$T/back/index.json" | cut -d: -f2)" \
    >/dev/null || fail "the docker-archive's tar was not compressed"
expect 2 "$STAGEFS" push "dir:$T/tree" "docker://$R/arch/dir:one"
says "is a directory, not an image"

# --- a source that is damaged
cp -r "$T/layout" "$T/damaged"
printf damaged | dd of="$T/damaged/blobs/sha256/${layer#sha256:}" bs=1 seek=5000 conv=notrunc status=none
expect 3 "$STAGEFS" push "oci:$T/damaged:one" "docker://$R/damaged/name:one"
says "have another digest: the source is damaged"
! skopeo inspect --tls-verify=false "docker://$R/damaged/name:one" >/dev/null 2>&1 || fail "a damaged image has a tag"

# --- commit straight to the registry: the new layer, and the base's
mkdir "$T/add"
head -c 24000000 /dev/urandom >"$T/add/more"
expect 0 "$STAGEFS" commit --base "oci:$T/layout:one" --from "dir:$T/add" --copy /more:/more -t "docker://$R/made/name:one"
made=$(cat "$T/stdout")
pushed "$R/made/name:one" "$made"
SOURCE_DATE_EPOCH=0 expect 0 "$STAGEFS" commit --base "oci:$T/layout:one" --from "dir:$T/add" --copy /more:/more -t "docker://$R/made/name:two"
same=$(cat "$T/stdout")
SOURCE_DATE_EPOCH=0 expect 0 "$STAGEFS" commit --base "oci:$T/layout:one" --from "dir:$T/add" --copy /more:/more -t "oci:$T/made:two"
[ "$same" = "$(cat "$T/stdout")" ] || fail "another image than in a layout"
grep -aq '"PATCH /v2/made/name/blobs/uploads' "$log" || fail "the layer was not sent while it was written"
expect 2 "$STAGEFS" commit "oci:$T/layout:one" -t "docker://$R/made/name@$manifest"

# --- from a registry: mounted where it is the same one, streamed through where it is another
mark
expect 0 "$STAGEFS" push --json "docker://$R/some/name:one" "docker://$R/mounted/name:one"
[ "$(jq -c '[.mounted, .sent]' "$T/stdout")" = "[2,0]" ] || fail "not mounted: $(cat "$T/stdout")"
[ "$(count PUT uploads)" = 0 ] || fail "a blob was sent within one registry"
pushed "$R/mounted/name:one" "$manifest"
expect 0 "$STAGEFS" push --all "docker://$R/some/all:all" "docker://$R/mounted/all:all"
[ "$(cat "$T/stdout")" = "sha256:$index" ] || fail "not the index: $(cat "$T/stdout")"
mark
expect 0 "$STAGEFS" commit --base "docker://$R/some/name:one" --from "dir:$T/add" --copy /more:/more -t "docker://$R/mounted/made:one"
[ "$(count POST mount=)" = 1 ] || fail "the base's layer was not mounted"
pushed "$R/mounted/made:one" "$(cat "$T/stdout")"
start_registry other
O=127.0.0.1:$port
STAGEFS_CACHE_DIR=$T/cache2 expect 0 "$STAGEFS" push --all "docker://$R/some/all:all" "docker://$O/copied/all:all"
pushed "$O/copied/all:all" "sha256:$index"
cmp "$T/back/blobs/sha256/${layer#sha256:}" "$blobs/${layer#sha256:}" || fail "other bytes went through"

# --- with passwords: who may not push
htpasswd -Bbn user password >"$T/htpasswd" 2>/dev/null
MORE="auth: {htpasswd: {realm: tests, path: $T/htpasswd}}" start_registry passwords
P=127.0.0.1:$port
expect 1 "$STAGEFS" push "oci:$T/layout:one" "docker://$P/some/name:one"
says "wants a login for some/name"
expect 1 "$STAGEFS" push --creds user:wrong "oci:$T/layout:one" "docker://$P/some/name:one"
says "no right to push to some/name"
expect 0 "$STAGEFS" push --creds user:password "oci:$T/layout:one" "docker://$P/some/name:one"
expect 1 "$STAGEFS" commit "oci:$T/layout:one" -t "docker://$P/some/name:two"
says "wants a login"

# --- with a token service: a push, and a mount, ask for what they need
for jwt in python3 /usr/bin/python3 ""; do # Debian's packages are for Debian's Python
    [ -n "$jwt" ] && "$jwt" -c 'import cryptography, jwt' 2>/dev/null && break
done
if [ -n "$jwt" ] && command -v openssl >/dev/null; then
    openssl req -x509 -newkey rsa:2048 -nodes -keyout "$T/issuer.key" -out "$T/issuer.crt" -subj /CN=issuer -days 2 2>/dev/null
    issuer=$(free_port)
    "$jwt" "$HERE/registry_issuer.py" "$issuer" "$T/issuer.key" "$T/issuer.crt" 3600 &
    registry_pids="$registry_pids $!"
    wait_for_port "$issuer"
    MORE="auth: {token: {realm: \"http://127.0.0.1:$issuer/token\", service: tests, issuer: issuer, rootcertbundle: $T/issuer.crt}}" start_registry tokens
    K=127.0.0.1:$port
    expect 0 "$STAGEFS" push --creds user:password "oci:$T/layout:one" "docker://$K/closed/name:one"
    expect 0 "$STAGEFS" push --json --creds user:password "docker://$K/closed/name:one" "docker://$K/closed/other:one"
    [ "$(jq -c '[.mounted, .sent]' "$T/stdout")" = "[2,0]" ] || fail "not mounted: $(cat "$T/stdout")"
    expect 0 "$STAGEFS" commit --creds user:password --base "docker://$K/closed/name:one" --from "dir:$T/add" --copy /more:/more -t "docker://$K/closed/made:one"
    expect 1 "$STAGEFS" push "oci:$T/layout:one" "docker://$K/closed/name:two"
    says ": log in (podman login" # (one of two sentences: a token of the same second is the same)
    expect 1 "$STAGEFS" push --creds user:wrong "oci:$T/layout:one" "docker://$K/closed/name:two"
    says "no right to push"
fi

# --- read-only; nobody there
MORE="" start_registry none
sed -i 's/delete: {enabled: true}/maintenance: {readonly: {enabled: true}}/' "$T/none/config.yml"
kill "$pid"
sleep 0.2
docker-registry serve "$T/none/config.yml" >"$T/none/log" 2>&1 &
registry_pids="$registry_pids $!"
wait_for_port "$port"
expect 1 "$STAGEFS" push "oci:$T/layout:one" "docker://127.0.0.1:$port/some/name:one"
says "takes no pushes"
expect 1 "$STAGEFS" push "oci:$T/layout:one" "docker://127.0.0.1:$(free_port)/some/name:one"
says "does not answer"

# --- to registries that misbehave (registry_writes.py)
start_writes
W=127.0.0.1:$port
arrived() { # NAME: the layer is there, as it was
    python3 -c 'import sys, urllib.request; sys.stdout.buffer.write(urllib.request.urlopen(sys.argv[1]).read())' \
        "http://$W/v2/$1/blobs/$layer" | cmp -s - "$blobs/${layer#sha256:}" || fail "$1: other bytes arrived"
}
lines() { grep -c "$1" "$writes_log" || true; }
for name in fine breaks pieces shy; do
    expect 0 "$STAGEFS" push "oci:$T/layout:one" "docker://$W/$name/x:one"
    arrived "$name/x"
done
[ "$(lines ' PATCH ')" -ge 2 ] || fail "no pieces were sent"
expect 0 "$STAGEFS" push --creds user:password "oci:$T/layout:one" "docker://$W/login/x:one"
arrived login/x
expect 0 "$STAGEFS" push --creds user:password "oci:$T/layout:one" "docker://$W/elsewhere/x:one"
[ "$(lines '^storage 201 PUT')" = 2 ] || fail "nothing was sent to the other host: $(cat "$writes_log")"
expect 0 "$STAGEFS" push "docker://$W/fine/x:one" "docker://$W/nomount/x:one"
arrived nomount/x
expect 0 "$STAGEFS" push --json "docker://$W/fine/x:one" "docker://$W/fine/y:one"
[ "$(jq .mounted "$T/stdout")" = 2 ] || fail "$(cat "$T/stdout")"
# On a busy machine the layer may be whole before the first of it is sent: then there is nothing to follow.
for try in 1 2 3 4 5 6 7 8; do
    expect 0 "$STAGEFS" commit --from "dir:$T/add" --copy /more:/more -t "docker://$W/nostream/x:one"
    [ "$(lines ' 405 PATCH /up/')" = 0 ] || break
done
[ "$(lines ' 405 PATCH /up/')" = 1 ] || fail "it was not tried to send the layer while it was written ($try tries)"
expect 0 "$STAGEFS" push "oci:$T/layout:one" "docker://$W/immutable/x:one"
expect 0 "$STAGEFS" push "oci:$T/layout:one" "docker://$W/immutable/x:one"
expect 1 "$STAGEFS" push --all "oci:$T/layout:all" "docker://$W/immutable/x:one"
says "push under another tag"
expect 1 "$STAGEFS" push "oci:$T/layout:one" "docker://$W/norights/x:one"
says "takes no push to 'norights/x' without a login"
expect 1 "$STAGEFS" push "oci:$T/layout:one" "docker://$W/unknown/x:one"
says "makes none by itself"
expect 1 "$STAGEFS" push "oci:$T/layout:one" "docker://$W/large/x:one"
says "takes nothing as large as blob sha256:"
