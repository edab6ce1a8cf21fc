{{- define "emptyserver.storageClass" -}}
{{- if eq .storageClass "-" -}}
storageClassName: ""
{{- else if .storageClass -}}
storageClassName: {{ .storageClass }}
{{- end -}}
{{- end -}}
