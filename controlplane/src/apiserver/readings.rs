//! The kinds that are only shown: Device and Tensor, made of what agents reported, and the definitions of the kinds there are.

use std::collections::HashMap;
use std::sync::Arc;

use futures::future::BoxFuture;
use serde::Serialize;
use serde_json::json;
use sqlx::PgPool;
use torch_remote_api::definition;
use torch_remote_api::device::{DevicePhase, DeviceStatus, SlotStatus};
use torch_remote_api::object::API_VERSION;
use torch_remote_api::tensor::TensorStatus;

use super::VirtualKind;
use crate::store::device::{self, DeviceRow, SlotRow};
use crate::store::object::seconds;
use crate::store::tensor::{self, TensorRow};
use crate::store::{Error, Key, List, Object, Objects, Resource};

/// All of them, by plural.
pub fn readings(pool: &PgPool) -> HashMap<&'static str, Arc<dyn VirtualKind>> {
    let devices: Arc<dyn VirtualKind> = Arc::new(Devices(pool.clone()));
    let tensors: Arc<dyn VirtualKind> = Arc::new(Tensors(pool.clone()));
    let definitions: Arc<dyn VirtualKind> = Arc::new(Definitions(Objects::new(pool.clone())));
    HashMap::from([("devices", devices), ("tensors", tensors), ("customresourcedefinitions", definitions)])
}

struct Definitions(Objects);

impl VirtualKind for Definitions {
    fn list<'a>(&'a self, _: Option<&'a str>) -> BoxFuture<'a, Result<List, Error>> {
        Box::pin(async move {
            let oldest = self.0.get(&Key::cluster(Resource::NAMESPACES, "kube-system")).await?;
            let of = |field: &str| {
                let text = oldest.as_ref().and_then(|namespace| namespace.body["metadata"][field].as_str());
                text.unwrap_or_default().to_owned()
            };
            let items = definition::definitions(&of("creationTimestamp"), &of("resourceVersion"));
            let items = items.into_iter().map(|body| Object { body });
            Ok(whole(items.collect(), self.0.version().await?))
        })
    }
}

struct Devices(PgPool);

impl VirtualKind for Devices {
    fn list<'a>(&'a self, namespace: Option<&'a str>) -> BoxFuture<'a, Result<List, Error>> {
        Box::pin(async move {
            let (rows, version) = device::list(&self.0, namespace).await?;
            let items = rows.into_iter().filter_map(|row| {
                let (namespace, machine) = row.machine.clone();
                let metadata = json!({"name": format!("{machine}-{}", row.index), "namespace": namespace, "creationTimestamp": seconds(row.seen_at)});
                reading("Device", metadata, device(row)?)
            });
            Ok(whole(items.collect(), version))
        })
    }
}

struct Tensors(PgPool);

impl VirtualKind for Tensors {
    fn list<'a>(&'a self, namespace: Option<&'a str>) -> BoxFuture<'a, Result<List, Error>> {
        Box::pin(async move {
            let (rows, version) = tensor::list(&self.0, namespace).await?;
            let items = rows.into_iter().filter_map(|row| {
                let name = format!("{}-{}", row.lease.1, row.storage);
                let metadata =
                    json!({"name": name, "namespace": row.lease.0, "creationTimestamp": seconds(row.first_seen)});
                reading("Tensor", metadata, tensor(row))
            });
            Ok(whole(items.collect(), version))
        })
    }
}

fn whole(items: Vec<Object>, resource_version: i64) -> List {
    List { items, resource_version, more: false, remaining: None }
}

fn reading(kind: &str, metadata: serde_json::Value, status: impl Serialize) -> Option<Object> {
    let status = serde_json::to_value(status).ok()?;
    Some(Object { body: json!({"apiVersion": API_VERSION, "kind": kind, "metadata": metadata, "status": status}) })
}

/// `None` for a machine of a type that this release does not know.
fn device(row: DeviceRow) -> Option<DeviceStatus> {
    let joined = |of: fn(&SlotRow) -> Option<&str>| {
        let held: Vec<&str> = row.slots.iter().filter_map(of).collect();
        (!held.is_empty()).then(|| held.join(","))
    };
    let any = |phase: &str| row.slots.iter().any(|slot| slot.phase == phase);
    let phase = match row.heard {
        false => DevicePhase::Unknown,
        true if any("RELEASING") || row.slots.iter().any(|slot| slot.quarantined) => DevicePhase::Draining,
        true if row.slots.iter().any(|slot| slot.lease.is_some()) => DevicePhase::Leased,
        true => DevicePhase::Free,
    };
    Some(DeviceStatus {
        machine: row.machine.1.clone(),
        machine_uid: row.machine_uid.to_string(),
        index: row.index,
        gpu: row.gpu.parse().ok()?,
        product: Some(row.product.clone()).filter(|product| !product.is_empty()),
        phase,
        holder: joined(|slot| slot.holder.as_deref()),
        lease: joined(|slot| slot.lease.as_deref()),
        memory_bytes: Some(row.memory_bytes).filter(|bytes| *bytes > 0),
        memory_used_bytes: Some(row.memory_used_bytes),
        reported_at: Some(row.seen_at.into()),
        slots: row.slots.iter().map(|slot| slot_status(slot, row.heard)).collect(),
    })
}

fn slot_status(slot: &SlotRow, heard: bool) -> SlotStatus {
    let phase = match slot.phase.as_str() {
        _ if slot.quarantined => "Quarantined".to_owned(),
        _ if !heard => "Unknown".to_owned(),
        "" => "Unknown".to_owned(),
        name => name[..1].to_owned() + &name[1..].to_lowercase(),
    };
    SlotStatus {
        slot: slot.slot,
        epoch: slot.epoch,
        phase,
        lease: slot.lease.clone(),
        holder: slot.holder.clone(),
        live_storages: Some(slot.live_storages),
        live_bytes: Some(slot.live_bytes),
    }
}

fn tensor(row: TensorRow) -> TensorStatus {
    TensorStatus {
        storage: row.storage,
        lease: row.lease.1,
        lease_uid: row.lease_uid.to_string(),
        machine: row.machine,
        slot: row.slot,
        label: row.label,
        shape: row.sizes,
        dtype: dtype(row.dtype),
        bytes: row.bytes,
        holder: row.holder,
    }
}

/// PyTorch's name of a `c10::ScalarType`.
fn dtype(number: u32) -> String {
    let names = [
        "uint8",
        "int8",
        "int16",
        "int32",
        "int64",
        "float16",
        "float32",
        "float64",
        "complex32",
        "complex64",
        "complex128",
        "bool",
        "qint8",
        "quint8",
        "qint32",
        "bfloat16",
        "quint4x2",
        "quint2x4",
        "bits1x8",
        "bits2x4",
        "bits4x2",
        "bits8",
        "bits16",
        "float8_e5m2",
        "float8_e4m3fn",
        "float8_e5m2fnuz",
        "float8_e4m3fnuz",
        "uint16",
        "uint32",
        "uint64",
    ];
    names.get(number as usize).map_or_else(|| format!("dtype{number}"), |name| (*name).to_owned())
}
