//! Logs and traces of both binaries: set up once, flushed at the end; and the W3C `traceparent` that ties a Bind to the call that made its lease.

use std::time::Duration;

use opentelemetry::Context;
use opentelemetry::propagation::{Extractor, TextMapPropagator};
use opentelemetry::trace::{TraceContextExt, TracerProvider};
use opentelemetry_otlp::{ExporterBuildError, SpanExporter, WithExportConfig};
use opentelemetry_sdk::Resource;
use opentelemetry_sdk::propagation::TraceContextPropagator;
use opentelemetry_sdk::trace::SdkTracerProvider;
use tracing::Span;
use tracing_opentelemetry::OpenTelemetrySpanExt;
use tracing_subscriber::layer::SubscriberExt;
use tracing_subscriber::util::SubscriberInitExt;
use tracing_subscriber::{EnvFilter, Layer};

/// How long the end of the process waits for spans to be sent.
const FLUSH: Duration = Duration::from_secs(3);

/// The collector's address cannot be used.
#[derive(Debug, thiserror::Error)]
#[error("cannot export traces to {endpoint}: give the agent an OTLP URL such as http://127.0.0.1:4317")]
pub struct Error {
    /// What was given.
    pub endpoint: String,
    /// Why.
    #[source]
    pub source: ExporterBuildError,
}

/// Traces of a process.
#[derive(Debug)]
pub struct Traces(SdkTracerProvider);

impl Traces {
    /// Writes logs to standard error and, with an `endpoint`, sends spans there. `filter`: as `RUST_LOG`; what does not parse means `info`. Call it once, inside
    /// the runtime.
    ///
    /// # Errors
    /// [`Error`].
    pub fn begin(filter: &str, endpoint: Option<&str>) -> Result<Traces, Error> {
        let filter = EnvFilter::try_new(filter).unwrap_or_else(|_| EnvFilter::new("info"));
        let logs = tracing_subscriber::fmt::layer().with_writer(std::io::stderr).with_ansi(false).with_filter(filter);
        let provider = provider(endpoint)?;
        let spans = EnvFilter::new("torch_remote_agent=info,torch_remote_executor=info");
        let traces =
            tracing_opentelemetry::layer().with_tracer(provider.tracer("torch-remote-agent")).with_filter(spans);
        tracing_subscriber::registry().with(logs).with(traces).init();
        Ok(Traces(provider))
    }

    /// Sends what is left, within three seconds. Waits on a thread of its own: the exporter sends through this runtime, which may have one thread only.
    pub async fn end(self) {
        let shutdown = move || self.0.shutdown_with_timeout(FLUSH);
        if let Ok(Err(error)) = tokio::task::spawn_blocking(shutdown).await {
            tracing::warn!(%error, "some spans were not exported");
        }
    }
}

/// Makes `span` a child of the trace that `traceparent` names, if it names one.
pub fn continue_from(span: &Span, traceparent: &str) {
    let parent = TraceContextPropagator::new().extract_with_context(&Context::new(), &Text(traceparent));
    if parent.span().span_context().is_valid()
        && let Err(error) = span.set_parent(parent)
    {
        tracing::debug!(?error, "the span started before its parent was known");
    }
}

fn provider(endpoint: Option<&str>) -> Result<SdkTracerProvider, Error> {
    let resource = Resource::builder().with_service_name("torch-remote-agent").build();
    let mut builder = SdkTracerProvider::builder().with_resource(resource);
    if let Some(endpoint) = endpoint {
        let exporter = SpanExporter::builder().with_tonic().with_endpoint(endpoint).build();
        builder =
            builder.with_batch_exporter(exporter.map_err(|source| Error { endpoint: endpoint.to_owned(), source })?);
    }
    Ok(builder.build())
}

struct Text<'a>(&'a str);

impl Extractor for Text<'_> {
    fn get(&self, key: &str) -> Option<&str> {
        (key == "traceparent" && !self.0.is_empty()).then_some(self.0)
    }

    fn keys(&self) -> Vec<&str> {
        vec!["traceparent"]
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_bind_continues_the_trace_of_the_call_that_made_its_lease() {
        let provider = provider(None).unwrap();
        let layer = tracing_opentelemetry::layer().with_tracer(provider.tracer("test"));
        tracing::subscriber::with_default(tracing_subscriber::registry().with(layer), || {
            let trace = |traceparent: &str| {
                let span = tracing::info_span!("bind");
                continue_from(&span, traceparent);
                span.context().span().span_context().trace_id().to_string()
            };
            let theirs = "4bf92f3577b34da6a3ce929d0e0e4736";
            assert_eq!(trace(&format!("00-{theirs}-00f067aa0ba902b7-01")), theirs);
            for malformed in ["", "00-xyz", "00-00000000000000000000000000000000-0000000000000000-01"] {
                let ours = trace(malformed);
                assert!(ours != theirs && !ours.trim_matches('0').is_empty(), "{malformed}");
            }
        });
    }
}
