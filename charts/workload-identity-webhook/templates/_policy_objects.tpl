{{/* The admission policies and their bindings: (dict "root" $ "kind" "inject"|"refuse"|"warn"|"guard"). */}}

{{- define "azwi.policyName" -}}
{{- printf "%s-%s" (include "azwi.clusterName" .root) .kind -}}
{{- end }}

{{/* Something, for the policies that read the pod's ServiceAccount as their parameter. */}}
{{- define "azwi.policyReadsAccount" -}}
{{- if or (eq .kind "inject") (eq .kind "warn") }}true{{ end -}}
{{- end }}

{{- define "azwi.policyPrefix" -}}
{{- ternary "Mutating" "Validating" (eq .kind "inject") -}}
{{- end }}

{{/*
The version of MutatingAdmissionPolicy, or nothing where the cluster has none; 1.34 has it as a beta, but not the functions of lists
that the policies use. Where the chart is rendered without a cluster, only
the version of Kubernetes is known.
*/}}
{{- define "azwi.mutatingVersion" -}}
{{- $group := "admissionregistration.k8s.io" -}}
{{- if .Capabilities.APIVersions.Has (printf "%s/v1/MutatingAdmissionPolicy" $group) -}}
v1
{{- else if and (.Capabilities.APIVersions.Has (printf "%s/v1beta1/MutatingAdmissionPolicy" $group)) (semverCompare ">=1.35.0-0" .Capabilities.KubeVersion.Version) -}}
v1beta1
{{- else if and (not (.Capabilities.APIVersions.Has "v1/Pod")) (semverCompare ">=1.36.0-0" .Capabilities.KubeVersion.Version) -}}
v1
{{- end -}}
{{- end }}

{{- define "azwi.policyApiVersion" -}}
admissionregistration.k8s.io/{{ ternary (include "azwi.mutatingVersion" .root) "v1" (eq .kind "inject") }}
{{- end }}

{{- define "azwi.policy" -}}
{{- $values := .root.Values -}}
{{- $tables := .root.Files.Get "files/policy/tables.json" | fromJson -}}
{{- /* Those of the chart's user do not concern the policy that refuses: it only sees what another one has marked. */ -}}
{{- $conditions := ternary list $values.webhook.matchConditions (eq .kind "refuse") -}}
{{- if include "azwi.policyReadsAccount" . -}}
{{- if $values.identityMapping.existingConfigMap -}}
{{- $conditions = prepend $conditions (dict "name" "own-values" "expression" $tables.ownValues) -}}
{{- end -}}
{{- $conditions = prepend $conditions (dict "name" "own-account" "expression" (include "azwi.ownAccount" .root)) -}}
{{- else if eq .kind "guard" -}}
{{- $conditions = prepend $conditions (dict "name" "without-token" "expression" $tables.withoutToken) -}}
{{- end -}}
{{- /* Beside the webhook an error of the injecting policy only means that the webhook is called. */ -}}
{{- $ignored := or (eq .kind "warn") (and (eq .kind "inject") (eq $values.engine "both")) -}}
apiVersion: {{ include "azwi.policyApiVersion" . }}
kind: {{ include "azwi.policyPrefix" . }}AdmissionPolicy
metadata:
  {{- include "azwi.metadata" (dict "root" .root "name" (include "azwi.policyName" .)) | nindent 2 }}
spec:
  {{- if include "azwi.policyReadsAccount" . }}
  paramKind:
    apiVersion: v1
    kind: ServiceAccount
  {{- end }}
  failurePolicy: {{ ternary "Ignore" $values.policy.failurePolicy $ignored }}
  {{- if eq .kind "inject" }}
  reinvocationPolicy: {{ $values.webhook.reinvocationPolicy }}
  {{- end }}
  matchConstraints:
    resourceRules:
    - apiGroups:
      - ""
      apiVersions:
      - v1
      operations:
      - CREATE
      resources:
      - pods
      scope: Namespaced
    {{- if ne .kind "inject" }}
    objectSelector:
      matchExpressions:
      - key: {{ $tables.refused }}
        operator: {{ ternary "Exists" "DoesNotExist" (eq .kind "refuse") }}
    {{- end }}
  {{- with $conditions }}
  matchConditions:
    {{- toYaml . | nindent 2 }}
  {{- end }}
  variables:
  {{- if ne .kind "refuse" }}
  {{- include "azwi.policySettings" .root | nindent 2 }}
  {{- end }}
  {{- regexSplit "(?m)^variables:\n" (.root.Files.Get (printf "files/policy/%s.yaml" .kind)) 2 | last | trim | nindent 2 }}
{{- end }}

{{/* One binding for each way to opt in; their selectors do not overlap, so no pod is handled twice: ... "way" {way, objectSelector, expressions}. */}}
{{- define "azwi.policyBinding" -}}
{{- $values := .root.Values -}}
apiVersion: {{ include "azwi.policyApiVersion" . }}
kind: {{ include "azwi.policyPrefix" . }}AdmissionPolicyBinding
metadata:
  {{- include "azwi.metadata" (dict "root" .root "name" (printf "%s-%s" (include "azwi.policyName" .) .way.way)) | nindent 2 }}
spec:
  policyName: {{ include "azwi.policyName" . }}
  {{- if include "azwi.policyReadsAccount" . }}
  paramRef:
    selector:
      {{- toYaml $values.policy.accountSelector | nindent 6 }}
    parameterNotFoundAction: Allow
  {{- end }}
  matchResources:
    objectSelector:
      {{- toYaml .way.objectSelector | nindent 6 }}
    {{- with include "azwi.namespaceSelector" (dict "root" .root "expressions" .way.expressions) }}
    namespaceSelector:
      {{- . | nindent 6 }}
    {{- end }}
  {{- if ne .kind "inject" }}
  validationActions:
  - {{ ternary "Warn" "Deny" (or (eq .kind "warn") (and (eq .kind "guard") (eq $values.policy.guard "warn"))) }}
  {{- end }}
{{- end }}
