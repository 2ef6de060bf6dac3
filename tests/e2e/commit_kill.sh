#!/bin/sh
# Killed at any moment, commit leaves its destination as it was, or complete; the next run removes what is left.
# KILLS=N for more of them (tests/long/commit_kill_200.sh).
. "$(dirname "$0")/lib.sh"
need python3
python3 "$HERE/commit_kill.py" "$STAGEFS" "$T" "${KILLS:-10}"
