#!/usr/bin/env bash
# Purifies a model and rolls the release out; for cron or a workflow. Run it from the folder of Trigger Guard, for example by
#   17 2 * * *  cd /srv/trigger-guard && . /etc/trigger-guard/nightly.env && bash docs/nightly.sh MODEL CLEAN_IMAGES SIGNING_KEY
# with EDGE_URL and TRIGGER_GUARD_PUBLISH_TOKEN exported by nightly.env (mode 0600). Ends with 3 when the gate refuses the release, so
# that cron mails what it printed; a model without a backdoor is no failure and rolls nothing out.
set -euo pipefail
[ $# -eq 3 ] || { echo "usage: nightly.sh MODEL CLEAN_IMAGES SIGNING_KEY" >&2; exit 2; }
: "${EDGE_URL:?}" "${TRIGGER_GUARD_PUBLISH_TOKEN:?}"

out=$(mktemp -d)
trap 'rm -rf "$out"' EXIT
npm run -s trigger-guard -- purify "$1" --clean "$2" --key "$3" --out "$out/release"
if [ ! -e "$out/release/manifest.json" ]; then
  echo "nothing to roll out"
  exit 0
fi
stored=$(npm run -s trigger-guard -- publish "$out/release" --to "$EDGE_URL" --store-only)
digest=$(awk '{ print $2 }' <<< "$stored")
npm run -s trigger-guard -- rollout start "$digest" --url "$EDGE_URL" --token-env TRIGGER_GUARD_PUBLISH_TOKEN --reason nightly
