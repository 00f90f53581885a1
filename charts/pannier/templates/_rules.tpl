{{- /* What the operator does in a namespace with FeatureGroups, or with a catalog. */ -}}
{{- define "pannier.namespaceRules" -}}
- apiGroups: [pannier.dev]
  resources: [featuregroups]
  verbs: [get, list, watch, patch] # patch: its finalizer
- apiGroups: [pannier.dev]
  resources: [featuregroups/status]
  verbs: [patch]
# Catalogs have names that are known beforehand, so no other ConfigMap can be read or written. A list is one by
# metadata.name; create is allowed by name since catalogs are made by server-side apply;
# from then on they are replaced.
- apiGroups: [""]
  resources: [configmaps]
  verbs: [get, list, create, patch, update, delete]
  resourceNames:
  - pannier-catalog
  {{- range $shard := untilStep 1 64 1 }}
  - pannier-catalog-{{ printf "%03d" $shard }}
  {{- end }}
- apiGroups: [""]
  resources: [events]
  verbs: [create]
# whether feature servers are there
{{ include "pannier.serviceRules" . }}
{{- if include "pannier.injects" . }}
# whether pods that asked for a sidecar have one
- apiGroups: [""]
  resources: [pods]
  verbs: [get, list]
{{- if .Values.injection.watchdog.evict }}
- apiGroups: [""]
  resources: [pods/eviction]
  verbs: [create]
{{- end }}
{{- else if include "pannier.countsPods" . }}
# whether sidecars are heard of
- apiGroups: [""]
  resources: [pods]
  verbs: [list]
{{- end }}
{{- end -}}

{{- define "pannier.subject" -}}
- kind: ServiceAccount
  name: {{ include "pannier.serviceAccount" . }}
  namespace: {{ .Release.Namespace }}
{{- end -}}
