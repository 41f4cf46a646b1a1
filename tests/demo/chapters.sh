# The chapters of the demo. Each does one thing to the cluster, waits for what must follow, and shows it as it is.
# shellcheck shell=bash disable=SC2154

# From the first leaking call to the finding, seconds.
DETECTION_LIMIT=180
MANIFESTS=$REPO/tests/workloads/manifests

install_operator() {
  local crds=true
  remove_demo
  for namespace in "$HOME_NAMESPACE" "$SHOP"; do
    kubectl create namespace "$namespace" >/dev/null
    kubectl label namespace "$namespace" "$OURS" >/dev/null
  done
  # Somebody else's definitions stay theirs.
  if kubectl get crd grpcclientpolicies.grpc-hygiene.io >/dev/null 2>&1; then crds=false; fi
  typed "helm install $RELEASE charts/grpc-hygiene -n $HOME_NAMESPACE -f tests/demo/values.yaml \\"
  say "    --set prometheus.url=$PROMETHEUS_URL \\" "    --set alertmanagers[0].url=$ALERTMANAGER_URL"
  helm install "$RELEASE" "$REPO/charts/grpc-hygiene" --namespace "$HOME_NAMESPACE" --values "$HERE/values.yaml" \
    --set "prometheus.url=$PROMETHEUS_URL" --set "alertmanagers[0].url=$ALERTMANAGER_URL" --set "crds.install=$crds" \
    >"$CLUSTER_DIR/demo-helm.log" 2>&1 || { cat "$CLUSTER_DIR/demo-helm.log" >&2 && fail "helm install failed"; }
  wait_until 90 "the operator is ready" operator rollout status "deployment/$RELEASE" --timeout=1s
  good "the operator is ready; its quiet period, 10 minutes in earnest, is 30 seconds here"
}

deploy_good() {
  shop apply --filename "$MANIFESTS/server.yaml" --filename "$MANIFESTS/orders-fixed.yaml" >/dev/null
  wait_until 90 "the shop's server is ready" shop rollout status deployment/shop-server --timeout=1s
  wait_until 90 "orders-fixed is ready" shop rollout status deployment/orders-fixed --timeout=1s
  good_before=$(identities)
  good "two pods of orders-fixed: 15 calls a second each from ten call sites, over one shared connection"
  echo
  typed "kubectl -n $SHOP apply -f tests/demo/policy.yaml"
  sed -n '/^spec:/,$p' "$HERE/policy.yaml" | indented
  shop apply --filename "$HERE/policy.yaml" | indented
  wait_until 60 "the policy is evaluated" condition_is Ready True
  good "a policy watches every pod of the namespace, as a dry run: it may say, and do nothing"
}

deploy_bad() {
  shop apply --filename "$MANIFESTS/orders-leaky.yaml" >/dev/null
  wait_until 90 "orders-leaky is ready" shop rollout status deployment/orders-leaky --timeout=1s
  began_leaking=$(first_leaking_call)
  good "two pods of orders-leaky: the same calls, but three call sites dial each time and never close"
  echo
}

# A row every ten seconds until the operator names somebody. Sums over the two pods of each.
watch_the_leak() {
  local since=0 leaky good
  leaky=$(pods_of orders-leaky)
  good=$(pods_of orders-fixed)
  printf '   %s%7s   %-24s   %s%s\n' "$dim" '' '      orders-leaky' '      orders-fixed' "$plain"
  printf '   %s%7s   %11s %12s   %11s %12s   %s%s\n' "$dim" after connections memory connections memory 'the operator says' "$plain"
  pause 8
  until condition_is Violating True; do
    row "$leaky" "$good"
    since=$(($(date +%s) - began_leaking))
    if ((since > DETECTION_LIMIT)); then fail "the leak is not found $since s after the first leaking call"; fi
    pause 10
  done
  row "$leaky" "$good"
  found_after=$(policy | jq --argjson began "$began_leaking" \
    '[.status.conditions[] | select(.type == "Violating") | .lastTransitionTime | fromdate] | first - $began')
}

row() {
  printf '   %7s   %11s %8s MiB   %11s %8s MiB   %s\n' "$(clock $(($(date +%s) - began_leaking)))" \
    "$(connections_of "$1")" "$(memory_of "$1")" "$(connections_of "$2")" "$(memory_of "$2")" \
    "$(policy | jq -r '.status.counts | "\(.violating) violate, \(.healthy) healthy, \(.inconclusive) not judged"')"
}

# pause SECONDS: until the next row, or until the leak is found.
pause() {
  local end=$((SECONDS + $1))
  while ((SECONDS < end)) && ! condition_is Violating True; do sleep 1; done
}

show_finding() {
  good "found $found_after s after the first leaking call"
  echo
  show kubectl -n "$SHOP" get gcpol
  echo
  # Both pods of the workload, for one is often found an evaluation later.
  wait_until 60 "both pods are named" both_are_named
  typed "kubectl -n $SHOP get gcpol $POLICY -o yaml     # status.offenders, as a table"
  policy | jq -r "$OFFENDERS" | indented
  worst=$(policy | jq -r '.status.offenders[0].pod')
  diagnosis=$(policy | jq -r '.status.offenders[0].diagnosis')
  echo
  typed "kubectl -n $HOME_NAMESPACE exec deploy/$RELEASE -- \\"
  say "    grpc-hygiene explain $worst -n $SHOP"
  operator exec "deployment/$RELEASE" -- grpc-hygiene explain "$worst" -n "$SHOP" 2>&1 | cat -s | indented
}

both_are_named() { [[ $(policy | jq '[.status.offenders[] | select(.workload.name == "orders-leaky")] | length') == 2 ]]; }

# shellcheck disable=SC2016
OFFENDERS='
  def mib: . / 1048576 | round | "\(.) MiB";
  .status.offenders[] | .figures as $f |
  "\(.pod)   \(.diagnosis), \(.confidence) % sure",
  "    \(.message)",
  "    connections   \($f.openConnections), \($f.connectionsPerHour) more an hour, \($f.callsPerConnection // "unknown") calls for each",
  "    memory        \($f.memoryBytes // 0 | mib) of \($f.memoryLimitBytes // 0 | mib), \(
    if $f.timeToLimit then "full in \($f.timeToLimit), at the soonest \($f.timeToLimitSoonest)" else "not yet known when it is full" end)"'

show_dry_run() {
  say "What it would do, from the same status:"
  policy | jq -r '.status.offenders[] | . as $it | .remediations[] |
    "\($it.pod)   \(.remediation + "    " | .[:8])   \(.state)\(if .because then " (" + .because + ")" else "" end)"' | indented
  echo
  say "What it did, apart from saying so:"
  say "annotations on the pods     $(annotations_of_pods)" \
    "alerts at Alertmanager      $(alerts | jq length)" \
    "pods restarted              $(policy | jq '.status.counts.restartsLastDay // 0')"
  [[ $(annotations_of_pods) == 0 && $(alerts | jq length) == 0 ]] || fail "a dry run changed something"
}

annotations_of_pods() {
  shop get pods,deployments --output json |
    jq '[.items[].metadata.annotations // {} | keys[] | select(startswith("grpc-hygiene.io/"))] | length'
}

enforce() {
  show kubectl -n "$SHOP" patch gcpol "$POLICY" --type merge -p '{"spec": {"mode": "Enforce"}}'
  wait_until 60 "the pod is annotated" leaky_pod_is_annotated
  wait_until 60 "the alert fires" alert_fires
  echo
  typed "kubectl -n $SHOP get pod $worst -o yaml     # its annotations"
  shop get pod "$worst" --output json |
    jq -r '.metadata.annotations | to_entries[] | select(.key | startswith("grpc-hygiene.io/")) | "\(.key): \(.value)"' | indented
  echo
  typed "kubectl get --raw $(path_in_api "$ALERTMANAGER_URL")/api/v2/alerts"
  alerts | jq -r '.[] | "\(.labels.alertname)   \(.status.state) since \(.startsAt | .[11:19])",
    (.labels | to_entries[] | select(.key != "alertname") | "    \(.key)=\(.value)"),
    (.annotations | to_entries[] | "    \(.key): \(.value)")' | indented
}

restart() {
  local before
  before=$(shop get pods --selector app.kubernetes.io/name=orders-leaky --output name)
  measure_leaky
  memory_before=$memory connections_before=$connections figures_before=$figures
  show kubectl -n "$SHOP" patch gcpol "$POLICY" --type merge -p '{"spec": {"remediation": {"restart": {"after": "30s", "cooldown": "1m"}}}}'
  echo
  say "A restart needs more than a finding. What holds it back, until nothing does:"
  wait_for_eviction
  wait_until 90 "its successor is ready" both_pods_run_again "$before"
  echo
  typed "kubectl -n $SHOP get events     # those about restarts"
  shop get events --output json | jq -r '[.items[] | select(.reason == "Restarted")] | unique_by(.involvedObject.kind)[] |
    "\(.involvedObject.kind)/\(.involvedObject.name)   \(.reason)   \(.message)"' | indented
  echo
  memory_falls
}

# The reasons come from status, once each, as they change.
wait_for_eviction() {
  local limit=$((SECONDS + 120)) began=$SECONDS said='' now
  until restart_is_counted; do
    ((SECONDS < limit)) || fail "no pod is evicted after 120 s"
    now=$(policy | jq -r '[.status.offenders[]?.remediations[]? | select(.remediation == "Restart" and .because) |
      "\(.because): \(.message)"] | unique | join("; ")')
    if [[ -n $now && $now != "$said" ]]; then
      said=$now
      say "$(clock $((SECONDS - began)))   $now"
    fi
    sleep 1
  done
  good "$(clock $((SECONDS - began)))   evicted through the eviction API, which honours PodDisruptionBudgets"
}

# both_pods_run_again FORMER: two pods, all ready, one of them new.
both_pods_run_again() {
  local now
  now=$(shop get pods --selector app.kubernetes.io/name=orders-leaky --output name)
  [[ $now != "$1" && $(wc -l <<<"$now") == 2 ]] && shop rollout status deployment/orders-leaky --timeout=1s
}

# measure_leaky: sets memory, connections and, one line a pod, figures.
measure_leaky() {
  local pod leaky
  leaky=$(pods_of orders-leaky)
  memory=$(memory_of "$leaky")
  connections=$(connections_of "$leaky")
  figures=$(for pod in ${leaky//|/ }; do printf '%s %s %s\n' "$pod" "$(connections_of "$pod")" "$(memory_of "$pod")"; done)
}

memory_falls() {
  local leaky
  leaky=$(pods_of orders-leaky)
  # The kubelet's first figures of the new pod take some seconds.
  wait_until 60 "both pods are measured" both_are_measured "$leaky"
  measure_leaky
  memory_after=$memory connections_after=$connections
  evicted=$(comm -23 <(pods_in "$figures_before") <(pods_in "$figures") | wc -l)
  figures_rows before "$figures_before"
  figures_rows after "$figures"
  ((memory_after < memory_before)) || fail "memory did not fall: $memory_before MiB before, $memory_after MiB after"
  echo
  say "What becomes of the other leaking pod:"
  policy | jq -r '.status.offenders[] | . as $it | .remediations[] | select(.remediation == "Restart") |
    "\($it.pod)   \(.state)\(if .because then ", " + .because + ": " + .message else "" end)"' | indented
}

figures_rows() {
  local pod connections memory
  while read -r pod connections memory; do
    printf '%-9s %-34s %5s connections %5s MiB\n' "$1" "$pod" "$connections" "$memory"
  done <<<"$2" | indented
}

pods_in() { cut -d ' ' -f 1 <<<"$1" | sort; }

both_are_measured() {
  [[ $(figure "count(container_memory_working_set_bytes{namespace=\"$SHOP\",container=\"shop\",pod=~\"$1\"})") == 2 &&
    $(figure "count(count by (pod) (grpc_subchannel_open_connections{namespace=\"$SHOP\",pod=~\"$1\"}))") == 2 ]]
}

conclude() {
  local memory cpu
  good_after=$(identities)
  [[ $good_after == "$good_before" ]] || fail "a pod changed that should not. Before: $good_before Now: $good_after"
  [[ $(policy | jq .status.counts.restartsLastDay) == 1 && $evicted == 1 ]] || fail "more than one pod was restarted"
  memory=$(figure "max(max_over_time(container_memory_working_set_bytes{namespace=\"$HOME_NAMESPACE\",container=\"operator\"}[10m])) / 2^20")
  cpu=$(figure "1000 * sum(rate(container_cpu_usage_seconds_total{namespace=\"$HOME_NAMESPACE\",container=\"operator\"}[3m]))")
  say "The pods that do not leak, exactly as they were before the leak:"
  indented <<<"$good_after"
  echo
  good "found            $found_after s after the first leaking call, as $diagnosis"
  good "evicted          $evicted of 2 leaking pods; nothing else was restarted"
  good "memory           from $memory_before to $memory_after MiB; connections from $connections_before to $connections_after"
  good "the good pods    never restarted, never annotated: same UIDs as at the start"
  good "the operator     $memory MiB of memory at most, $cpu thousandths of a core on average, one evaluation every 10 s"
  good "in all           $(clock $((SECONDS - TOLD_FROM))) minutes"
  echo
  say "The cluster stays up. orders-leaky goes on leaking, so restarts only buy time: the code must change." ""
  say "export KUBECONFIG=${KUBECONFIG:-~/.kube/config} PATH=$CLUSTER_DIR/bin:\$PATH" \
    "kubectl -n $SHOP get gcpol -o wide --watch" \
    "kubectl -n $SHOP get gcpol $POLICY -o yaml" \
    "kubectl -n $SHOP delete deployment orders-leaky      # the fix; watch the alert resolve" \
    "make demo-down                                       # removes everything"
}
