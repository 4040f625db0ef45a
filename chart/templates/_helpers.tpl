{{- define "beamlit.name" -}}
{{- if contains "beamlit-controller" .Release.Name }}{{ .Release.Name | trunc 50 | trimSuffix "-" }}{{ else }}{{ printf "%s-beamlit-controller" .Release.Name | trunc 50 | trimSuffix "-" }}{{ end }}
{{- end }}

{{- define "beamlit.selector" -}}
app.kubernetes.io/name: beamlit-controller
app.kubernetes.io/instance: {{ .Release.Name }}
{{- end }}

{{- define "beamlit.labels" -}}
{{ include "beamlit.selector" . }}
app.kubernetes.io/version: {{ .Chart.AppVersion | quote }}
app.kubernetes.io/managed-by: {{ .Release.Service }}
helm.sh/chart: {{ printf "%s-%s" .Chart.Name .Chart.Version }}
{{- end }}

{{- define "beamlit.image" -}}
{{ .Values.image.repository }}:{{ .Values.image.tag | default .Chart.AppVersion }}{{ with .Values.image.digest }}@{{ . }}{{ end }}
{{- end }}

{{- define "beamlit.shares" -}}
{{ .Values.shares.existingSecret | default (printf "%s-shares" (include "beamlit.name" .)) }}
{{- end }}

{{- define "beamlit.sharesHost" -}}
{{ include "beamlit.name" . }}.{{ .Release.Namespace }}.svc
{{- end }}

{{- define "beamlit.podSecurity" -}}
runAsNonRoot: true
runAsUser: 65532
runAsGroup: 65532
fsGroup: 65532
seccompProfile: {type: RuntimeDefault}
{{- end }}

{{- define "beamlit.containerSecurity" -}}
allowPrivilegeEscalation: false
readOnlyRootFilesystem: true
capabilities: {drop: [ALL]}
{{- end }}

{{- /* What the controller may do with the models' objects, wherever they are. Secrets are not among it. */}}
{{- define "beamlit.rules" -}}
# The resource: watched by every replica. While its Service is taken over it has a finalizer.
- apiGroups: [deployment.beamlit.com]
  resources: [modeldeployments]
  verbs: [get, list, watch, patch]
# What was decided is recorded in the status.
- apiGroups: [deployment.beamlit.com]
  resources: [modeldeployments/status]
  verbs: [patch]
# The gateway's objects name the model as their owner, and block its deletion until they are gone.
- apiGroups: [deployment.beamlit.com]
  resources: [modeldeployments/finalizers]
  verbs: [update]
# Which pods serve a model, and how they are; a gateway's pods are annotated so that a new configuration is seen at once.
- apiGroups: [""]
  resources: [pods]
  verbs: [list, watch, patch]
{{- if .Values.admissionPolicies.enabled }}
# One that is being deleted is annotated once the last gateway pod is gone; an admission policy allows nothing else.
- apiGroups: [""]
  resources: [namespaces]
  verbs: [get, patch]
{{- end }}
# The Services that clients use are taken over and given back; a gateway has a ConfigMap and Services of its own.
- apiGroups: [""]
  resources: [services, configmaps]
  verbs: [get, list, watch, create, patch, delete]
# Whom a Service leads to, before and after it was taken over.
- apiGroups: [discovery.k8s.io]
  resources: [endpointslices]
  verbs: [list]
# The gateways themselves.
- apiGroups: [apps]
  resources: [deployments]
  verbs: [get, list, watch, create, patch, delete]
# Where a gateway may connect to is bounded.
- apiGroups: [networking.k8s.io]
  resources: [networkpolicies]
  verbs: [get, list, watch, create, patch, delete]
# While nodes are drained, a gateway keeps a pod.
- apiGroups: [policy]
  resources: [poddisruptionbudgets]
  verbs: [get, list, watch, create, patch, delete]
# An autoscaler on the same workload is warned of.
- apiGroups: [autoscaling]
  resources: [horizontalpodautoscalers]
  verbs: [list, watch]
# Replicas and selector of modelSourceRef, whatever has a scale.
- apiGroups: ["*"]
  resources: ["*/scale"]
  verbs: [get]
# Resource and ContainerResource metrics.
- apiGroups: [metrics.k8s.io]
  resources: [pods]
  verbs: [list]
# Pods and Object metrics.
- apiGroups: [custom.metrics.k8s.io]
  resources: ["*"]
  verbs: [get]
# External metrics.
- apiGroups: [external.metrics.k8s.io]
  resources: ["*"]
  verbs: [list]
# Changes are told as Events.
- apiGroups: [events.k8s.io]
  resources: [events]
  verbs: [create]
{{- end }}

{{- define "beamlit.hook" -}}
helm.sh/hook: pre-delete
helm.sh/hook-delete-policy: before-hook-creation,hook-succeeded
{{- end }}

{{/* The annotation that leads from an alert to its section of docs/monitoring.md. */}}
{{- define "beamlit.runbook" -}}
{{- with (index . 0).Values.prometheusRule.runbookUrl -}}
runbook_url: {{ printf "%s#%s" . (index $ 1) | quote }}
{{- end }}
{{- end }}
