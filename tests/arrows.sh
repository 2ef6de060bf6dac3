#!/bin/sh
# The arrows of the house: a folder of fs/ uses itself and the folders to its left; tools/ only <stagefs/...>; bench/
# nothing of ours.
cd "$1" || exit 2
bad=0 left=""
for folder in base blob layer image tree stage mount commit; do
    left="$left $folder"
    [ "$folder" = commit ] && left=$(echo "$left" | sed 's/ mount//')
    for used in $(cat fs/"$folder"/*.[ch] 2>/dev/null | sed -n 's|^#include "\(.*\)/.*|\1|p' | sort -u); do
        case "$left " in
        *" $used "*) ;;
        *) echo "fs/$folder must not use $used" && bad=1 ;;
        esac
    done
done
grep -rn --include='*.[ch]' '^#include ".*/' tools bench && bad=1
# (auto.h is three macros)
grep -rn --include='*.[ch]' '^#include <stagefs/' bench | grep -v '<stagefs/auto.h>' && bad=1
exit $bad
