//! What a machine's spec, and the Provider that it names, ask for.

use std::sync::Arc;

use torch_remote_api::machine::RemoteMachine;
use torch_remote_api::provider::{Price, Provider as ProviderObject};
use torch_remote_plan::machine::{Desired, Refusal};

use crate::provider::{self, Provider};
use crate::reconcile::{Error, Shared};
use crate::store::{Key, Object, Resource};

/// The provider that the spec names (`object`: its Provider, if there is one), whether it takes the machine, and what it takes for one.
pub(super) async fn provider_for(
    shared: &Shared,
    machine: &RemoteMachine,
    object: Option<Object>,
) -> Result<(Option<Arc<dyn Provider>>, Result<(), Refusal>, Vec<Price>), Error> {
    let name = &machine.spec.provider;
    let Some(object) = object else {
        let there = shared.parts.objects.list(Resource::PROVIDERS, None).await?;
        let names: Vec<&str> = there.items.iter().map(Object::name).collect();
        let have = if names.is_empty() {
            "there is none yet; apply one first".to_owned()
        } else {
            format!("there are: {}", names.join(", "))
        };
        return Ok((
            None,
            Err(Refusal {
                reason: "NoSuchProvider",
                message: format!("spec.provider names \"{name}\", which does not exist; {have}"),
            }),
            vec![],
        ));
    };
    let spec = object.parse::<ProviderObject>()?.spec;
    let Some(provider) = shared.parts.providers.get(spec.provider_type) else {
        let message = format!(
            "this control plane can not make machines of type {} (Provider {name})",
            spec.provider_type.as_str()
        );
        return Ok((None, Err(Refusal { reason: "ProviderNotServed", message }), spec.prices));
    };
    let accepted = if object.deleting() {
        Err(Refusal { reason: "ProviderDeleting", message: format!("Provider {name} is being deleted") })
    } else {
        provider.check(&machine.spec)
    };
    Ok((Some(provider), accepted, spec.prices))
}

pub(super) async fn named(shared: &Shared, name: &str) -> Result<Option<Arc<dyn Provider>>, Error> {
    let Some(object) = shared.parts.objects.get(&Key::cluster(Resource::PROVIDERS, name)).await? else {
        return Ok(None);
    };
    Ok(shared.parts.providers.get(object.parse::<ProviderObject>()?.spec.provider_type))
}

pub(super) fn desired(
    machine: &RemoteMachine,
    provider: Option<&dyn Provider>,
    accepted: Result<(), Refusal>,
) -> Desired {
    let spec = &machine.spec;
    Desired {
        generation: machine.metadata.generation(),
        deleting: machine.metadata.deleting(),
        suspend: spec.suspend,
        launch: provider::launch_hash(&machine.spec, provider),
        accepted,
        timeout: Some(spec.timeout.get()),
        idle_timeout: Some(spec.idle_timeout.get()),
        startup_timeout: spec.startup_timeout.get(),
        retry_limit: spec.retry.limit,
        gpu: spec.gpu,
        slots: spec.slots(),
        prices: vec![],
    }
}
