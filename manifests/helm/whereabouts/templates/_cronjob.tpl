{{/*
The CronJob of one datastore: "name" is what its objects are called, "own" are its values, and "secret" is
that with how to reach etcd, or nothing where the records are custom resources.
*/}}
{{- define "whereabouts.cronjob" -}}
{{- $root := .root }}
{{- $name := .name }}
{{- $secret := .secret }}
{{- with .own -}}
apiVersion: batch/v1
kind: CronJob
metadata:
  name: {{ $name }}
  namespace: {{ $root.Values.namespace }}
spec:
  schedule: {{ .schedule | quote }}
  concurrencyPolicy: Forbid
  # Without it, a CronJob that has missed 100 starts is never started again.
  startingDeadlineSeconds: 200
  successfulJobsHistoryLimit: 0
  failedJobsHistoryLimit: 1
  jobTemplate:
    spec:
      backoffLimit: 0
      activeDeadlineSeconds: {{ .activeDeadlineSeconds }}
      template:
        metadata:
          labels:
            app.kubernetes.io/name: {{ $name }}
        spec:
          serviceAccountName: {{ $name }}
          {{- with $root.Values.imagePullSecrets }}
          imagePullSecrets:
            {{- toYaml . | nindent 12 }}
          {{- end }}
          restartPolicy: Never
          {{- with .nodeSelector }}
          nodeSelector:
            {{- toYaml . | nindent 12 }}
          {{- end }}
          {{- with .tolerations }}
          tolerations:
            {{- toYaml . | nindent 12 }}
          {{- end }}
          securityContext:
            runAsNonRoot: true
            runAsUser: 65532
            runAsGroup: 65532
            {{- if $secret }}
            # Of the files of the Secret, which no other group may read.
            fsGroup: 65532
            {{- end }}
            seccompProfile:
              type: RuntimeDefault
          containers:
          - name: ip-reconciler
            image: {{ include "whereabouts.image" $root | quote }}
            {{- with $root.Values.image.pullPolicy }}
            imagePullPolicy: {{ . }}
            {{- end }}
            command: [/ip-reconciler]
            args:
            {{- if $secret }}
            - --datastore=etcd
            - --etcd-config=/etc/whereabouts-etcd/whereabouts.conf
            {{- end }}
            - --grace={{ .grace }}
            - --keep-reports={{ .keepReports }}
            - --timeout={{ .timeout }}
            - --log-level={{ .logLevel }}
            {{- with .metricsPush }}
            - --metrics-push={{ . }}
            {{- end }}
            {{- with .extraArgs }}
            {{- toYaml . | nindent 12 }}
            {{- end }}
            {{- with .extraEnv }}
            env:
              {{- toYaml . | nindent 14 }}
            {{- end }}
            resources:
              {{- toYaml .resources | nindent 14 }}
            securityContext:
              allowPrivilegeEscalation: false
              readOnlyRootFilesystem: true
              capabilities:
                drop: [ALL]
            {{- if or $secret .extraVolumeMounts }}
            volumeMounts:
            {{- if $secret }}
            - name: etcd
              mountPath: /etc/whereabouts-etcd
              readOnly: true
            {{- end }}
            {{- with .extraVolumeMounts }}
            {{- toYaml . | nindent 12 }}
            {{- end }}
            {{- end }}
          {{- if or $secret .extraVolumes }}
          volumes:
          {{- if $secret }}
          - name: etcd
            secret:
              secretName: {{ $secret }}
              defaultMode: 288 # 0440
          {{- end }}
          {{- with .extraVolumes }}
          {{- toYaml . | nindent 10 }}
          {{- end }}
          {{- end }}
{{- end }}
{{- end }}
