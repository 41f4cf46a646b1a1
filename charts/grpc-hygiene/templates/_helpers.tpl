{{/*
Names, labels and the parts that several objects share. No object is made here.
*/}}

{{- define "grpc-hygiene.name" -}}
{{- default .Chart.Name .Values.nameOverride | trunc 63 | trimSuffix "-" }}
{{- end }}

{{/* The release's name, unless it already says what this is. */}}
{{- define "grpc-hygiene.fullname" -}}
{{- if .Values.fullnameOverride }}
{{- .Values.fullnameOverride | trunc 52 | trimSuffix "-" }}
{{- else if contains (include "grpc-hygiene.name" .) .Release.Name }}
{{- .Release.Name | trunc 52 | trimSuffix "-" }}
{{- else }}
{{- printf "%s-%s" .Release.Name (include "grpc-hygiene.name" .) | trunc 52 | trimSuffix "-" }}
{{- end }}
{{- end }}

{{- define "grpc-hygiene.namespace" -}}
{{- default .Release.Namespace .Values.namespaceOverride }}
{{- end }}

{{- define "grpc-hygiene.serviceAccountName" -}}
{{- if .Values.serviceAccount.create }}
{{- default (include "grpc-hygiene.fullname" .) .Values.serviceAccount.name }}
{{- else }}
{{- default "default" .Values.serviceAccount.name }}
{{- end }}
{{- end }}

{{/* Whether what changes workloads is done by a second account, which the first one impersonates. */}}
{{- define "grpc-hygiene.separates" -}}
{{- if and .Values.rbac.actions .Values.actor.separate }}true{{ end }}
{{- end }}

{{/* The account that changes workloads: the operator's own where the two are not separated. */}}
{{- define "grpc-hygiene.actorName" -}}
{{- if include "grpc-hygiene.separates" . }}
{{- default (printf "%s-actor" (include "grpc-hygiene.fullname" .)) .Values.actor.name }}
{{- else }}
{{- include "grpc-hygiene.serviceAccountName" . }}
{{- end }}
{{- end }}

{{/* Both as the API server calls them. */}}
{{- define "grpc-hygiene.username" -}}
system:serviceaccount:{{ include "grpc-hygiene.namespace" . }}:{{ include "grpc-hygiene.serviceAccountName" . }}
{{- end }}

{{- define "grpc-hygiene.actorUsername" -}}
system:serviceaccount:{{ include "grpc-hygiene.namespace" . }}:{{ include "grpc-hygiene.actorName" . }}
{{- end }}

{{/* What never changes during the life of a release: Deployments select by it. */}}
{{- define "grpc-hygiene.selectorLabels" -}}
app.kubernetes.io/name: {{ include "grpc-hygiene.name" . }}
app.kubernetes.io/instance: {{ .Release.Name }}
app.kubernetes.io/component: operator
{{- end }}

{{- define "grpc-hygiene.commonLabels" -}}
helm.sh/chart: {{ printf "%s-%s" .Chart.Name .Chart.Version | replace "+" "_" | trunc 63 | trimSuffix "-" }}
app.kubernetes.io/version: {{ .Chart.AppVersion | quote }}
app.kubernetes.io/managed-by: {{ .Release.Service }}
app.kubernetes.io/part-of: grpc-hygiene
{{- with .Values.commonLabels }}
{{ toYaml . }}
{{- end }}
{{- end }}

{{- define "grpc-hygiene.labels" -}}
{{ include "grpc-hygiene.selectorLabels" . }}
{{ include "grpc-hygiene.commonLabels" . }}
{{- end }}

{{/* The clean-up's objects are not the operator: no Service, monitor or budget may select its pod. */}}
{{- define "grpc-hygiene.cleanupLabels" -}}
app.kubernetes.io/name: {{ include "grpc-hygiene.name" . }}
app.kubernetes.io/instance: {{ .Release.Name }}
app.kubernetes.io/component: cleanup
{{ include "grpc-hygiene.commonLabels" . }}
{{- end }}

{{/* The clean-up undoes what the operator's right to act has done; without that right there is nothing to undo. */}}
{{- define "grpc-hygiene.cleanupEnabled" -}}
{{- if and .Values.cleanup.enabled .Values.rbac.create .Values.rbac.actions }}true{{ end }}
{{- end }}

{{/* registry/repository:tag@digest */}}
{{- define "grpc-hygiene.image" -}}
{{- with .Values.image }}
{{- if .registry }}{{ .registry }}/{{ end }}{{ .repository }}:{{ default $.Chart.AppVersion .tag }}
{{- if .digest }}@{{ .digest }}{{ end }}
{{- end }}
{{- end }}

{{/* Where the Secrets are mounted. */}}
{{- define "grpc-hygiene.secretsDir" -}}
/etc/grpc-hygiene/secrets
{{- end }}

{{/* One endpoint of the operator's configuration. Takes the endpoint and the name of its folder of secrets. */}}
{{- define "grpc-hygiene.endpoint" -}}
{{- $dir := printf "%s/%s" (include "grpc-hygiene.secretsDir" .) .folder }}
{{- $endpoint := dict "url" .endpoint.url }}
{{- with .endpoint.timeout }}{{ $_ := set $endpoint "timeout" . }}{{ end }}
{{- if (.endpoint.bearerTokenSecret).name }}
{{- $_ := set $endpoint "bearerTokenFile" (printf "%s/token" $dir) }}
{{- end }}
{{- with (.endpoint.basicAuth).username }}
{{- $_ := set $endpoint "basicAuth" (dict "username" . "passwordFile" (printf "%s/password" $dir)) }}
{{- end }}
{{- if (.endpoint.caSecret).name }}
{{- $_ := set $endpoint "caFile" (printf "%s/ca.crt" $dir) }}
{{- end }}
{{- toYaml $endpoint }}
{{- end }}

{{/* The Secrets of one endpoint as sources of a projected volume. Takes the same as grpc-hygiene.endpoint. */}}
{{- define "grpc-hygiene.endpointSecrets" -}}
{{- $secrets := list
  (list .endpoint.bearerTokenSecret "token" "token")
  (list (.endpoint.basicAuth).passwordSecret "password" "password")
  (list .endpoint.caSecret "ca.crt" "ca.crt") }}
{{- range $secrets }}
{{- $secret := first . }}
{{- if ($secret).name }}
- secret:
    name: {{ $secret.name }}
    items:
      - key: {{ default (index . 1) $secret.key }}
        path: {{ $.folder }}/{{ last . }}
{{- end }}
{{- end }}
{{- end }}

{{/* The Secrets of all endpoints. */}}
{{- define "grpc-hygiene.secretSources" -}}
{{- include "grpc-hygiene.endpointSecrets" (dict "endpoint" .Values.prometheus "folder" "prometheus") }}
{{- range $index, $endpoint := .Values.alertmanagers }}
{{- include "grpc-hygiene.endpointSecrets" (dict "endpoint" $endpoint "folder" (printf "alertmanager-%d" $index)) }}
{{- end }}
{{- end }}

{{/* The operator's configuration file. */}}
{{- define "grpc-hygiene.config" -}}
{{- $alertmanagers := list }}
{{- range $index, $endpoint := .Values.alertmanagers }}
{{- $folder := printf "alertmanager-%d" $index }}
{{- $alertmanagers = append $alertmanagers (include "grpc-hygiene.endpoint" (dict "endpoint" $endpoint "folder" $folder) | fromYaml) }}
{{- end -}}
{{- $prometheus := include "grpc-hygiene.endpoint" (dict "endpoint" .Values.prometheus "folder" "prometheus") | fromYaml }}
{{- dict
  "prometheus" $prometheus
  "alertmanagers" $alertmanagers
  "sources" .Values.sources
  "quietPeriod" .Values.quietPeriod
  "limits" .Values.limits
  "alerts" .Values.alerts
  "runbookUrl" .Values.runbookUrl
  "cluster" .Values.cluster
  | toYaml }}
{{- end }}

{{/* Endpoints of a monitor: the same for ServiceMonitor and PodMonitor. */}}
{{- define "grpc-hygiene.scrape" -}}
- port: http
  path: /metrics
  # grpc_hygiene_violation names the offender's namespace in a label of its own; without this it would arrive as
  # exported_namespace.
  honorLabels: true
  interval: {{ .interval }}
  scrapeTimeout: {{ .scrapeTimeout }}
  {{- with .relabelings }}
  relabelings:
    {{- toYaml . | nindent 4 }}
  {{- end }}
  {{- with .metricRelabelings }}
  metricRelabelings:
    {{- toYaml . | nindent 4 }}
  {{- end }}
{{- end }}

{{/* One rule of egress: these TCP ports, of these peers or of anybody. */}}
{{- define "grpc-hygiene.egress" -}}
- ports:
    {{- range .ports }}
    - {port: {{ . }}, protocol: TCP}
    {{- end }}
  {{- with .to }}
  to:
    {{- toYaml . | nindent 4 }}
  {{- end }}
{{- end }}
