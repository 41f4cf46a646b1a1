# What the demo reads: pods and the policy from the Kubernetes API, figures from Prometheus, alerts from Alertmanager,
# the last two through the API server, so that nothing needs a route into the cluster. It changes nothing.
# shellcheck shell=bash disable=SC2034,SC2154

SHOP=${DEMO_NAMESPACE:-shop}
HOME_NAMESPACE=grpc-hygiene-demo
RELEASE=grpc-hygiene
POLICY=clients
OURS=grpc-hygiene.io/demo=true
PROMETHEUS_URL=${PROMETHEUS_URL:-http://prometheus.monitoring:9090}
ALERTMANAGER_URL=${ALERTMANAGER_URL:-http://alertmanager.monitoring:9093}

shop() { kubectl --namespace "$SHOP" "$@"; }
operator() { kubectl --namespace "$HOME_NAMESPACE" "$@"; }

# path_in_api URL: where the API server offers a service that is given by its address inside the cluster.
path_in_api() {
  local parts='^(https?)://([^.:/]+)\.([^.:/]+)[^:/]*(:([0-9]+))?(/.*)?$'
  [[ $1 =~ $parts ]] || fail "$1 is not like http://SERVICE.NAMESPACE:PORT"
  local scheme='' port=${BASH_REMATCH[5]:-80}
  if [[ ${BASH_REMATCH[1]} == https ]]; then scheme=https: port=${BASH_REMATCH[5]:-443}; fi
  echo "/api/v1/namespaces/${BASH_REMATCH[3]}/services/$scheme${BASH_REMATCH[2]}:$port/proxy${BASH_REMATCH[6]%/}"
}

through_api() { kubectl get --raw "$(path_in_api "$1")$2"; }

# figure QUERY: the value of an instant query as an integer, 0 when there is none.
figure() {
  local query
  query=$(jq -rn --arg query "$1" '$query | @uri')
  through_api "$PROMETHEUS_URL" "/api/v1/query?query=$query" | jq -r '.data.result[0].value[1] // "0" | tonumber | round'
}

# pods_of WORKLOAD: its pods that are not on their way out, as a|b for a query.
pods_of() {
  shop get pods --selector "app.kubernetes.io/name=$1" --output json |
    jq -r '[.items[] | select(.metadata.deletionTimestamp == null) | .metadata.name] | join("|")'
}

connections_of() { figure "sum(grpc_subchannel_open_connections{namespace=\"$SHOP\",pod=~\"$1\"})"; }
memory_of() { figure "sum(max by (pod) (container_memory_working_set_bytes{namespace=\"$SHOP\",container=\"shop\",pod=~\"$1\"})) / 2^20"; }

# identities: a line for each pod that does not leak, with uid, restarts and how many of our annotations it carries.
identities() {
  shop get pods --selector 'app.kubernetes.io/name in (orders-fixed, shop-server)' --output json | jq -r '.items | sort_by(.metadata.name)[] |
    "\(.metadata.name)  uid \(.metadata.uid)  restarts \(.status.containerStatuses[0].restartCount)  annotations of ours \(
      [.metadata.annotations // {} | keys[] | select(startswith("grpc-hygiene.io/"))] | length)"'
}

policy() { shop get gcpol "$POLICY" --output json; }

condition_is() { [[ $(shop get gcpol "$POLICY" --output "jsonpath={.status.conditions[?(@.type==\"$1\")].status}") == "$2" ]]; }

# When the first leaking call was made: the clients begin with their containers. Seconds since 1970.
first_leaking_call() {
  shop get pods --selector app.kubernetes.io/name=orders-leaky --output json |
    jq -r '[.items[].status.containerStatuses[0].state.running.startedAt | fromdate] | min'
}

# Those of this demo: an earlier one's may still be running out.
alerts() {
  through_api "$ALERTMANAGER_URL" /api/v2/alerts |
    jq --arg namespace "$SHOP" --argjson began "$began_leaking" '[.[] | select(.labels.namespace == $namespace and
      (.labels | has("diagnosis")) and (.updatedAt[:19] + "Z" | fromdate) >= $began)]'
}

alert_fires() { [[ $(alerts | jq length) -gt 0 ]]; }

leaky_pod_is_annotated() {
  [[ -n $(shop get pod "$worst" --output 'jsonpath={.metadata.annotations.grpc-hygiene\.io/diagnosis}') ]]
}

restart_is_counted() { [[ $(policy | jq '.status.counts.restartsLastDay // 0') -ge 1 ]]; }

# What a person needs who must find out why the demo failed.
diagnose() {
  {
    printf '\n--- policy\n'
    policy | jq -r '.status | (.conditions[]? | "\(.type)=\(.status) \(.reason) \(.message)"),
      (.counts | tostring), (.inconclusive[]? | "\(.reason): \(.example)"),
      (.offenders[]? | "\(.pod) \(.diagnosis) \([.remediations[]? | "\(.remediation)=\(.state) \(.because // "")"] | join(", "))")'
    printf '\n--- pods\n'
    kubectl get pods --all-namespaces --output wide
    printf '\n--- events\n'
    shop get events --sort-by=.lastTimestamp | tail -n 15
    printf '\n--- the operator\n'
    operator logs "deployment/$RELEASE" --tail=30
    operator get events | tail -n 10
  } >&2 2>&1 || true
}
