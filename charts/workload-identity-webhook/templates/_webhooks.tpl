{{/*
How pods opt in, as a JSON list of {way, objectSelector, expressions for the namespace}. The selectors do not overlap, so no pod is
handled twice: the first way has the labelled pods, the second the other pods of labelled namespaces, the third all others.
*/}}
{{- define "azwi.optInWays" -}}
{{- $use := "azure.workload.identity/use" -}}
{{- $byPod := has "pod-label" .Values.optIn -}}
{{- $byNamespace := has "namespace-label" .Values.optIn -}}
{{- $decided := ternary (list "true" "false") (list "false") $byPod -}}
{{- $unlabelled := dict "matchExpressions" (list (dict "key" $use "operator" "NotIn" "values" $decided)) -}}
{{- $ways := list -}}
{{- if $byPod -}}
{{- $ways = append $ways (dict "way" "pod-label" "objectSelector" (dict "matchLabels" (dict $use "true")) "expressions" list) -}}
{{- end -}}
{{- if $byNamespace -}}
{{- $ways = append $ways (dict "way" "namespace-label" "objectSelector" $unlabelled
  "expressions" (list (dict "key" $use "operator" "In" "values" (list "true")))) -}}
{{- end -}}
{{- if has "service-account" .Values.optIn -}}
{{- $ways = append $ways (dict "way" "service-account" "objectSelector" $unlabelled
  "expressions" (ternary (list (dict "key" $use "operator" "NotIn" "values" (list "true"))) list $byNamespace)) -}}
{{- end -}}
{{- toJson $ways -}}
{{- end }}

{{/* The webhook configuration's entries, one for each way to opt in. */}}
{{- define "azwi.webhooks" -}}
{{- range fromJsonArray (include "azwi.optInWays" .) }}
{{- if eq .way "pod-label" }}
{{ include "azwi.webhookEntries" (merge (dict "root" $ "name" "mutation.azure-workload-identity.io" "path" "/mutate-v1-pod") .) }}
{{- else if eq .way "namespace-label" }}
{{ include "azwi.webhookEntries" (merge (dict "root" $ "name" "namespace.mutation.azure-workload-identity.io" "path" "/mutate-v1-pod/namespace") .) }}
{{- else }}
{{ include "azwi.webhook" (merge (dict "root" $ "name" "serviceaccount.mutation.azure-workload-identity.io" "path" "/mutate-v1-pod") .) }}
{{- end }}
{{- end }}
{{- end }}

{{/*
One entry or, with webhook.secondCall, two: failures of the first are ignored, and the second is called for pods that still lack
the volume. The volume's name is reserved, so no other webhook adds it.
*/}}
{{- define "azwi.webhookEntries" -}}
{{- if .root.Values.webhook.secondCall -}}
{{- include "azwi.webhook" (merge (dict "name" (printf "first.%s" .name) "failurePolicy" "Ignore") .) }}
{{ include "azwi.webhook" (merge (dict "condition" (dict "name" "first-call-failed" "expression"
  "!has(object.spec.volumes) || object.spec.volumes.all(v, v.name != 'azure-workload-identity-reserved-token')")) .) }}
{{- else -}}
{{- include "azwi.webhook" . }}
{{- end -}}
{{- end }}

{{- define "azwi.webhook" -}}
{{- $values := .root.Values -}}
{{- /* A mirror pod shows a static pod, which its kubelet runs unchanged; the API server refuses one with a projected token. */ -}}
{{- $noMirrorPod := dict "name" "no-mirror-pod" "expression"
  "!has(object.metadata.annotations) || !('kubernetes.io/config.mirror' in object.metadata.annotations)" -}}
{{- $conditions := ternary (list .condition) list (hasKey . "condition") | concat (list $noMirrorPod) $values.webhook.matchConditions -}}
{{- if eq $values.engine "both" -}}
{{- $conditions = append $conditions (dict "name" "left-by-policy" "expression" (.root.Files.Get "files/policy/tables.json" | fromJson).leftByPolicy) -}}
{{- end -}}
- name: {{ .name }}
  admissionReviewVersions:
  - v1
  - v1beta1
  clientConfig:
    {{- with include "azwi.caBundle" .root }}
    caBundle: {{ . }}
    {{- end }}
    service:
      name: {{ include "azwi.serviceName" .root }}
      namespace: {{ .root.Release.Namespace }}
      path: {{ .path }}
      port: {{ $values.service.port }}
  failurePolicy: {{ .failurePolicy | default (include "azwi.failurePolicy" .root) }}
  matchPolicy: Equivalent
  reinvocationPolicy: {{ $values.webhook.reinvocationPolicy }}
  sideEffects: None
  timeoutSeconds: {{ $values.webhook.timeoutSeconds }}
  objectSelector:
    {{- toYaml .objectSelector | nindent 4 }}
  {{- with include "azwi.namespaceSelector" . }}
  namespaceSelector:
    {{- . | nindent 4 }}
  {{- end }}
  rules:
  - apiGroups:
    - ""
    apiVersions:
    - v1
    operations:
    - CREATE
    resources:
    - pods
    scope: Namespaced
  matchConditions:
    {{- toYaml $conditions | nindent 2 }}
{{- end }}

{{/* The user's namespace selector plus the excluded namespaces. */}}
{{- define "azwi.namespaceSelector" -}}
{{- $values := .root.Values -}}
{{- $excluded := $values.webhook.excludedNamespaces -}}
{{- if $values.webhook.excludeReleaseNamespace -}}
{{- $excluded = append $excluded .root.Release.Namespace | uniq -}}
{{- end -}}
{{- $selector := deepCopy $values.mutatingWebhookNamespaceSelector -}}
{{- $expressions := concat ($selector.matchExpressions | default list) .expressions -}}
{{- if $excluded -}}
{{- $expressions = append $expressions (dict "key" "kubernetes.io/metadata.name" "operator" "NotIn" "values" $excluded) -}}
{{- end -}}
{{- if $expressions -}}
{{- $_ := set $selector "matchExpressions" $expressions -}}
{{- end -}}
{{- if $selector -}}
{{- toYaml $selector -}}
{{- end -}}
{{- end }}

{{/* The CA from the values, plus the CA in use while pods may still serve a certificate of the former mode. */}}
{{- define "azwi.caBundle" -}}
{{- $given := .Values.certificates.caBundle -}}
{{- $former := include "azwi.formerCaBundle" . -}}
{{- if and $given $former -}}
{{- printf "%s\n%s" $given (b64dec $former) | b64enc -}}
{{- else -}}
{{- $former | default (b64enc $given) -}}
{{- end -}}
{{- end }}

{{/* The cluster's current caBundle if this upgrade switches to or from certificates that the server issues itself. */}}
{{- define "azwi.formerCaBundle" -}}
{{- $deployment := lookup "apps/v1" "Deployment" .Release.Namespace (include "azwi.deploymentName" .) -}}
{{- $configuration := lookup "admissionregistration.k8s.io/v1" "MutatingWebhookConfiguration" "" (include "azwi.configurationName" .) -}}
{{- if and $deployment $configuration -}}
{{- $arguments := (first $deployment.spec.template.spec.containers).args | default list -}}
{{- if eq (has "--disable-cert-rotation" $arguments) (not (empty (include "azwi.selfManaged" .))) -}}
{{- (first $configuration.webhooks).clientConfig.caBundle -}}
{{- end -}}
{{- end -}}
{{- end }}

{{/*
webhook.failurePolicy; with webhook.failWhenReady Ignore until a server is ready. Where the chart is rendered without a cluster,
nothing is known of servers, and there will be no second time.
*/}}
{{- define "azwi.failurePolicy" -}}
{{- $policy := .Values.webhook.failurePolicy -}}
{{- if and .Values.webhook.failWhenReady (eq $policy "Fail") (lookup "v1" "Namespace" "" "kube-system") -}}
{{- $deployment := lookup "apps/v1" "Deployment" .Release.Namespace (include "azwi.deploymentName" .) -}}
{{- $policy = ternary "Fail" "Ignore" (gt (dig "status" "readyReplicas" 0 $deployment | int) 0) -}}
{{- end -}}
{{- $policy -}}
{{- end }}
