//! The root of a trace: one span per lease call. Exported by OTLP when `OTEL_EXPORTER_OTLP_ENDPOINT` is set; its context travels with every call either way,
//! so that the control plane's and the agent's spans have one parent.

use std::sync::OnceLock;

use opentelemetry::trace::{SpanContext, TraceContextExt, TraceId, TracerProvider};
use opentelemetry_otlp::WithExportConfig;
use opentelemetry_sdk::trace::SdkTracerProvider;
use pyo3::prelude::*;
use tracing_opentelemetry::OpenTelemetrySpanExt;
use tracing_subscriber::layer::SubscriberExt;

/// A span that ends with `end()`.
#[pyclass(frozen, module = "torch_remote._C")]
pub struct Trace {
    span: std::sync::Mutex<Option<tracing::Span>>,
    parent: String,
}

#[pymethods]
impl Trace {
    /// Starts a span for a lease named `lease`.
    #[new]
    fn new(lease: &str) -> Self {
        let exporting = provider().is_some();
        let span = tracing::info_span!("torch_remote.lease", lease);
        let own = span.context().span().span_context().clone();
        let parent = if exporting && own.is_valid() { header(&own) } else { unexported() };
        Self { span: std::sync::Mutex::new(Some(span)), parent }
    }

    /// The W3C `traceparent` of calls made under it.
    #[getter]
    fn traceparent(&self) -> String {
        self.parent.clone()
    }

    /// Ends the span and hands it to the exporter. Safe to repeat.
    fn end(&self, py: Python<'_>) {
        let span = self.span.lock().map(|mut span| span.take()).unwrap_or_default();
        drop(span);
        if let Some(provider) = provider() {
            let flushed = py.detach(|| provider.force_flush());
            if let Err(error) = flushed {
                tracing::debug!(%error, "traces were not exported");
            }
        }
    }
}

fn header(context: &SpanContext) -> String {
    format!("00-{}-{}-{:02x}", context.trace_id(), context.span_id(), context.trace_flags().to_u8())
}

/// A trace context of our own that nobody records: the server's spans may still hang together by it.
fn unexported() -> String {
    let trace = TraceId::from_bytes(rand::random::<[u8; 16]>());
    let span = opentelemetry::trace::SpanId::from_bytes(rand::random::<[u8; 8]>());
    format!("00-{trace}-{span}-01")
}

/// The exporter, set up once; None when no endpoint is configured or it cannot be used.
fn provider() -> Option<&'static SdkTracerProvider> {
    static PROVIDER: OnceLock<Option<SdkTracerProvider>> = OnceLock::new();
    PROVIDER
        .get_or_init(|| {
            let endpoint = std::env::var("OTEL_EXPORTER_OTLP_ENDPOINT").ok().filter(|endpoint| !endpoint.is_empty())?;
            let _runtime = super::wait::runtime().enter();
            let exporter =
                opentelemetry_otlp::SpanExporter::builder().with_tonic().with_endpoint(endpoint).build().ok()?;
            let resource = opentelemetry_sdk::Resource::builder().with_service_name("torch-remote-sdk").build();
            let provider = SdkTracerProvider::builder().with_batch_exporter(exporter).with_resource(resource).build();
            let layer = tracing_opentelemetry::layer().with_tracer(provider.tracer("torch-remote-sdk"));
            // Another library of the process may have set a subscriber; then its choice stands and spans go there.
            tracing::subscriber::set_global_default(tracing_subscriber::registry().with(layer)).ok()?;
            Some(provider)
        })
        .as_ref()
}
