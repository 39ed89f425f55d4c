{{/* Alerts; each description says what to do. */}}
{{- define "azwi.alerts" -}}
{{- $selector := printf "namespace=%q" .Release.Namespace -}}
{{- /* Seconds before expiry: a week, or a tenth of a shorter lifetime. By then the certificate should have been renewed. */ -}}
{{- $renewalOverdue := 604800 -}}
{{- with .Values.certificates -}}
{{- if and (ne .mode "existing-secret") (regexMatch "^[0-9]+h$" .lifetime) -}}
{{- $renewalOverdue = min $renewalOverdue (mul 360 (trimSuffix "h" .lifetime | int)) -}}
{{- end -}}
{{- end -}}
- alert: AzureWorkloadIdentityWebhookDown
  expr: absent(azwi_build_info{ {{- $selector -}} })
  for: 5m
  labels:
    severity: critical
  annotations:
    summary: Prometheus finds no Azure Workload Identity webhook.
    description: >-
      With failurePolicy {{ .Values.webhook.failurePolicy }}, pods that opt in {{ ternary "cannot be created" "are created without an identity" (eq .Values.webhook.failurePolicy "Fail") }}. Look at
      the pods and their events: kubectl -n {{ .Release.Namespace }} get pods,events.
- alert: AzureWorkloadIdentityAdmissionErrors
  expr: sum(rate(azwi_admissions_total{ {{- $selector -}} ,decision="error"}[5m])) > 0
  for: 10m
  labels:
    severity: warning
  annotations:
    summary: Admissions fail for reasons other than the pod itself.
    description: The label reason of azwi_admissions_total has the reason; docs/reference/decisions.md says what to do.
- alert: AzureWorkloadIdentityRefusals
  expr: sum by (reason) (rate(azwi_admissions_total{ {{- $selector -}} ,decision="refuse"}[15m])) > 0.1
  for: 15m
  labels:
    severity: warning
  annotations:
    summary: {{ `Pods are refused repeatedly: {{ $labels.reason }}.` | quote }}
    description: A controller keeps creating pods whose annotations cannot be fulfilled; docs/reference/decisions.md says what to do.
- alert: AzureWorkloadIdentityAdmissionSlow
  expr: histogram_quantile(0.99, sum by (le) (rate(azwi_mutation_request_bucket{ {{- $selector -}} }[5m]))) > 0.5
  for: 10m
  labels:
    severity: warning
  annotations:
    summary: One in a hundred admissions takes longer than half a second.
    description: The server lacks CPU or waits for the API server; check its CPU usage and azwi_live_reads_total.
- alert: AzureWorkloadIdentityCertificateExpires
  expr: min by (certificate) (azwi_certificate_expiry_timestamp_seconds{ {{- $selector -}} }) - time() < {{ $renewalOverdue }}
  for: 15m
  labels:
    severity: critical
  annotations:
    summary: {{ `The {{ $labels.certificate }} certificate expires soon and was not renewed.` | quote }}
    description: >-
      {{ eq .Values.certificates.mode "self-managed" | ternary "The server's log says why it was not renewed." "Renew the Secret that holds it; servers load it without a restart." }}
- alert: AzureWorkloadIdentityCaBundleContested
  expr: sum(increase(azwi_ca_bundle_patches_total{ {{- $selector -}} }[1h])) > 10
  labels:
    severity: warning
  annotations:
    summary: The caBundle is written repeatedly, so something else writes it too.
    description: A second server uses the same configuration, or a GitOps tool reverts it; see docs/install/gitops.md.
- alert: AzureWorkloadIdentityAccountsStale
  expr: max(azwi_accounts_staleness_seconds{ {{- $selector -}} }) > 300
  for: 5m
  labels:
    severity: warning
  annotations:
    summary: A server has not heard from the API server about ServiceAccounts for five minutes.
    description: New pods may get outdated annotations. The server's log and azwi_watch_restarts_total say why.
- alert: AzureWorkloadIdentityServerCrashed
  expr: max by (pod) (azwi_server_crashes{ {{- $selector -}} }) > 0
  labels:
    severity: warning
  annotations:
    summary: {{ `A signal killed the server in {{ $labels.pod }}; its replacement serves, and will not be replaced again.` | quote }}
    description: >-
      Its log names the signal. Signal 9 that nobody sent is the out-of-memory killer: raise resources.limits.memory. Delete
      the pod once another one is ready.
- alert: AzureWorkloadIdentityMappingBroken
  expr: max(azwi_mapping_errors{ {{- $selector -}} }) > 0
  for: 5m
  labels:
    severity: warning
  annotations:
    summary: The identity mapping is invalid; the previous one stays in use.
    description: The server's log names the invalid entry.
{{- end }}
