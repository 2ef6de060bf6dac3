#!/bin/sh
# All forged indexes of tests/e2e/registry_trust.sh, of which the gate takes a few:
#   STAGEFS=build/tools/stagefs tests/long/registry_forgeries.sh
FORGERIES=all exec sh "$(dirname "$0")/../e2e/registry_trust.sh"
