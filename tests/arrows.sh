#!/bin/sh
# The arrows of the house: a folder of fs/ uses itself and what its line names; tools/ uses only <stagefs/...>; bench/
# uses nothing of ours. A folder that is not there yet is a room for what comes (docs/architecture.md).
cd "$1" || exit 2
bad=0
allowed() {
    case $1 in
    base) ;;
    registry | dockerfile | blob) echo base ;;
    layer) echo base blob ;;
    image) echo base registry blob layer ;;
    tree) echo base blob layer image ;;
    copy) echo base blob layer image tree ;;
    stage) echo base dockerfile registry blob layer image tree copy ;;
    mount) echo base blob layer image tree copy stage ;;
    run) echo base blob layer image tree stage mount ;;
    engine) echo base registry blob layer image tree stage mount run ;;
    commit) echo base registry blob layer image tree stage ;;
    slim) echo base blob layer image tree copy stage ;;
    *) return 1 ;;
    esac
}
for folder in fs/*/; do
    folder=$(basename "$folder")
    left=$(allowed "$folder") || { echo "fs/$folder stands in no line of tests/arrows.sh" && bad=1 && continue; }
    for used in $(cat fs/"$folder"/*.[ch] | sed -n 's|^#include "\(.*\)/.*|\1|p' | sort -u); do
        case " $left $folder " in
        *" $used "*) ;;
        *) echo "fs/$folder must not use $used" && bad=1 ;;
        esac
    done
done
grep -rn --include='*.[ch]' '^#include ".*/' tools bench && bad=1
# (auto.h is three macros)
grep -rn --include='*.[ch]' '^#include <stagefs/' bench | grep -v '<stagefs/auto.h>' && bad=1
exit $bad
