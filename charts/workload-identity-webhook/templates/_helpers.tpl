{{/*
Refuses unknown values, and fills in those that are missing or null: helm upgrade
--reuse-values from another chart's release brings that chart's values alone.
Every template begins with it, and the first one does it for all.
*/}}
{{- define "azwi.defaults" -}}
{{- if not (hasKey .Values "azwi.filled") -}}
{{- include "azwi.keys" (list .Values "" (.Files.Get "files/keys.yaml" | fromYaml)) -}}
{{- include "azwi.prune" .Values -}}
{{- include "azwi.fill" (list .Values (.Files.Get "files/defaults.yaml" | fromYaml)) -}}
{{- $_ := set .Values "azwi.filled" true -}}
{{- end -}}
{{- end }}

{{/* Refuses values that the chart doesn't have: list of a map of values, its path and files/keys.yaml. */}}
{{- define "azwi.keys" -}}
{{- $keys := index . 2 -}}
{{- $prefix := index . 1 -}}
{{- range $key, $value := index . 0 -}}
{{- $path := printf "%s%s" $prefix $key -}}
{{- if not (has $path $keys.known) -}}
{{- with include "azwi.nearest" (list $path $keys.known) -}}
{{- fail (printf "unknown value %s: the nearest that the chart has is %s" $path .) -}}
{{- end -}}
{{- fail (printf "unknown value %s: the chart's values.yaml lists what there is" $path) -}}
{{- else if and (kindIs "map" $value) (has $path $keys.closed) -}}
{{- include "azwi.keys" (list $value (printf "%s." $path) $keys) -}}
{{- end -}}
{{- end -}}
{{- end }}

{{/* The text of a list that shares most pairs of letters with one, if it shares half: list of the text and the list. */}}
{{- define "azwi.nearest" -}}
{{- $text := index . 0 | replace ".tag" ".release" -}}
{{- $pairs := include "azwi.pairs" $text | splitList " " -}}
{{- $nearest := "" -}}
{{- $best := 49 -}}
{{- range index . 1 -}}
{{- $common := 0 -}}
{{- $others := include "azwi.pairs" . | splitList " " -}}
{{- range $pairs -}}
{{- if has . $others -}}
{{- $common = add1 $common -}}
{{- end -}}
{{- end -}}
{{- $score := div (mul 200 $common) (add (len $pairs) (len $others)) -}}
{{- if gt $score $best -}}
{{- $best = $score -}}
{{- $nearest = . -}}
{{- end -}}
{{- end -}}
{{- $nearest -}}
{{- end }}

{{- define "azwi.pairs" -}}
{{- $letters := regexReplaceAll "[^a-z0-9]" (lower .) "" | splitList "" -}}
{{- range $i, $letter := $letters -}}
{{- if $i }}{{ if gt $i 1 }} {{ end }}{{ index $letters (sub $i 1) }}{{ $letter }}{{ end -}}
{{- end -}}
{{- end }}

{{/* Removes what is null from values, at any depth. */}}
{{- define "azwi.prune" -}}
{{- range $key, $value := . -}}
{{- if kindIs "invalid" $value -}}
{{- $_ := unset $ $key -}}
{{- else if kindIs "map" $value -}}
{{- include "azwi.prune" $value -}}
{{- end -}}
{{- end -}}
{{- end }}

{{/* A number or text as text: of a whole number its digits. */}}
{{- define "azwi.text" -}}
{{- if kindIs "float64" . -}}
{{- if eq (floor .) . }}{{ int64 . }}{{ else }}{{ . }}{{ end -}}
{{- else -}}
{{- toString . -}}
{{- end -}}
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

{{/* The name of an image: list of the context, its values and their key. It always has a registry. */}}
{{- define "azwi.imageName" -}}
{{- $context := index . 0 -}}
{{- $image := index . 1 -}}
{{- $name := $image.repository -}}
{{- with ($context.Values.global | default dict).imageRegistry | default $image.registry -}}
{{- $name = printf "%s/%s" (trimSuffix "/" .) $name -}}
{{- end -}}
{{- $default := index $context.Chart.Annotations "azwi/image-registry" -}}
{{- if and $default (not (include "azwi.hasRegistry" $name)) -}}
{{- $name = printf "%s/%s" $default $name -}}
{{- end -}}
{{- if contains "://" $name -}}
{{- fail (printf "%s: %s is a URL: name the registry without https://, such as registry.example.com/team (global.imageRegistry or %s.registry; azwi install --image-registry)" (index . 2) $name (index . 2)) -}}
{{- end -}}
{{- if not (include "azwi.hasRegistry" $name) -}}
{{- fail (printf "%s: no registry is named for %s, and anybody may own that name in a public one: set global.imageRegistry to the registry that has azwi/webhook and azwi/proxy (azwi install --image-registry REGISTRY), or %s.registry; make push REGISTRY=... puts the images there" (index . 2) $name (index . 2)) -}}
{{- end -}}
{{- $name -}}
{{- end }}

{{/* Not empty if the name of an image begins with a registry's host. */}}
{{- define "azwi.hasRegistry" -}}
{{- if regexMatch "^([^/]*[.:][^/]*|localhost)/" . }}yes{{ end -}}
{{- end }}

{{/* An image: list of the context, its values and their key. */}}
{{- define "azwi.image" -}}
{{- $image := index . 1 -}}
{{- include "azwi.imageName" . }}:{{ include "azwi.text" ($image.release | default $image.tag | default (index . 0).Chart.AppVersion) -}}
{{- with $image.digest }}@{{ . }}{{ end -}}
{{- end }}

{{/* Not empty if the values have upstream's image, which helm upgrade --reuse-values carries in. */}}
{{- define "azwi.upstreamImage" -}}
{{- $inRegistry := and (eq (.Values.image.registry | default "") "mcr.microsoft.com") (regexMatch "^oss/(v2/)?azure/workload-identity/webhook$" .Values.image.repository) -}}
{{- if or $inRegistry (regexMatch "^mcr\\.microsoft\\.com/oss/(v2/)?azure/workload-identity/webhook$" .Values.image.repository) }}yes{{ end -}}
{{- end }}

{{/* Not empty if a tag is one of upstream's. Ours begin with 2.0.0. */}}
{{- define "azwi.upstreamTag" -}}
{{- if regexMatch "^v?[01]\\.[0-9]+(\\.[0-9]+|$)" (include "azwi.text" (. | default "")) }}yes{{ end -}}
{{- end }}

{{- define "azwi.webhookImage" -}}
{{- $image := .Values.image -}}
{{- if include "azwi.upstreamImage" . -}}
{{- $image = dict "repository" "azwi/webhook" "registry" (ternary "" $image.registry (eq ($image.registry | default "") "mcr.microsoft.com")) -}}
{{- else if regexMatch "(^|/)(azure/workload-identity/webhook|(azure-)?workload-identity-webhook|azure-wi-webhook)$" $image.repository -}}
{{- fail (printf "image.repository %s is a copy of upstream's webhook, which this chart can't run, as its command differs: copy the image azwi/webhook to your registry and set image.repository to it" $image.repository) -}}
{{- else if include "azwi.upstreamTag" $image.release -}}
{{- fail (printf "image.release %v is a tag of upstream's webhook, which this chart can't run, as its command differs: leave image.release out (--set image.release=null) for the chart's own, %s" $image.release .Chart.AppVersion) -}}
{{- end -}}
{{- include "azwi.image" (list . $image "image") -}}
{{- end }}

{{- define "azwi.proxyImage" -}}
{{- $image := .Values.proxy.image -}}
{{- if and (not .Values.proxy.initImage.repository) (or (include "azwi.upstreamTag" ($image.release | default $image.tag)) (regexMatch "(^|/)azure/workload-identity/proxy$" $image.repository)) -}}
{{- fail (printf "proxy.image %s:%v is upstream's proxy, which needs its init container's image too: set proxy.initImage.repository, or leave proxy.image out for azwi/proxy, which does both" $image.repository ($image.release | default $image.tag | default "")) -}}
{{- end -}}
{{- include "azwi.image" (list . .Values.proxy.image "proxy.image") -}}
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
{{- toYaml (.Values.resources | default dict) -}}
{{- end -}}
{{- end }}

{{/* Not empty if the chart runs the webhook. */}}
{{- define "azwi.runsWebhook" -}}
{{- if and (eq .Values.engine "webhook") (not .Values.externalURL) }}yes{{ end -}}
{{- end }}

{{/* The user of the pods, where the platform does not choose it. */}}
{{- define "azwi.user" -}}
{{- with .Values.runAsUser -}}
runAsUser: {{ . | int64 }}
runAsGroup: {{ . | int64 }}
{{- end -}}
{{- end }}

{{- define "azwi.metricsPort" -}}
{{- .Values.metricsAddr | default ":8095" | splitList ":" | last -}}
{{- end }}

{{/* What one value can't say of itself. */}}
{{- define "azwi.check" -}}
{{- range $name := list "podLabels" "extraLabels" -}}
{{- if hasKey (get $.Values $name | default dict) "azure.workload.identity/use" -}}
{{- fail (printf "%s has azure.workload.identity/use: the webhook's own pods would wait for a webhook that can't start without them; leave it out" $name) -}}
{{- end -}}
{{- end -}}
{{- if regexMatch "^([A-Za-z0-9+.-]+://)?[^@:/]*:[^/].*@" (.Values.proxy.httpsProxy | default "") -}}
{{- fail "proxy.httpsProxy has a password, which would stand in clear in every pod with the proxy: use an egress proxy that needs none" -}}
{{- end -}}
{{- range .Values.extraEnv -}}
{{- if regexMatch "://[^/@:]*:[^/@]+@" (toString (.value | default "")) -}}
{{- fail (printf "extraEnv: the value of %s has a password, which anyone who can read the Deployment would see: take it from a Secret (valueFrom.secretKeyRef)" .name) -}}
{{- end -}}
{{- end -}}
{{- if not (include "azwi.authorityHost" .) -}}
{{- fail (printf "azureEnvironment %s is not known: use AzurePublicCloud, AzureUSGovernmentCloud or AzureChinaCloud; for another cloud set authorityHost to the https URL of its token service" .Values.azureEnvironment) -}}
{{- end -}}
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
{{- if .Values.proxy.initImage.repository -}}
{{- fail "engine policy: proxy.initImage is not in the chart; azwi policy generate takes it (PROXY_INIT_IMAGE)" -}}
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
{{- if .Values.proxy.initImage.repository }}
PROXY_INIT_IMAGE: {{ include "azwi.image" (list . .Values.proxy.initImage "proxy.initImage") | quote }}
{{- end }}
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
{{- $tenant := required "azureTenantID is required: set it to the ID of your Microsoft Entra tenant (--set azureTenantID=...)" .Values.azureTenantID -}}
{{- if not (regexMatch "^[0-9A-Fa-f]{8}(-[0-9A-Fa-f]{4}){3}-[0-9A-Fa-f]{12}$" $tenant) -}}
{{- fail (printf "azureTenantID %s is not a GUID: set it to the tenant's ID, not to its name or a domain of it (az account show --query tenantId)" $tenant) -}}
{{- end -}}
{{- $tenant -}}
{{- end }}

{{/* The webhook's flags, as a YAML list. Those at their default are left out. */}}
{{- define "azwi.arguments" -}}
- --log-level={{ .Values.logLevel | default "info" }}
- --metrics-addr={{ .Values.metricsAddr | default ":8095" }}
- --metrics-backend={{ .Values.metricsBackend | default "prometheus" }}
- --addr=:{{ .Values.service.targetPort | int }}
- --tls-min-version={{ if kindIs "string" .Values.tlsMinVersion }}{{ .Values.tlsMinVersion }}{{ else }}{{ printf "%.1f" (float64 .Values.tlsMinVersion) }}{{ end }}
- --token-path={{ .Values.tokenPath }}
{{- if eq .Values.certificates.mode "own" }}
- --cert-secret={{ .Values.certificates.secretName }}
{{- else }}
- --disable-cert-rotation
{{- end }}
{{- if include "azwi.clientCA" . }}
- {{ printf "--client-ca-file=/client-ca/%s" (.Values.clientCA.key | default "ca.crt") | quote }}
{{- with .Values.clientNames }}
- {{ printf "--client-names=%s" (join "," .) | quote }}
{{- end }}
{{- end }}
{{ include "azwi.settings" . }}
{{- end }}

{{/* The source of the callers' CA, as a volume has it. Empty: any caller. */}}
{{- define "azwi.clientCA" -}}
{{- $configMap := .Values.clientCA.configMapName -}}
{{- $secret := .Values.clientCA.secretName -}}
{{- if and $configMap $secret -}}
{{- fail "clientCA.configMapName and clientCA.secretName are both set: the CA is read from one of them" -}}
{{- else if $configMap -}}
configMap:
  name: {{ $configMap }}
{{- else if $secret -}}
secret:
  secretName: {{ $secret }}
{{- else if .Values.clientNames -}}
{{- fail "clientNames needs clientCA.configMapName or clientCA.secretName, the CA that signs these names" -}}
{{- end -}}
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
{{- $_ := set $quantities $name (include "azwi.text" $quantity) -}}
{{- end -}}
{{- toRawJson $quantities -}}
{{- end }}

{{/* The cloud's token service. */}}
{{- define "azwi.authorityHost" -}}
{{- .Values.authorityHost | default (get (.Files.Get "files/clouds.yaml" | fromYaml) (upper (.Values.azureEnvironment | default "AzurePublicCloud"))) -}}
{{- end }}

{{/* Where a webhook that runs elsewhere serves admission. */}}
{{- define "azwi.externalURL" -}}
{{- $url := urlParse .Values.externalURL -}}
{{- if or $url.userinfo $url.query $url.fragment (not (has $url.path (list "" "/" "/mutate-v1-pod"))) -}}
{{- fail (printf "externalURL %s: the webhook serves /mutate-v1-pod and nothing else: end the URL with it, or leave the path out" .Values.externalURL) -}}
{{- end -}}
{{- printf "%s://%s/mutate-v1-pod" $url.scheme $url.host -}}
{{- end }}

{{/* Requests and limits as JSON, all quantities text. */}}
{{- define "azwi.resourceText" -}}
{"requests":{{ include "azwi.quantities" .requests }},"limits":{{ include "azwi.quantities" .limits }}}
{{- end }}
