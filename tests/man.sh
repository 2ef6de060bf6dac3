#!/bin/sh
# The manual page names every command and every option that the program has, and none that it lacks.
# man.sh STAGEFS PAGE
stagefs=$1 page=$2 bad=0
help=$("$stagefs" --help) || exit 1
commands=$(printf '%s\n' "$help" | sed -n '/^Commands:/,/^$/s/^  \([a-z]*\) .*/\1/p')
[ -n "$commands" ] || { echo "stagefs --help lists no commands" && exit 1; }
known=" --version"
for command in $commands; do
    grep -q "^\.It Cm $command\( \|\$\)" "$page" || { echo "the page lacks the command $command" && bad=1; }
    for option in $("$stagefs" "$command" --help | grep -o '^  [ -].. *--[a-z-]*' | grep -o -e '--[a-z-]*'); do
        known="$known $option"
        grep -q "^\.It Fl \([a-zA-Z] , \)\?-${option#--}\( \|\$\)" "$page" || { echo "the page lacks $option of $command" && bad=1; }
    done
done
[ "$known" != " --version" ] || { echo "no command's --help lists options" && exit 1; }
for option in $(grep -o 'Fl \([a-zA-Z] , \)\?-[a-z-]\{2,\}' "$page" | sed 's/.* -/--/' | sort -u); do
    case "$known " in *" $option "*) ;; *) echo "the page has $option, which no command has" && bad=1 ;; esac
done
if command -v mandoc >/dev/null; then
    mandoc -T lint -W warning "$page" || bad=1
fi
exit $bad
