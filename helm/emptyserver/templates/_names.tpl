{{/* Names and labels. 52 characters: a StatefulSet's name becomes a label with eleven more. */}}
{{- define "emptyserver.fullname" -}}
{{- if .Values.fullnameOverride -}}
{{- .Values.fullnameOverride | trunc 52 | trimSuffix "-" -}}
{{- else -}}
{{- $name := default .Chart.Name .Values.nameOverride -}}
{{- if contains $name .Release.Name -}}
{{- .Release.Name | trunc 52 | trimSuffix "-" -}}
{{- else -}}
{{- printf "%s-%s" .Release.Name $name | trunc 52 | trimSuffix "-" -}}
{{- end -}}
{{- end -}}
{{- end -}}

{{- define "emptyserver.headless" -}}
{{ include "emptyserver.fullname" . }}-headless
{{- end -}}

{{/* What never changes: the labels that select the pod, and those of the claim. */}}
{{- define "emptyserver.selectorLabels" -}}
app.kubernetes.io/name: {{ default .Chart.Name .Values.nameOverride | trunc 63 | trimSuffix "-" }}
app.kubernetes.io/instance: {{ .Release.Name }}
{{- end -}}

{{/* The pod's own selector: the pod of `helm test` has the labels above as well, and must get no connections. */}}
{{- define "emptyserver.podSelectorLabels" -}}
{{ include "emptyserver.selectorLabels" . }}
app.kubernetes.io/component: server
{{- end -}}

{{- define "emptyserver.labels" -}}
helm.sh/chart: {{ printf "%s-%s" .Chart.Name .Chart.Version | replace "+" "_" | trunc 63 | trimSuffix "-" }}
{{ include "emptyserver.selectorLabels" . }}
app.kubernetes.io/version: {{ .Chart.AppVersion | quote }}
app.kubernetes.io/managed-by: {{ .Release.Service }}
app.kubernetes.io/part-of: emptyserver
{{- with .Values.commonLabels }}
{{ toYaml . }}
{{- end }}
{{- end -}}

{{/* `annotations:` of an object: those of all objects, and a dict of its own. Call with (list $ DICT). */}}
{{- define "emptyserver.annotations" -}}
{{- $all := merge (deepCopy (index . 1)) (index . 0).Values.commonAnnotations -}}
{{- with $all -}}
annotations:
  {{- toYaml . | nindent 2 }}
{{- end }}
{{- end -}}

{{- define "emptyserver.serviceAccount" -}}
{{- if .Values.serviceAccount.create -}}
{{- default (include "emptyserver.fullname" .) .Values.serviceAccount.name -}}
{{- else -}}
{{- default "default" .Values.serviceAccount.name -}}
{{- end -}}
{{- end -}}

{{- define "emptyserver.image" -}}
{{- with .Values.image -}}
{{- $name := .repository -}}
{{- if .registry -}}
{{- $name = printf "%s/%s" (trimSuffix "/" .registry) .repository -}}
{{- end -}}
{{- if .digest -}}
{{- printf "%s@%s" $name .digest -}}
{{- else -}}
{{- printf "%s:%s" $name (default $.Chart.AppVersion .tag) -}}
{{- end -}}
{{- end -}}
{{- end -}}
