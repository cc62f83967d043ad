//! A scripted provider for tests: keeps the contract, and loses, delays and repeats what it is told to.

use std::collections::BTreeMap;
use std::io;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use futures::future::BoxFuture;
use serde_json::{Value, json};
use torch_remote_api::agent::Listen;
use torch_remote_api::machine::RemoteMachineSpec;
use torch_remote_plan::machine::Refusal;

use super::{Error, Provider, Request, Running, Sighting};

/// What goes wrong next.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Fault {
    /// The next create works, and its answer is lost.
    LoseCreateAnswer,
    /// The next create does nothing, and its answer is lost.
    LoseCreate,
    /// The next create is refused.
    RefuseCreate,
    /// The next create works, and its instance ends at once; the provider knows how.
    DieAtStart,
    /// The next look fails.
    LoseFind,
    /// The next look is a bug of ours: it panics.
    PanicInFind,
    /// The next terminate is lost.
    LoseTerminate,
}

/// Called with each instance that is made and its token; returns where its agent listens.
pub type Starter = Box<dyn Fn(&Request) -> Listen + Send + Sync>;
/// Called when an instance ends.
pub type Ender = Box<dyn Fn(&str) + Send + Sync>;

/// The provider. Clones share it.
#[derive(Clone)]
pub struct Fake(Arc<Inner>);

struct Inner {
    start: Starter,
    end: Ender,
    state: Mutex<State>,
}

#[derive(Debug, Default)]
struct State {
    running: BTreeMap<String, Listen>,
    faults: Vec<Fault>,
    created: Vec<String>,
    /// How instances ended, of those that the provider says it of.
    ended: BTreeMap<String, String>,
    /// Calls of create, those that found the instance there included.
    asked: u32,
    /// Machines of which nothing is kept any more.
    forgotten: Vec<String>,
    /// Calls of terminate.
    asked_to_end: u32,
    /// Terminate only when forced.
    stubborn: bool,
}

impl std::fmt::Debug for Fake {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_tuple("Fake").field(&*self.state()).finish()
    }
}

impl Fake {
    /// Instances are started and ended by these.
    pub fn new(start: Starter, end: Ender) -> Self {
        Self(Arc::new(Inner { start, end, state: Mutex::default() }))
    }

    /// Goes wrong once, after the faults before it.
    pub fn inject(&self, fault: Fault) {
        self.state().faults.push(fault);
    }

    /// Terminate works only when forced.
    pub fn stubborn(&self) {
        self.state().stubborn = true;
    }

    /// An instance dies by itself.
    pub fn kill(&self, token: &str) {
        if self.state().running.remove(token).is_some() {
            (self.0.end)(token);
        }
    }

    /// Tokens of all that run.
    pub fn running(&self) -> Vec<String> {
        self.state().running.keys().cloned().collect()
    }

    /// Tokens of all that ever ran, in order.
    pub fn created(&self) -> Vec<String> {
        self.state().created.clone()
    }

    /// Calls of create so far.
    pub fn asked(&self) -> u32 {
        self.state().asked
    }

    /// uids of the machines it was told to forget.
    pub fn forgotten(&self) -> Vec<String> {
        self.state().forgotten.clone()
    }

    /// Calls of terminate so far.
    pub fn asked_to_end(&self) -> u32 {
        self.state().asked_to_end
    }

    fn state(&self) -> MutexGuard<'_, State> {
        self.0.state.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn takes(&self, fault: Fault) -> bool {
        let mut state = self.state();
        let first = state.faults.iter().position(|next| *next == fault);
        first.map(|at| state.faults.remove(at)).is_some()
    }
}

fn lost(operation: &'static str) -> Error {
    Error::Unknown {
        provider: "Fake",
        operation,
        source: io::Error::new(io::ErrorKind::TimedOut, "the answer was lost"),
    }
}

impl Provider for Fake {
    fn check(&self, _: &RemoteMachineSpec) -> Result<(), Refusal> {
        Ok(())
    }

    fn made_from(&self, spec: &RemoteMachineSpec) -> Value {
        json!([
            spec.gpu,
            spec.slots_per_gpu,
            spec.image,
            spec.env,
            spec.secret_refs,
            spec.volumes,
            spec.regions,
            spec.cpu,
            spec.memory
        ])
    }

    fn find<'a>(&'a self, token: &'a str) -> BoxFuture<'a, Result<Sighting, Error>> {
        Box::pin(async move {
            if self.takes(Fault::LoseFind) {
                return Err(lost("look for an instance"));
            }
            assert!(!self.takes(Fault::PanicInFind), "a panic on purpose");
            let state = self.state();
            Ok(match state.running.get(token).cloned() {
                Some(control) => Sighting::Running(Running { provider_id: format!("fake-{token}"), control }),
                None => Sighting::Absent { why: state.ended.get(token).cloned().unwrap_or_default() },
            })
        })
    }

    fn create<'a>(&'a self, request: &'a Request) -> BoxFuture<'a, Result<(), Error>> {
        Box::pin(async move {
            self.state().asked += 1;
            if self.takes(Fault::RefuseCreate) {
                let message = "no capacity for this in any region; try another GPU".to_owned();
                return Err(Error::Refused { provider: "Fake", operation: "create an instance", message });
            }
            if self.takes(Fault::LoseCreate) {
                return Err(lost("create an instance"));
            }
            if self.takes(Fault::DieAtStart) {
                let mut state = self.state();
                state.created.push(request.token.clone());
                state.ended.insert(request.token.clone(), "it ended at once (exit status: 1)".to_owned());
                return Ok(());
            }
            if !self.state().running.contains_key(&request.token) {
                let control = (self.0.start)(request);
                let mut state = self.state();
                state.running.insert(request.token.clone(), control);
                state.created.push(request.token.clone());
            }
            if self.takes(Fault::LoseCreateAnswer) {
                return Err(lost("create an instance"));
            }
            Ok(())
        })
    }

    fn terminate<'a>(&'a self, token: &'a str, force: bool) -> BoxFuture<'a, Result<(), Error>> {
        Box::pin(async move {
            self.state().asked_to_end += 1;
            if self.takes(Fault::LoseTerminate) {
                return Err(lost("end an instance"));
            }
            if force || !self.state().stubborn {
                self.kill(token);
            }
            Ok(())
        })
    }

    fn forget<'a>(&'a self, machine_uid: &'a str) -> BoxFuture<'a, Result<(), Error>> {
        Box::pin(async move {
            self.state().forgotten.push(machine_uid.to_owned());
            Ok(())
        })
    }

    fn list(&self) -> BoxFuture<'_, Result<Vec<String>, Error>> {
        Box::pin(async move { Ok(self.running()) })
    }
}
