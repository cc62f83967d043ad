//! Kinds of torchremote.dev.

use serde_json::Value;

use super::{Kind, Subresource};
use crate::{
    column::{Cell, Column},
    device::DeviceStatus,
    lease::{DeviceLeaseSpec, DeviceLeaseStatus},
    machine::{RemoteMachineSpec, RemoteMachineStatus},
    object::{GROUP, VERSION},
    path,
    pool::{MachinePoolSpec, MachinePoolStatus},
    provider::{ProviderSpec, ProviderStatus},
    quota::{GpuQuotaSpec, GpuQuotaStatus},
    schema::{object_schema, structural},
    tensor::TensorStatus,
    validate,
};

const READY: &str = r#".status.conditions[?(@.type=="Ready")].status"#;

pub(super) fn kinds() -> Vec<Kind> {
    vec![provider(), machine(), pool(), lease(), quota(), device(), tensor()]
}

/// What most kinds of the group have in common.
fn base(kind: &'static str, plural: &'static str) -> Kind {
    Kind { categories: &["gpu", "torchremote"], has_status: true, ..Kind::base(GROUP, VERSION, kind, plural) }
}

/// `H100`, `2xH100`, or nothing.
fn gpus(gpu: &Value) -> String {
    let name = gpu["type"].as_str().unwrap_or_default();
    match gpu["count"].as_u64() {
        Some(count) if count > 1 => format!("{count}x{name}"),
        _ => name.to_owned(),
    }
}

fn listed(value: &Value) -> String {
    let texts = value.as_array().into_iter().flatten().filter_map(Value::as_str);
    texts.collect::<Vec<_>>().join(",")
}

/// Bytes with a binary unit and at most one decimal: `512B`, `1.5Gi`.
fn bytes(value: &Value) -> String {
    let Some(bytes) = value.as_u64() else {
        return String::new();
    };
    let units = [("Ti", 40), ("Gi", 30), ("Mi", 20), ("Ki", 10)];
    match units.into_iter().find(|(_, shift)| bytes >> shift > 0) {
        None => format!("{bytes}B"),
        Some((unit, shift)) => {
            let tenths = (u128::from(bytes) * 10) >> shift;
            if tenths % 10 == 0 {
                format!("{}{unit}", tenths / 10)
            } else {
                format!("{}.{}{unit}", tenths / 10, tenths % 10)
            }
        }
    }
}

/// `[64, 10]`, as PyTorch writes it.
fn shape(value: &Value) -> String {
    let sizes: Vec<String> = value.as_array().into_iter().flatten().map(ToString::to_string).collect();
    format!("[{}]", sizes.join(", "))
}

fn provider() -> Kind {
    Kind {
        namespaced: false,
        selectable_fields: &["spec.type", "status.phase"],
        columns: vec![
            Column::name(),
            Column::text("Type", "What kind of place it is.", ".spec.type"),
            Column::text("Phase", "The provider in one word.", ".status.phase"),
            Column::text("Ready", "Whether machines can be made.", READY),
            Column::text("Machines", "Machines there are.", ".status.machines").integer(),
            Column::text("Per-Hour", "What they cost per hour together.", ".status.perHour"),
            Column::text("Currency", "Currency of its prices.", ".spec.currency").wide(),
            Column::text("Message", "Why it is or is not Ready.", r#".status.conditions[?(@.type=="Ready")].message"#)
                .wide(),
            Column::age(),
        ],
        schema: object_schema(
            "A place where machines can be made: this host, a cloud account, a cluster.",
            vec![("spec", structural::<ProviderSpec>(), true), ("status", structural::<ProviderStatus>(), false)],
        ),
        rule: validate::provider,
        ..base("Provider", "providers")
    }
}

fn machine() -> Kind {
    Kind {
        short_names: &["machine", "machines"],
        categories: &["all", "gpu", "torchremote"],
        selectable_fields: &["spec.provider", "spec.gpu.type", "status.phase"],
        columns: vec![
            Column::name(),
            Column::text("Provider", "Provider that makes it.", ".spec.provider"),
            Column::text("GPU", "Its GPUs.", "")
                .of(Cell::Made(|machine| gpus(path::get(machine, ".status.gpu").unwrap_or(&machine["spec"]["gpu"])))),
            Column::text("Phase", "The machine in one word.", ".status.phase"),
            Column::text("Ready", "Whether its slots can be leased.", READY),
            Column::text("Expires", "Time until it ends.", "").of(Cell::Until(".status.expiresAt")),
            Column::text("Slots", "Leases that can share one GPU.", ".spec.slotsPerGPU").integer().wide(),
            Column::text("Kept-Alive-By", "Leases that hold it.", "")
                .of(Cell::Made(|machine| listed(&machine["status"]["keptAliveBy"])))
                .wide(),
            Column::text("Region", "Where it is.", ".status.region").wide(),
            Column::text("Accrued", "What it has cost so far.", ".status.accrued").wide(),
            Column::text("Provider-ID", "The provider's name for it.", ".status.providerID").wide(),
            Column::text("Agent", "Version of its agent.", ".status.agentVersion").wide(),
            Column::text("Message", "Why it is or is not Ready.", r#".status.conditions[?(@.type=="Ready")].message"#)
                .wide(),
            Column::age(),
        ],
        schema: object_schema(
            "A machine with GPUs at a Provider, made and ended by the control plane.",
            vec![
                ("spec", structural::<RemoteMachineSpec>(), true),
                ("status", structural::<RemoteMachineStatus>(), false),
            ],
        ),
        rule: validate::machine,
        ..base("RemoteMachine", "remotemachines")
    }
}

fn pool() -> Kind {
    Kind {
        short_names: &["gpupool"],
        categories: &["all", "gpu", "torchremote"],
        selectable_fields: &["spec.template.spec.provider", "spec.template.spec.gpu.type"],
        subresources: &[Subresource {
            name: "scale",
            kind: "Scale",
            group: "autoscaling",
            version: "v1",
            verbs: &["get", "patch", "update"],
        }],
        columns: vec![
            Column::name(),
            Column::text("GPU", "GPUs of each machine.", "")
                .of(Cell::Made(|pool| gpus(&pool["spec"]["template"]["spec"]["gpu"]))),
            Column::text("Min", "Fewest machines.", ".spec.replicas.min").integer(),
            Column::text("Max", "Most machines.", ".spec.replicas.max").integer(),
            Column::text("Ready", "Machines that are Ready.", ".status.ready").integer(),
            Column::text("Warm", "Machines that are Ready and free.", ".status.warm").integer(),
            Column::text("Leased", "Machines that a lease holds.", ".status.leased").integer(),
            Column::text("Machines", "Machines there are.", ".status.replicas").integer().wide(),
            Column::text("Provider", "Provider that makes them.", ".spec.template.spec.provider").wide(),
            Column::text("Message", "Why it is or is not Ready.", r#".status.conditions[?(@.type=="Ready")].message"#)
                .wide(),
            Column::age(),
        ],
        schema: object_schema(
            "Machines of one template, kept warm between bounds.",
            vec![("spec", structural::<MachinePoolSpec>(), true), ("status", structural::<MachinePoolStatus>(), false)],
        ),
        rule: validate::pool,
        ..base("MachinePool", "machinepools")
    }
}

fn lease() -> Kind {
    Kind {
        short_names: &["lease", "leases", "dl"],
        categories: &["all", "gpu", "torchremote"],
        subresources: &[
            Subresource { name: "token", kind: "LeaseToken", group: "", version: "", verbs: &["create"] },
            Subresource { name: "renew", kind: "LeaseRenewal", group: "", version: "", verbs: &["create"] },
        ],
        selectable_fields: &["status.phase", "status.holder"],
        columns: vec![
            Column::name(),
            Column::text("Holder", "User who made it.", ".status.holder"),
            Column::text("GPU", "GPUs asked for.", "").of(Cell::Made(|lease| {
                let alternatives = lease["spec"]["gpu"].as_array().into_iter().flatten();
                alternatives.map(gpus).collect::<Vec<_>>().join(",")
            })),
            Column::text("Phase", "The lease in one word.", ".status.phase"),
            Column::text("Machine", "Machine it holds.", ".status.devices[0].machine"),
            Column::text("Expires", "Time until its duration is over.", "").of(Cell::Until(".status.expiresAt")),
            Column::text("Queue", "Its place while it waits.", ".status.queue.position").integer().wide(),
            Column::text("Mode", "Whole GPUs, or a share of one.", ".spec.mode").wide(),
            Column::text("Priority", "Higher goes first.", ".spec.priority").integer().wide(),
            Column::text("Notice", "What the holder should know.", ".status.notice").wide(),
            Column::age(),
        ],
        schema: object_schema(
            "The right of one holder to GPUs, until it ends.",
            vec![("spec", structural::<DeviceLeaseSpec>(), true), ("status", structural::<DeviceLeaseStatus>(), false)],
        ),
        rule: validate::holder_and_lease,
        ..base("DeviceLease", "deviceleases")
    }
}

fn quota() -> Kind {
    Kind {
        short_names: &["gq"],
        columns: vec![
            Column::name(),
            Column::text("Cohort", "Quotas that lend each other.", ".spec.cohort"),
            Column::text("Hold", "Whether grants are stopped.", ".spec.hold"),
            Column::text(
                "Enforced",
                "Whether what it asks is in force.",
                r#".status.conditions[?(@.type=="Enforced")].status"#,
            ),
            Column::text("Remaining", "What is left of the budget.", ".status.remaining"),
            Column::text("Weight", "Share of what is lent.", ".spec.weight").integer().wide(),
            Column::text("Per-User", "Most GPUs one user may hold.", ".spec.perUser").integer().wide(),
            Column::age(),
        ],
        schema: object_schema(
            "How many GPUs the namespace may hold, and how much it may spend.",
            vec![("spec", structural::<GpuQuotaSpec>(), true), ("status", structural::<GpuQuotaStatus>(), false)],
        ),
        rule: validate::budget,
        ..base("GPUQuota", "gpuquotas")
    }
}

fn device() -> Kind {
    Kind {
        read_only: true,
        has_status: false,
        selectable_fields: &["status.machine", "status.phase", "status.holder", "status.lease"],
        columns: vec![
            Column::name(),
            Column::text("Machine", "Machine it is in.", ".status.machine"),
            Column::text("Index", "Index on the machine.", ".status.index").integer(),
            Column::text("GPU", "Type of GPU.", ".status.gpu"),
            Column::text("Phase", "The device in one word.", ".status.phase"),
            Column::text("Holder", "Who holds it.", ".status.holder"),
            Column::text("Lease", "Lease that holds it.", ".status.lease"),
            Column::text("Memory", "Memory it has.", "")
                .of(Cell::Made(|device| bytes(&device["status"]["memoryBytes"])))
                .wide(),
            Column::text("Used", "Memory in use.", "")
                .of(Cell::Made(|device| bytes(&device["status"]["memoryUsedBytes"])))
                .wide(),
            Column::age(),
        ],
        schema: object_schema(
            "One GPU of a machine, and who holds it.",
            vec![("status", structural::<DeviceStatus>(), true)],
        ),
        ..base("Device", "devices")
    }
}

fn tensor() -> Kind {
    Kind {
        read_only: true,
        has_status: false,
        selectable_fields: &["status.lease", "status.holder", "status.machine"],
        columns: vec![
            Column::name(),
            Column::text("Lease", "Lease it lives in.", ".status.lease"),
            Column::text("Made-By", "Operator that made it, or the name given by keep.", ".status.label"),
            Column::text("Shape", "Shape of what the operator made.", "")
                .of(Cell::Made(|tensor| shape(&tensor["status"]["shape"]))),
            Column::text("DType", "Element type.", ".status.dtype"),
            Column::text("Size", "Bytes it takes on the device.", "")
                .of(Cell::Made(|tensor| bytes(&tensor["status"]["bytes"]))),
            Column::text("Machine", "Machine it lives on.", ".status.machine").wide(),
            Column::text("Holder", "Who holds the lease.", ".status.holder").wide(),
            Column::age(),
        ],
        schema: object_schema("One live storage of a lease.", vec![("status", structural::<TensorStatus>(), true)]),
        ..base("Tensor", "tensors")
    }
}
