{{- define "pannier.injector" -}}
{{ include "pannier.fullname" . }}-injector
{{- end -}}

{{- define "pannier.injectorName" -}}
{{ .Release.Namespace }}.{{ include "pannier.injector" . }}
{{- end -}}

{{- define "pannier.injectorSelector" -}}
app.kubernetes.io/name: {{ default .Chart.Name .Values.nameOverride }}
app.kubernetes.io/instance: {{ .Release.Name }}
app.kubernetes.io/component: injector
{{- end -}}

{{- define "pannier.injectorLabels" -}}
{{ include "pannier.injectorSelector" . }}
app.kubernetes.io/version: {{ .Chart.AppVersion | quote }}
app.kubernetes.io/part-of: pannier
app.kubernetes.io/managed-by: {{ .Release.Service }}
helm.sh/chart: {{ printf "%s-%s" .Chart.Name .Chart.Version }}
{{- end -}}

{{- define "pannier.sidecarImage" -}}
{{- $image := .Values.sidecar.image -}}
{{- if not $image.repository -}}
{{ include "pannier.image" . }}
{{- else if $image.digest -}}
{{ $image.repository }}@{{ $image.digest }}
{{- else -}}
{{ $image.repository }}:{{ default .Chart.AppVersion $image.tag }}
{{- end -}}
{{- end -}}

{{- /* The sidecar, once for the webhook (as a file) and for the policy (as CEL): all that no pod can choose. */ -}}
{{- define "pannier.sidecarContainer" -}}
name: pannier-sidecar
image: {{ include "pannier.sidecarImage" . | quote }}
imagePullPolicy: {{ .Values.image.pullPolicy }}
restartPolicy: Always
command: [pannier]
args:
- serve
- --catalog=/etc/pannier/catalog
- --http=127.0.0.1:8470
- --uds=/run/pannier/pannier.sock
- --admin=0.0.0.0:8471
{{- if include "pannier.feeds" . }}
- --operator-url=https://{{ include "pannier.operator" . }}.{{ .Release.Namespace }}.svc:8474
- --operator-token=/var/run/secrets/pannier.dev/token
{{- end }}
- --store=dynamodb
- --drain-seconds={{ .Values.sidecar.drainSeconds }}
- --log-format=json
{{- with .Values.aws.dynamodbEndpointUrl }}
- --dynamodb-endpoint-url={{ . }}
{{- end }}
{{- with .Values.sidecar.args }}
{{ toYaml . }}
{{- end }}
env:
- name: PANNIER_POD_NAME
  valueFrom: {fieldRef: {apiVersion: v1, fieldPath: metadata.name}}
- name: PANNIER_POD_NAMESPACE
  valueFrom: {fieldRef: {apiVersion: v1, fieldPath: metadata.namespace}}
- name: PANNIER_POD_UID
  valueFrom: {fieldRef: {apiVersion: v1, fieldPath: metadata.uid}}
{{- with .Values.aws.region }}
- name: AWS_REGION
  value: {{ . | quote }}
{{- end }}
{{- if .Values.sidecar.redisUrlSecret.name }}
- name: PANNIER_REDIS_URL
  valueFrom: {secretKeyRef: {name: {{ .Values.sidecar.redisUrlSecret.name }}, key: {{ .Values.sidecar.redisUrlSecret.key }}, optional: true}}
{{- else if .Values.sidecar.redisUrl }}
- name: PANNIER_REDIS_URL
  value: {{ .Values.sidecar.redisUrl | quote }}
{{- end }}
{{- with .Values.sidecar.env }}
{{ toYaml . }}
{{- end }}
ports:
- name: pannier-admin
  containerPort: 8471
  protocol: TCP
startupProbe: # the process is up; never whether Redis or DynamoDB are
  httpGet: {path: /livez, port: 8471}
  periodSeconds: 1
  failureThreshold: 60
livenessProbe:
  httpGet: {path: /livez, port: 8471}
  periodSeconds: 10
  timeoutSeconds: 5
readinessProbe:
  httpGet: {path: {{ if eq .Values.sidecar.readiness "Strict" }}/readyz{{ else }}/livez{{ end }}, port: 8471}
  periodSeconds: 5
  timeoutSeconds: 5
securityContext:
  runAsNonRoot: true
  runAsUser: 65532
  runAsGroup: 65532
  allowPrivilegeEscalation: false
  readOnlyRootFilesystem: true
  capabilities: {drop: [ALL]}
  seccompProfile: {type: RuntimeDefault}
volumeMounts:
- {name: pannier-catalog, mountPath: /etc/pannier/catalog, readOnly: true}
- {name: pannier-socket, mountPath: /run/pannier}
{{- if include "pannier.feeds" . }}
- {name: pannier-token, mountPath: /var/run/secrets/pannier.dev, readOnly: true}
{{- end }}
{{- end -}}

{{- define "pannier.sidecarVolumes" -}}
- name: pannier-catalog
  projected: # all shards in one volume, so that they change together; none has to be there
    sources:
    - configMap: {name: pannier-catalog, optional: true}
    {{- range $shard := until (int .Values.sidecar.catalogShards) }}
    {{- if $shard }}
    - configMap: {name: {{ printf "pannier-catalog-%03d" $shard }}, optional: true}
    {{- end }}
    {{- end }}
- name: pannier-socket
  emptyDir: {sizeLimit: 1Mi}
{{- if include "pannier.feeds" . }}
- name: pannier-token
  projected: # proves the pod's namespace to the operator, and nothing to anybody else
    sources:
    - serviceAccountToken: {audience: pannier.dev, expirationSeconds: 3600, path: token}
{{- end }}
{{- end -}}

{{- define "pannier.sidecarAppMounts" -}}
- {name: pannier-socket, mountPath: /run/pannier}
{{- end -}}

{{- define "pannier.sidecarTemplate" -}}
container: {{- include "pannier.sidecarContainer" . | nindent 2 }}
volumes: {{- include "pannier.sidecarVolumes" . | nindent 2 }}
appMounts: {{- include "pannier.sidecarAppMounts" . | nindent 2 }}
defaults:
  l1Mib: {{ .Values.sidecar.l1Mib }}
  cpu: {{ .Values.sidecar.cpu | quote }}
  logLevel: {{ .Values.sidecar.logLevel }}
most:
  l1Mib: {{ .Values.sidecar.most.l1Mib }}
  cpu: {{ .Values.sidecar.most.cpu | quote }}
{{- end -}}


{{- /* Who asks for a sidecar: a pod by its label, or a namespace for all of its pods that do not say no. */ -}}
{{- define "pannier.injectorSelectors" -}}
{{- $outside := dict "key" "kubernetes.io/metadata.name" "operator" "NotIn" "values" (list "kube-system" "kube-node-lease" "kube-public" .Release.Namespace) -}}
pods:
  objectSelector:
    matchLabels: {pannier.dev/inject: "true"}
  namespaceSelector:
    matchExpressions:
    - {{ toJson $outside }}
namespaces:
  objectSelector:
    matchExpressions:
    - {key: pannier.dev/inject, operator: DoesNotExist}
  namespaceSelector:
    matchLabels: {pannier.dev/inject: "true"}
    matchExpressions:
    - {{ toJson $outside }}
{{- end -}}
