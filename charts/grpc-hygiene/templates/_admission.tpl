{{/*
What the admission policies share: whom they match, which keys may change, and how everything else is frozen. No object
is made here. Policies match the operator's own accounts and nobody else; failurePolicy Fail is therefore ours alone.
*/}}

{{/* What holds the acting account to its word. Without that account there is nothing to hold. */}}
{{- define "grpc-hygiene.fenced" -}}
{{- if and .Values.admission.enabled .Values.rbac.actions }}true{{ end }}
{{- end }}

{{/* metadata of a policy or of its binding. Takes the root and the policy's short name. */}}
{{- define "grpc-hygiene.fenceMetadata" -}}
name: {{ include "grpc-hygiene.fullname" .root }}-{{ .name }}
labels:
  {{- include "grpc-hygiene.labels" .root | nindent 2 }}
{{- end }}

{{/* The binding of a policy that takes no parameter. Takes the same. */}}
{{- define "grpc-hygiene.fenceBinding" -}}
apiVersion: admissionregistration.k8s.io/v1
kind: ValidatingAdmissionPolicyBinding
metadata:
  {{- include "grpc-hygiene.fenceMetadata" . | nindent 2 }}
spec:
  policyName: {{ include "grpc-hygiene.fullname" .root }}-{{ .name }}
  validationActions: ["Deny"]
{{- end }}

{{/* Who is matched: the accounts of the operator. */}}
{{- define "grpc-hygiene.fenceConditions" -}}
- name: the-operators-own-accounts
  expression: request.userInfo.username in {{ list (include "grpc-hygiene.username" .) (include "grpc-hygiene.actorUsername" .) | uniq | toJson }}
{{- end }}

{{/* Of these two, only the acting one may write. */}}
{{- define "grpc-hygiene.fenceActor" -}}
- expression: request.userInfo.username == {{ include "grpc-hygiene.actorUsername" . | toJson }}
  message: only the operator's acting account may write this
  reason: Forbidden
{{- end }}

{{/* Namespaces of the cluster's own machinery: nothing there is restarted. Takes in CEL when this is no restart, if ever. */}}
{{- define "grpc-hygiene.fenceNamespaces" -}}
- expression: >-
    {{ with .unless }}{{ . }} || {{ end }}!(request.namespace in ["kube-system", "kube-public", "kube-node-lease"])
  message: nothing is restarted in the cluster's own namespaces
  reason: Forbidden
{{- end }}

{{/*
CEL: the maps .now and .before are equal but for the keys .but. dyn() takes the type from an object, which makes it a
map: so what is not named here is frozen, also a field that Kubernetes adds tomorrow.
*/}}
{{- define "grpc-hygiene.frozen" -}}
dyn({{ .now }}).all(k, k in {{ toJson .but }} || (k in dyn({{ .before }}) && dyn({{ .now }})[k] == dyn({{ .before }})[k]))
&& dyn({{ .before }}).all(k, k in {{ toJson .but }} || k in dyn({{ .now }}))
{{- end }}

{{/* The annotations of an object, now and before, also when there are none. */}}
{{- define "grpc-hygiene.fenceVariables" -}}
- name: annotations
  expression: "has(object.metadata.annotations) ? object.metadata.annotations : {}"
- name: annotationsBefore
  expression: "has(oldObject.metadata.annotations) ? oldObject.metadata.annotations : {}"
{{- end }}

{{/*
Of metadata only the annotations that the operator writes may change, and what the API server itself keeps there. The
keys are those of api::names::annotations::WRITTEN; annotations that people write to the operator are not among them.
Takes further keys, if any.
*/}}
{{- define "grpc-hygiene.fenceMarks" -}}
{{- $marks := list "grpc-hygiene.io/diagnosis" "grpc-hygiene.io/evidence" "grpc-hygiene.io/since" "grpc-hygiene.io/policy" "grpc-hygiene.io/blame" "grpc-hygiene.io/fence" -}}
- expression: >-
    {{- include "grpc-hygiene.frozen" (dict "now" "object.metadata" "before" "oldObject.metadata"
      "but" (list "annotations" "generation" "managedFields" "resourceVersion")) | nindent 4 }}
  message: labels, finalizers, owners and the rest of metadata are frozen
  reason: Forbidden
- expression: >-
    {{- include "grpc-hygiene.frozen" (dict "now" "variables.annotations" "before" "variables.annotationsBefore" "but" (concat $marks .)) | nindent 4 }}
  message: only the operator's own annotations may change
  reason: Forbidden
{{- end }}
