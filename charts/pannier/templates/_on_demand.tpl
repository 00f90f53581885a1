{{- /* Feature servers: whose FeatureGroups may use Services of which other namespace. */ -}}
{{- define "pannier.onDemandServices" -}}
{{- $pairs := list -}}
{{- range .Values.onDemand.allowedServices -}}
{{- $pairs = append $pairs (printf "%s=%s" .groupsOf .servicesOf) -}}
{{- end -}}
{{- join "," $pairs -}}
{{- end -}}

{{- /* Who vouches for feature servers of scheme HTTPS: the source of a volume, or nothing. */ -}}
{{- define "pannier.onDemandAuthority" -}}
{{- with .Values.onDemand.authority -}}
{{- if .secretName -}}
secret: {secretName: {{ .secretName }}, optional: true, items: [{key: {{ .key }}, path: ca.crt}]}
{{- else if .configMapName -}}
configMap: {name: {{ .configMapName }}, optional: true, items: [{key: {{ .key }}, path: ca.crt}]}
{{- end -}}
{{- end -}}
{{- end -}}

{{- /* Whether feature servers are there: the Service with its ports, and whether a pod behind it is ready. */ -}}
{{- define "pannier.serviceRules" -}}
- apiGroups: [""]
  resources: [services]
  verbs: [get]
- apiGroups: [discovery.k8s.io]
  resources: [endpointslices]
  verbs: [list]
{{- end -}}

{{- /* Namespaces of Services that a restricted operator has no other rights in. */ -}}
{{- define "pannier.serviceNamespaces" -}}
{{- $found := list -}}
{{- if .Values.operator.namespaces -}}
{{- range .Values.onDemand.allowedServices -}}
{{- if not (has .servicesOf $.Values.operator.namespaces) -}}
{{- $found = append $found .servicesOf -}}
{{- end -}}
{{- end -}}
{{- end -}}
{{- $found | uniq | toJson -}}
{{- end -}}
