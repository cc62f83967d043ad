//! [`World`]: a provider, an agent and a database in memory, on which plans are applied.

use std::time::Duration;

use torch_remote_api::condition::{self, Truth};
use torch_remote_api::gpu::GpuType;

use super::super::*;

pub(super) fn at(second: i64) -> Time {
    chrono::DateTime::from_timestamp(1_700_000_000 + second, 0).expect("a valid second")
}

pub(super) fn desired() -> Desired {
    Desired {
        generation: 1,
        deleting: false,
        suspend: false,
        launch: "a".to_owned(),
        accepted: Ok(()),
        timeout: Some(Duration::from_secs(3600)),
        idle_timeout: Some(Duration::from_secs(300)),
        startup_timeout: Duration::from_secs(60),
        retry_limit: 3,
        gpu: Gpu { gpu_type: GpuType::Cpu, count: 2 },
        slots: 2,
        prices: vec![],
    }
}

/// A provider, an agent and a database in memory.
#[derive(Debug, Clone)]
pub(super) struct World {
    pub(super) now: i64,
    pub(super) finalizer: bool,
    pub(super) object: bool,
    pub(super) attempt: Option<Attempt>,
    /// Attempts that run at the provider, by number.
    pub(super) running: Vec<u32>,
    pub(super) created: Vec<u32>,
    /// Agents that have come up, by attempt.
    pub(super) warm: bool,
    pub(super) can_look: bool,
    /// Creates and terminations do what they should; else they are lost.
    pub(super) obeys: bool,
    /// Instances end as soon as they are made, and the provider says so.
    pub(super) dies_at_start: bool,
    pub(super) ended: Vec<u32>,
    pub(super) heard: bool,
    /// Heard once, and no more since then.
    pub(super) silent: Option<i64>,
    /// Calls of create and of terminate: attempt, when.
    pub(super) asked: Vec<(u32, i64)>,
    pub(super) leases: Vec<String>,
    pub(super) wanted: bool,
    pub(super) status: RemoteMachineStatus,
}

impl World {
    pub(super) fn new() -> Self {
        World {
            now: 0,
            finalizer: false,
            object: true,
            attempt: None,
            running: vec![],
            created: vec![],
            warm: true,
            can_look: true,
            obeys: true,
            dies_at_start: false,
            ended: vec![],
            heard: true,
            silent: None,
            asked: vec![],
            leases: vec![],
            wanted: false,
            status: RemoteMachineStatus::default(),
        }
    }

    pub(super) fn observe(&self) -> Observation {
        let number = self.attempt.as_ref().map_or(0, |attempt| attempt.number);
        let runs = self.running.contains(&number);
        let instance = match self.can_look {
            false => Observed::Unknown,
            true if runs => Observed::Known(Instance::Running { provider_id: format!("i-{number}") }),
            true if self.ended.contains(&number) => {
                Observed::Known(Instance::Absent { why: "exit status: 1".to_owned() })
            }
            true => Observed::Known(Instance::Absent { why: String::new() }),
        };
        let agent = match (self.heard, runs) {
            (false, _) => Agent::Unknown,
            (true, false) => Agent::Unheard { since: at(0) },
            (true, true) if self.silent.is_some() => Agent::Silent {
                boot_id: format!("b-{number}"),
                since: at(self.silent.unwrap_or_default()),
                listening: at(0),
            },
            (true, true) => Agent::Heard {
                boot_id: format!("b-{number}"),
                version: "1".to_owned(),
                torch: "2.13.0".to_owned(),
                warm: if self.warm { 2 } else { 0 },
            },
        };
        Observation {
            finalizer: self.finalizer,
            attempt: self.attempt.clone(),
            instance,
            agent,
            leases: self.leases.clone(),
            last_release: None,
            wanted: self.wanted,
            jitter: 0.5,
            status: self.status.clone(),
        }
    }

    pub(super) fn plan(&self, desired: &Desired) -> Plan {
        plan(desired, &self.observe(), at(self.now))
    }

    fn ask(&mut self, number: u32) {
        let now = self.now;
        self.asked.push((number, now));
        if let Some(attempt) = self.attempt_mut(number) {
            attempt.asked = Some(Asked { times: attempt.asked.map_or(0, |asked| asked.times) + 1, last: at(now) });
        }
    }

    fn attempt_mut(&mut self, number: u32) -> Option<&mut Attempt> {
        self.attempt.as_mut().filter(|attempt| attempt.number == number)
    }

    /// As the shell applies it: each with its precondition, each safe to repeat.
    pub(super) fn apply(&mut self, action: &Action) {
        let now = at(self.now);
        match action {
            Action::AddFinalizer => self.finalizer = true,
            Action::RemoveFinalizer => {
                self.finalizer = false;
                self.object = false;
            }
            Action::RecordIntent(intent) => {
                let latest = self.attempt.as_ref().map_or(0, |attempt| attempt.number);
                if intent.number == latest + 1 {
                    self.attempt = Some(Attempt {
                        number: intent.number,
                        run: intent.run,
                        run_at: intent.run_at.unwrap_or(now),
                        failures: intent.failures,
                        generation: intent.generation,
                        launch: intent.launch.clone(),
                        intended_at: now,
                        ready_at: None,
                        asked: None,
                        state: AttemptState::Intent,
                    });
                }
            }
            Action::Create { number } => {
                self.ask(*number);
                if self.obeys && !self.running.contains(number) && !self.ended.contains(number) {
                    self.created.push(*number);
                    if self.dies_at_start { &mut self.ended } else { &mut self.running }.push(*number);
                }
            }
            Action::RecordCreated { number, provider_id } => {
                let state = AttemptState::Created { provider_id: provider_id.clone() };
                if let Some(attempt) = self.attempt_mut(*number) {
                    (attempt.state, attempt.asked) = (state, None);
                }
            }
            Action::RecordReady { number } => {
                if let Some(attempt) = self.attempt_mut(*number) {
                    attempt.ready_at = Some(now);
                }
            }
            Action::BeginEnd { number, end, message } => {
                let state = AttemptState::Ending { since: now, end: *end, message: message.clone() };
                if let Some(attempt) = self.attempt_mut(*number) {
                    (attempt.state, attempt.asked) = (state, None);
                }
            }
            Action::Terminate { number, .. } => {
                self.ask(*number);
                if self.obeys {
                    self.running.retain(|running| running != number);
                }
            }
            Action::RecordGone { number, end, message } => {
                let state = AttemptState::Gone { at: now, end: *end, message: message.clone() };
                if let Some(attempt) = self.attempt_mut(*number) {
                    attempt.state = state;
                }
                self.leases.clear();
            }
            Action::Report(status) => self.status = (**status).clone(),
        }
    }

    /// Plans and applies until nothing is left to do at this moment.
    pub(super) fn settle(&mut self, desired: &Desired) -> usize {
        for round in 0..50 {
            let plan = self.plan(desired);
            if plan.actions.is_empty() {
                return round;
            }
            for action in &plan.actions {
                self.apply(action);
            }
        }
        panic!("no fixpoint: {:?}", self.plan(desired).actions);
    }

    pub(super) fn truth(&self, kind: &str) -> (Truth, String) {
        let fact = condition::find(&self.status.conditions, kind).expect("conditions are there from the first visit");
        (fact.status, fact.reason.clone())
    }
}

/// Lives through so many seconds, looking at each.
pub(super) fn pass(world: &mut World, desired: &Desired, seconds: i64) {
    for _ in 0..seconds {
        world.now += 1;
        world.settle(desired);
    }
}
