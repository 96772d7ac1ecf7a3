{{/* Made by make generate from package contract. Do not edit. */}}
{{- define "azwi.settings" -}}
{{- with .Values.audience }}
- {{ printf "--audience=%s" . | quote }}
{{- end }}
{{- with .Values.customTokenEndpoint.annotationSuffix }}
- {{ printf "--custom-token-endpoint-annotation-suffix=%s" . | quote }}
{{- end }}
{{- with .Values.customTokenEndpoint.audience }}
- {{ printf "--custom-token-endpoint-audience=%s" . | quote }}
{{- end }}
{{- with .Values.proxy.mode }}
- {{ printf "--proxy-mode=%s" . | quote }}
{{- end }}
{{- with .Values.proxy.httpsProxy }}
- {{ printf "--proxy-https-proxy=%s" . | quote }}
{{- end }}
{{- with .Values.proxy.noProxy }}
- {{ printf "--proxy-no-proxy=%s" . | quote }}
{{- end }}
{{- with .Values.proxy.caConfigMap }}
- {{ printf "--proxy-ca-configmap=%s" . | quote }}
{{- end }}
{{- with .Values.proxy.resources }}
- {{ printf "--proxy-resources=%s" (include "azwi.resourceText" .) | quote }}
{{- end }}
{{- with .Values.proxy.initResources }}
- {{ printf "--proxy-init-resources=%s" (include "azwi.resourceText" .) | quote }}
{{- end }}
{{- end }}
