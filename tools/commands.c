/* The one list of commands: dispatch, overview and help are made from it. */
#include "cmd.h"

const struct command commands[] = {
    { "mount", "STAGE MOUNTPOINT [OPTION]...",
      "mount a stage read-only; returns when the mount answers",
      "  stagefs mount oci:stage:builder /mnt/stage\n"
      "  stagefs mount --base oci:stage:base --from oci:stage:builder --copy /opt/conda "
      "/mnt/runtime\n"
      "  stagefs mount --layers oci:stage:builder /mnt/layers\n",
      cmd_mount, false },
    { "umount", "MOUNTPOINT", "unmount, also a dead mount", "  stagefs umount /mnt/stage\n",
      cmd_umount, true },
    { "stats", "[--drop] MOUNTPOINT", "what a mount was asked, read and decoded",
      "  stagefs stats /mnt/stage\n  stagefs stats --drop /mnt/stage    # before a cold start\n",
      cmd_stats, true },
    { "ls", "[-lahnrtS1Rd] STAGE [PATH]...", "list names without mounting",
      "  stagefs ls -lhS oci:stage:builder /usr/local/cuda/lib64\n"
      "  stagefs ls -R --json docker-archive:image.tar /etc\n",
      cmd_ls, false },
    { "cat", "STAGE PATH...", "print files without mounting",
      "  stagefs cat oci:stage:builder /etc/os-release\n", cmd_cat, false },
    { "stat", "STAGE PATH...", "tell all about files, and which layer they come from",
      "  stagefs stat oci:stage:builder /usr/bin/ping\n", cmd_stat, false },
    { "du", "[-ahsc] [--layers|--why|--device-code|--report FILE] [--depth N] STAGE [PATH]...",
      "sizes, by directory, by layer, or as a report on all files",
      "  stagefs du -h --depth 2 oci:stage:builder /opt\n"
      "  stagefs du --layers oci:stage:builder\n"
      "  stagefs du --report bytes.html --profile start.profile oci:stage:builder\n"
      "  stagefs du --why --trim torch.profile oci:stage:builder /opt/conda/lib\n"
      "  stagefs du --device-code --gpu-arch sm_90 oci:stage:builder\n",
      cmd_du, false },
    { "diff", "STAGE STAGE", "what the second stage adds, removes and changes",
      "  stagefs diff oci:stage:base oci:stage:builder\n"
      "  stagefs diff oci:out:runtime --base oci:stage:base --from oci:stage:builder --copy "
      "/opt/conda\n",
      cmd_diff, false },
    { "inspect", "IMAGE", "manifest, config, layers, codecs, index state",
      "  stagefs inspect --json oci:stage:builder\n", cmd_inspect, false },
    { "index", "IMAGE | --push IMAGE [docker://HOST/NAME[:TAG]]",
      "build what lazy reading needs, once per layer",
      "  stagefs index oci:stage:builder\n"
      "  stagefs index --push oci:out:runtime docker://registry.example/team/runtime:1\n",
      cmd_index, false },
    { "verify", "IMAGE", "check every digest; exit 3 if one does not hold",
      "  stagefs verify oci-archive:image.tar\n", cmd_verify, false },
    { "commit", "STAGE -t IMAGE [OPTION]...", "write a stage as one layer on its base",
      "  stagefs commit --base oci:stage:base --from oci:stage:builder --copy "
      "/opt/conda:/opt/conda \\\n"
      "                 --chown 1000 --exclude '**/*.a' -t oci:out:runtime\n"
      "  stagefs commit --trim torch.profile --keep '/opt/conda/share/**' oci:stage:builder \\\n"
      "                 -t oci:out:small\n"
      "  stagefs commit --gpu-arch sm_90,sm_80 oci:stage:builder -t oci:out:hopper\n",
      cmd_commit, false },
    { "push", "IMAGE docker://HOST/NAME[:TAG] [--all]", "copy an image into a registry",
      "  stagefs push oci:out:runtime docker://registry.example/team/runtime:1\n"
      "  stagefs push --all oci-archive:image.tar docker://registry.example/team/image\n",
      cmd_push, false },
    { "slim", "STAGE -t IMAGE --exec CMD [OPTION]...",
      "commit what commands need of a stage, checked, with a table",
      "  stagefs slim --base oci:stage:base --from oci:stage:builder --copy /opt/conda \\\n"
      "               --exec \"python -c 'import torch'\" --gpu-arch sm_90 -t oci:out:small\n",
      cmd_slim, false },
    { "run", "STAGE [--env K=V]... [--rw DIR] [--] [CMD...]",
      "run a command with a stage as its root; what it writes is dropped",
      "  stagefs run oci:out:runtime python -c 'import torch'\n"
      "  stagefs run -f Dockerfile --build-context base=oci:stage:base --rw /data -- /bin/sh\n",
      cmd_run, false },
    { "trace", "STAGE -o PROFILE [--env K=V]... [--rw DIR] [--] [CMD...]",
      "run a command, and write down what it uses of the stage",
      "  stagefs trace oci:out:runtime -o torch.profile -- python -c 'import torch'\n"
      "  stagefs mount --profile torch.profile oci:out:runtime /mnt/runtime\n",
      cmd_trace, false },
    { "profile", "push FILE docker://HOST/NAME[:TAG] | ls docker://... | merge PROFILE...",
      "start profiles beside an image at its registry, and several as one",
      "  stagefs profile push torch.profile docker://registry.example/team/runtime:1 --workload "
      "train\n"
      "  stagefs profile ls docker://registry.example/team/runtime:1\n"
      "  stagefs profile merge -o all.profile a.profile docker://registry.example/team/runtime:1\n",
      cmd_profile, false },
    { "bench", "STAGE [--lib GLOB]... [--against dir]",
      "measure load times from the mount and from elsewhere",
      "  stagefs bench oci:out:runtime --lib '**/libcublas*.so.*' --against dir --cold\n",
      cmd_bench, false },
    { "cache", "ls|prune [--keep SIZE]", "what is kept on disk, and freeing it",
      "  stagefs cache ls\n  stagefs cache prune --keep 2G\n", cmd_cache, true },
    { 0 },
};
