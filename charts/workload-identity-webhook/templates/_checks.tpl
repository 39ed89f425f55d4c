{{/*
Checks that involve more than one value; each message says what to change. values.schema.json checks single values.
*/}}
{{- define "azwi.check" -}}
{{- $problems := list -}}
{{- range list "azwi.checkMisnamed" "azwi.checkImage" "azwi.checkCertificates" "azwi.checkServer" "azwi.checkEndpoint" "azwi.checkBudget" "azwi.checkMetrics" "azwi.checkNames" "azwi.checkEngine" -}}
{{- range include . $ | splitList "\n" -}}
{{- with trim . -}}
{{- $problems = append $problems . -}}
{{- end -}}
{{- end -}}
{{- end -}}
{{- if $problems -}}
{{- fail (printf "\n\nThese values cannot be used:\n- %s\n" (join "\n- " $problems)) -}}
{{- end -}}
{{- end }}

{{- define "azwi.checkMisnamed" -}}
{{- range $name, $meant := (.Files.Get "files/values.json" | fromJson).misnamed -}}
{{- $map := $.Values -}}
{{- $keys := splitList "." $name -}}
{{- range initial $keys -}}
{{- $map = index $map . -}}
{{- end }}
{{- if hasKey $map (last $keys) }}
{{ $name }} is not a value of this chart: set {{ $meant }}
{{- end }}
{{- end }}
{{- end }}

{{- define "azwi.checkImage" -}}
{{- range list .Values.image.repository .Values.proxy.image.repository }}
{{- if regexMatch "azure/workload-identity/(webhook|proxy)" . }}
image repository {{ . }} holds another program, the Go original: remove image.repository and image.release from your values, or name a copy of this project's image
{{- end }}
{{- end }}
{{- end }}

{{- define "azwi.checkCertificates" -}}
{{- $certificates := .Values.certificates -}}
{{- $injected := false -}}
{{- range $key, $_ := .Values.mutatingWebhookAnnotations -}}
{{- $injected = or $injected (hasPrefix "cert-manager.io/inject-" $key) -}}
{{- end -}}
{{- if eq $certificates.mode "existing-secret" }}
{{- if not $certificates.secretName }}
certificates.mode existing-secret needs certificates.secretName: the Secret in the release's namespace that has tls.crt and tls.key
{{- end }}
{{- if not (or $certificates.caBundle $injected) }}
certificates.mode existing-secret needs certificates.caBundle, the CA as PEM (helm --set-file certificates.caBundle=ca.crt), or an annotation cert-manager.io/inject-ca-from-secret in mutatingWebhookAnnotations
{{- end }}
{{- else if $certificates.caBundle }}
certificates.caBundle goes with certificates.mode existing-secret only: with {{ $certificates.mode }} it is kept up to date in the cluster, so remove it
{{- end }}
{{- if and $certificates.certManager.issuerRef (ne $certificates.mode "cert-manager") }}
certificates.certManager.issuerRef goes with certificates.mode cert-manager only
{{- end }}
{{- if and $certificates.certManager.issuerRef (not $certificates.certManager.issuerRef.name) }}
certificates.certManager.issuerRef needs the issuer's name
{{- end }}
{{- end }}

{{- define "azwi.checkServer" -}}
{{- if not .Values.azureTenantID }}
azureTenantID is not set; with the az command line: az account show --query tenantId --output tsv
{{- end }}
{{- $reserved := list "POD_NAMESPACE" "AZURE_TENANT_ID" "AZURE_ENVIRONMENT" "AZURE_AUTHORITY_HOST" "PROXY_IMAGE" "PROXY_INIT_IMAGE" "WEBHOOK_PORT" -}}
{{- range .Values.extraEnv }}
{{- if or (has .name $reserved) (hasPrefix "AZURE_KUBERNETES_" .name) }}
extraEnv cannot set {{ .name }}, which the chart sets from another value
{{- end }}
{{- end }}
{{- range .Values.extraVolumes }}
{{- if has .name (list "cert" "client-ca") }}
extraVolumes cannot have a volume named {{ .name }}, which the chart uses: choose another name
{{- end }}
{{- end }}
{{- range .Values.extraVolumeMounts }}
{{- if has .mountPath (list "/certs" "/client-ca") }}
extraVolumeMounts cannot mount at {{ .mountPath }}, which the chart uses: choose another path
{{- end }}
{{- end }}
{{- $grace := include "azwi.gracePeriod" . | int -}}
{{- if le $grace (.Values.drainSeconds | int) }}
terminationGracePeriodSeconds {{ $grace }} must be longer than drainSeconds {{ .Values.drainSeconds }}, or servers are killed while they drain: raise it, or set it to 0
{{- end }}
{{- $limit := dig "limits" "memory" "" .Values.resources | toString -}}
{{- if and (regexMatch "^[0-9]+Mi$" $limit) (lt (trimSuffix "Mi" $limit | int) 96) }}
resources.limits.memory {{ $limit }} is less than the server uses (66 MiB with 50,000 ServiceAccounts), so it would be killed repeatedly: raise it to 192Mi, or remove resources from your values
{{- end }}
{{- $ports := list (printf "%v" .Values.service.targetPort) (include "azwi.port" .Values.healthAddr) (include "azwi.port" .Values.metricsAddr) | compact -}}
{{- if ne (len $ports) (len (uniq $ports)) }}
service.targetPort, healthAddr and metricsAddr need different ports, but have {{ join ", " $ports }}
{{- end }}
{{- if and .Values.identityMapping.mappings .Values.identityMapping.existingConfigMap }}
identityMapping.mappings and identityMapping.existingConfigMap exclude each other
{{- end }}
{{- end }}

{{- define "azwi.checkEndpoint" -}}
{{- $endpoint := .Values.customTokenEndpoint -}}
{{- $needed := list $endpoint.annotationSuffix $endpoint.audience $endpoint.azureKubernetesTokenProxy -}}
{{- if and (compact $needed) (lt (len (compact $needed)) 3) }}
customTokenEndpoint.annotationSuffix, .audience and .azureKubernetesTokenProxy go together: set all three, or none
{{- end }}
{{- $cas := list $endpoint.azureKubernetesCaData $endpoint.azureKubernetesCAConfigMapName $endpoint.azureKubernetesCACTBSignerName -}}
{{- if gt (len (compact $cas)) 1 }}
only one of customTokenEndpoint.azureKubernetesCaData, .azureKubernetesCAConfigMapName and .azureKubernetesCACTBSignerName can be set
{{- end }}
{{- if and $endpoint.azureKubernetesCACTBLabelSelector (not $endpoint.azureKubernetesCACTBSignerName) }}
customTokenEndpoint.azureKubernetesCACTBLabelSelector needs .azureKubernetesCACTBSignerName
{{- end }}
{{- end }}

{{/* The lowest number of replicas. */}}
{{- define "azwi.minReplicas" -}}
{{- ternary .Values.autoscaling.minReplicas .Values.replicaCount .Values.autoscaling.enabled -}}
{{- end }}

{{- define "azwi.checkBudget" -}}
{{- $budget := .Values.podDisruptionBudget -}}
{{- $replicas := include "azwi.minReplicas" . | int -}}
{{- if and .Values.autoscaling.enabled (gt (.Values.autoscaling.minReplicas | int) (.Values.autoscaling.maxReplicas | int)) }}
autoscaling.minReplicas {{ .Values.autoscaling.minReplicas }} is above autoscaling.maxReplicas {{ .Values.autoscaling.maxReplicas }}
{{- end }}
{{- if and $budget.enabled (not (kindIs "invalid" $budget.minAvailable)) }}
{{- if not (kindIs "invalid" $budget.maxUnavailable) }}
podDisruptionBudget.minAvailable and .maxUnavailable exclude each other: set one
{{- end }}
{{- $text := printf "%v" $budget.minAvailable -}}
{{- $minAvailable := int $budget.minAvailable -}}
{{- if hasSuffix "%" $text -}}
{{- $minAvailable = divf (mulf (trimSuffix "%" $text) $replicas) 100 | ceil | int -}}
{{- end -}}
{{- if ge $minAvailable $replicas }}
podDisruptionBudget.minAvailable {{ $text }} with {{ $replicas }} replica(s) would allow no eviction and block every node drain: lower it, raise the replicas, or set .maxUnavailable instead
{{- end }}
{{- end }}
{{- end }}

{{- define "azwi.checkMetrics" -}}
{{- $metrics := .Values.metrics -}}
{{- if and (eq .Values.metricsAddr "0") (or $metrics.service.enabled $metrics.serviceMonitor.enabled $metrics.podMonitor.enabled) }}
metrics.service, .serviceMonitor and .podMonitor need metrics: set metricsAddr to an address
{{- end }}
{{- if and $metrics.serviceMonitor.enabled $metrics.podMonitor.enabled }}
metrics.serviceMonitor and .podMonitor would scrape every metric twice: enable one
{{- end }}
{{- end }}

{{- define "azwi.checkNames" -}}
{{- $name := include "azwi.fullname" . -}}
{{- if not (regexMatch "^[a-z]([-a-z0-9]*[a-z0-9])?$" $name) }}
the release's name {{ .Release.Name }} makes the object name {{ $name }}, which Kubernetes refuses for a Service: choose a release name of lower-case letters, digits and "-" that begins with a letter, or set fullnameOverride
{{- end }}
{{- if and .Values.upstreamNames .Values.fullnameOverride }}
upstreamNames and fullnameOverride exclude each other
{{- end }}
{{- if and (not .Values.serviceAccount.create) (not .Values.serviceAccount.name) }}
serviceAccount.create false needs serviceAccount.name: the ServiceAccount that you created
{{- end }}
{{- $selector := include "azwi.selectorLabels" . | fromYaml -}}
{{- range $key, $_ := merge (dict) .Values.podLabels .Values.commonLabels -}}
{{- if hasKey $selector $key }}
podLabels and commonLabels cannot set {{ $key }}, which the Deployment's selector uses
{{- end }}
{{- end }}
{{- end }}

{{/* What the admission policies cannot do. */}}
{{- define "azwi.checkEngine" -}}
{{- if ne .Values.engine "webhook" -}}
{{- if not (include "azwi.mutatingVersion" .) }}
engine {{ .Values.engine }} needs MutatingAdmissionPolicy: Kubernetes 1.36, or 1.35 with the API server's --feature-gates=MutatingAdmissionPolicy=true and --runtime-config=admissionregistration.k8s.io/v1beta1=true. This cluster is {{ .Capabilities.KubeVersion.Version }}: set engine to webhook
{{- end }}
{{- range $number, $entry := .Values.identityMapping.mappings }}
{{- include "azwi.checkMapping" (dict "entry" $entry "number" $number) }}
{{- end }}
{{- $most := (.Files.Get "files/policy/tables.json" | fromJson).maxExpression | int }}
{{- $longest := max (include "azwi.mappedAccounts" . | len) (include "azwi.mappedPatterns" . | len) | int }}
{{- if gt $longest $most }}
identityMapping.mappings has {{ $longest }} characters as an expression, and the API server takes {{ $most }}: use fewer entries or patterns, annotate the ServiceAccounts, or set engine to webhook
{{- end }}
{{- if and .Values.secondTokenAudience (not (regexMatch "^[!-~]{1,253}$" .Values.secondTokenAudience)) }}
secondTokenAudience must be printable ASCII without blanks, at most 253 characters
{{- end }}
{{- end }}
{{- if eq .Values.engine "policy" }}
{{- if .Values.identityMapping.existingConfigMap }}
identityMapping.existingConfigMap cannot be used with engine policy, since a policy reads only the pod's ServiceAccount: write the entries into identityMapping.mappings, or set engine to both
{{- end }}
{{- if ne .Values.webhook.failurePolicy "Fail" }}
webhook.failurePolicy has no effect with engine policy: set policy.failurePolicy
{{- end }}
{{- $defaults := (.Files.Get "files/values.json" | fromJson).defaults }}
{{- range $name := list "extraArgs" "extraEnv" "extraVolumes" "extraVolumeMounts" "clientCAConfigMap" "upstreamNames" "hostNetwork"
  "mutatingWebhookAnnotations" "webhook.secondCall" "webhook.failWhenReady" "webhook.timeoutSeconds" "webhook.admissionsEnforcerDisabled"
  "certificates.mode" "certificates.secretName" "certificates.caBundle" "autoscaling.enabled" "networkPolicy.enabled"
  "metrics.service.enabled" "metrics.serviceMonitor.enabled" "metrics.podMonitor.enabled" "metrics.prometheusRule.enabled" "metrics.dashboard.enabled" }}
{{- $value := $.Values }}
{{- range splitList "." $name }}
{{- $value = index $value . }}
{{- end }}
{{- if ne (toJson $value) (toJson (index $defaults $name)) }}
{{ $name }} needs the webhook's server, which does not run with engine policy: remove it from your values, or set engine to both
{{- end }}
{{- end }}
{{- end }}
{{- end }}

{{/* An entry of the identity mapping: the server reports one that is wrong and goes on without it, a policy cannot. */}}
{{- define "azwi.checkMapping" -}}
{{- $id := "^[0-9a-fA-F]{8}(-[0-9a-fA-F]{4}){3}-[0-9a-fA-F]{12}$" -}}
{{- $tenant := .entry.tenantId | default "" | trim -}}
{{- if not (regexMatch $id (.entry.clientId | default "" | trim)) }}
identityMapping.mappings[{{ .number }}].clientId must be a UUID
{{- end }}
{{- if not (or (eq $tenant "") (regexMatch $id $tenant) (regexMatch "^([A-Za-z0-9]([A-Za-z0-9-]{0,61}[A-Za-z0-9])?\\.)+[A-Za-z]{2,63}$" $tenant)) }}
identityMapping.mappings[{{ .number }}].tenantId must be a UUID or a domain
{{- end }}
{{- if not (regexMatch "^([a-z0-9.*?-]|\\[!?[a-z0-9-]+\\])+$" (printf "%s%s" .entry.namespace (.entry.serviceAccount | default "*"))) }}
identityMapping.mappings[{{ .number }}] has a pattern that policies cannot have: letters, digits, "-", ".", *, ? and sets such as [0-9] or [!a] can be used
{{- end }}
{{- end }}
