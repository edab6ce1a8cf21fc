{{/* The chart's name, and that of a release. Names have 63 characters at most; the longest suffix is "-headless". */}}
{{- define "emptyserver.name" -}}
{{- default .Chart.Name .Values.nameOverride | trunc 54 | trimSuffix "-" -}}
{{- end -}}

{{- define "emptyserver.fullname" -}}
{{- if .Values.fullnameOverride -}}
{{- .Values.fullnameOverride | trunc 54 | trimSuffix "-" -}}
{{- else -}}
{{- $name := include "emptyserver.name" . -}}
{{- if contains $name .Release.Name -}}
{{- .Release.Name | trunc 54 | trimSuffix "-" -}}
{{- else -}}
{{- printf "%s-%s" .Release.Name $name | trunc 54 | trimSuffix "-" -}}
{{- end -}}
{{- end -}}
{{- end -}}

{{- define "emptyserver.selectorLabels" -}}
app.kubernetes.io/name: {{ include "emptyserver.name" . }}
app.kubernetes.io/instance: {{ .Release.Name }}
{{- end -}}

{{- define "emptyserver.labels" -}}
{{ include "emptyserver.selectorLabels" . }}
app.kubernetes.io/version: {{ .Chart.AppVersion | quote }}
app.kubernetes.io/managed-by: {{ .Release.Service }}
helm.sh/chart: {{ printf "%s-%s" .Chart.Name .Chart.Version | replace "+" "_" }}
{{- with .Values.commonLabels }}
{{ toYaml . }}
{{- end }}
{{- end -}}

{{/* `annotations:` of an object, with the common ones; nothing where there are none. Called with a list: the root, and its own. */}}
{{- define "emptyserver.annotations" -}}
{{- $all := merge (dict) (index . 1 | default dict) (index . 0).Values.commonAnnotations -}}
{{- with $all -}}
annotations:
  {{- toYaml . | nindent 2 }}
{{- end -}}
{{- end -}}

{{- define "emptyserver.image" -}}
{{- $name := .Values.image.repository -}}
{{- with .Values.image.registry }}{{ $name = printf "%s/%s" (trimSuffix "/" .) $name }}{{ end -}}
{{- if .Values.image.digest -}}
{{ printf "%s@%s" $name .Values.image.digest }}
{{- else -}}
{{ printf "%s:%s" $name (default .Chart.AppVersion .Values.image.tag) }}
{{- end -}}
{{- end -}}

{{- define "emptyserver.serviceAccountName" -}}
{{- if .Values.serviceAccount.create -}}
{{- default (include "emptyserver.fullname" .) .Values.serviceAccount.name -}}
{{- else -}}
{{- default "default" .Values.serviceAccount.name -}}
{{- end -}}
{{- end -}}

{{- define "emptyserver.passwordSecret" -}}
{{- default (include "emptyserver.fullname" .) .Values.auth.existingSecret -}}
{{- end -}}

{{- define "emptyserver.tokenSecret" -}}
{{- default (include "emptyserver.fullname" .) .Values.adminToken.existingSecret -}}
{{- end -}}

{{/* A value of `config` as the service reads it: numbers of YAML are floats, and 1000000 must not become 1e+06. */}}
{{- define "emptyserver.value" -}}
{{- if kindIs "float64" . -}}{{- if eq (floor .) . }}{{ int64 . }}{{ else }}{{ . }}{{ end -}}{{- else -}}{{ . }}{{- end -}}
{{- end -}}

{{- define "emptyserver.listen" -}}{{ default "0.0.0.0:6379" .Values.config.LISTEN }}{{- end -}}
{{- define "emptyserver.adminListen" -}}{{ default "0.0.0.0:9180" .Values.config.ADMIN_LISTEN }}{{- end -}}
{{- define "emptyserver.data" -}}{{ default "/data" .Values.config.DATA }}{{- end -}}
{{- define "emptyserver.drainSeconds" -}}{{ include "emptyserver.value" (default 8 .Values.config.DRAIN_SECONDS) }}{{- end -}}
{{- define "emptyserver.port" -}}{{ include "emptyserver.listen" . | splitList ":" | last }}{{- end -}}
{{- define "emptyserver.adminPort" -}}{{ include "emptyserver.adminListen" . | splitList ":" | last }}{{- end -}}
{{/* "true" where the admin process runs. */}}
{{- define "emptyserver.hasAdmin" -}}{{ if ne (include "emptyserver.adminListen" .) "off" }}true{{ end }}{{- end -}}

{{/* The settings that the chart itself sets, under what `config` says. As YAML: name to value. */}}
{{- define "emptyserver.settings" -}}
{{- $settings := dict "LISTEN" (include "emptyserver.listen" .) "ADMIN_LISTEN" (include "emptyserver.adminListen" .) "DATA" (include "emptyserver.data" .) -}}
{{- if .Values.auth.enabled }}{{ $_ := set $settings "PASSWORD_FILE" "/run/secrets/emptyserver/password" }}{{ else }}{{ $_ := set $settings "PROTECTED_MODE" "no" }}{{ end -}}
{{- if .Values.adminToken.enabled }}{{ $_ := set $settings "ADMIN_TOKEN_FILE" "/run/secrets/emptyserver-admin/token" }}{{ end -}}
{{- if .Values.backup.existingClaim }}{{ $_ := set $settings "BACKUP_DIR" "/backups" }}{{ end -}}
{{- with .Values.backup.intervalSeconds }}{{ $_ := set $settings "BACKUP_INTERVAL_SECONDS" (include "emptyserver.value" .) }}{{ end -}}
{{- if ne (int .Values.backup.keep) 7 }}{{ $_ := set $settings "BACKUP_KEEP" (include "emptyserver.value" .Values.backup.keep) }}{{ end -}}
{{- range $name, $value := .Values.config }}{{ if not (kindIs "invalid" $value) }}{{ $_ := set $settings $name (include "emptyserver.value" $value) }}{{ end }}{{ end -}}
{{ toYaml $settings }}
{{- end -}}

{{/* What can't be right, in words, before anything is made. */}}
{{- define "emptyserver.validate" -}}
{{- if .Values.config.PASSWORD }}{{ fail "config.PASSWORD would show the password in the pod's specification: use auth.password or auth.existingSecret" }}{{ end -}}
{{- if and .Values.config.PASSWORD_FILE .Values.auth.enabled }}{{ fail "config.PASSWORD_FILE and auth.enabled are two sources for one password: set auth.enabled to false" }}{{ end -}}
{{- if .Values.config.ADMIN_TOKEN }}{{ fail "config.ADMIN_TOKEN would show the token in the pod's specification: use adminToken.enabled, with adminToken.token or adminToken.existingSecret" }}{{ end -}}
{{- range list "URL" "REDISCLI_AUTH" }}{{ if get $.Values.config . }}{{ fail (printf "config.%s may hold a password and would be seen in the pod's specification: use config.%s_FILE" . .) }}{{ end }}{{ end -}}
{{- $drain := include "emptyserver.drainSeconds" . | int -}}
{{- $grace := int .Values.terminationGracePeriodSeconds -}}
{{- if lt $grace (add $drain 5 | int) }}{{ fail (printf "terminationGracePeriodSeconds (%d) must be at least 5 more than config.DRAIN_SECONDS (%d): the pod would be killed before it has ended" $grace $drain) }}{{ end -}}
{{- if and .Values.metrics.serviceMonitor.enabled .Values.metrics.podMonitor.enabled }}{{ fail "metrics.serviceMonitor and metrics.podMonitor together count everything twice: enable one" }}{{ end -}}
{{- if and (not (include "emptyserver.hasAdmin" .)) (or .Values.metrics.serviceMonitor.enabled .Values.metrics.podMonitor.enabled) }}{{ fail "config.ADMIN_LISTEN is off: there are no metrics to monitor" }}{{ end -}}
{{- end -}}

{{/* A generated secret: what the release has already, else a new one. Called with a list: the root, the key. */}}
{{- define "emptyserver.generated" -}}
{{- $root := index . 0 -}}
{{- $known := lookup "v1" "Secret" $root.Release.Namespace (include "emptyserver.fullname" $root) -}}
{{- $data := default dict (default dict $known).data -}}
{{- if hasKey $data (index . 1) -}}{{ get $data (index . 1) }}{{- else -}}{{ randAlphaNum 32 | b64enc }}{{- end -}}
{{- end -}}

{{/* How a probe asks. Called with the root and the path. */}}
{{- define "emptyserver.probe" -}}
{{- if include "emptyserver.hasAdmin" (index . 0) -}}
httpGet:
  path: {{ index . 1 }}
  port: admin
{{- else -}}
exec:
  command: [/emptyserver, health]
{{- end -}}
{{- end -}}
