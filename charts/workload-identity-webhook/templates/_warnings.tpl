{{/* What works, but perhaps not as meant. */}}
{{- define "azwi.warnings" -}}
{{- if not (or .Values.image.registry .Values.global.imageRegistry (contains "/" .Values.image.repository)) }}
WARNING: image {{ include "azwi.image" . }} names no registry, so nodes that do not have it look for it at their runtime's
default. Push it to a registry of yours and set image.registry; docs/install/registries.md says how.
{{ end }}
{{- if and (eq .Values.webhook.failurePolicy "Fail") (lt (include "azwi.fewest" . | int) 2) }}
WARNING: there is one replica and webhook.failurePolicy is Fail: while it restarts or moves, pods that opt in cannot be created.
{{ end }}
{{- if and .Values.webhook.admissionsEnforcerDisabled (not (has "kube-system" .Values.webhook.excludedNamespaces)) }}
WARNING: the webhook sees pods of kube-system. If no server answers, the cluster's own pods may not start.
{{ end }}
{{- range (lookup "admissionregistration.k8s.io/v1" "MutatingWebhookConfiguration" "" "").items }}
{{- include "azwi.incumbent" (dict "root" $ "configuration" .) }}
{{- end }}
{{- end }}

{{/* Another webhook for the same pods: v1.6.0's chart, the AKS add-on, or another release of this chart. */}}
{{- define "azwi.incumbent" -}}
{{- $release := .root.Release -}}
{{- $service := dict -}}
{{- range .configuration.webhooks -}}
{{- if hasSuffix "mutation.azure-workload-identity.io" .name -}}
{{- $service = .clientConfig.service | default (dict "name" .clientConfig.url "namespace" "") -}}
{{- end -}}
{{- end -}}
{{- $ours := and (eq $service.namespace $release.Namespace) (eq $service.name (include "azwi.serviceName" .root)) -}}
{{- if and $service (not $ours) }}
{{- $annotations := .configuration.metadata.annotations | default dict }}
WARNING: another azure-workload-identity webhook is installed: MutatingWebhookConfiguration {{ .configuration.metadata.name }},
{{- if eq $service.namespace "kube-system" }}
of the AKS add-on. Both see the same pods; that does no harm, but what only one of them does is done all the same. To keep
this one, disable the add-on (docs/install/migrate.md):

  az aks update --resource-group GROUP --name CLUSTER --disable-workload-identity
{{- else if index $annotations "meta.helm.sh/release-name" }}
of release {{ index $annotations "meta.helm.sh/release-name" }} in namespace {{ index $annotations "meta.helm.sh/release-namespace" }}. Both see the same
pods; that does no harm, but what only one of them does is done all the same. To keep this one (docs/install/migrate.md):

  helm -n {{ index $annotations "meta.helm.sh/release-namespace" }} uninstall {{ index $annotations "meta.helm.sh/release-name" }}
{{- else }}
served by {{ $service.namespace }}/{{ $service.name }}. Both see the same pods; that does no harm, but what only one of them does is done all
the same. To keep this one, delete the objects of the other (docs/install/migrate.md), this one first:

  kubectl delete mutatingwebhookconfiguration {{ .configuration.metadata.name }}
{{- end }}
{{ end }}
{{- end }}
