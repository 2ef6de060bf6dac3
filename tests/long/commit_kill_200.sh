#!/bin/sh
# 200 kills, some minutes: tests/long/commit_kill_200.sh STAGEFS
STAGEFS=${1:?the stagefs program} KILLS=${KILLS:-200} exec "$(dirname "$0")/../e2e/commit_kill.sh"
