//! Logs, traces and metrics of the process: set up once, flushed at the end; and the W3C `traceparent` that ties a client's trace to ours.
//!
//! Owns the subscriber and the tracer provider. Leaves what is logged and measured to the modules that do the work.

use std::io::IsTerminal;
use std::time::Duration;

use http::HeaderMap;
use metrics_exporter_prometheus::{Matcher, PrometheusBuilder, PrometheusHandle};
use opentelemetry::propagation::{Extractor, Injector, TextMapPropagator};
use opentelemetry::trace::{TraceContextExt, TracerProvider};
use opentelemetry::{Context, KeyValue};
use opentelemetry_otlp::{SpanExporter, WithExportConfig};
use opentelemetry_sdk::Resource;
use opentelemetry_sdk::propagation::TraceContextPropagator;
use opentelemetry_sdk::trace::SdkTracerProvider;
use tracing::Span;
use tracing_opentelemetry::OpenTelemetrySpanExt;
use tracing_subscriber::layer::SubscriberExt;
use tracing_subscriber::util::SubscriberInitExt;
use tracing_subscriber::{EnvFilter, Layer};

use crate::config::{LogFormat, TelemetryArgs};
use crate::explain::Explain;

/// How long the end of the process waits for spans to be sent.
const FLUSH: Duration = Duration::from_secs(3);
/// Bounds of the histograms of durations, seconds: from an answer out of the cache to the start of a machine in the cloud.
const BUCKETS: [f64; 14] = [0.001, 0.0025, 0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1.0, 5.0, 20.0, 60.0, 300.0];

/// A failure to set telemetry up.
#[derive(Debug, thiserror::Error)]
pub enum Error {
    /// `--log` cannot be understood.
    #[error("--log {filter:?} is not a log filter")]
    Filter {
        /// What was given.
        filter: String,
        /// Why.
        #[source]
        source: tracing_subscriber::filter::ParseError,
    },
    /// The exporter refuses its configuration.
    #[error("cannot export traces to {endpoint}")]
    Exporter {
        /// What was given.
        endpoint: String,
        /// Why.
        #[source]
        source: opentelemetry_otlp::ExporterBuildError,
    },
    /// A subscriber or recorder is installed already.
    #[error("telemetry was set up twice in one process")]
    Twice,
}

impl Explain for Error {
    fn reason(&self) -> &'static str {
        "InvalidConfiguration"
    }

    fn fix(&self) -> String {
        match self {
            Self::Filter { .. } => "Examples: `--log info`, `--log warn,torch_remote=debug`.".into(),
            Self::Exporter { .. } => {
                "Give --otlp-endpoint (OTEL_EXPORTER_OTLP_ENDPOINT) a URL such as http://127.0.0.1:4317.".into()
            }
            Self::Twice => String::new(),
        }
    }
}

/// Telemetry of a server process. Dropped without [`Telemetry::shutdown`] it loses the spans not yet sent.
#[derive(Debug)]
pub struct Telemetry {
    tracers: SdkTracerProvider,
    /// Renders the metrics for `/metrics`.
    pub metrics: PrometheusHandle,
}

impl Telemetry {
    /// Sets up the process: logs to standard error, traces to the configured collector, metrics in memory. Call inside the runtime.
    ///
    /// # Errors
    /// See [`Error`].
    pub fn start(args: &TelemetryArgs) -> Result<Self, Error> {
        let quiet = std::io::stderr().is_terminal() && args.log_format == LogFormat::Text;
        let default = if quiet { "warn" } else { "warn,torch_remote=info" };
        let filter = args.log.as_deref().unwrap_or(default);
        let filter =
            EnvFilter::try_new(filter).map_err(|source| Error::Filter { filter: filter.to_owned(), source })?;
        let tracers = tracers(args.otlp_endpoint.as_deref())?;
        let logs = match args.log_format {
            LogFormat::Text => tracing_subscriber::fmt::layer()
                .with_writer(std::io::stderr)
                .with_ansi(std::io::stderr().is_terminal())
                .with_filter(filter)
                .boxed(),
            LogFormat::Json => {
                tracing_subscriber::fmt::layer().json().with_writer(std::io::stderr).with_filter(filter).boxed()
            }
        };
        // Spans below info and those of the libraries beneath us are no part of a trace a person reads.
        let spans = EnvFilter::new("torch_remote=info");
        let traces = tracing_opentelemetry::layer().with_tracer(tracers.tracer("torch-remote")).with_filter(spans);
        tracing_subscriber::registry().with(logs).with(traces).try_init().map_err(|_| Error::Twice)?;
        let durations = Matcher::Suffix("_seconds".to_owned());
        let metrics = PrometheusBuilder::new().set_buckets_for_metric(durations, &BUCKETS).expect("there are buckets");
        let metrics = metrics.install_recorder().map_err(|_| Error::Twice)?;
        Ok(Self { tracers, metrics })
    }

    /// Sends what is left. Blocks for at most three seconds.
    pub fn shutdown(self) {
        if let Err(error) = self.tracers.shutdown_with_timeout(FLUSH) {
            tracing::warn!(%error, "some spans were not exported");
        }
    }
}

/// A provider that makes ids and contexts always, and exports when there is where to.
fn tracers(endpoint: Option<&str>) -> Result<SdkTracerProvider, Error> {
    let resource = Resource::builder()
        .with_service_name("torch-remote")
        .with_attribute(KeyValue::new("service.version", env!("CARGO_PKG_VERSION")))
        .build();
    let mut builder = SdkTracerProvider::builder().with_resource(resource);
    if let Some(endpoint) = endpoint {
        let exporter = SpanExporter::builder().with_tonic().with_endpoint(endpoint).build();
        builder = builder
            .with_batch_exporter(exporter.map_err(|source| Error::Exporter { endpoint: endpoint.to_owned(), source })?);
    }
    Ok(builder.build())
}

/// Makes `span` a child of the trace that the request's `traceparent` names, if it names one.
pub fn adopt(span: &Span, headers: &HeaderMap) {
    continue_from(span, headers.get("traceparent").and_then(|value| value.to_str().ok()).unwrap_or_default());
}

/// Makes `span` a child of the trace that `traceparent` names: a text that was stored, such as with a lease.
pub fn continue_from(span: &Span, traceparent: &str) {
    let parent = TraceContextPropagator::new().extract_with_context(&Context::new(), &Text(traceparent));
    if parent.span().span_context().is_valid()
        && let Err(error) = span.set_parent(parent)
    {
        tracing::debug!(?error, "the span started before its parent was known");
    }
}

/// The `traceparent` of the current span, to hand on; none outside a trace.
pub fn traceparent() -> Option<String> {
    let mut text = Slot(None);
    TraceContextPropagator::new().inject_context(&Span::current().context(), &mut text);
    text.0
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

struct Slot(Option<String>);

impl Injector for Slot {
    fn set(&mut self, key: &str, value: String) {
        if key == "traceparent" {
            self.0 = Some(value);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const THEIRS: &str = "00-4bf92f3577b34da6a3ce929d0e0e4736-00f067aa0ba902b7-01";

    fn with_tracing<T>(work: impl FnOnce() -> T) -> T {
        let tracers = tracers(None).expect("a provider without exporter");
        let layer = tracing_opentelemetry::layer().with_tracer(tracers.tracer("test"));
        tracing::subscriber::with_default(tracing_subscriber::registry().with(layer), work)
    }

    #[test]
    fn a_span_continues_the_callers_trace_and_hands_it_on_under_its_own_id() {
        with_tracing(|| {
            let mut headers = HeaderMap::new();
            headers.insert("traceparent", THEIRS.parse().expect("a header"));
            let span = tracing::info_span!("request");
            adopt(&span, &headers);
            let ours = span.in_scope(|| tracing::info_span!("bind").in_scope(traceparent)).expect("inside a trace");
            assert_eq!(&ours[..36], &THEIRS[..36], "the trace id is the caller's");
            assert_ne!(&ours[36..52], &THEIRS[36..52], "the span id is our own");
            assert!(ours.ends_with("-01"), "still sampled");
        });
    }

    #[test]
    fn a_malformed_traceparent_starts_a_trace_of_its_own() {
        with_tracing(|| {
            let span = tracing::info_span!("request");
            continue_from(&span, "00-xyz");
            let ours = span.in_scope(traceparent).expect("inside a trace");
            assert!(!ours.contains("00000000000000000000000000000000"));
        });
    }

    #[test]
    fn there_is_no_traceparent_outside_a_trace() {
        assert_eq!(traceparent(), None);
    }
}
