{{/*
The settings of the admission policies, as CEL: JSON is CEL, too. They are the first variables of every policy, and all that
differs between installations; webhook/admission_policy/settings.py writes the same.
*/}}
{{- define "azwi.policySettings" -}}
{{- $tables := .Files.Get "files/policy/tables.json" | fromJson -}}
{{- $endpoint := .Values.customTokenEndpoint -}}
{{- $proxy := .Values.proxy -}}
# Settings.
# How pods opt in.
- name: optIn
  expression: |-
    {{ .Values.optIn | sortAlpha | toJson }}
# The audience of tokens.
- name: audience
  expression: |-
    {{ .Values.audience | trim | default $tables.audience | toJson }}
# The audience of a second token, empty for none.
- name: defaultSecondAudience
  expression: |-
    {{ .Values.secondTokenAudience | trim | toJson }}
# The tenant of pods whose ServiceAccount names none.
- name: defaultTenantId
  expression: |-
    {{ .Values.azureTenantID | toJson }}
# The token's lifetime in seconds.
- name: defaultExpiration
  expression: |-
    {{ .Values.serviceAccountTokenExpiration | int }}
# The login endpoint.
- name: authorityHost
  expression: |-
    {{ .Values.azureAuthorityHost | default (index $tables.authorityHosts (lower .Values.azureEnvironment)) | toJson }}
# The identity mapping: ServiceAccounts by namespace and name.
- name: mappedAccounts
  expression: |-
    {{ include "azwi.mappedAccounts" . }}
# The identity mapping: patterns, the most specific one first.
- name: mappedPatterns
  expression: |-
    {{ include "azwi.mappedPatterns" . }}
# The custom token endpoint, if there is one.
- name: endpoint
  expression: |-
    {{ dict
      "annotation" (ternary (printf "azure.workload.identity/use-%s" $endpoint.annotationSuffix) "" (not (empty $endpoint.annotationSuffix)))
      "audience" (trim $endpoint.audience)
      "url" $endpoint.azureKubernetesTokenProxy
      "sniName" (trim $endpoint.azureKubernetesSniName)
      "caData" (trim $endpoint.azureKubernetesCaData)
      "caConfigMap" $endpoint.azureKubernetesCAConfigMapName
      "caSigner" (trim $endpoint.azureKubernetesCACTBSignerName) | toJson }}
# Which of its signer's ClusterTrustBundles: one selector, or none for all.
- name: endpointCaSelector
  expression: |-
    [{{ with $endpoint.azureKubernetesCACTBLabelSelector }}{{ include "azwi.dynamic" (fromJson .) }}{{ end }}]
# The proxy sidecar.
- name: proxy
  expression: |-
    {{ dict
      "image" (include "azwi.proxyImage" .)
      "initImage" $proxy.initImage
      "logLevel" (.Values.logLevel | default "info")
      "httpsProxy" $proxy.httpsProxy
      "noProxy" (join "," $proxy.noProxy)
      "caConfigMap" $proxy.caConfigMap
      "passThrough" (join "," $proxy.passThrough)
      "cpu_request" ($proxy.resources.requests.cpu | toString)
      "memory_request" ($proxy.resources.requests.memory | toString)
      "cpu_limit" ($proxy.resources.limits.cpu | toString)
      "memory_limit" ($proxy.resources.limits.memory | toString) | toJson }}
# Whether it is a native sidecar.
- name: proxyIsNative
  expression: |-
    {{ ne $proxy.nativeSidecars "never" }}
# Whether the cluster assigns its uid.
- name: proxyUidIsAssigned
  expression: |-
    {{ eq $proxy.uid "assigned" }}
{{- end }}

{{/*
The condition by which a policy reads the pod's own ServiceAccount. What may be different for some accounts is empty in it, so that
no pod counts as a usual one that is complete; webhook/admission_policy/conditions.py writes the same.
*/}}
{{- define "azwi.ownAccount" -}}
{{- $tables := .Files.Get "files/policy/tables.json" | fromJson -}}
{{- $isMapped := not (empty .Values.identityMapping.mappings) -}}
{{- $tables.ownAccount
  | replace "settings.audience" (ternary (.Values.audience | trim | default $tables.audience) "" (empty (trim .Values.secondTokenAudience)) | toJson)
  | replace "settings.authorityHost" (.Values.azureAuthorityHost | default (index $tables.authorityHosts (lower .Values.azureEnvironment)) | toJson)
  | replace "settings.tenantId" (ternary "" .Values.azureTenantID $isMapped | toJson)
  | replace "settings.expiration" (ternary "" (.Values.serviceAccountTokenExpiration | int | toString) $isMapped | toJson) -}}
{{- end }}

{{/* A value whose members have several types, which CEL takes as dyn only. */}}
{{- define "azwi.dynamic" -}}
{{- if kindIs "map" . -}}
{ {{- $separator := "" }}{{ range $key, $member := . }}{{ $separator }}{{ toJson $key }}:dyn({{ include "azwi.dynamic" $member }}){{ $separator = "," }}{{ end -}} }
{{- else if kindIs "slice" . -}}
[{{ $separator := "" }}{{ range . }}{{ $separator }}dyn({{ include "azwi.dynamic" . }}){{ $separator = "," }}{{ end }}]
{{- else -}}
{{ toJson . }}
{{- end -}}
{{- end }}

{{/* An entry's identity: (dict "entry" ...), as JSON. */}}
{{- define "azwi.mappedIdentity" -}}
{{- $expiration := .entry.serviceAccountTokenExpiration -}}
{{- dict
  "clientId" (trim .entry.clientId)
  "tenantId" (trim (.entry.tenantId | default ""))
  "tokenExpiration" (ternary "" ($expiration | int | toString) (kindIs "invalid" $expiration)) | toJson -}}
{{- end }}

{{/* The entries without patterns; of two for one ServiceAccount the first counts. */}}
{{- define "azwi.mappedAccounts" -}}
{{- $accounts := dict -}}
{{- range .Values.identityMapping.mappings -}}
{{- $account := printf "%s/%s" .namespace (.serviceAccount | default "*") -}}
{{- if not (or (regexMatch "[*?[]" $account) (hasKey $accounts $account)) -}}
{{- $_ := set $accounts $account (include "azwi.mappedIdentity" (dict "entry" .) | fromJson) -}}
{{- end -}}
{{- end -}}
{{- toJson $accounts -}}
{{- end }}

{{/*
The entries with patterns, the most specific one first: exact namespaces, then exact ServiceAccounts, then longer patterns, then
those that come first.
*/}}
{{- define "azwi.mappedPatterns" -}}
{{- $ranked := dict -}}
{{- range $number, $entry := .Values.identityMapping.mappings -}}
{{- $namespace := $entry.namespace -}}
{{- $account := $entry.serviceAccount | default "*" -}}
{{- if regexMatch "[*?[]" (printf "%s/%s" $namespace $account) -}}
{{- $rank := printf "%d %d %03d %03d %05d"
  (ternary 0 1 (regexMatch "[*?[]" $namespace)) (ternary 0 1 (regexMatch "[*?[]" $account))
  (regexReplaceAll "[*?[]" $namespace "" | len) (regexReplaceAll "[*?[]" $account "" | len) (sub 99999 $number) -}}
{{- $identity := include "azwi.mappedIdentity" (dict "entry" $entry) | fromJson -}}
{{- $_ := set $ranked $rank (merge (dict "namespace" (include "azwi.expression" $namespace) "serviceAccount" (include "azwi.expression" $account)) $identity) -}}
{{- end -}}
{{- end -}}
{{- $patterns := list -}}
{{- range keys $ranked | sortAlpha | reverse -}}
{{- $patterns = append $patterns (get $ranked .) -}}
{{- end -}}
{{- toJson $patterns -}}
{{- end }}

{{/* A pattern as a regular expression. */}}
{{- define "azwi.expression" -}}
^{{ . | replace "." "\\." | replace "*" ".*" | replace "?" "." | replace "[!" "[^" }}$
{{- end }}
