{{/*
Password and token: one of yours (existingSecret), one given in the values, or a generated one.

A generated one lives in a Secret of its own that is immutable. `lookup` finds it at each upgrade. Where nothing can be looked up
(`helm template`, Argo CD) each render would make another: Kubernetes refuses to change the Secret then, loudly, instead of handing
the service a new password at its next start.
*/}}

{{/* The Secret's name. Call with (list $ VALUES "password"), VALUES being .Values.auth or .Values.adminToken. */}}
{{- define "emptyserver.secretName" -}}
{{- $root := index . 0 -}}
{{- $values := index . 1 -}}
{{- $what := index . 2 -}}
{{- if $values.existingSecret -}}
{{- $values.existingSecret -}}
{{- else if get $values $what -}}
{{- printf "%s-%s" (include "emptyserver.fullname" $root) $what -}}
{{- else -}}
{{- printf "%s-generated-%s" (include "emptyserver.fullname" $root) $what -}}
{{- end -}}
{{- end -}}

{{- define "emptyserver.secretKey" -}}
{{- $values := index . 1 -}}
{{- $values.existingSecret | empty | ternary (index . 2) $values.existingSecretKey -}}
{{- end -}}

{{/* The Secret itself, unless it is yours. Called as the name is. */}}
{{- define "emptyserver.secret" -}}
{{- $root := index . 0 -}}
{{- $values := index . 1 -}}
{{- $what := index . 2 -}}
{{- if not $values.existingSecret }}
{{- $name := include "emptyserver.secretName" . }}
{{- $given := get $values $what }}
{{- $present := dig "data" $what "" (lookup "v1" "Secret" $root.Release.Namespace $name | default dict) }}
apiVersion: v1
kind: Secret
metadata:
  name: {{ $name }}
  namespace: {{ $root.Release.Namespace }}
  labels:
    {{- include "emptyserver.labels" $root | nindent 4 }}
  {{- with include "emptyserver.annotations" (list $root dict) }}{{ . | nindent 2 }}{{ end }}
type: Opaque
{{- if not $given }}
immutable: true
{{- end }}
data:
  {{ $what }}: {{ $given | empty | ternary (default (randAlphaNum 32 | b64enc) $present) ($given | b64enc) | quote }}
{{- end }}
{{- end -}}

{{/*
What changes when a given password or that of an existing Secret changes, so that the pod is replaced. Whoever may list pods can
read it: derivePassword is slow to guess, a plain checksum would not be.
*/}}
{{- define "emptyserver.secretChecksum" -}}
{{- $root := index . 0 -}}
{{- $values := index . 1 -}}
{{- $what := index . 2 -}}
{{- $text := get $values $what -}}
{{- if $values.existingSecret -}}
{{- $text = dig "data" $values.existingSecretKey "" (lookup "v1" "Secret" $root.Release.Namespace $values.existingSecret | default dict) -}}
{{- end -}}
{{- if $text -}}
{{- derivePassword 1 "maximum" $text $root.Release.Name $what | b64enc -}}
{{- else -}}
{{- include "emptyserver.secretName" . -}}
{{- end -}}
{{- end -}}
