#!/bin/sh
# All Dockerfiles of tests/e2e/dockerfiles against buildah; the gate takes a third of them:
#   STAGEFS=build/tools/stagefs tests/long/dockerfiles.sh
exec sh "$(dirname "$0")/../e2e/dockerfile_equals_buildah.sh" 1 1
