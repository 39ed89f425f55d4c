{{/* The alerts; each description says what to do. */}}
{{- define "azwi.alerts" -}}
{{- $here := printf "namespace=%q" .Release.Namespace -}}
{{- /* A week, or less where a tenth of the certificate's life is: by then it should have been renewed. */ -}}
{{- $late := 604800 -}}
{{- with .Values.certificates -}}
{{- if and (ne .mode "existing-secret") (regexMatch "^[0-9]+h$" .lifetime) -}}
{{- $late = min $late (mul 360 (trimSuffix "h" .lifetime | int)) -}}
{{- end -}}
{{- end -}}
- alert: AzureWorkloadIdentityWebhookDown
  expr: absent(azwi_build_info{ {{- $here -}} })
  for: 5m
  labels:
    severity: critical
  annotations:
    summary: No Azure Workload Identity webhook can be read.
    description: >-
      With failurePolicy {{ .Values.webhook.failurePolicy }}, pods that opt in {{ ternary "cannot be created" "are created without an identity" (eq .Values.webhook.failurePolicy "Fail") }}. Look at
      kubectl -n {{ .Release.Namespace }} get pods and at their events.
- alert: AzureWorkloadIdentityAdmissionErrors
  expr: sum(rate(azwi_admissions_total{ {{- $here -}} ,decision="error"}[5m])) > 0
  for: 10m
  labels:
    severity: warning
  annotations:
    summary: Admissions fail for a fault that is not the pod's.
    description: The label reason of azwi_admissions_total says which; docs/reference/decisions.md says what to do.
- alert: AzureWorkloadIdentityRefusals
  expr: sum by (reason) (rate(azwi_admissions_total{ {{- $here -}} ,decision="refuse"}[15m])) > 0.1
  for: 15m
  labels:
    severity: warning
  annotations:
    summary: {{ `Pods are refused again and again: {{ $labels.reason }}.` | quote }}
    description: A controller asks for pods that cannot be given what they ask for; docs/reference/decisions.md says what to do.
- alert: AzureWorkloadIdentityAdmissionSlow
  expr: histogram_quantile(0.99, sum by (le) (rate(azwi_mutation_request_bucket{ {{- $here -}} }[5m]))) > 0.5
  for: 10m
  labels:
    severity: warning
  annotations:
    summary: One admission in a hundred takes longer than half a second.
    description: The server is short of CPU or waits for the API server; look at its CPU and at azwi_live_reads_total.
- alert: AzureWorkloadIdentityCertificateExpires
  expr: min by (certificate) (azwi_certificate_expiry_timestamp_seconds{ {{- $here -}} }) - time() < {{ $late }}
  for: 15m
  labels:
    severity: critical
  annotations:
    summary: {{ `The {{ $labels.certificate }} certificate expires soon and was not renewed.` | quote }}
    description: >-
      {{ eq .Values.certificates.mode "self-managed" | ternary "The server's log says why it could not renew it." "Renew the Secret that holds it; servers take it over without a restart." }}
- alert: AzureWorkloadIdentityCaBundleContested
  expr: sum(increase(azwi_ca_bundle_patches_total{ {{- $here -}} }[1h])) > 10
  labels:
    severity: warning
  annotations:
    summary: The caBundle is written again and again, so something else writes it too.
    description: A second webhook with the same configuration, or a GitOps tool that puts it back; docs/install/gitops.md.
- alert: AzureWorkloadIdentityAccountsStale
  expr: max(azwi_accounts_staleness_seconds{ {{- $here -}} }) > 300
  for: 5m
  labels:
    severity: warning
  annotations:
    summary: A server has not heard from the API server about ServiceAccounts for five minutes.
    description: Changed annotations may not be in new pods. The server's log and azwi_watch_restarts_total say why.
- alert: AzureWorkloadIdentityServerCrashed
  expr: max by (pod) (azwi_server_crashes{ {{- $here -}} }) > 0
  labels:
    severity: warning
  annotations:
    summary: {{ `A signal ended the server of {{ $labels.pod }}; a second one serves in its place, a third one would not.` | quote }}
    description: >-
      Its log says which signal. 9, where nobody killed it, is a lack of memory: raise resources.limits.memory. Delete the
      pod when another one is ready.
- alert: AzureWorkloadIdentityMappingBroken
  expr: max(azwi_mapping_errors{ {{- $here -}} }) > 0
  for: 5m
  labels:
    severity: warning
  annotations:
    summary: The identity mapping cannot be used; the one before it counts.
    description: The server's log names the entry.
{{- end }}
