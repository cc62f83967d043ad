//! AuditEvent: who did what, or was refused.

use serde_json::Value;

use super::Kind;
use crate::{
    audit::AuditEvent,
    column::{Cell, Column},
    object::{GROUP, VERSION},
    schema::flat_schema,
};

pub(super) fn kind() -> Kind {
    Kind {
        namespaced: false,
        read_only: true,
        selectable_fields: &[
            "user",
            "impersonatedBy",
            "verb",
            "decision",
            "code",
            "object.resource",
            "object.namespace",
            "object.name",
            "from",
            "traceID",
        ],
        columns: vec![
            Column::text("Time", "When it was asked for.", ".metadata.creationTimestamp"),
            Column::text("User", "Who did it.", ".user"),
            Column::text("Verb", "What was done.", ".verb"),
            Column::text("Object", "To what.", "").of(Cell::Made(object)),
            Column::text("Decision", "Allow or Deny.", ".decision"),
            Column::text("Code", "HTTP status code of the answer.", ".code").integer(),
            Column::text("From", "Address of the caller.", ".from"),
            Column::text("Impersonated-By", "Who did it in the user's name.", ".impersonatedBy").wide(),
            Column::text("Trace", "Trace of the call.", ".traceID").wide(),
            Column::text("Reason", "By which role it is allowed, or why it was refused.", ".reason").wide(),
            Column { format: "name", priority: 1, ..Column::name() },
        ],
        schema: flat_schema::<AuditEvent>(
            "A call that wrote something or was refused, or an event of a lease. Kept for a time, changed by nobody.",
        ),
        ..Kind::base(GROUP, VERSION, "AuditEvent", "auditevents")
    }
}

/// `team/deviceleases/a`, or the path.
fn object(event: &Value) -> String {
    let part = |field: &str| event["object"][field].as_str().unwrap_or_default();
    if part("resource").is_empty() {
        return event["path"].as_str().unwrap_or_default().to_owned();
    }
    let whole = ["namespace", "resource", "name", "subresource"].map(part);
    whole.into_iter().filter(|part| !part.is_empty()).collect::<Vec<_>>().join("/")
}
