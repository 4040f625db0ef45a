{{- define "beamlit.name" -}}
{{- if contains "beamlit-controller" .Release.Name }}{{ .Release.Name | trunc 50 | trimSuffix "-" }}{{ else }}{{ printf "%s-beamlit-controller" .Release.Name | trunc 50 | trimSuffix "-" }}{{ end }}
{{- end }}

{{- define "beamlit.selector" -}}
app.kubernetes.io/name: beamlit-controller
app.kubernetes.io/instance: {{ .Release.Name | quote }}
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
{{- /* The gateways' pods follow the same setting. */}}
{{- if ne .Values.config.runAsFixedUser false }}
runAsUser: 65532
runAsGroup: 65532
fsGroup: 65532
{{- end }}
seccompProfile: {type: RuntimeDefault}
{{- end }}

{{- define "beamlit.containerSecurity" -}}
allowPrivilegeEscalation: false
readOnlyRootFilesystem: true
capabilities: {drop: [ALL]}
{{- end }}

{{- /* What the controller may do with the models' objects in their namespaces. It can't read Secrets. */}}
{{- define "beamlit.rules" -}}
# ModelDeployments: every replica watches them. While a Service is taken over its model has a finalizer.
- apiGroups: [deployment.beamlit.com]
  resources: [modeldeployments]
  verbs: [get, list, watch, patch]
# Decisions are recorded in the status.
- apiGroups: [deployment.beamlit.com]
  resources: [modeldeployments/status]
  verbs: [patch]
# The gateway's objects have an owner reference to the model with blockOwnerDeletion.
- apiGroups: [deployment.beamlit.com]
  resources: [modeldeployments/finalizers]
  verbs: [update]
# The pods of models. The gateway's pods are annotated, so that the kubelet updates their files at once.
- apiGroups: [""]
  resources: [pods]
  verbs: [list, watch, patch]
{{- if .Values.admissionPolicies.enabled }}
# A namespace that is being deleted is annotated once its last gateway pod is gone. An admission policy allows nothing else.
- apiGroups: [""]
  resources: [namespaces]
  verbs: [get, patch]
{{- end }}
# The clients' Services are taken over and restored. A gateway has a ConfigMap and Services of its own.
- apiGroups: [""]
  resources: [services, configmaps]
  verbs: [get, list, watch, create, patch, delete]
# The endpoints of a Service, before and after a takeover.
- apiGroups: [discovery.k8s.io]
  resources: [endpointslices]
  verbs: [list]
# The gateways.
- apiGroups: [apps]
  resources: [deployments]
  verbs: [get, list, watch, create, patch, delete]
# The addresses that a gateway can connect to are restricted.
- apiGroups: [networking.k8s.io]
  resources: [networkpolicies]
  verbs: [get, list, watch, create, patch, delete]
# A gateway keeps a pod while nodes are drained.
- apiGroups: [policy]
  resources: [poddisruptionbudgets]
  verbs: [get, list, watch, create, patch, delete]
# Autoscalers of the same workload are reported.
- apiGroups: [autoscaling]
  resources: [horizontalpodautoscalers]
  verbs: [list, watch]
# Replicas and selector of modelSourceRef, from any scale subresource.
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
# Events.
- apiGroups: [events.k8s.io]
  resources: [events]
  verbs: [create]
{{- end }}

{{- define "beamlit.hook" -}}
helm.sh/hook: pre-delete
helm.sh/hook-delete-policy: before-hook-creation,hook-succeeded
{{- end }}

{{/* The annotation that links an alert to its section of docs/monitoring.md. */}}
{{- define "beamlit.runbook" -}}
{{- with (index . 0).Values.prometheusRule.runbookUrl -}}
runbook_url: {{ printf "%s#%s" . (index $ 1) | quote }}
{{- end }}
{{- end }}
