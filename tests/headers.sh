#!/bin/sh
# Every header compiles alone.
cd "$1" || exit 2
bad=0
for header in include/stagefs/*.h fs/*/*.h; do
    case $header in
    include/*) line="#include <${header#include/}>" ;;
    *) line="#include \"${header#fs/}\"" ;;
    esac
    echo "$line" | ${CC:-cc} -std=gnu17 -D_GNU_SOURCE -Wall -Wextra -Werror -Iinclude -Ifs -x c -fsyntax-only $(pkg-config --cflags fuse3 jansson libarchive) - || bad=1
done
exit $bad
