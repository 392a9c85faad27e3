#!/bin/sh
# Shows what ip-reconciler does, on the control plane that `make demo` starts around this script.
# With the argument "shell" it leaves you in a shell on that cluster.

set -eu
cd "$(dirname "$0")/.."

example=examples/crashed-node.yaml
if [ -t 1 ]; then bold=$(printf '\033[1m') plain=$(printf '\033[0m'); else bold='' plain=''; fi

# Says what comes now.
say() {
    printf '\n%s# %s%s\n' "$bold" "$1" "$plain"
}

# Shows a command as one would type it, and runs it.
run() {
    printf '%s$ %s%s\n' "$bold" "$1" "$plain"
    eval "$1"
}

# Prints the fields of each object of the example, as the file has them.
fields() {
    kubectl create --dry-run=client --filename="$example" --output=jsonpath="$1{'\n'}"
}

show_records() {
    run "kubectl get ippools -A -o go-template='{{range .items}}{{.spec.range}}{{\"\\n\"}}{{
    range \$offset, \$entry := .spec.allocations}}    {{\$offset}}  {{.podref}}{{\"\\n\"}}{{end}}{{end}}'"
    run "kubectl get overlappingrangeipreservations -A \\
    -o custom-columns=RESERVATION:.metadata.name,POD:.spec.podref"
}

say 'An empty cluster gets the custom resources of Whereabouts.'
run 'kubectl apply -f manifests/crds'
run 'kubectl wait --for=condition=Established -f manifests/crds >/dev/null'

say 'A node has crashed: its pods are gone, but nobody has freed their addresses.'
for namespace in $(fields '{.metadata.namespace}' | sort -u); do
    kubectl get namespace "$namespace" >/dev/null 2>&1 ||
        run "kubectl create namespace $namespace"
done
# A custom resource is served a moment after it is established.
tries=30
until kubectl get ippools,overlappingrangeipreservations >/dev/null 2>&1 || [ $tries = 0 ]; do
    sleep 1
    tries=$((tries - 1))
done
run "kubectl create -f $example"
# The server makes every new pod Pending; a kubelet would say the rest.
fields '{.kind} {.metadata.namespace} {.metadata.name} {.status.phase}' |
    while read -r kind namespace name phase; do
        if [ "$kind" = Pod ] && [ -n "$phase" ]; then
            kubectl patch pod "$name" --namespace="$namespace" --subresource=status \
                --patch="{\"status\": {\"phase\": \"$phase\"}}" >/dev/null
        fi
    done

say 'These pods are left ...'
run 'kubectl get pods -A -o wide'
say '... and these records of who has which address.'
show_records

say 'What would be freed, and why?'
run 'ip-reconciler --dry-run'

say 'Free it.'
run 'ip-reconciler'

say 'Only the addresses of pods that run are left.'
show_records

if [ "${1-}" = shell ]; then
    say 'kubectl and ip-reconciler work here; exit ends the cluster. Try:'
    cat <<'END'
  ip-reconciler --help
  kubectl delete pod database-0 --namespace shop --force
  ip-reconciler --dry-run --output wide
  ip-reconciler
END
    exec "${SHELL:-sh}"
fi
say 'What to try next:'
printf '  %-62s  %s\n' \
    'make demo-shell' 'this demo, and then a shell on its cluster' \
    "cargo run --release -- --snapshot $example" 'the same report without any cluster' \
    'cargo run --release -- --help' 'everything else' \
    'make test' 'all of this, checked'
