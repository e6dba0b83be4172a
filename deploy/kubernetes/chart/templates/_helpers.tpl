{{- /* Texts are written with `quote`, whose escapes are also YAML's: whatever they contain, they stay texts. `toJson`
leaves line breaks of YAML 1.1, such as U+0085, as they are. */ -}}

{{- define "wasmrun.metadata" -}}
name: {{ .Values.name | quote }}
labels:
{{ include "wasmrun.labels" . | indent 2 }}
{{- end }}

{{- define "wasmrun.labels" -}}
app.kubernetes.io/name: wasmrun
app.kubernetes.io/instance: {{ .Values.name | quote }}
{{- end }}

{{- /* How fast the number of pods changes. */ -}}
{{- define "wasmrun.behavior" -}}
scaleUp:
  stabilizationWindowSeconds: 0
scaleDown:
  stabilizationWindowSeconds: 300
  policies:
    - type: Percent
      value: 50
      periodSeconds: 60
{{- end }}

{{- define "wasmrun.quantities" -}}
cpu: {{ .Values.cpu | quote }}
memory: {{ .Values.memory | quote }}
{{- end }}
