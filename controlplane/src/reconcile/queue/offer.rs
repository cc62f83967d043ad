//! Machines made for waiting leases, as Providers offer them. They belong to nobody's lease, and end by their idle time.

use std::collections::HashMap;

use serde_json::json;
use torch_remote_api::machine::RemoteMachineSpec;
use torch_remote_api::object::API_VERSION;
use torch_remote_api::provider::{MachineOffer, Provider};
use torch_remote_plan::queue::{Make, Offer};

use super::super::{Error, Shared};
use super::{Scene, parsed};
use crate::store::{self, Key, Resource};

/// Annotation of a machine: the uid of the lease it was made for.
pub(super) const MADE_FOR: &str = "torchremote.dev/made-for-lease";
/// Characters of a lease's uid in the name of its machine.
const SHORT: usize = 8;

/// What the Providers offer now; `machines`: how many each has.
pub(super) async fn offers(shared: &Shared, machines: &HashMap<String, u32>) -> Result<Vec<Offer>, Error> {
    let list = shared.parts.objects.list(Resource::PROVIDERS, None).await?;
    let offers = list.items.iter().filter(|object| !object.deleting()).filter_map(|object| {
        let provider: Provider = parsed(object)?;
        let template = provider.spec.machine_template?;
        let limit = provider.spec.limits.and_then(|limits| limits.machines);
        let have = machines.get(object.name()).copied().unwrap_or(0);
        Some(Offer {
            provider: object.name().to_owned(),
            gpus: template.gpus,
            max_count: template.max_count,
            namespaces: template.namespaces,
            room: limit.is_none_or(|limit| have < limit),
        })
    });
    Ok(offers.collect())
}

/// Makes the machine; one that is there already is left as it is.
pub(super) async fn make(shared: &Shared, scene: &Scene, make: &Make) -> Result<(), Error> {
    let Some((lease, ..)) = scene.leases.get(&make.lease) else { return Ok(()) };
    let provider = Key::cluster(Resource::PROVIDERS, make.provider.as_str());
    let Some(object) = shared.parts.objects.get(&provider).await? else { return Ok(()) };
    let Some(template) = parsed::<Provider>(&object).and_then(|provider| provider.spec.machine_template) else {
        return Ok(());
    };
    let name = format!("auto-{}", &make.lease.0[..SHORT.min(make.lease.0.len())]);
    let body = json!({
        "apiVersion": API_VERSION,
        "kind": "RemoteMachine",
        "metadata": {"name": name, "namespace": lease.namespace, "annotations": {MADE_FOR: make.lease.0}},
        "spec": spec(make, &template)?,
    });
    let mut write = shared.parts.objects.begin().await?;
    match write.create(Resource::MACHINES, body).await {
        Ok(machine) => {
            write.commit().await?;
            let text = format!(
                "made for lease {}/{}, from the machineTemplate of Provider {}",
                lease.namespace, lease.name, make.provider
            );
            shared.parts.recorder.normal(&machine, "Made", text);
            Ok(())
        }
        Err(store::Error::AlreadyExists { .. } | store::Error::NamespaceTerminating { .. }) => Ok(()),
        Err(error) => Err(error.into()),
    }
}

fn spec(make: &Make, template: &MachineOffer) -> Result<serde_json::Value, Error> {
    let asked = json!({
        "provider": make.provider,
        "gpu": {"type": make.gpu, "count": make.count},
        "timeout": template.timeout,
        "idleTimeout": template.idle_timeout,
        "startupTimeout": template.startup_timeout,
        "slotsPerGPU": template.slots_per_gpu,
        "image": template.image,
        "maxPricePerHour": template.max_price_per_hour,
    });
    // Through the type, so that the object shows every default as one that was applied does.
    let whole: RemoteMachineSpec = serde_json::from_value(asked).map_err(Error::Json)?;
    serde_json::to_value(whole).map_err(Error::Json)
}
