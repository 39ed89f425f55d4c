{{/* Names, labels and image references. */}}

{{- define "azwi.name" -}}
{{- default .Chart.Name .Values.nameOverride | trunc 50 | trimSuffix "-" -}}
{{- end }}

{{/* 50 characters leave room for the suffixes below within the 63 that a Service may have. */}}
{{- define "azwi.fullname" -}}
{{- $name := include "azwi.name" . -}}
{{- if .Values.fullnameOverride -}}
{{- .Values.fullnameOverride | trunc 50 | trimSuffix "-" -}}
{{- else if contains $name .Release.Name -}}
{{- .Release.Name | trunc 50 | trimSuffix "-" -}}
{{- else -}}
{{- printf "%s-%s" .Release.Name $name | trunc 50 | trimSuffix "-" -}}
{{- end -}}
{{- end }}

{{/*
Cluster-scoped objects have the release's namespace in their names, since two namespaces may each have a release of the same
name. The API server calls webhooks in the order of their configurations' names; this one sorts after v1.6.0's. In the opposite
order v1.6.0 mounts a path that is already mounted, and the API server refuses the pod.
*/}}
{{- define "azwi.clusterName" -}}
{{- printf "azwi-%s-%s" .Release.Namespace (include "azwi.fullname" .) -}}
{{- end }}

{{- define "azwi.deploymentName" -}}
{{- ternary "azure-wi-webhook-controller-manager" (include "azwi.fullname" .) .Values.upstreamNames -}}
{{- end }}

{{- define "azwi.serviceName" -}}
{{- ternary "azure-wi-webhook-webhook-service" (include "azwi.fullname" .) .Values.upstreamNames -}}
{{- end }}

{{- define "azwi.configurationName" -}}
{{- ternary "azure-wi-webhook-mutating-webhook-configuration" (include "azwi.clusterName" .) .Values.upstreamNames -}}
{{- end }}

{{- define "azwi.roleName" -}}
{{- ternary "azure-wi-webhook-manager-role" (include "azwi.fullname" .) .Values.upstreamNames -}}
{{- end }}

{{- define "azwi.clusterRoleName" -}}
{{- ternary "azure-wi-webhook-manager-role" (include "azwi.clusterName" .) .Values.upstreamNames -}}
{{- end }}

{{- define "azwi.bindingName" -}}
{{- ternary "azure-wi-webhook-manager-rolebinding" (include "azwi.fullname" .) .Values.upstreamNames -}}
{{- end }}

{{- define "azwi.clusterBindingName" -}}
{{- ternary "azure-wi-webhook-manager-rolebinding" (include "azwi.clusterName" .) .Values.upstreamNames -}}
{{- end }}

{{- define "azwi.serviceAccountName" -}}
{{- $own := ternary "azure-wi-webhook-admin" (include "azwi.fullname" .) .Values.upstreamNames -}}
{{- .Values.serviceAccount.name | default $own -}}
{{- end }}

{{- define "azwi.certificateSecretName" -}}
{{- .Values.certificates.secretName | default (printf "%s-server-cert" (include "azwi.fullname" .)) -}}
{{- end }}

{{/* v1.6.0's Secret. Its certificate rotator replaces every certificate there that is not its own. */}}
{{- define "azwi.upstreamSecretName" -}}
azure-wi-webhook-server-cert
{{- end }}

{{/* v1.6.0's Secret if a rollback to v1.6.0 can be prepared in it, or nothing. */}}
{{- define "azwi.upstreamSecretToPrepare" -}}
{{- $name := include "azwi.upstreamSecretName" . -}}
{{- if and .Values.upstreamNames (include "azwi.selfManaged" .) (ne $name (include "azwi.certificateSecretName" .)) -}}
{{- $name -}}
{{- end -}}
{{- end }}

{{/* The ConfigMap of the identity mapping, or nothing. */}}
{{- define "azwi.mappingName" -}}
{{- if .Values.identityMapping.existingConfigMap -}}
{{- .Values.identityMapping.existingConfigMap -}}
{{- else if .Values.identityMapping.mappings -}}
{{- printf "%s-mapping" (include "azwi.fullname" .) -}}
{{- end -}}
{{- end }}

{{- define "azwi.metricsServiceName" -}}
{{- printf "%s-metrics" (include "azwi.fullname" .) -}}
{{- end }}

{{/* A Deployment's selector is immutable: with upstreamNames it is v1.6.0's, so that helm upgrade can take over its release. */}}
{{- define "azwi.selectorLabels" -}}
{{- if .Values.upstreamNames -}}
app: {{ include "azwi.name" . }}
azure-workload-identity.io/system: "true"
chart: {{ include "azwi.name" . }}
release: {{ .Release.Name | quote }}
{{- else -}}
app.kubernetes.io/name: {{ include "azwi.name" . }}
app.kubernetes.io/instance: {{ .Release.Name | quote }}
{{- end -}}
{{- end }}

{{- define "azwi.labels" -}}
{{- $own := dict
  "app.kubernetes.io/name" (include "azwi.name" .)
  "app.kubernetes.io/instance" .Release.Name
  "app.kubernetes.io/version" (.Chart.AppVersion | replace "+" "_" | trunc 63)
  "app.kubernetes.io/managed-by" .Release.Service
  "app.kubernetes.io/part-of" "azure-workload-identity"
  "helm.sh/chart" (printf "%s-%s" .Chart.Name .Chart.Version | replace "+" "_" | trunc 63 | trimSuffix "-") -}}
{{- toYaml (mergeOverwrite (deepCopy .Values.commonLabels) $own (include "azwi.selectorLabels" . | fromYaml)) -}}
{{- end }}

{{/* metadata of an object: (dict "root" $ "name" ... "labels" {} "annotations" {} "namespace" ""|nil). */}}
{{- define "azwi.metadata" -}}
name: {{ .name }}
{{- with .namespace }}
namespace: {{ . }}
{{- end }}
labels:
  {{- toYaml (mergeOverwrite (include "azwi.labels" .root | fromYaml) (.labels | default dict)) | nindent 2 }}
{{- with mergeOverwrite (deepCopy .root.Values.commonAnnotations) (.annotations | default dict) }}
annotations:
  {{- toYaml . | nindent 2 }}
{{- end }}
{{- end }}

{{/* Image reference: (dict "root" $ "image" {registry, repository, release, digest}). */}}
{{- define "azwi.reference" -}}
{{- $registry := .image.registry | default .root.Values.global.imageRegistry -}}
{{- $name := .image.repository -}}
{{- if $registry -}}
{{- $name = printf "%s/%s" (trimSuffix "/" $registry) $name -}}
{{- end -}}
{{- if .image.digest -}}
{{- printf "%s@%s" $name .image.digest -}}
{{- else -}}
{{- printf "%s:%s" $name (.image.release | default .root.Chart.AppVersion) -}}
{{- end -}}
{{- end }}

{{- define "azwi.image" -}}
{{- include "azwi.reference" (dict "root" . "image" .Values.image) -}}
{{- end }}

{{/* Image of the proxy. The server's digest applies only where the proxy sets neither a repository nor a tag of its own. */}}
{{- define "azwi.proxyImage" -}}
{{- $image := .Values.image -}}
{{- $proxy := .Values.proxy.image -}}
{{- $digest := ternary $proxy.digest ($proxy.digest | default $image.digest) (or $proxy.repository $proxy.release | empty | not) -}}
{{- include "azwi.reference" (dict "root" . "image" (dict
  "registry" ($proxy.registry | default $image.registry)
  "repository" ($proxy.repository | default $image.repository)
  "release" ($proxy.release | default $image.release)
  "digest" $digest)) -}}
{{- end }}

{{- define "azwi.pullSecrets" -}}
{{- with concat .Values.global.imagePullSecrets .Values.imagePullSecrets | uniq -}}
imagePullSecrets:
{{ toYaml . }}
{{- end -}}
{{- end }}

{{/* Port of an address; empty for "0". */}}
{{- define "azwi.port" -}}
{{- if ne . "0" -}}
{{- regexFind "[0-9]+$" . -}}
{{- end -}}
{{- end }}
