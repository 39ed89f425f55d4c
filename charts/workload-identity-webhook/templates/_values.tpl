{{/*
Fills in the default of every documented value that is null or missing: a key without a value, or `helm upgrade --reuse-values`
from a chart that did not have the value yet. Keys below a documented value are left alone, so that null removes one of them:
podSecurityContext.runAsUser. Every template that reads values begins with this; the first one to run changes .Values.
*/}}
{{- define "azwi.completeValues" -}}
{{- if not (hasKey .Values "azwiComplete") -}}
{{- range $name, $default := (.Files.Get "files/values.json" | fromJson).defaults -}}
{{- $map := $.Values -}}
{{- $keys := splitList "." $name -}}
{{- range initial $keys -}}
{{- if kindIs "invalid" (index $map .) -}}
{{- $_ := set $map . dict -}}
{{- end -}}
{{- $map = index $map . -}}
{{- end -}}
{{- if kindIs "invalid" (index $map (last $keys)) -}}
{{- $_ := set $map (last $keys) $default -}}
{{- end -}}
{{- end -}}
{{- $_ := set .Values "azwiComplete" true -}}
{{- end -}}
{{- end }}
