#!/usr/bin/env bash
# Runs the command line in the cluster, where the nodes' names are known:
#
#   deploy/kubernetes/examples/nemcon.sh participants list
#
# A pod for one command; it goes when the command has ended. Output and exit code
# are the command's, standard input goes to it.
set -euo pipefail

pod=nemcon-cli-$$-$RANDOM
# What the namespace asks of every pod, and `kubectl run` has no flags for.
overrides='{
  "spec": {
    "automountServiceAccountToken": false,
    "enableServiceLinks": false,
    "securityContext": {
      "runAsNonRoot": true, "runAsUser": 10001, "runAsGroup": 10001,
      "seccompProfile": {"type": "RuntimeDefault"}
    },
    "containers": [{
      "name": "'$pod'",
      "securityContext": {
        "allowPrivilegeEscalation": false, "readOnlyRootFilesystem": true,
        "capabilities": {"drop": ["ALL"]}
      }
    }]
  }
}'
exec kubectl --namespace nemcon run "$pod" --image nemcon/cli:0.1.0 \
    --labels app.kubernetes.io/name=nemcon-cli,nemcon-client=true \
    --env NEMCON_COORDINATOR=http://coordinator-0.coordinator:7100 \
    --restart Never --stdin --rm --quiet \
    --override-type strategic --overrides "$overrides" -- "$@"
