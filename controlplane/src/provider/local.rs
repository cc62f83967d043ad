//! The provider `Local`: an agent as a process of this machine.
//!
//! Owns the agent's process and folder. Invariants: an agent is a session of its own, so that it outlives this process; it is known by the token on its command
//! line, its owner and its program, never by a number alone; a signal goes through a descriptor of the very process that was looked at.

mod folder;
mod process;

use std::collections::HashMap;
use std::fs;
use std::io;
use std::os::unix::fs::OpenOptionsExt;
use std::path::{Path, PathBuf};
use std::process::Stdio;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use futures::future::BoxFuture;
use serde_json::{Value, json};
use torch_remote_api::agent::{AgentConfig, Listen, SlotConfig};
use torch_remote_api::gpu::GpuType;
use torch_remote_api::machine::RemoteMachineSpec;
use torch_remote_api::quantity::Quantity;
use torch_remote_plan::machine::Refusal;

use super::{Error, Provider, Request, Running, Sighting};
use folder::{last_lines, make_dir, make_private, write_private};
use process::Found;

/// Between two looks at a process that is to end.
const POLL: Duration = Duration::from_millis(20);
/// For the processes of agents to be gone after they were killed.
const KILLED: Duration = Duration::from_secs(5);
/// For an agent that was started to be seen.
const SEEN: Duration = Duration::from_secs(5);
/// Where things are.
#[derive(Debug, Clone)]
pub struct Settings {
    /// The agent's program, absolute.
    pub agent: PathBuf,
    /// Folder for configurations and logs, made if missing: `machines/<uid>/<token>/`.
    pub data_dir: PathBuf,
    /// Folder for sockets where `data_dir` is too long for them; usually that of temporary files.
    pub short_dir: PathBuf,
    /// The agent's whole environment.
    pub environment: Vec<(String, String)>,
    /// Intra-op threads of each executor where a machine's `spec.cpu` does not say; 0: all cores.
    pub threads: u32,
    /// Host name or IP address under which other hosts reach this one; none: they do not.
    pub public_address: Option<String>,
}

/// The provider.
#[derive(Debug, Clone)]
pub struct Local {
    settings: Arc<Settings>,
    /// Children of ours whose folders are there, by token; and how they ended, if they did.
    children: Arc<Mutex<HashMap<String, Option<String>>>>,
}

impl Local {
    /// A provider over these settings.
    pub fn new(settings: Settings) -> Self {
        Self { settings: Arc::new(settings), children: Arc::default() }
    }

    /// Ends every agent of this data directory: asks, waits up to `grace`, then kills. Returns their tokens, when none is left.
    ///
    /// # Errors
    /// The processes could not be looked at, or some are there although they were killed.
    pub async fn end_all(&self, grace: Duration) -> Result<Vec<String>, Error> {
        let asked = self.agents("end all agents")?;
        let deadline = tokio::time::Instant::now() + grace;
        for found in &asked {
            found.signal(false).map_err(unknown("end an agent"))?;
        }
        loop {
            let left = self.agents("end all agents")?;
            if left.is_empty() {
                return Ok(asked.into_iter().map(|found| found.token).collect());
            }
            let now = tokio::time::Instant::now();
            if now >= deadline + KILLED {
                let left: Vec<&str> = left.iter().map(|found| found.token.as_str()).collect();
                let text = format!("killed, and still there: {}", left.join(", "));
                return Err(unknown("end all agents")(io::Error::new(io::ErrorKind::TimedOut, text)));
            }
            if now >= deadline {
                for found in &left {
                    found.signal(true).map_err(unknown("kill an agent"))?;
                }
            }
            tokio::time::sleep(POLL).await;
        }
    }

    /// Agents whose configuration lies in our data directory.
    fn agents(&self, operation: &'static str) -> Result<Vec<Found>, Error> {
        let machines = self.settings.data_dir.join("machines");
        let found = process::agents(&self.settings.agent).map_err(unknown(operation))?;
        Ok(found.into_iter().filter(|found| found.config.starts_with(&machines)).collect())
    }

    fn look(&self, token: &str) -> Result<Option<Found>, Error> {
        Ok(self.agents("look for an agent")?.into_iter().find(|found| found.token == token))
    }

    fn start(&self, request: &Request) -> Result<(), io::Error> {
        self.drop_old_attempts(&request.machine_uid)?;
        let dir = self.machine_dir(&request.machine_uid).join(&request.token);
        make_dir(&dir)?;
        let sockets = self.socket_dir(&request.token);
        make_private(&sockets)?;
        let path = dir.join("agent.json");
        let text = serde_json::to_vec_pretty(&self.config(request, &sockets)).map_err(io::Error::other)?;
        write_private(&path, &text)?;
        let log = fs::OpenOptions::new().create(true).append(true).mode(0o600).open(dir.join("agent.log"))?;
        let mut command = tokio::process::Command::new(&self.settings.agent);
        command
            .arg("supervise")
            .arg("--config")
            .arg(&path)
            .arg("--token")
            .arg(&request.token)
            .current_dir(&dir)
            .env_clear();
        command.envs(self.settings.environment.iter().map(|(name, value)| (name, value)));
        command.stdin(Stdio::null()).stdout(log.try_clone()?).stderr(log);
        // SAFETY: runs in the child between fork and exec, where only async-signal-safe calls are allowed; setsid is one, and it allocates nothing.
        unsafe { command.pre_exec(|| rustix::process::setsid().map(drop).map_err(Into::into)) };
        let mut child = command.spawn()?;
        let (children, token) = (self.children.clone(), request.token.clone());
        self.children().insert(token.clone(), None);
        // Owned by the process it reaps: ends with it, or with this process.
        tokio::spawn(async move {
            let how = match child.wait().await {
                Ok(status) => status.to_string(),
                Err(error) => format!("its end could not be seen: {error}"),
            };
            // Nothing is kept of a child that was forgotten meanwhile.
            if let Some(ended) = children.lock().unwrap_or_else(PoisonError::into_inner).get_mut(&token) {
                *ended = Some(how);
            }
        });
        Ok(())
    }

    fn config(&self, request: &Request, sockets: &Path) -> AgentConfig {
        let listen = |name: String| Listen::Unix(sockets.join(name).to_string_lossy().into_owned());
        let spec = &request.spec;
        let slot =
            |slot: u32| SlotConfig { gpu: slot / spec.slots_per_gpu.max(1), listen: listen(format!("slot-{slot}")) };
        AgentConfig {
            machine_uid: request.machine_uid.clone(),
            machine: request.machine.clone(),
            token: request.token.clone(),
            issuer: request.agent.issuer.clone(),
            jwks: request.agent.jwks.clone(),
            control: listen("control".to_owned()),
            slots: (0..spec.slots()).map(slot).collect(),
            public_address: self.settings.public_address.clone(),
            device: if spec.gpu.gpu_type == GpuType::Cpu { "cpu" } else { "cuda" }.to_owned(),
            threads: spec.cpu.as_ref().map_or(self.settings.threads, |cpu| threads(cpu, spec.slots())),
            dead_man_ms: request.agent.dead_man_ms,
            heartbeat_ms: request.agent.heartbeat_ms,
            otlp: request.agent.otlp.clone(),
            clock_offset_file: self.clock_offset_file(),
        }
    }

    /// Tests move the clock of agents with a file beside the machines.
    fn clock_offset_file(&self) -> Option<String> {
        let path = self.settings.data_dir.join("clock-offset");
        path.exists().then(|| path.to_string_lossy().into_owned())
    }

    fn has_ended(&self, token: &str) -> bool {
        self.children().get(token).is_some_and(Option::is_some)
    }

    fn children(&self) -> MutexGuard<'_, HashMap<String, Option<String>>> {
        self.children.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// What is known of an end; the log is quoted when the agent ended by itself, and named when it was killed.
    fn why(&self, token: &str) -> String {
        let how = self.children().get(token).cloned().flatten();
        let Some(log) = self.log(token) else {
            return how.map(|how| format!("its agent ended ({how})")).unwrap_or_default();
        };
        let killed = how.as_ref().is_none_or(|how| how.contains("signal"));
        let how = how.map_or_else(|| "its agent is gone".to_owned(), |how| format!("its agent ended ({how})"));
        match last_lines(&log) {
            quoted if killed || quoted.is_empty() => format!("{how}; its log is {}", log.display()),
            quoted => format!("{how}; the end of {}: {quoted}", log.display()),
        }
    }
}

impl Provider for Local {
    fn check(&self, spec: &RemoteMachineSpec) -> Result<(), Refusal> {
        if spec.gpu.gpu_type != GpuType::Cpu && !Path::new("/dev/nvidiactl").exists() {
            let message = format!(
                "this machine has no NVIDIA GPU, so the provider can not offer {}; ask for gpu.type CPU, or for another provider",
                spec.gpu.gpu_type
            );
            return Err(Refusal { reason: "NoSuchGPU", message });
        }
        let wanted = not_given(spec);
        if !wanted.is_empty() {
            let message = format!(
                "a machine of a Local provider is a process of this computer, with its Python, its torch, its files and an empty environment: {} can not be given; leave it out, or ask another provider",
                wanted.join(", ")
            );
            return Err(Refusal { reason: "NotOffered", message });
        }
        if !self.settings.agent.is_file() {
            let message = format!(
                "the agent's program {} is not there; install torch-remote-agent, or name it with --agent",
                self.settings.agent.display()
            );
            return Err(Refusal { reason: "NoAgent", message });
        }
        Ok(())
    }

    fn made_from(&self, spec: &RemoteMachineSpec) -> Value {
        let mut parts = vec![json!(spec.gpu), json!(spec.slots_per_gpu), json!(spec.cpu)];
        // Refused, and all the same another instance than the one that runs: its owner hears that this one is not what was asked for.
        parts.extend(Some(not_given(spec)).filter(|fields| !fields.is_empty()).map(|fields| json!(fields)));
        parts.into()
    }

    fn find<'a>(&'a self, token: &'a str) -> BoxFuture<'a, Result<Sighting, Error>> {
        Box::pin(async move {
            let Some(found) = self.look(token)? else { return Ok(Sighting::Absent { why: self.why(token) }) };
            let control = Listen::Unix(self.socket_dir(token).join("control").to_string_lossy().into_owned());
            Ok(Sighting::Running(Running { provider_id: found.id(), control }))
        })
    }

    fn create<'a>(&'a self, request: &'a Request) -> BoxFuture<'a, Result<(), Error>> {
        Box::pin(async move {
            if self.look(&request.token)?.is_some() {
                return Ok(());
            }
            let refused = |message| Error::Refused { provider: "Local", operation: "start an agent", message };
            // An instance of that token was made; a second one would be another.
            if self.has_ended(&request.token) {
                return Err(refused(self.why(&request.token)));
            }
            let not_started = |error: io::Error| {
                let (agent, data_dir) = (self.settings.agent.display(), self.settings.data_dir.display());
                refused(format!("{agent}: {error}; look at {data_dir} and its permissions"))
            };
            self.start(request).map_err(not_started)?;
            // The kernel shows a command line a moment after the program has begun; an answer before it would let the next look say "absent".
            let deadline = tokio::time::Instant::now() + SEEN;
            while self.look(&request.token)?.is_none() {
                if self.has_ended(&request.token) {
                    return Err(refused(self.why(&request.token)));
                }
                if tokio::time::Instant::now() >= deadline {
                    let source =
                        io::Error::new(io::ErrorKind::TimedOut, "it runs, and is not seen among the processes");
                    return Err(Error::Unknown { provider: "Local", operation: "start an agent", source });
                }
                tokio::time::sleep(POLL).await;
            }
            Ok(())
        })
    }

    fn terminate<'a>(&'a self, token: &'a str, force: bool) -> BoxFuture<'a, Result<(), Error>> {
        Box::pin(async move {
            match self.look(token)? {
                Some(found) => found.signal(force).map_err(unknown("end an agent")),
                None => Ok(()),
            }
        })
    }

    fn forget<'a>(&'a self, machine_uid: &'a str) -> BoxFuture<'a, Result<(), Error>> {
        Box::pin(async move { self.drop_machine(machine_uid) })
    }

    fn list(&self) -> BoxFuture<'_, Result<Vec<String>, Error>> {
        Box::pin(async move { Ok(self.agents("list agents")?.into_iter().map(|found| found.token).collect()) })
    }
}

/// What the spec asks for that a process of this computer can not have.
fn not_given(spec: &RemoteMachineSpec) -> Vec<&'static str> {
    let asked = [
        ("spec.image", spec.image.is_some()),
        ("spec.env", !spec.env.is_empty()),
        ("spec.secretRefs", !spec.secret_refs.is_empty()),
        ("spec.volumes", !spec.volumes.is_empty()),
        ("spec.regions", !spec.regions.is_empty()),
        ("spec.memory", spec.memory.is_some()),
    ];
    asked.into_iter().filter(|(_, asked)| *asked).map(|(field, _)| field).collect()
}

fn unknown(operation: &'static str) -> impl FnOnce(io::Error) -> Error {
    move |source| Error::Unknown { provider: "Local", operation, source }
}

/// An executor's share of the processors a machine asks for; one at least.
fn threads(cpu: &Quantity, slots: u32) -> u32 {
    u32::try_from(cpu.units() / u64::from(slots.max(1))).unwrap_or(u32::MAX).max(1)
}

#[cfg(test)]
mod tests {
    use super::threads;

    #[test]
    fn the_processors_of_a_machine_are_shared_by_its_executors() {
        let shared = |cpu: &str, slots| threads(&cpu.parse().expect("a quantity"), slots);
        assert_eq!([shared("1", 1), shared("4", 2), shared("500m", 1), shared("1", 4)], [1, 2, 1, 1]);
    }
}
