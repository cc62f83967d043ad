//! What the supervisor hears from the control plane and tells it.

use super::*;

impl Supervisor {
    /// Takes an event of a Control stream; a reason means that the supervisor is to end.
    pub(super) fn on_control(&mut self, event: control::Event) -> Option<String> {
        match event {
            control::Event::Opened { stream, claim, events, answer } => {
                let accepted = self.open(stream, claim, events);
                if answer.send(accepted).is_err() {
                    tracing::debug!("a Control call was given up before it was answered");
                }
                None
            }
            control::Event::Command(stream, command) => {
                if self.stream.as_ref().is_none_or(|current| current.number != stream) {
                    return None;
                }
                self.contact = self.clock.now();
                self.command(command)
            }
            control::Event::Closed(stream) => {
                self.stream.take_if(|current| current.number == stream);
                None
            }
        }
    }

    fn open(&mut self, number: u64, claim: u64, events: control::Events) -> Result<(), control::StaleClaim> {
        if claim < self.highest_claim {
            return Err(control::StaleClaim { claim, seen: self.highest_claim });
        }
        self.highest_claim = claim;
        self.contact = self.clock.now();
        // The older stream's sender goes, and its stream ends with it.
        self.stream = Some(Stream { number, events, greeted: false });
        Ok(())
    }

    fn command(&mut self, command: Command) -> Option<String> {
        let greeted = self.stream.as_ref().is_some_and(|stream| stream.greeted);
        match (greeted, command) {
            (false, Command::Hello(hello)) => self.greet(hello),
            (true, Command::Hello(_)) => self.refuse(Status::failed_precondition("HelloTwice: a stream has one hello")),
            (false, _) => self.refuse(Status::failed_precondition("HelloExpected: a stream begins with hello")),
            (true, Command::Bind(bind)) => self.bind(bind),
            (true, Command::Revoke(revoke)) => match self.index(revoke.slot) {
                Some(index) => {
                    let grace = Duration::from_millis(revoke.grace_ms);
                    let (epoch, reason, message) = (revoke.epoch, revoke.reason, revoke.message);
                    self.step(index, slot::Input::Revoke { epoch, reason, message, grace });
                }
                None => {
                    let message = format!("this machine has no slot {}", revoke.slot);
                    self.say(agent_event::Event::Released(v1::Released {
                        slot: revoke.slot,
                        epoch: revoke.epoch,
                        lease_uid: String::new(),
                        reason: "Revoked".to_owned(),
                        message,
                    }));
                }
            },
            (true, Command::Ping(ping)) => self.say(agent_event::Event::Pong(v1::Pong { nonce: ping.nonce })),
            (true, Command::Shutdown(shutdown)) => return Some(format!("the control plane says: {}", shutdown.reason)),
            (true, Command::ReportSeen(seen)) => {
                self.storages.stored(seen.seq);
                if seen.seq == self.report && self.storages.unsaid() {
                    self.say_report();
                }
            }
        }
        None
    }

    fn greet(&mut self, hello: v1::ControlHello) {
        if hello.protocol != CONTROL_PROTOCOL {
            let message = format!(
                "ProtocolMismatch: the agent speaks {CONTROL_PROTOCOL}, the control plane {}: use one version",
                hello.protocol
            );
            return self.refuse(Status::failed_precondition(message));
        }
        let keys = serde_json::from_str(&hello.jwks).map(|jwks| Keys { jwks, issuer: hello.issuer });
        let verified = keys.ok().and_then(|keys| {
            Verifier::new(&keys.jwks, &keys.issuer, &self.config.machine_uid).ok().map(|verifier| (keys, verifier))
        });
        let Some((keys, verifier)) = verified else {
            return self.refuse(Status::invalid_argument(
                "Keys: the hello's key set is not a JSON Web Key Set with Ed25519 keys",
            ));
        };
        *self.verifier.write().unwrap_or_else(PoisonError::into_inner) = verifier;
        self.keys = keys;
        for index in 0..self.posts.len() {
            self.tell(index, ToExecutor::Keys(self.keys.clone()));
        }
        if hello.heartbeat_ms > 0 {
            self.heartbeat = Duration::from_millis(hello.heartbeat_ms);
        }
        if let Some(stream) = &mut self.stream {
            stream.greeted = true;
        }
        self.say(agent_event::Event::Hello(v1::AgentHello {
            protocol: CONTROL_PROTOCOL,
            machine_uid: self.config.machine_uid.clone(),
            boot_id: self.boot_id.clone(),
            agent_version: env!("CARGO_PKG_VERSION").to_owned(),
            torch_version: self.torch().unwrap_or_default(),
            device: self.config.device.clone(),
            slots: self.slot_states(),
            devices: self.device_states(),
        }));
        let releases: Vec<_> = self.posts.iter().filter_map(|post| post.last_release.clone()).collect();
        for release in releases {
            self.say(agent_event::Event::Released(release));
        }
        self.storages.restart();
        self.say_report();
    }

    fn bind(&mut self, bind: v1::Bind) {
        let Some(index) = self.index(bind.slot) else {
            let message = format!("this machine has {} slots", self.posts.len());
            let refused =
                v1::BindRefused { slot: bind.slot, epoch: bind.epoch, reason: "NoSuchSlot".to_owned(), message };
            return self.say(agent_event::Event::BindRefused(refused));
        };
        let input = slot::Input::Bind(slot::Bind {
            epoch: bind.epoch,
            lease_uid: bind.lease_uid,
            lease_name: bind.lease_name,
            duration: Duration::from_millis(bind.duration_ms),
            reconnect_window: Duration::from_millis(bind.reconnect_window_ms),
            orphan: Duration::from_millis(bind.orphan_ms),
            resumable: bind.resumable,
            idle_timeout: Duration::from_millis(bind.idle_timeout_ms),
            open_timeout: Duration::from_millis(bind.open_timeout_ms),
            memory_bytes: bind.memory_bytes,
            traceparent: bind.traceparent,
        });
        self.step(index, input);
    }

    /// Tells the control plane what a slot did.
    pub(super) fn news(&mut self, index: usize, news: News) {
        let slot = index as u32;
        let event = match news {
            News::Bound { epoch, lease_uid } => {
                let mut endpoints = match self.posts[index].listening.endpoint() {
                    Ok(endpoint) => vec![endpoint],
                    Err(error) => {
                        tracing::error!(slot, %error, "a slot's socket has no address");
                        Vec::new()
                    }
                };
                // After the slot's own: a client on this host takes the first that it can.
                endpoints.extend(self.posts[index].public.as_ref().map(Public::endpoint));
                agent_event::Event::Bound(v1::Bound { slot, epoch, lease_uid, endpoints })
            }
            News::BindRefused { epoch, reason, message } => {
                agent_event::Event::BindRefused(v1::BindRefused { slot, epoch, reason: reason.to_owned(), message })
            }
            News::Released { epoch, lease_uid, reason, message } => {
                tracing::info!(slot, epoch, lease_uid, reason, message, "released");
                let released = v1::Released { slot, epoch, lease_uid, reason, message };
                if !released.lease_uid.is_empty() {
                    self.posts[index].last_release = Some(released.clone());
                }
                agent_event::Event::Released(released)
            }
        };
        self.say(event);
    }

    pub(super) fn say_report(&mut self) {
        self.report += 1;
        let difference = self.storages.say(self.report);
        self.say(agent_event::Event::Report(v1::Report {
            seq: self.report,
            full: difference.full,
            slots: self.slot_states(),
            devices: self.device_states(),
            appeared: difference.appeared,
            vanished: difference.vanished,
        }));
    }

    /// Says what was refused, where somebody listens. Who does not hear it now does when it is back: each door keeps its latest.
    pub(super) fn say_refusals(&mut self, now: Duration) {
        if let Some(refusal) = self.refused_control.take() {
            self.refusals.note(None, "", refusal, now);
        }
        if self.stream.as_ref().is_some_and(|stream| stream.greeted) {
            for denied in self.refusals.due(now) {
                self.say(agent_event::Event::Denied(denied));
            }
        }
    }

    fn say(&mut self, event: agent_event::Event) {
        let Some(stream) = &self.stream else { return };
        if stream.greeted && stream.events.try_send(Ok(AgentEvent { event: Some(event) })).is_err() {
            // It does not read: a new stream will be told everything.
            self.stream = None;
        }
    }

    fn refuse(&mut self, status: Status) {
        if let Some(stream) = self.stream.take()
            && stream.events.try_send(Err(status)).is_err()
        {
            tracing::debug!("a Control stream was gone before it was refused");
        }
    }

    fn index(&self, slot: u32) -> Option<usize> {
        usize::try_from(slot).ok().filter(|index| *index < self.posts.len())
    }

    fn torch(&self) -> Option<String> {
        self.posts.iter().find_map(|post| post.device.as_ref().map(|device| device.torch.clone()))
    }

    fn slot_states(&self) -> Vec<SlotState> {
        let now = self.clock.now();
        let state = |(index, post): (usize, &Post)| {
            let figures = post.slot.figures(now);
            SlotState {
                slot: index as u32,
                gpu: post.gpu,
                phase: post.slot.phase().into(),
                epoch: post.slot.highest(),
                lease_uid: post.slot.lease_uid().to_owned(),
                endpoint: post.listening.endpoint().ok(),
                silent_ms: figures.silent.as_millis() as u64,
                idle_ms: figures.idle.as_millis() as u64,
                remaining_ms: figures.remaining.as_millis() as u64,
                live_storages: figures.pulse.live_storages,
                live_bytes: figures.pulse.live_bytes,
                operators: figures.pulse.operators,
                session_started_ms: figures.since_open.as_millis() as u64,
            }
        };
        self.posts.iter().enumerate().map(state).collect()
    }

    /// One per GPU, as its executors see it.
    fn device_states(&self) -> Vec<v1::DeviceState> {
        let now = self.clock.now();
        let cuda = self.config.device == "cuda";
        let mut devices: Vec<v1::DeviceState> = Vec::new();
        for post in &self.posts {
            let Some(device) = &post.device else { continue };
            let used = post.slot.figures(now).pulse.memory_used;
            match devices.iter_mut().find(|known| known.index == post.gpu) {
                // On a GPU each executor sees what all take together.
                Some(known) if cuda => known.memory_used_bytes = known.memory_used_bytes.max(used),
                Some(known) => known.memory_used_bytes = known.memory_used_bytes.saturating_add(used),
                None => devices.push(v1::DeviceState {
                    index: post.gpu,
                    name: device.name.clone(),
                    memory_bytes: device.memory_bytes,
                    memory_used_bytes: used,
                }),
            }
        }
        devices
    }
}
