{{- /* The webhooks' certificate: whose it is, where it lies, who trusts it. */ -}}
{{- define "pannier.tlsSecret" -}}
{{- if eq .Values.certificates.mode "Provided" -}}
{{ .Values.certificates.secretName }}
{{- else -}}
{{ include "pannier.fullname" . }}-tls
{{- end -}}
{{- end -}}

{{- define "pannier.validates" -}}
{{- if and .Values.webhook.enabled (not .Values.webhook.secretName) -}}true{{- end -}}
{{- end -}}

{{- define "pannier.injects" -}}
{{- if eq .Values.injection.mode "Webhook" -}}true{{- end -}}
{{- end -}}

{{- define "pannier.feeds" -}}
{{- if and .Values.catalogFeed.enabled (not .Values.webhook.secretName) -}}true{{- end -}}
{{- end -}}

{{- /* Whether pods that were given a sidecar are counted: by whom makes no difference. */ -}}
{{- define "pannier.countsPods" -}}
{{- if and (include "pannier.feeds" .) (ne .Values.injection.mode "Off") -}}true{{- end -}}
{{- end -}}

{{- /* Whether the operator's pod mounts the certificate. */ -}}
{{- define "pannier.listens" -}}
{{- if or .Values.webhook.enabled (include "pannier.feeds" .) -}}true{{- end -}}
{{- end -}}

{{- define "pannier.needsCertificate" -}}
{{- if or (include "pannier.validates" .) (include "pannier.injects" .) (include "pannier.feeds" .) -}}true{{- end -}}
{{- end -}}

{{- define "pannier.isSelfManaged" -}}
{{- if and (include "pannier.needsCertificate" .) (eq .Values.certificates.mode "SelfManaged") -}}true{{- end -}}
{{- end -}}

{{- define "pannier.tlsNames" -}}
{{- $names := list -}}
{{- if include "pannier.injects" . -}}
{{- $names = append $names (printf "%s.%s.svc" (include "pannier.injector" .) .Release.Namespace) -}}
{{- end -}}
{{- if include "pannier.validates" . -}}
{{- $names = append $names (printf "%s.%s.svc" (include "pannier.webhook" .) .Release.Namespace) -}}
{{- end -}}
{{- if include "pannier.feeds" . -}}
{{- $names = append $names (printf "%s.%s.svc" (include "pannier.operator" .) .Release.Namespace) -}}
{{- end -}}
{{- join "," $names -}}
{{- end -}}

{{- define "pannier.tlsHooks" -}}
{{- $hooks := list -}}
{{- if include "pannier.injects" . -}}
{{- $hooks = append $hooks (printf "mutating/%s" (include "pannier.injectorName" .)) -}}
{{- end -}}
{{- if include "pannier.validates" . -}}
{{- $hooks = append $hooks (printf "validating/%s" (include "pannier.validatorName" .)) -}}
{{- end -}}
{{- join "," $hooks -}}
{{- end -}}

{{- define "pannier.validatorName" -}}
{{ include "pannier.clusterName" . | replace ":" "." }}
{{- end -}}

{{- define "pannier.injectCaFrom" -}}
{{- if eq .Values.certificates.mode "CertManager" -}}
{{ .Release.Namespace }}/{{ include "pannier.tlsSecret" . }}
{{- else if eq .Values.certificates.mode "Provided" -}}
{{ .Values.certificates.injectCaFrom }}
{{- end -}}
{{- end -}}

{{- define "pannier.caBundle" -}}
{{- if eq .Values.certificates.mode "Provided" -}}
{{ .Values.certificates.caBundle }}
{{- end -}}
{{- end -}}
