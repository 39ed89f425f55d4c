{{/* Settings that work, but perhaps not as intended. */}}
{{- define "azwi.warnings" -}}
{{- if not (or .Values.image.registry .Values.global.imageRegistry (contains "/" .Values.image.repository)) }}
WARNING: image {{ include "azwi.image" . }} names no registry, so nodes pull it from their container runtime's default
registry. Push it to your registry and set image.registry; see docs/install/registries.md.
{{ end }}
{{- if and (ne .Values.engine "policy") (eq .Values.webhook.failurePolicy "Fail") (lt (include "azwi.minReplicas" . | int) 2) }}
WARNING: there is one replica and webhook.failurePolicy is Fail: while it restarts or moves, pods that opt in cannot be created.
{{ end }}
{{- if and (ne .Values.engine "policy") .Values.webhook.admissionsEnforcerDisabled (not (has "kube-system" .Values.webhook.excludedNamespaces)) }}
WARNING: the webhook is called for pods in kube-system. While no server answers, the cluster's own pods may not start.
{{ end }}
{{- range (lookup "admissionregistration.k8s.io/v1" "MutatingWebhookConfiguration" "" "").items }}
{{- include "azwi.otherWebhook" (dict "root" $ "configuration" .) }}
{{- end }}
{{- end }}

{{/* Warning about another webhook for the same pods: v1.6.0's chart, the AKS add-on, or another release of this chart. */}}
{{- define "azwi.otherWebhook" -}}
{{- $release := .root.Release -}}
{{- $service := dict -}}
{{- range .configuration.webhooks -}}
{{- if hasSuffix "mutation.azure-workload-identity.io" .name -}}
{{- $service = .clientConfig.service | default (dict "name" .clientConfig.url) -}}
{{- end -}}
{{- end -}}
{{- $isThisRelease := and (eq $service.namespace $release.Namespace) (eq $service.name (include "azwi.serviceName" .root)) -}}
{{- if and $service (not $isThisRelease) }}
{{- $annotations := .configuration.metadata.annotations | default dict }}
WARNING: another azure-workload-identity webhook is installed: MutatingWebhookConfiguration {{ .configuration.metadata.name }},
{{- if eq $service.namespace "kube-system" }}
of the AKS add-on. Both are called for the same pods. This is safe, but whatever one of them injects stays injected. To keep
only this one, disable the add-on (docs/install/migrate.md):

  az aks update --resource-group GROUP --name CLUSTER --disable-workload-identity
{{- else if index $annotations "meta.helm.sh/release-name" }}
of release {{ index $annotations "meta.helm.sh/release-name" }} in namespace {{ index $annotations "meta.helm.sh/release-namespace" }}. Both are called
for the same pods. This is safe, but whatever one of them injects stays injected. To keep only this one (docs/install/migrate.md):

  helm -n {{ index $annotations "meta.helm.sh/release-namespace" }} uninstall {{ index $annotations "meta.helm.sh/release-name" }}
{{- else }}
served by {{ list $service.namespace $service.name | compact | join "/" }}. Both are called for the same pods. This is safe, but whatever one of
them injects stays injected. To keep only this one, delete the other one's objects (docs/install/migrate.md), beginning with:

  kubectl delete mutatingwebhookconfiguration {{ .configuration.metadata.name }}
{{- end }}
{{ end }}
{{- end }}
