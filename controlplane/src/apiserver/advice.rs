//! What whoever writes an object should know, beside that it is stored: what it costs, what it replaces, what is not in force. Answers carry it as
//! `Warning:` headers, which kubectl prints; a dry run says the same.

use std::sync::Arc;

use serde_json::Value;
use torch_remote_api::Kind;
use torch_remote_api::lease::DeviceLease;
use torch_remote_api::machine::{RemoteMachine, RemoteMachineSpec};
use torch_remote_api::money::Money;
use torch_remote_api::pool::MachinePool;
use torch_remote_api::provider::{Price, Provider as ProviderObject};

use crate::provider::{Provider, Providers, launch_hash};
use crate::store::watch_cache::WatchCache;
use crate::store::{Key, Objects, Resource};

/// Names told in one warning; of more the number is.
const NAMES: usize = 3;

/// What is known for advice.
#[derive(Debug)]
pub struct Advisor<'a> {
    /// The Providers' objects; what this replica has not heard of yet is read.
    pub cache: &'a WatchCache,
    /// The store.
    pub objects: &'a Objects,
    /// What makes their machines.
    pub providers: &'a Providers,
}

impl Advisor<'_> {
    /// What to say of an object that was written over `old`, or made.
    pub async fn advise(&self, kind: &Kind, new: &Value, old: Option<&Value>) -> Vec<String> {
        match Resource::find(kind.group, kind.plural) {
            // What changes nothing needs no words.
            _ if old.is_some_and(|old| old["spec"] == new["spec"]) => vec![],
            Some(Resource::MACHINES) => match parse(new) {
                Some(machine) => self.machine(&machine, old).await,
                None => vec![],
            },
            Some(Resource::POOLS) => match parse(new) {
                Some(pool) => self.pool(&pool, old).await,
                None => vec![],
            },
            Some(Resource::QUOTAS) => {
                vec![
                    "quotas are not enforced yet: leases and machines are granted without regard to this one"
                        .to_owned(),
                ]
            }
            Some(Resource::LEASES) => parse(new).map(|lease| lease_words(&lease)).unwrap_or_default(),
            _ => vec![],
        }
    }

    async fn machine(&self, machine: &RemoteMachine, old: Option<&Value>) -> Vec<String> {
        let old: Option<RemoteMachine> = old.and_then(parse);
        let provider = self.provider(&machine.spec.provider).await;
        let mut words = not_in_force("spec", &machine.spec);
        let before = old.as_ref().map(|old| (&old.spec.provider, old.spec.gpu));
        if !machine.spec.suspend && before != Some((&machine.spec.provider, machine.spec.gpu)) {
            words.extend(cost(&machine.spec, provider.as_ref(), 1));
        }
        if let Some(old) = old {
            words.extend(self.replaced(machine, &old).await);
        }
        words
    }

    /// What becomes of the instance there is, as the machine's planner decides it.
    async fn replaced(&self, new: &RemoteMachine, old: &RemoteMachine) -> Option<String> {
        let instance = old.status.provider_id.as_deref()?;
        let held = named(&old.status.kept_alive_by);
        if new.spec.suspend && !old.spec.suspend {
            let lost = held.map(|held| format!(", and with it what is on it of {held}"));
            return Some(format!("instance {instance} ends now{}", lost.unwrap_or_default()));
        }
        if self.hash(&new.spec).await == self.hash(&old.spec).await {
            return None;
        }
        if let Some(refusal) = self.refused(&new.spec).await {
            return Some(format!("instance {instance} goes on as it was made: {refusal}"));
        }
        Some(match held {
            Some(held) => format!("instance {instance} is replaced by one of the new spec when it is free of {held}"),
            None => format!("instance {instance} is replaced by one of the new spec now: no lease holds it"),
        })
    }

    async fn hash(&self, spec: &RemoteMachineSpec) -> String {
        launch_hash(spec, self.maker(spec).await.as_deref())
    }

    /// Why its provider would not make it.
    async fn refused(&self, spec: &RemoteMachineSpec) -> Option<String> {
        Some(self.maker(spec).await?.check(spec).err()?.message)
    }

    async fn maker(&self, spec: &RemoteMachineSpec) -> Option<Arc<dyn Provider>> {
        self.providers.get(self.provider(&spec.provider).await?.spec.provider_type)
    }

    async fn pool(&self, pool: &MachinePool, old: Option<&Value>) -> Vec<String> {
        let old: Option<MachinePool> = old.and_then(parse);
        let spec = &pool.spec.template.spec;
        let mut words = not_in_force("spec.template.spec", spec);
        if pool.spec.warm > 0 {
            words.push(format!(
                "spec.warm is not in force yet: the pool keeps spec.replicas.min ({}) machines and does not grow with demand",
                pool.spec.replicas.min
            ));
        }
        let size = |pool: &MachinePool| {
            (pool.spec.replicas.min, pool.spec.template.spec.provider.clone(), pool.spec.template.spec.gpu)
        };
        if pool.spec.replicas.min > 0 && !spec.suspend && old.as_ref().map(size) != Some(size(pool)) {
            words.extend(cost(spec, self.provider(&spec.provider).await.as_ref(), pool.spec.replicas.min));
        }
        if let Some(old) = old.filter(|old| old.spec.template != pool.spec.template) {
            let (all, leased) = (old.status.replicas.unwrap_or(0), old.status.leased.unwrap_or(0));
            if all > 0 {
                words.push(format!(
                    "{all} machines are of the old template: {} are replaced one after another, {leased} when no lease holds them",
                    all.saturating_sub(leased)
                ));
            }
        }
        words
    }

    /// A database that does not answer now has nothing to say of it: the write was done.
    async fn provider(&self, name: &str) -> Option<ProviderObject> {
        let key = Key::cluster(Resource::PROVIDERS, name);
        match self.cache.get(&key) {
            Some(known) => parse(&known),
            None => self.objects.get(&key).await.ok().flatten().and_then(|object| parse(&object.body)),
        }
    }
}

fn parse<T: serde::de::DeserializeOwned>(object: &Value) -> Option<T> {
    T::deserialize(object).ok()
}

/// What so many machines cost.
fn cost(spec: &RemoteMachineSpec, provider: Option<&ProviderObject>, count: u32) -> Option<String> {
    let name = &spec.provider;
    let Some(provider) = provider else {
        return Some(format!("Provider {name} does not exist yet: nothing is made until it does"));
    };
    let hour = price(&provider.spec.prices, spec, count)?;
    let currency = &provider.spec.currency;
    let each = format!("{} {}", spec.gpu.count, spec.gpu.gpu_type);
    Some(match count {
        1 => format!("costs {hour} {currency} per hour while it runs ({each} at Provider {name})"),
        count => {
            format!("costs {hour} {currency} per hour while all run ({count} machines of {each} at Provider {name})")
        }
    })
}

fn price(prices: &[Price], spec: &RemoteMachineSpec, count: u32) -> Option<Money> {
    let one = prices.iter().find(|price| price.gpu_type == spec.gpu.gpu_type)?.per_hour;
    Some(Money::from_micros(one.micros().saturating_mul(spec.gpu.count.into()).saturating_mul(count.into())))
}

/// Fields that are kept and judged, and that nothing acts on yet.
fn not_in_force(at: &str, spec: &RemoteMachineSpec) -> Vec<String> {
    let fields = [("maxPricePerHour", spec.max_price_per_hour.is_some()), ("fallback", !spec.fallback.is_empty())];
    let given = fields.into_iter().filter(|(_, given)| *given);
    given.map(|(field, _)| format!("{at}.{field} is not in force yet: it is kept, and nothing acts on it")).collect()
}

fn lease_words(lease: &DeviceLease) -> Vec<String> {
    match (&lease.spec.pool_ref, lease.spec.gpu.is_empty()) {
        (Some(pool), _) if lease.status.phase.is_none() => {
            vec![format!(
                "pool {} does not grow with demand yet: the lease waits for one of the machines it keeps",
                pool.name
            )]
        }
        _ => vec![],
    }
}

/// `leases a/b, c/d and 2 more`; none: nothing.
fn named(leases: &[String]) -> Option<String> {
    let shown = leases.iter().take(NAMES).cloned().collect::<Vec<_>>().join(", ");
    match leases.len() {
        0 => None,
        1 => Some(format!("lease {shown}")),
        all if all > NAMES => Some(format!("leases {shown} and {} more", all - NAMES)),
        _ => Some(format!("leases {shown}")),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn many_leases_are_counted_and_few_are_named() {
        let leases: Vec<String> = (0..5).map(|number| format!("team/l{number}")).collect();
        assert_eq!(named(&[]), None);
        assert_eq!(named(&leases[..1]).as_deref(), Some("lease team/l0"));
        assert_eq!(named(&leases).as_deref(), Some("leases team/l0, team/l1, team/l2 and 2 more"));
    }
}
