#!/bin/sh
# The client of registries before docker-registry as it is set up in the world: with passwords (htpasswd), with a token
# service, with certificates of an own authority, with blobs at another host (redirects), as a cache of another registry,
# which ignores ranges until it has a blob; through a proxy; by mirrors.
. "$(dirname "$0")/lib.sh"
need docker-registry skopeo umoci jq python3 htpasswd openssl
for jwt in python3 /usr/bin/python3 ""; do # Debian's packages are for Debian's Python
    [ -n "$jwt" ] || skip "python3-jwt, with python3-cryptography, is not installed"
    "$jwt" -c 'import cryptography, jwt' 2>/dev/null && break
done
. "$HERE/registry_lib.sh"
probe() { timeout 60 "$REGISTRY_PROBE" "$@"; }
export HOME="$T/home"
mkdir -p "$HOME/.config/containers"
EACCES=13 EIO=5

make_layout "$T/layout"
manifest=$(jq -r '.manifests[0].digest' "$T/layout/index.json")
blobs=$T/layout/blobs/sha256
layer=$(jq -r '.layers[0].digest' "$blobs/${manifest#sha256:}")
size=$(jq -r '.layers[0].size' "$blobs/${manifest#sha256:}")
tail -c +1001 "$blobs/${layer#sha256:}" | head -c 500000 >"$T/wanted"
# reads NAME [OPTIONS]: manifest, and a range of the layer.
reads() {
    name=$1
    shift
    expect 0 probe "$@" manifest "$name:one"
    head -n 1 "$T/stdout" | grep -q "$manifest" || fail "$name: another manifest"
    expect 0 probe "$@" blob "$name" "$layer" "$size" 1000 500000 1 "${THREADS:-4}"
    cmp -s "$T/wanted" "$T/stdout" || fail "$name: other bytes"
    expect 0 "$STAGEFS" ls -q "$@" "docker://$name:one" /
    grep -qx numbers "$T/stdout" || fail "$name: the program shows no files"
}

# --- with passwords
htpasswd -Bbn user password >"$T/htpasswd" 2>/dev/null
MORE="auth: {htpasswd: {realm: tests, path: $T/htpasswd}}" start_registry passwords
R=127.0.0.1:$port
push "$T/layout:one" "$R/some/name:one" --dest-creds user:password
reads "$R/some/name" --creds user:password
skopeo login --authfile "$T/auth.json" --tls-verify=false -u user -p password "$R" >/dev/null
reads "$R/some/name" --authfile "$T/auth.json"
REGISTRY_AUTH_FILE=$T/auth.json reads "$R/some/name"
expect $EACCES probe manifest "$R/some/name:one"
says "wants a login for some/name"
expect $EACCES probe --creds user:wrong manifest "$R/some/name:one"
says "refuses the user name or the password"

# --- with a token service
openssl req -x509 -newkey rsa:2048 -nodes -keyout "$T/issuer.key" -out "$T/issuer.crt" -subj /CN=issuer -days 2 2>/dev/null
issuer=$(free_port)
"$jwt" "$HERE/registry_issuer.py" "$issuer" "$T/issuer.key" "$T/issuer.crt" 3600 &
registry_pids="$registry_pids $!"
wait_for_port "$issuer"
MORE="auth: {token: {realm: \"http://127.0.0.1:$issuer/token\", service: tests, issuer: issuer, rootcertbundle: $T/issuer.crt}}" start_registry tokens
R=127.0.0.1:$port
push "$T/layout:one" "$R/closed/name:one" --dest-creds user:password
push "$T/layout:one" "$R/open/name:one" --dest-creds user:password
reads "$R/open/name"
reads "$R/closed/name" --creds user:password
expect $EACCES probe manifest "$R/closed/name:one"
says "wants a login for closed/name"
expect $EACCES probe --creds user:wrong manifest "$R/closed/name:one"
says "refuses the user name or the password"

# --- with certificates of an own authority
openssl req -x509 -newkey rsa:2048 -nodes -keyout "$T/ca.key" -out "$T/ca.crt" -subj /CN=authority -days 2 2>/dev/null
openssl req -newkey rsa:2048 -nodes -keyout "$T/server.key" -out "$T/server.csr" -subj /CN=localhost 2>/dev/null
printf 'subjectAltName=DNS:localhost,IP:127.0.0.1' >"$T/names"
openssl x509 -req -in "$T/server.csr" -CA "$T/ca.crt" -CAkey "$T/ca.key" -CAcreateserial -days 2 -extfile "$T/names" -out "$T/server.crt" 2>/dev/null
HTTP_MORE="  tls: {certificate: $T/server.crt, key: $T/server.key}" start_registry encrypted
encrypted=$port R=127.0.0.1:$port
push "$T/layout:one" "$R/some/name:one"
expect $EIO probe manifest "$R/some/name:one"
says "certificate is not trusted"
says "--tls-verify=false"
reads "$R/some/name" --tls-verify=false
mkdir -p "$HOME/.config/containers/certs.d/$R"
cp "$T/ca.crt" "$HOME/.config/containers/certs.d/$R/own.crt"
reads "$R/some/name"
cp "$T/server.key" "$HOME/.config/containers/certs.d/$R/client.key"
expect 74 probe manifest "$R/some/name:one"
says "without"
rm "$HOME/.config/containers/certs.d/$R/client.key"
SSL_CERT_FILE=$T/none expect $EIO probe manifest "localhost:$port/some/name:one"
says "install ca-certificates"
SSL_CERT_FILE=$T/ca.crt reads "localhost:$port/some/name"
mkdir -p "$HOME/.config/containers/certs.d/other.localhost:$port"
cp "$T/ca.crt" "$HOME/.config/containers/certs.d/other.localhost:$port/own.crt"
expect $EIO probe manifest "other.localhost:$port/some/name:one"
says "a certificate of another name"
printf '[[registry]]\nlocation = "localhost:%s"\ninsecure = true\n' "$port" >"$HOME/.config/containers/registries.conf"
reads "localhost:$port/some/name"
rm "$HOME/.config/containers/registries.conf"

# --- where handshakes are cut off
cut=$(free_port)
python3 "$HERE/registry_cut.py" "$cut" "$encrypted" 4 &
registry_pids="$registry_pids $!"
wait_for_port "$cut"
expect 0 probe --tls-verify=false blob "127.0.0.1:$cut/some/name" "$layer" "$size" 1000 500000 3 4
cmp -s "$T/wanted" "$T/stdout" || fail "cut handshakes: other bytes"

# --- by HTTP/2, whose connections end with other requests on them
if "$jwt" -c 'import h2' 2>/dev/null; then
    two=$(free_port)
    "$jwt" "$HERE/registry_h2.py" "$T/layout" "$two" "$T/server.crt" "$T/server.key" "$T/two.log" &
    registry_pids="$registry_pids $!"
    wait_for_port "$two"
    for fault in fine goaway refused broken; do
        expect 0 probe --tls-verify=false blob "127.0.0.1:$two/$fault" "$layer" "$size" 1000 500000 3 4
        cmp -s "$T/wanted" "$T/stdout" || fail "HTTP/2, $fault: other bytes"
    done
    grep -q '^2 /v2/fine' "$T/two.log" || fail "HTTP/2 was not spoken"
    grep -q '^1 /v2/broken' "$T/two.log" || fail "HTTP/1.1 was not tried where HTTP/2 breaks"
else
    echo "left out: python3-h2 is not installed"
fi

# --- with blobs at another host
STORE=passwords start_registry plain
P=127.0.0.1:$port
files=$(free_port)
(cd "$T/passwords/store" && exec python3 "$HERE/registry_files.py" "$files" "$T/files.log") &
registry_pids="$registry_pids $!"
wait_for_port "$files"
STORE=passwords MORE="middleware: {storage: [{name: redirect, options: {baseurl: \"http://127.0.0.1:$files/\"}}]}" start_registry redirects
R=127.0.0.1:$port
reads "$R/some/name" --creds user:password
grep -q "^206 " "$T/files.log" || fail "no range came from the other host: $(cat "$T/files.log")"
! grep -q Authorization "$T/files.log" || fail "credentials reached the other host"

# --- as a cache of another registry: it sends the whole blob until it has it
MORE="proxy: {remoteurl: \"http://$P\"}" start_registry cache
R=127.0.0.1:$port
THREADS=1 reads "$R/some/name"
for _ in 1 2 3 4 5 6 7 8 9 10; do reads "$R/some/name"; done

# --- through a proxy, which loopback never is
proxy=$(free_port)
http_proxy=http://127.0.0.1:$proxy reads "$P/some/name"
hosts() { # HOST: what its hosts.toml says, on standard input
    mkdir -p "$HOME/.config/containerd/certs.d/$1"
    cat >"$HOME/.config/containerd/certs.d/$1/hosts.toml"
}
echo 'server = "http://far.example"' | hosts far.example
http_proxy=http://$P reads far.example/some/name # (a registry takes a proxy's requests for its own)
expect 11 env http_proxy=http://127.0.0.1:$proxy "$REGISTRY_PROBE" manifest far.example/some/name:one
says "does not answer"
expect 11 env http_proxy=http://$P no_proxy=far.example "$REGISTRY_PROBE" manifest far.example/some/name:one
says "no host of the name far.example"

python3 "$HERE/registry_proxy.py" "$proxy" "$encrypted" &
registry_pids="$registry_pids $!"
wait_for_port "$proxy"
https_proxy=http://127.0.0.1:$proxy reads tunnel.example/some/name --tls-verify=false
https_proxy=http://127.0.0.1:$proxy expect 11 probe manifest refused.example/some/name:one
says "the proxy"

# --- by mirrors: one that is not there, one that has it; the registry itself is not
none=$(free_port)
printf '[[registry]]\nprefix = "gone.example"\nlocation = "127.0.0.1:%s"\n[[registry.mirror]]\nlocation = "127.0.0.1:%s"\n[[registry.mirror]]\nlocation = "%s/some"\n' \
    "$none" "$none" "$P" >"$HOME/.config/containers/registries.conf"
reads gone.example/name
rm "$HOME/.config/containers/registries.conf"
printf 'server = "http://127.0.0.1:%s"\n[host."http://%s"]\n' "$none" "$P" | hosts other.example
reads other.example/some/name
grep -q 'ns=other.example' "$T/plain/log" || fail "the mirror is not told whose image it is"
