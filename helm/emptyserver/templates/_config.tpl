{{/* The service's environment: settings from `config`, those that other values decide, and what must not be given twice. */}}

{{/* Settings that `config` may have. A test compares them with `emptyserver config --json`. */}}
{{- define "emptyserver.settings" -}}
ADMIN_HOSTS DURABILITY WORKERS READERS CACHE_BYTES WAL_BYTES_MAX JOURNAL_BYTES_MAX MERGE_SECONDS_MAX VALUE_BYTES_MAX MAX_CONNECTIONS IDLE_TIMEOUT_SECONDS QUERY_BYTES_MAX OUTPUT_BYTES_MAX SUBSCRIBER_OUTPUT_BYTES_MAX CLIENTS_BYTES_MAX LANE_JOBS_MAX CPU_AFFINITY DRAIN_SECONDS LOOP_STALL_SECONDS SLOWLOG_MICROSECONDS SLOWLOG_ENTRIES_MAX NOTIFY_KEYSPACE_EVENTS SCRIPT_SECONDS_MAX SCRIPT_MEMORY_MAX DEBUG_COMMANDS HANDSHAKE_SECONDS_MAX HANDSHAKES_MAX PROXY_PEERS UNIX_SOCKET UNIX_SOCKET_MODE LOG LOG_FORMAT URL HISTORY
{{- end -}}

{{/* Settings that other values decide, and which. */}}
{{- define "emptyserver.owned" -}}
LISTEN: containerPorts.resp, listenAddress and tls.plainPort
TLS_LISTEN: tls.enabled, containerPorts.resp and listenAddress
TLS_CERT_FILE: tls.existingSecret or tls.certManager
TLS_KEY_FILE: tls.existingSecret or tls.certManager
TLS_CA_FILE: tls.existingSecret or tls.certManager
TLS_AUTH_CLIENTS: tls.authClients
TLS_VERSION_MIN: tls.versionMin
ADMIN_TLS: tls.admin
TLS_USERS: tls.users
ACL_FILE: users.existingSecret
ADMIN_LISTEN: containerPorts.admin and listenAddress
DATA: persistence (the directory is always /data)
PASSWORD: auth.password or auth.existingSecret
REQUIREPASS: auth.password or auth.existingSecret
PROTECTED_MODE: auth.enabled
ADMIN_TOKEN: adminToken.enabled, adminToken.token and adminToken.existingSecret
BACKUP_DIR: backup.enabled and backup.directory
BACKUP_INTERVAL_SECONDS: backup.intervalSeconds
BACKUP_KEEP: backup.keep
RESTORE_FROM: restoreFrom
MAXCLIENTS: config.MAX_CONNECTIONS
DRAIN_SECONDS_FILE: config.DRAIN_SECONDS (the chart compares it with terminationGracePeriodSeconds)
{{- end -}}

{{/* YAML makes large whole numbers floating-point ones; the service wants digits. */}}
{{- define "emptyserver.scalar" -}}
{{- if and (kindIs "float64" .) (eq . (floor .)) -}}
{{- printf "%.0f" . -}}
{{- else -}}
{{- toString . -}}
{{- end -}}
{{- end -}}

{{- define "emptyserver.checkConfig" -}}
{{- $settings := splitList " " (include "emptyserver.settings" .) -}}
{{- $owned := fromYaml (include "emptyserver.owned" .) -}}
{{- range $key, $value := .Values.config -}}
{{- $name := trimSuffix "_FILE" $key -}}
{{- with coalesce (get $owned $key) (get $owned $name) -}}
{{- fail (printf "config.%s: the chart sets EMPTYSERVER_%s itself; use the value %s" $key $name .) -}}
{{- end -}}
{{- if not (has $name $settings) -}}
{{- fail (printf "config.%s: there is no setting EMPTYSERVER_%s; config may have: %s" $key $key (join ", " $settings)) -}}
{{- end -}}
{{- if and (ne $name $key) (hasKey $.Values.config $name) -}}
{{- fail (printf "config.%s and config.%s: two sources for one setting" $name $key) -}}
{{- end -}}
{{- end -}}
{{- range .Values.extraEnv -}}
{{- $key := trimPrefix "EMPTYSERVER_" .name -}}
{{- $name := trimSuffix "_FILE" $key -}}
{{- if hasPrefix "EMPTYSERVER_" .name -}}
{{- with coalesce (get $owned $key) (get $owned $name) (eq $name "DRAIN_SECONDS" | ternary "config.DRAIN_SECONDS" "") -}}
{{- fail (printf "extraEnv: the chart sets EMPTYSERVER_%s itself; use the value %s" $name .) -}}
{{- end -}}
{{- if or (hasKey $.Values.config $name) (hasKey $.Values.config (printf "%s_FILE" $name)) -}}
{{- fail (printf "extraEnv: EMPTYSERVER_%s is in config as well" $name) -}}
{{- end -}}
{{- end -}}
{{- if has .name (list "REDIS_PASSWORD" "REDIS_PASSWORD_FILE" "ALLOW_EMPTY_PASSWORD") -}}
{{- fail (printf "extraEnv: %s: use the values auth.enabled, auth.password and auth.existingSecret" .name) -}}
{{- end -}}
{{- end -}}
{{- end -}}

{{/* Not above the drain time and a margin, the kubelet would kill a service that is about to end in good order. */}}
{{- define "emptyserver.gracePeriod" -}}
{{- $drain := int (include "emptyserver.scalar" (dig "DRAIN_SECONDS" 8 .Values.config)) -}}
{{- $least := add $drain 6 -}}
{{- if lt (int .Values.terminationGracePeriodSeconds) (int $least) -}}
{{- fail (printf "terminationGracePeriodSeconds: %v is too short: a shutdown may take %d s (config.DRAIN_SECONDS) and needs a margin of 5 s; use %d or more" .Values.terminationGracePeriodSeconds $drain $least) -}}
{{- end -}}
{{- int .Values.terminationGracePeriodSeconds -}}
{{- end -}}

{{/* Without a CPU limit the service would see all CPUs of the node, and start a worker for each. */}}
{{- define "emptyserver.workers" -}}
{{- if not (or (hasKey .Values.config "WORKERS") (hasKey .Values.config "WORKERS_FILE") (dig "limits" "cpu" "" .Values.resources)) -}}
{{- $cpu := toString (dig "requests" "cpu" 0 .Values.resources) -}}
{{- $cores := hasSuffix "m" $cpu | ternary (divf (float64 (trimSuffix "m" $cpu)) 1000) (float64 $cpu) -}}
{{- max 2 (ceil $cores) -}}
{{- end -}}
{{- end -}}

{{- define "emptyserver.backupDirectory" -}}
{{- default (.Values.backup.persistence.enabled | ternary "/backup" "/data/backups") .Values.backup.directory -}}
{{- end -}}

{{/* Whoever asks for TLS says where its certificate comes from. */}}
{{- define "emptyserver.checkTls" -}}
{{- with .Values.tls -}}
{{- if and .enabled (not .existingSecret) (not .certManager.enabled) -}}
{{- fail "tls.enabled: say where the certificate is, by tls.existingSecret or tls.certManager.enabled" -}}
{{- end -}}
{{- if and .existingSecret .certManager.enabled -}}
{{- fail "tls.existingSecret and tls.certManager.enabled: two sources for one certificate" -}}
{{- end -}}
{{- if and .certManager.enabled (not .certManager.issuerRef.name) -}}
{{- fail "tls.certManager.issuerRef: name who issues the certificate" -}}
{{- end -}}
{{- if and (not .enabled) (or .admin .plainPort (ne .authClients "off")) -}}
{{- fail "tls.admin, tls.plainPort and tls.authClients: they need tls.enabled" -}}
{{- end -}}
{{- if and .users (eq .authClients "off") -}}
{{- fail "tls.users: clients show certificates only with tls.authClients" -}}
{{- end -}}
{{- end -}}
{{- end -}}

{{/* The Secret with the certificate. */}}
{{- define "emptyserver.tlsSecret" -}}
{{- default (printf "%s-tls" (include "emptyserver.fullname" .)) .Values.tls.existingSecret -}}
{{- end -}}

{{- define "emptyserver.env" -}}
{{- include "emptyserver.checkConfig" . -}}
{{- include "emptyserver.checkTls" . -}}
{{- if .Values.tls.enabled }}
- name: EMPTYSERVER_LISTEN
  value: {{ gt (int .Values.tls.plainPort) 0 | ternary (printf "%s:%v" .Values.listenAddress .Values.tls.plainPort) "off" | quote }}
- name: EMPTYSERVER_TLS_LISTEN
  value: {{ printf "%s:%v" .Values.listenAddress .Values.containerPorts.resp | quote }}
- name: EMPTYSERVER_TLS_CERT_FILE
  value: /run/secrets/emptyserver-tls/tls.crt
- name: EMPTYSERVER_TLS_KEY_FILE
  value: /run/secrets/emptyserver-tls/tls.key
{{- if ne .Values.tls.authClients "off" }}
- name: EMPTYSERVER_TLS_CA_FILE
  value: /run/secrets/emptyserver-tls/ca.crt
{{- end }}
- name: EMPTYSERVER_TLS_AUTH_CLIENTS
  value: {{ .Values.tls.authClients | quote }}
- name: EMPTYSERVER_TLS_VERSION_MIN
  value: {{ .Values.tls.versionMin | quote }}
{{- if .Values.tls.admin }}
- name: EMPTYSERVER_ADMIN_TLS
  value: "yes"
{{- end }}
{{- if .Values.tls.users }}
- name: EMPTYSERVER_TLS_USERS
  value: "yes"
{{- end }}
{{- else }}
- name: EMPTYSERVER_LISTEN
  value: {{ printf "%s:%v" .Values.listenAddress .Values.containerPorts.resp | quote }}
{{- end }}
- name: EMPTYSERVER_ADMIN_LISTEN
  value: {{ printf "%s:%v" .Values.listenAddress .Values.containerPorts.admin | quote }}
- name: EMPTYSERVER_DATA
  value: /data
{{- if .Values.auth.enabled }}
- name: EMPTYSERVER_PASSWORD_FILE
  value: /run/secrets/emptyserver/password
{{- else }}
- name: EMPTYSERVER_PROTECTED_MODE
  value: "no"
{{- end }}
{{- if .Values.users.existingSecret }}
- name: EMPTYSERVER_ACL_FILE
  value: /run/secrets/emptyserver-users/users.acl
{{- end }}
{{- if .Values.adminToken.enabled }}
- name: EMPTYSERVER_ADMIN_TOKEN_FILE
  value: /run/secrets/emptyserver-admin/token
{{- end }}
{{- with include "emptyserver.workers" . }}
- name: EMPTYSERVER_WORKERS
  value: {{ . | quote }}
{{- end }}
{{- if .Values.backup.enabled }}
- name: EMPTYSERVER_BACKUP_DIR
  value: {{ include "emptyserver.backupDirectory" . | quote }}
- name: EMPTYSERVER_BACKUP_INTERVAL_SECONDS
  value: {{ include "emptyserver.scalar" .Values.backup.intervalSeconds | quote }}
- name: EMPTYSERVER_BACKUP_KEEP
  value: {{ include "emptyserver.scalar" .Values.backup.keep | quote }}
{{- end }}
{{- with .Values.restoreFrom }}
- name: EMPTYSERVER_RESTORE_FROM
  value: {{ . | quote }}
{{- end }}
{{- range $key, $value := .Values.config }}
- name: EMPTYSERVER_{{ $key }}
  value: {{ include "emptyserver.scalar" $value | quote }}
{{- end }}
{{- with .Values.extraEnv }}
{{ toYaml . }}
{{- end }}
{{- end -}}
