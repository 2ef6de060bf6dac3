#!/bin/sh
# --gpu: devices and the driver's libraries in the sandbox, by names and by a description (CDI). The GPUs are stand-ins:
# device files of a driver's root that are /dev/zero and /dev/null by another name.
. "$(dirname "$0")/lib.sh"
. "$(dirname "$0")/rootfs.sh"
need_root
need_fuse
runtimes=
make_rootfs "$T/root"
tar -C "$T/root" -cf "$T/layer.tar" .
image "$T/layout:x" gzip:"$T/layer.tar" >/dev/null
stage=oci:$T/layout:x
for runtime in runc crun bwrap; do
    "$STAGEFS" run --runtime $runtime "$stage" -- /bin/true 2>/dev/null && runtimes="$runtimes $runtime"
done
[ "$runtimes" ] || skip "no runtime"

# a machine without one
mkdir "$T/none"
export NVIDIA_DRIVER_ROOT="$T/none"
expect 125 "$STAGEFS" run --gpu "$stage" -- /bin/true
says "no NVIDIA GPU"

# a machine with three, of which the second on the bus has the first number
D=$T/driver
export NVIDIA_DRIVER_ROOT="$D"
mkdir -p "$D/dev/nvidia-caps" "$D/usr/lib64" "$D/usr/bin" "$D/proc/driver/nvidia/gpus"
mknod "$D/dev/nvidiactl" c 1 3 2>/dev/null || skip "no device file can be made"
(: <"$D/dev/nvidiactl") 2>/dev/null || skip "device files do not work in $T"
mknod "$D/dev/nvidia-uvm" c 1 3
mknod "$D/dev/nvidia0" c 1 5
mknod "$D/dev/nvidia1" c 1 5
mknod "$D/dev/nvidia7" c 1 5
mknod "$D/dev/sda" b 8 0
chmod 0666 "$D"/dev/nvidia*
for gpu in 0000:01:00.0/1 0000:81:00.0/0 0000:c1:00.0/7; do
    mkdir "$D/proc/driver/nvidia/gpus/${gpu%/*}"
    printf 'Model: \t\t stand-in\nGPU UUID:   \t GPU-%s0000-aa\nDevice Minor: \t %s\n' "${gpu#*/}" "${gpu#*/}" \
        >"$D/proc/driver/nvidia/gpus/${gpu%/*}/information"
done
expect 125 "$STAGEFS" run --gpu "$stage" -- /bin/true
says "libcuda.so.1 is not found"
for library in libcuda.so.550.1 libnvidia-ml.so.550.1 libnvidia-ptxjitcompiler.so.550.1 libGLX_nvidia.so.0 libother.so.1; do
    echo $library >"$D/usr/lib64/$library"
done
ln -s libcuda.so.550.1 "$D/usr/lib64/libcuda.so.1"
ln -s libnvidia-ml.so.550.1 "$D/usr/lib64/libnvidia-ml.so.1"
printf '#!/bin/sh\necho smi\n' >"$D/usr/bin/nvidia-smi"
chmod 0755 "$D/usr/bin/nvidia-smi"

for runtime in $runtimes; do
    # shellcheck disable=SC2016
    expect 0 "$STAGEFS" run --gpu --runtime $runtime "$stage" -- /bin/sh -c '
        for d in nvidiactl nvidia-uvm nvidia0 nvidia1 nvidia7; do [ -c /dev/$d ] || echo "no $d"; done
        [ -e /dev/sda ] && echo "/dev/sda is there"
        : </dev/nvidia0 >/dev/nvidiactl || echo "cannot be opened"
        chmod 0600 /dev/nvidia0 2>/dev/null && echo "modes can be changed"
        for l in libcuda.so libcuda.so.1 libcuda.so.550.1; do
            [ "$(cat $LD_LIBRARY_PATH/$l)" = libcuda.so.550.1 ] || echo "$l is not the driver"
        done
        [ -e $LD_LIBRARY_PATH/libnvidia-ml.so.1 ] || echo "no libnvidia-ml.so.1"
        [ -e $LD_LIBRARY_PATH/libGLX_nvidia.so.0 ] && echo "what draws is there"
        [ -e $LD_LIBRARY_PATH/libother.so.1 ] && echo "what is none of the driver is there"
        (echo x >$LD_LIBRARY_PATH/libcuda.so.1) 2>/dev/null && echo "a library can be written"
        (: >$LD_LIBRARY_PATH/new) 2>/dev/null && echo "a library can be added"
        nvidia-smi'
    [ "$(cat "$T/stdout")" = smi ] || fail "$runtime: $(cat "$T/stdout" "$T/stderr")"
    expect 0 "$STAGEFS" run --runtime $runtime "$stage" -- /bin/sh -c 'ls /dev; ls /usr/local 2>/dev/null; exit 0'
    grep -q nvidia "$T/stdout" && fail "$runtime: a GPU that nobody asked for"
done
grep -q libcuda.so.550.1 "$D/usr/lib64/libcuda.so.550.1" || fail "a library of the machine was changed"

# which ones: numbers go by the bus; the image's or --env's word counts, not this process's
seen() { "$STAGEFS" run --gpu --env "NVIDIA_VISIBLE_DEVICES=$1" "$stage" -- /bin/sh -c 'cd /dev; echo nvidia[0-9]*'; }
export NVIDIA_VISIBLE_DEVICES=2
[ "$(seen all)" = "nvidia0 nvidia1 nvidia7" ] || fail "all: $(seen all)"
[ "$(seen 0)" = nvidia1 ] || fail "0: $(seen 0)"
[ "$(seen 1,GPU-70000)" = "nvidia0 nvidia7" ] || fail "1,GPU-70000: $(seen 1,GPU-70000)"
[ "$(seen none)" = "nvidia[0-9]*" ] || fail "none: $(seen none)"
expect 125 "$STAGEFS" run --gpu -e NVIDIA_VISIBLE_DEVICES=3 "$stage" -- /bin/true
says "there is no GPU '3'"
expect 125 "$STAGEFS" run --gpu -e NVIDIA_VISIBLE_DEVICES=MIG-1 "$stage" -- /bin/true
says "MIG"

# LD_LIBRARY_PATH of the image goes first
# shellcheck disable=SC2016
expect 0 "$STAGEFS" run --gpu -e LD_LIBRARY_PATH=/a:/b "$stage" -- /bin/sh -c 'echo $LD_LIBRARY_PATH'
grep -qx /a:/b:/usr/local/nvidia/lib64 "$T/stdout" || fail "LD_LIBRARY_PATH: $(cat "$T/stdout")"

# the loader's cache knows the driver's place
mkdir -p "$D/opt/driver" "$D/etc"
echo other >"$D/opt/driver/libcuda.so.551.2"
ln -s libcuda.so.551.2 "$D/opt/driver/libcuda.so.1"
printf 'glibc-ld.so.cache1.1\0/opt/gone/libcuda.so.1\0/opt/driver/libcuda.so.1\0' >"$D/etc/ld.so.cache"
# shellcheck disable=SC2016
expect 0 "$STAGEFS" run --gpu "$stage" -- /bin/sh -c 'cat $LD_LIBRARY_PATH/libcuda.so'
grep -qx other "$T/stdout" || fail "by the loader's cache: $(cat "$T/stdout")"
rm "$D/etc/ld.so.cache"

# by a description, which is asked first
mkdir -p "$D/etc/cdi"
cat >"$D/etc/cdi/nvidia.json" <<'CDI'
{"cdiVersion": "0.5.0", "kind": "nvidia.com/gpu",
 "devices": [{"name": "0", "containerEdits": {"deviceNodes": [{"path": "/dev/nvidia7"}]}},
             {"name": "all", "containerEdits": {"deviceNodes": [{"path": "/dev/nvidia7"}, {"path": "/dev/sda"},
                                                                {"path": "/dev/nvidia-x/../sda"}]}}],
 "containerEdits": {"deviceNodes": [{"path": "/dev/nvidiactl"}],
                    "mounts": [{"hostPath": "/usr/lib64/libcuda.so.550.1", "containerPath": "/usr/lib64/libcuda.so.550.1"},
                               {"hostPath": "/usr/bin/nvidia-smi", "containerPath": "/usr/bin/nvidia-smi"}],
                    "hooks": [{"hookName": "createContainer", "path": "/bin/false"}]}}
CDI
[ "$(seen all)" = nvidia7 ] || fail "by a description: $(seen all)"
[ "$(seen 0)" = nvidia7 ] || fail "0 by a description: $(seen 0)"
[ "$(seen 1)" = nvidia0 ] || fail "what the description does not have is not found: $(seen 1)"
# shellcheck disable=SC2016
expect 0 "$STAGEFS" run --gpu "$stage" -- /bin/sh -c 'ls /dev $LD_LIBRARY_PATH; nvidia-smi'
grep -qx smi "$T/stdout" && grep -qx libcuda.so "$T/stdout" || fail "by a description: $(cat "$T/stdout")"
grep -qx 'sda' "$T/stdout" && fail "a description brought a disk"
rm "$D/dev/nvidiactl" "$D/dev/nvidia7"
expect 125 "$STAGEFS" run --gpu "$stage" -- /bin/true
says "is not there"

# trace sees the stage alone, and commit's checks have the GPU too
mknod "$D/dev/nvidiactl" c 1 3
expect 0 "$STAGEFS" trace --gpu -e NVIDIA_VISIBLE_DEVICES=none "$stage" -o "$T/profile" -- /bin/cat /usr/local/nvidia/lib64/libcuda.so.1
grep -q 'libcuda' "$T/profile" && fail "the trace has the driver: $(grep libcuda "$T/profile")"
expect 0 "$STAGEFS" commit --gpu --env NVIDIA_VISIBLE_DEVICES=none --check 'ls /dev/nvidiactl' "$stage" -t "oci:$T/layout:y"
expect 1 "$STAGEFS" commit --check 'ls /dev/nvidiactl' "$stage" -t "oci:$T/layout:z"
exit 0
