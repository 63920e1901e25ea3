#!/usr/bin/env bash
# Checks the Kubernetes manifests: strictly against the schemas of the oldest
# version that is meant and of the newest, and for what no schema knows.
#
#   scripts/kubernetes-check.sh
#
# Every rule is also tried on a copy with a mistake planted, which it must find.
# Needs python3 and no cluster. With NEMCON_BIN_DIR, the directory of built programs,
# settings are compared with what those take; else with the sources. The last line
# is "N passed, N failed".
set -euo pipefail
cd "$(dirname "$0")/.."

manifests=deploy/kubernetes
oldest=1.32
passed=0
failed=0

python=$(scripts/python-env.sh kubernetes scripts/kubernetes-requirements.txt)
dir=$(mktemp -d)
trap 'rm -rf "$dir"' EXIT
trap 'exit 130' INT TERM

# check WHAT COMMAND...: counts, and goes on.
check() {
    local what=$1
    shift
    if "$@"; then
        passed=$((passed + 1))
        echo "ok: $what"
    else
        failed=$((failed + 1))
        echo "FAILED: $what"
    fi
}

# rule NAME [ARGUMENT]: see kubernetes_check.py.
rule() {
    "$python" scripts/kubernetes_check.py "$manifests" "$@"
}

# finds FILE SED RULE [ARGUMENT]: the rule finds what sed does to a copy of the file.
finds() {
    local file=$1 change=$2 code=0
    shift 2
    rm -rf "$dir/planted"
    cp -r "$manifests" "$dir/planted"
    sed -i "$change" "$dir/planted/$file"
    if cmp -s "$manifests/$file" "$dir/planted/$file"; then
        echo "  nothing was planted: $change"
        return 1
    fi
    "$python" scripts/kubernetes_check.py "$dir/planted" "$@" >"$dir/found" 2>&1 || code=$?
    # 3 means found; anything else that the check itself broke.
    [[ $code -eq 3 ]] || {
        cat "$dir/found"
        return 1
    }
}

echo '-- the manifests'
check "they keep to the schemas of Kubernetes $oldest" rule schema "$oldest"
check 'they keep to the schemas of the newest Kubernetes' rule schema newest
check 'all are in the namespace, which comes first' rule namespace
check 'every set has its headless Service, which shows unready nodes' rule headless
check 'every address leads to a port that is served' rule addresses
check 'probes ask the port that is served, and let a recovery end' rule probes
check 'selectors select' rule selectors
check 'every node has one budget, and a policy that lets its port through' rule fence
check 'images have the version of Cargo.toml' rule images
check 'a stop is given its time' rule grace
check 'every NEMCON_ variable is a setting' rule settings
if [[ -n ${NEMCON_BIN_DIR:-} ]]; then
    check 'the programs accept the values' rule accepted
else
    echo 'SKIPPED: the programs accept the values (NEMCON_BIN_DIR is not set)'
fi
check 'volumes are kept, and no node runs twice' rule durable
check 'pods may do no more than they must' rule confined
check 'the banks differ in their names alone' rule alike

echo '-- planted mistakes are found'
bank=40-bank-b.yaml
check 'an unknown field' finds $bank 's/serviceName:/serviceNames:/' schema $oldest
check 'an unknown field, deep down' finds $bank 's/mountPath:/mountpath:/' schema newest
check 'a wrong type' finds $bank 's/replicas: 1/replicas: "1"/' schema $oldest
check 'a wrong type in the newest' finds 30-coordinator.yaml 's/runAsUser: 10001/runAsUser: root/' schema newest
check 'a kind that there is not' finds $bank 's/kind: StatefulSet/kind: StatefulSets/' schema newest
check 'a version of a kind that there is not' finds 20-disruption-budget.yaml 's#policy/v1#policy/v1beta1#' schema newest
check 'another namespace' finds $bank 's/namespace: nemcon/namespace: default/' namespace
check 'another serviceName' finds $bank 's/serviceName: bank-b/serviceName: bank/' headless
check 'a Service with an address of its own' finds $bank '/clusterIP: None/d' headless
check 'a Service that hides unready nodes' finds $bank 's/publishNotReadyAddresses: true/publishNotReadyAddresses: false/' headless
check 'an advertised name that is nobody' finds $bank 's/(POD_NAME).bank-b/(POD_NAME).bank-c/' addresses
check 'an advertised port that is shut' finds $bank 's/bank-b:7110/bank-b:7120/' addresses
check 'a variable that is used but not set' finds $bank 's/(POD_NAME)/(POD)/' addresses
check 'a coordinator that is nobody' finds examples/nemcon.sh 's/coordinator-0.coordinator/coordinator-1.coordinator/' addresses
check 'a Service with another port' finds $bank 's/ port: 7110$/ port: 7111/' addresses
check 'a probe of another port' finds $bank '/livenessProbe:/,/port:/s/7110/7100/' probes
check 'a short startup probe' finds $bank 's/failureThreshold: 43200/failureThreshold: 30/' probes
check 'a set that selects other pods' finds $bank 's/instance: bank-b/instance: bank-c/' selectors
check 'a budget for nobody' finds 20-disruption-budget.yaml 's#kubernetes.io/name: nemcon#kubernetes.io/name: other#' selectors
check 'a policy for nobody' finds 10-network-policy.yaml 's/nemcon-client/client/' selectors
check 'a port that the policy shuts' finds 10-network-policy.yaml 's/port: 7110/port: 7120/' fence
check 'a door open to everybody' finds 10-network-policy.yaml '/- from:/,/"true"/d; 0,/^      ports:$/s//    - ports:/' fence
check 'an image of another version' finds $bank 's/bank:[0-9.]*$/bank:latest/' images
check 'a grace period shorter than the drain' finds $bank 's/terminationGracePeriodSeconds: 30/terminationGracePeriodSeconds: 9/' grace
check 'a setting that there is not' finds $bank 's/NEMCON_ADVERTISE/NEMCON_ADVERTISED/' settings
check "another program's setting" finds 30-coordinator.yaml 's/NEMCON_LOG_FORMAT/NEMCON_NAME/' settings
if [[ -n ${NEMCON_BIN_DIR:-} ]]; then
    check 'a value that the program refuses' finds $bank 's/value: "true"/value: "false"/' accepted
fi
check 'a volume that goes with its set' finds $bank 's/whenDeleted: Retain/whenDeleted: Delete/' durable
check 'a volume for many' finds $bank 's/ReadWriteOncePod/ReadWriteMany/' durable
check 'a second replica' finds 30-coordinator.yaml 's/replicas: 1/replicas: 2/' durable
check 'data in the container' finds $bank 's#value: /data#value: /tmp#' durable
check 'a root file system to write to' finds $bank 's/readOnlyRootFilesystem: true/readOnlyRootFilesystem: false/' confined
check 'capabilities' finds examples/audit.yaml '/drop:/s/ALL/KILL/' confined
check 'a bank that differs' finds $bank 's/periodSeconds: 20/periodSeconds: 10/' alike

printf '== kubernetes check: %d s\n' "$SECONDS"
echo "$passed passed, $failed failed"
[[ $failed -eq 0 ]]
