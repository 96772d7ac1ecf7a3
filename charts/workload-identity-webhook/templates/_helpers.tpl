{{/*
Fills in added values that are missing: helm upgrade --reuse-values from another
chart's release brings that chart's values alone. Every template begins with it.
*/}}
{{- define "azwi.defaults" -}}
{{- include "azwi.fill" (list .Values (.Files.Get "files/defaults.yaml" | fromYaml)) -}}
{{- end }}

{{- define "azwi.fill" -}}
{{- $values := index . 0 -}}
{{- range $key, $default := index . 1 -}}
{{- if not (hasKey $values $key) -}}
{{- $_ := set $values $key $default -}}
{{- else if and (kindIs "map" $default) (kindIs "map" (get $values $key)) -}}
{{- include "azwi.fill" (list (get $values $key) $default) -}}
{{- end -}}
{{- end -}}
{{- end }}

{{- define "azwi.name" -}}
{{- default .Chart.Name .Values.nameOverride | trunc 63 | trimSuffix "-" -}}
{{- end }}

{{/* Byte-equal to upstream's: a Deployment's selector can't be changed. */}}
{{- define "azwi.selectorLabels" -}}
app: {{ include "azwi.name" . | quote }}
azure-workload-identity.io/system: "true"
chart: {{ include "azwi.name" . | quote }}
release: {{ .Release.Name | quote }}
{{- end }}

{{/* Labels of an object: list of the context and labels that the user gives to this one. */}}
{{- define "azwi.labelsWith" -}}
{{- $context := index . 0 -}}
{{- $labels := dict "app.kubernetes.io/name" "azwi" "app.kubernetes.io/instance" $context.Release.Name "app.kubernetes.io/version" $context.Chart.AppVersion "app.kubernetes.io/managed-by" $context.Release.Service -}}
{{- mergeOverwrite $labels ($context.Values.extraLabels | default dict) (include "azwi.selectorLabels" $context | fromYaml) (index . 1 | default dict) | toYaml -}}
{{- end }}

{{- define "azwi.labels" -}}
{{- include "azwi.labelsWith" (list . dict) -}}
{{- end }}

{{/* The pods' are the user's, but for those that the selectors look at. */}}
{{- define "azwi.podLabels" -}}
{{- mergeOverwrite (include "azwi.labelsWith" (list . .Values.podLabels) | fromYaml) (include "azwi.selectorLabels" . | fromYaml) | toYaml -}}
{{- end }}

{{/* image: list of the context, an image's values and its repository by default. */}}
{{- define "azwi.image" -}}
{{- $context := index . 0 -}}
{{- $image := index . 1 -}}
{{- $registry := ($context.Values.global | default dict).imageRegistry | default $image.registry -}}
{{- with $registry }}{{ trimSuffix "/" . }}/{{ end -}}
{{- $image.repository }}:{{ $image.release | default $context.Chart.AppVersion -}}
{{- with $image.digest }}@{{ . }}{{ end -}}
{{- end }}

{{/* Not empty if the values have upstream's image, which helm upgrade --reuse-values carries in. */}}
{{- define "azwi.upstreamImage" -}}
{{- if regexMatch "^mcr\\.microsoft\\.com/oss/(v2/)?azure/workload-identity/webhook$" .Values.image.repository }}yes{{ end -}}
{{- end }}

{{- define "azwi.webhookImage" -}}
{{- $image := .Values.image -}}
{{- if include "azwi.upstreamImage" . -}}
{{- $image = dict "repository" "azwi/webhook" -}}
{{- else if regexMatch "(^|/)azure/workload-identity/webhook$" $image.repository -}}
{{- fail (printf "image.repository %s is a copy of upstream's webhook, which this chart can't run: copy the image azwi/webhook to your registry and set image.repository to it" $image.repository) -}}
{{- end -}}
{{- include "azwi.image" (list . $image) -}}
{{- end }}

{{- define "azwi.proxyImage" -}}
{{- include "azwi.image" (list . .Values.proxy.image) -}}
{{- end }}

{{/* Not empty if the values have the limits of upstream's chart. */}}
{{- define "azwi.upstreamResources" -}}
{{- $upstream := dict "limits" (dict "cpu" "100m" "memory" "30Mi") "requests" (dict "cpu" "100m" "memory" "20Mi") -}}
{{- if eq (toJson $upstream) (toJson .Values.resources) }}yes{{ end -}}
{{- end }}

{{- define "azwi.resources" -}}
{{- if include "azwi.upstreamResources" . -}}
requests:
  cpu: 50m
  memory: 24Mi
limits:
  memory: 64Mi
{{- else -}}
{{- toYaml .Values.resources -}}
{{- end -}}
{{- end }}

{{/* Not empty if the chart runs the webhook. */}}
{{- define "azwi.runsWebhook" -}}
{{- if and (eq .Values.engine "webhook") (not .Values.externalURL) }}yes{{ end -}}
{{- end }}

{{- define "azwi.metricsPort" -}}
{{- .Values.metricsAddr | default ":8095" | splitList ":" | last -}}
{{- end }}

{{/* What one value can't say of itself. */}}
{{- define "azwi.check" -}}
{{- $e := .Values.customTokenEndpoint | default dict -}}
{{- if ne (empty $e.annotationSuffix) (empty $e.audience) -}}
{{- fail "customTokenEndpoint.annotationSuffix and customTokenEndpoint.audience go together: set both or neither" -}}
{{- end -}}
{{- if gt (len (compact (list $e.azureKubernetesCaData $e.azureKubernetesCAConfigMapName $e.azureKubernetesCACTBSignerName))) 1 -}}
{{- fail "customTokenEndpoint: set at most one of azureKubernetesCaData, azureKubernetesCAConfigMapName and azureKubernetesCACTBSignerName" -}}
{{- end -}}
{{- if and $e.azureKubernetesCACTBLabelSelector (not $e.azureKubernetesCACTBSignerName) -}}
{{- fail "customTokenEndpoint.azureKubernetesCACTBLabelSelector needs azureKubernetesCACTBSignerName" -}}
{{- end -}}
{{- if and .Values.externalURL (eq .Values.certificates.mode "cert-manager") -}}
{{- fail "externalURL: the chart can't keep the certificate of a webhook that runs elsewhere: set certificates.mode to own (the webhook keeps it) or provided, with certificates.caBundle" -}}
{{- end -}}
{{- if eq .Values.engine "policy" -}}
{{- if ne .Values.failurePolicy "Fail" -}}
{{- fail "engine policy always fails closed: set failurePolicy to Fail" -}}
{{- end -}}
{{- if .Values.matchConditions -}}
{{- fail "matchConditions are the webhook's: engine policy takes mutatingWebhookNamespaceSelector" -}}
{{- end -}}
{{- if $e.azureKubernetesCACTBLabelSelector -}}
{{- fail "engine policy: customTokenEndpoint.azureKubernetesCACTBLabelSelector is not in the chart; azwi policy generate takes it" -}}
{{- end -}}
{{- end -}}
{{- end }}

{{/* The webhook's environment. */}}
{{- define "azwi.environment" -}}
AZURE_TENANT_ID: {{ include "azwi.tenantID" . | quote }}
AZURE_ENVIRONMENT: {{ .Values.azureEnvironment | default "AzurePublicCloud" | quote }}
{{- with .Values.authorityHost }}
AZURE_AUTHORITY_HOST: {{ . | quote }}
{{- end }}
PROXY_IMAGE: {{ include "azwi.proxyImage" . | quote }}
{{- with .Values.customTokenEndpoint }}
{{- with .azureKubernetesTokenProxy }}
AZURE_KUBERNETES_TOKEN_PROXY: {{ . | quote }}
{{- end }}
{{- with .azureKubernetesSniName }}
AZURE_KUBERNETES_SNI_NAME: {{ . | quote }}
{{- end }}
{{- with .azureKubernetesCaData }}
AZURE_KUBERNETES_CA_DATA: {{ . | quote }}
{{- end }}
{{- with .azureKubernetesCAConfigMapName }}
AZURE_KUBERNETES_CA_CONFIGMAP_NAME: {{ . | quote }}
{{- end }}
{{- with .azureKubernetesCACTBSignerName }}
AZURE_KUBERNETES_CA_CTB_SIGNER_NAME: {{ . | quote }}
{{- end }}
{{- with .azureKubernetesCACTBLabelSelector }}
AZURE_KUBERNETES_CA_CTB_LABEL_SELECTOR: {{ . | quote }}
{{- end }}
{{- end }}
{{- end }}

{{- define "azwi.tenantID" -}}
{{- required "azureTenantID is required: set it to the ID of your Microsoft Entra tenant (--set azureTenantID=...)" .Values.azureTenantID -}}
{{- end }}

{{/* The webhook's flags, as a YAML list. Those at their default are left out. */}}
{{- define "azwi.arguments" -}}
- --log-level={{ .Values.logLevel | default "info" }}
- --metrics-addr={{ .Values.metricsAddr | default ":8095" }}
- --metrics-backend={{ .Values.metricsBackend | default "prometheus" }}
- --addr=:{{ .Values.service.targetPort | int }}
- --tls-min-version={{ .Values.tlsMinVersion }}
- --token-path={{ .Values.tokenPath }}
{{- if eq .Values.certificates.mode "own" }}
- --cert-secret={{ .Values.certificates.secretName }}
{{- else }}
- --disable-cert-rotation
{{- end }}
{{- with .Values.audience }}
- {{ printf "--audience=%s" . | quote }}
{{- end }}
{{- with .Values.customTokenEndpoint }}
{{- with .annotationSuffix }}
- {{ printf "--custom-token-endpoint-annotation-suffix=%s" . | quote }}
{{- end }}
{{- with .audience }}
- {{ printf "--custom-token-endpoint-audience=%s" . | quote }}
{{- end }}
{{- end }}
- --proxy-mode={{ .Values.proxy.mode }}
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

{{/* A text between quotes of CEL's, which are JSON's. */}}
{{- define "azwi.cel" -}}
{{- $json := toRawJson (. | default "") -}}
{{- substr 1 (int (sub (len $json) 1)) $json -}}
{{- end }}

{{/* Requests or limits as JSON, all of them text. */}}
{{- define "azwi.quantities" -}}
{{- $quantities := dict -}}
{{- range $name, $quantity := . -}}
{{- $_ := set $quantities $name (toString $quantity) -}}
{{- end -}}
{{- toRawJson $quantities -}}
{{- end }}

{{/* The cloud's token service. The table is that of internal/entra; a test compares. */}}
{{- define "azwi.authorityHost" -}}
{{- $hosts := dict "AZUREPUBLICCLOUD" "https://login.microsoftonline.com/" "AZUREUSGOVERNMENTCLOUD" "https://login.microsoftonline.us/" "AZURECHINACLOUD" "https://login.chinacloudapi.cn/" -}}
{{- .Values.authorityHost | default (get $hosts (upper (.Values.azureEnvironment | default "AzurePublicCloud"))) -}}
{{- end }}

{{/* Requests and limits as JSON, all quantities text. */}}
{{- define "azwi.resourceText" -}}
{"requests":{{ include "azwi.quantities" .requests }},"limits":{{ include "azwi.quantities" .limits }}}
{{- end }}
