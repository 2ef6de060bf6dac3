# Sourced after lib.sh. make_rootfs DIR: a root file system with a shell and some tools of this machine.
make_rootfs() {
    mkdir -p "$1/bin" "$1/etc" "$1/dev" "$1/proc" "$1/sys" "$1/tmp" "$1/usr/bin" "$1/root" "$1/home/app"
    echo 'root:x:0:0::/root:/bin/sh' >"$1/etc/passwd"
    echo 'app:x:1000:1000::/home/app:/bin/sh' >>"$1/etc/passwd"
    printf 'root:x:0:\napp:x:1000:\n' >"$1/etc/group"
    for program in sh ls cat id stat mkdir touch rm chmod chown ln mv cp echo test true; do
        path=$(PATH=/usr/bin:/bin command -v "$program") || continue
        case $path in /*) ;; *) path=/usr/bin/$program ;; esac
        cp -L "$path" "$1/bin/$program"
        ldd "$path" 2>/dev/null | grep -o '/[^ ]*' | while read -r library; do
            mkdir -p "$1$(dirname "$library")"
            [ -e "$1$library" ] || cp -L "$library" "$1$library"
        done
    done
}
