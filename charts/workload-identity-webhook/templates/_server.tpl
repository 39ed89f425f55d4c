{{/* The server's flags and environment variables. */}}

{{- define "azwi.selfManaged" -}}
{{- if eq .Values.certificates.mode "self-managed" -}}true{{- end -}}
{{- end }}

{{/* Whether pods need a ResourceQuota for their priority class. Those of kube-system have one wherever it is needed. */}}
{{- define "azwi.needsQuota" -}}
{{- $critical := has .Values.priorityClassName (list "system-cluster-critical" "system-node-critical") -}}
{{- if and .Values.resourceQuota.create $critical (ne .Release.Namespace "kube-system") -}}true{{- end -}}
{{- end }}

{{- define "azwi.args" -}}
- --webhook-port={{ .Values.service.targetPort }}
- --health-addr={{ .Values.healthAddr }}
- --metrics-addr={{ .Values.metricsAddr }}
- --metrics-backend={{ .Values.metricsBackend }}
- --log-level={{ .Values.logLevel }}
- --tls-min-version={{ .Values.tlsMinVersion }}
{{- with .Values.tlsCipherSuites }}
- --tls-cipher-suites={{ join "," . }}
{{- end }}
{{- if .Values.clientCAConfigMap }}
- --client-ca-file=/client-ca/ca.crt
{{- end }}
- --drain-period={{ .Values.drainSeconds }}s
- --opt-in={{ join "," .Values.optIn }}
- --service-account-token-expiration={{ .Values.serviceAccountTokenExpiration | int }}
{{- with .Values.audience }}
- --audience={{ . }}
{{- end }}
{{- with .Values.secondTokenAudience }}
- --second-token-audience={{ . }}
{{- end }}
{{- with include "azwi.mappingName" . }}
- --identity-mapping-configmap={{ . }}
{{- end }}
- --webhook-configurations={{ include "azwi.configurationName" . }}
{{- if include "azwi.selfManaged" . }}
- --webhook-service={{ include "azwi.serviceName" . }}
- --cert-secret={{ include "azwi.certificateSecretName" . }}
{{- with include "azwi.upstreamSecretToPrepare" . }}
- --upstream-cert-secret={{ . }}
{{- end }}
- --ca-lifetime={{ .Values.certificates.caLifetime }}
- --cert-lifetime={{ .Values.certificates.lifetime }}
{{- else }}
- --disable-cert-rotation
- --webhook-cert-dir=/certs
{{- end }}
{{- with .Values.customTokenEndpoint }}
{{- if .annotationSuffix }}
- --custom-token-endpoint-annotation-suffix={{ .annotationSuffix }}
- --custom-token-endpoint-audience={{ .audience }}
{{- end }}
{{- end }}
{{- with .Values.proxy }}
- --native-sidecars={{ .nativeSidecars }}
- --proxy-uid={{ .uid }}
- --proxy-cpu-request={{ .resources.requests.cpu }}
- --proxy-memory-request={{ .resources.requests.memory }}
- --proxy-cpu-limit={{ .resources.limits.cpu }}
- --proxy-memory-limit={{ .resources.limits.memory }}
{{- with .httpsProxy }}
- --proxy-https-proxy={{ . }}
{{- end }}
{{- with .noProxy }}
- --proxy-no-proxy={{ join "," . }}
{{- end }}
{{- with .caConfigMap }}
- --proxy-ca-configmap={{ . }}
{{- end }}
{{- with .passThrough }}
- --proxy-pass-through={{ join "," . }}
{{- end }}
{{- end }}
{{- with .Values.extraArgs }}
{{ toYaml . }}
{{- end }}
{{- end }}

{{- define "azwi.env" -}}
- name: POD_NAMESPACE
  valueFrom:
    fieldRef:
      fieldPath: metadata.namespace
{{- range $name, $value := dict
  "AZURE_TENANT_ID" .Values.azureTenantID
  "AZURE_ENVIRONMENT" .Values.azureEnvironment
  "AZURE_AUTHORITY_HOST" .Values.azureAuthorityHost
  "PROXY_IMAGE" (include "azwi.proxyImage" .)
  "PROXY_INIT_IMAGE" .Values.proxy.initImage
  "AZURE_KUBERNETES_TOKEN_PROXY" .Values.customTokenEndpoint.azureKubernetesTokenProxy
  "AZURE_KUBERNETES_SNI_NAME" .Values.customTokenEndpoint.azureKubernetesSniName
  "AZURE_KUBERNETES_CA_DATA" .Values.customTokenEndpoint.azureKubernetesCaData
  "AZURE_KUBERNETES_CA_CONFIGMAP_NAME" .Values.customTokenEndpoint.azureKubernetesCAConfigMapName
  "AZURE_KUBERNETES_CA_CTB_SIGNER_NAME" .Values.customTokenEndpoint.azureKubernetesCACTBSignerName
  "AZURE_KUBERNETES_CA_CTB_LABEL_SELECTOR" .Values.customTokenEndpoint.azureKubernetesCACTBLabelSelector }}
{{- if $value }}
- name: {{ $name }}
  value: {{ $value | quote }}
{{- end }}
{{- end }}
{{- with .Values.extraEnv }}
{{ toYaml . }}
{{- end }}
{{- end }}

{{/* A terminating pod keeps serving for drainSeconds, then has 10 s to finish open requests; 10 s are spare. */}}
{{- define "azwi.gracePeriod" -}}
{{- .Values.terminationGracePeriodSeconds | default (add .Values.drainSeconds 20) -}}
{{- end }}
