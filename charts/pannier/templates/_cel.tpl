{{- /* A value as a CEL literal of Kubernetes' types. "t": the type by its path, as in Object.spec.containers. Literals of
maps are of one type in Kubernetes' CEL, so objects are typed; maps of strings (requests, limits) stay maps. */ -}}
{{- define "pannier.cel" -}}
{{- $type := .t -}}
{{- if kindIs "map" .v -}}
{{ $type }}{
{{- range $index, $key := keys .v | sortAlpha -}}
{{- if $index }}, {{ end -}}
{{ $key }}: {{ include "pannier.cel" (dict "v" (get $.v $key) "t" (printf "%s.%s" $type $key)) }}
{{- end -}}
}
{{- else if kindIs "slice" .v -}}
[{{- range $index, $item := .v -}}{{- if $index }}, {{ end -}}{{ include "pannier.cel" (dict "v" $item "t" $type) }}{{- end -}}]
{{- else if or (kindIs "float64" .v) (kindIs "int" .v) (kindIs "int64" .v) -}}
{{ int64 .v }}
{{- else -}}
{{ toJson .v }}
{{- end -}}
{{- end -}}

{{- define "pannier.policyMatch" -}}
matchConstraints:
  resourceRules:
  - {apiGroups: [""], apiVersions: [v1], operations: [CREATE], resources: [pods], scope: Namespaced}
  namespaceSelector:
    matchExpressions:
    - {key: kubernetes.io/metadata.name, operator: NotIn, values: [kube-system, kube-node-lease, kube-public, {{ .Release.Namespace }}]}
{{- end -}}

{{- define "pannier.policyAsked" -}}
- name: asked
  expression: >-
    has(object.metadata.labels) && 'pannier.dev/inject' in object.metadata.labels
    ? object.metadata.labels['pannier.dev/inject'] == 'true'
    : has(namespaceObject.metadata.labels) && 'pannier.dev/inject' in namespaceObject.metadata.labels
    && namespaceObject.metadata.labels['pannier.dev/inject'] == 'true'
{{- end -}}

{{- /* "list": containers or initContainers; patches that mount the socket's directory in each of them. */ -}}
{{- define "pannier.policyMounts" -}}
{{- $at := printf "object.spec.%s" .list -}}
{{- $some := printf "i < size(%s)" $at -}}
{{- $all := untilStep 0 32 1 | toJson -}}
(has({{ $at }}) ? {{ $all }}.filter(i, {{ $some }} && (!has({{ $at }}[i].volumeMounts) || size({{ $at }}[i].volumeMounts) == 0)).map(i, JSONPatch{op: "add", path: "/spec/{{ .list }}/" + string(i) + "/volumeMounts", value: []}) + {{ $all }}.filter(i, {{ $some }}).map(i, JSONPatch{op: "add", path: "/spec/{{ .list }}/" + string(i) + "/volumeMounts/-", value: {{ .mount }}}) : [])
{{- end -}}
