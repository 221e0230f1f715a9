{{- define "shop.collector" -}}
extensions:
  health_check:
    endpoint: 0.0.0.0:13133
receivers:
  otlp:
    protocols:
      http:
        endpoint: 127.0.0.1:4318
processors:
  memory_limiter:
    check_interval: 1s
    limit_mib: 60
    spike_limit_mib: 15
  resource:
    attributes:
      - key: k8s.namespace.name
        value: ${env:POD_NAMESPACE}
        action: insert
      - key: k8s.pod.name
        value: ${env:POD_NAME}
        action: insert
      - key: k8s.node.name
        value: ${env:NODE_NAME}
        action: insert
  batch:
    send_batch_size: 512
    send_batch_max_size: 1024
    timeout: 1s
exporters:
  otlp_grpc:
    endpoint: {{ .Values.tracing.host }}:{{ .Values.tracing.port }}
    tls:
      insecure: {{ not .Values.tracing.tls }}
    timeout: 5s
    sending_queue:
      queue_size: 64
    retry_on_failure:
      initial_interval: 1s
      max_interval: 15s
      max_elapsed_time: 60s
service:
  extensions:
    - health_check
  telemetry:
    logs:
      level: warn
    metrics:
      readers:
        - pull:
            exporter:
              prometheus:
                host: 0.0.0.0
                port: 8888
                without_type_suffix: false
                without_units: false
                without_scope_info: true
  pipelines:
    traces:
      receivers:
        - otlp
      processors:
        - memory_limiter
        - resource
        - batch
      exporters:
        - otlp_grpc
{{ end }}
