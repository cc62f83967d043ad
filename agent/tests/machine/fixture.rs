//! A real agent over Unix sockets in a temporary folder, and the two clients that speak to it.

use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::time::{Duration, SystemTime, UNIX_EPOCH};

use hyper_util::rt::TokioIo;
use jsonwebtoken::jwk::Jwk;
use jsonwebtoken::{Algorithm, EncodingKey, Header};
use serde::Serialize;
use tokio::net::UnixStream;
use tokio::sync::mpsc;
use tokio_stream::wrappers::ReceiverStream;
use tonic::transport::{Channel, Endpoint};
use tonic::{Request, Status, Streaming};
use torch_remote_agent::services::control_client::ControlClient;
use torch_remote_agent::services::data_plane_client::DataPlaneClient;
use torch_remote_api::agent::{AgentConfig, Listen, SlotConfig};
use torch_remote_api::token::{CONTROL_TYPE, ControlClaims, LEASE_TYPE, LeaseClaims, Registered, SlotEpoch};
use torch_remote_proto::v1::{
    self, AgentEvent, ClientFrame, ControlCommand, ServerFrame, agent_event, client_frame, control_command,
    server_frame,
};
use torch_remote_proto::version::{CONTROL_PROTOCOL, DATA_PROTOCOL};

/// Longest wait for anything.
pub const PATIENCE: Duration = Duration::from_secs(60);
pub const MACHINE: &str = "machine-uid";
pub const LEASE: &str = "lease-uid";
const ISSUER: &str = "https://control.test";

/// A control plane's signing key.
pub struct Signer {
    key: EncodingKey,
    jwk: Jwk,
}

impl Signer {
    pub fn new(kid: &str) -> Signer {
        // PKCS#8 of an Ed25519 key: a fixed head and 32 random bytes.
        let mut der =
            vec![0x30, 0x2e, 0x02, 0x01, 0x00, 0x30, 0x05, 0x06, 0x03, 0x2b, 0x65, 0x70, 0x04, 0x22, 0x04, 0x20];
        der.extend(rand::random::<[u8; 32]>());
        let key = EncodingKey::from_ed_der(&der);
        let mut jwk = Jwk::from_encoding_key(&key, Algorithm::EdDSA).expect("an Ed25519 key");
        jwk.common.key_id = Some(kid.to_owned());
        Signer { key, jwk }
    }

    pub fn jwks(&self) -> serde_json::Value {
        serde_json::json!({"keys": [self.jwk]})
    }

    pub fn sign(&self, typ: &str, claims: &impl Serialize) -> String {
        let mut header = Header::new(Algorithm::EdDSA);
        header.typ = Some(typ.to_owned());
        header.kid = self.jwk.common.key_id.clone();
        jsonwebtoken::encode(&header, claims, &self.key).expect("claims that serialise")
    }

    pub fn control(&self, claim: u64) -> String {
        self.sign(CONTROL_TYPE, &ControlClaims { registered: registered(60), claim })
    }

    pub fn lease(&self, epoch: u64, attach: bool) -> String {
        self.lease_for(300, epoch, attach)
    }

    /// A lease's token whose time is over, by more than clocks may differ.
    pub fn expired(&self, epoch: u64) -> String {
        self.lease_for(-60, epoch, false)
    }

    fn lease_for(&self, seconds: i64, epoch: u64, attach: bool) -> String {
        let slots = vec![SlotEpoch { slot: 0, epoch }];
        let claims = LeaseClaims { registered: registered(seconds), lease: LEASE.to_owned(), slots, attach };
        self.sign(LEASE_TYPE, &claims)
    }
}

pub fn registered(seconds: i64) -> Registered {
    let now = SystemTime::now().duration_since(UNIX_EPOCH).expect("after 1970").as_secs() as i64;
    Registered {
        iss: ISSUER.to_owned(),
        sub: "admin".to_owned(),
        aud: MACHINE.to_owned(),
        exp: now + seconds,
        nbf: now,
        iat: now,
        jti: format!("{:x}", rand::random::<u128>()),
    }
}

/// A running agent.
pub struct Machine {
    pub signer: Signer,
    folder: tempfile::TempDir,
    child: Child,
}

impl Machine {
    /// Starts an agent with one slot and this executor.
    pub fn start(executor: &Path) -> Machine {
        Machine::start_with(executor, |_| {})
    }

    pub fn start_with(executor: &Path, change: impl FnOnce(&mut AgentConfig)) -> Machine {
        let folder = tempfile::tempdir().expect("a temporary folder");
        let signer = Signer::new("k1");
        let path = |name: &str| folder.path().join(name).to_string_lossy().into_owned();
        let mut config = AgentConfig {
            machine_uid: MACHINE.to_owned(),
            machine: "team/machine".to_owned(),
            token: "intent".to_owned(),
            issuer: ISSUER.to_owned(),
            jwks: signer.jwks(),
            control: Listen::Unix(path("control.sock")),
            slots: vec![SlotConfig { gpu: 0, listen: Listen::Unix(path("slot0.sock")) }],
            public_address: None,
            device: "cpu".to_owned(),
            threads: 1,
            dead_man_ms: 600_000,
            heartbeat_ms: 200,
            otlp: None,
            clock_offset_file: Some(path("clock")),
        };
        change(&mut config);
        std::fs::write(folder.path().join("config.json"), serde_json::to_vec(&config).expect("a configuration"))
            .expect("a file");
        let child = Command::new(env!("CARGO_BIN_EXE_torch-remote-agent"))
            .args(["supervise", "--token", "intent", "--config"])
            .arg(folder.path().join("config.json"))
            .arg("--executor")
            .arg(executor)
            .stdin(Stdio::null())
            .spawn()
            .expect("the agent's binary");
        Machine { signer, folder, child }
    }

    pub fn path(&self, name: &str) -> PathBuf {
        self.folder.path().join(name)
    }

    /// Adds to the agent's clock.
    pub fn advance(&self, by: Duration) {
        let (path, next) = (self.path("clock"), self.path("clock.next"));
        std::fs::write(&next, by.as_millis().to_string()).expect("a file");
        std::fs::rename(next, path).expect("a file");
    }

    pub fn pid(&self) -> u32 {
        self.child.id()
    }

    /// Waits until the agent has ended by itself.
    pub async fn ended(&mut self) -> std::process::ExitStatus {
        until("the agent ends", async || self.child.try_wait().expect("a child")).await
    }

    /// A Control stream that is greeted.
    pub async fn control(&self, claim: u64) -> Control {
        let mut control = self.connect(&self.signer.control(claim)).await.expect("a stream");
        control.say(control_command::Command::Hello(self.hello())).await;
        control
    }

    pub fn hello(&self) -> v1::ControlHello {
        v1::ControlHello {
            protocol: CONTROL_PROTOCOL,
            jwks: self.signer.jwks().to_string(),
            issuer: ISSUER.to_owned(),
            heartbeat_ms: 200,
        }
    }

    /// A Control stream with this token, not greeted.
    pub async fn connect(&self, token: &str) -> Result<Control, Status> {
        let mut client = ControlClient::new(channel(&self.path("control.sock")).await);
        let (commands, outgoing) = mpsc::channel(16);
        let mut request = Request::new(ReceiverStream::new(outgoing));
        request.metadata_mut().insert("authorization", format!("Bearer {token}").parse().expect("ASCII"));
        let events = client.connect(request).await?.into_inner();
        Ok(Control { commands, events })
    }

    pub fn bind(&self, epoch: u64) -> v1::Bind {
        v1::Bind {
            slot: 0,
            epoch,
            lease_uid: LEASE.to_owned(),
            lease_name: "team/lease".to_owned(),
            holder: "admin".to_owned(),
            duration_ms: 8 * 3600 * 1000,
            reconnect_window_ms: 30 * 60 * 1000,
            orphan_ms: 60_000,
            resumable: false,
            idle_timeout_ms: 0,
            open_timeout_ms: 60_000,
            memory_bytes: 0,
            traceparent: String::new(),
        }
    }

    pub async fn dataplane(&self) -> DataPlaneClient<Channel> {
        DataPlaneClient::new(channel(&self.path("slot0.sock")).await).max_decoding_message_size(64 << 20)
    }

    /// A stream of the session: says `credential`, and returns the first answer.
    pub async fn session(&self, credential: v1::hello::Credential, replies_seen: u64) -> (Stream, server_frame::Frame) {
        Stream::open(self.dataplane().await, credential, replies_seen).await
    }
}

impl Stream {
    /// Says `credential` over this client's connection, and returns the first answer.
    pub async fn open(
        mut client: DataPlaneClient<Channel>,
        credential: v1::hello::Credential,
        replies_seen: u64,
    ) -> (Stream, server_frame::Frame) {
        let (frames, outgoing) = mpsc::channel(256);
        let hello = v1::Hello {
            protocol: DATA_PROTOCOL,
            client: "test".to_owned(),
            torch: "2.13.0".to_owned(),
            credential: Some(credential),
            replies_seen,
        };
        frames.send(ClientFrame { frame: Some(client_frame::Frame::Hello(hello)) }).await.expect("room");
        let incoming = client.session(ReceiverStream::new(outgoing)).await.expect("a stream").into_inner();
        let mut stream = Stream { frames, incoming };
        let first = stream.next().await.expect("an answer to Hello");
        (stream, first)
    }
}

impl Drop for Machine {
    fn drop(&mut self) {
        // The group dies with it: executors watch their parent.
        self.child.kill().expect("a child");
        self.child.wait().expect("a child");
    }
}

async fn channel(path: &Path) -> Channel {
    let path = path.to_owned();
    until("the socket accepts", async || UnixStream::connect(&path).await.ok()).await;
    let endpoint = Endpoint::from_static("http://agent")
        .initial_stream_window_size(16 << 20)
        .initial_connection_window_size(32 << 20);
    let connector = tower::service_fn(move |_| {
        let path = path.clone();
        async move { UnixStream::connect(path).await.map(TokioIo::new) }
    });
    endpoint.connect_with_connector(connector).await.expect("a connection")
}

/// Looks until there is something, or fails the test.
pub async fn until<T>(what: &str, mut look: impl AsyncFnMut() -> Option<T>) -> T {
    let start = tokio::time::Instant::now();
    loop {
        if let Some(found) = look().await {
            return found;
        }
        assert!(start.elapsed() < PATIENCE, "waited too long until {what}");
        tokio::time::sleep(Duration::from_millis(10)).await;
    }
}

/// The control plane's end of a Control stream.
pub struct Control {
    commands: mpsc::Sender<ControlCommand>,
    events: Streaming<AgentEvent>,
}

impl Control {
    pub async fn say(&mut self, command: control_command::Command) {
        self.commands.send(ControlCommand { command: Some(command) }).await.expect("the stream takes commands");
    }

    pub async fn next(&mut self) -> Result<agent_event::Event, Status> {
        let event = tokio::time::timeout(PATIENCE, self.events.message()).await.expect("an event in time")?;
        event.and_then(|event| event.event).ok_or_else(|| Status::aborted("the stream ended"))
    }

    /// Skips to the event that `pick` takes.
    pub async fn wait<T>(&mut self, mut pick: impl FnMut(agent_event::Event) -> Option<T>) -> T {
        let start = tokio::time::Instant::now();
        loop {
            if let Some(found) = pick(self.next().await.expect("the stream stands")) {
                return found;
            }
            assert!(start.elapsed() < PATIENCE, "the event did not come");
        }
    }

    pub async fn agent_hello(&mut self) -> v1::AgentHello {
        self.wait(|event| if let agent_event::Event::Hello(hello) = event { Some(hello) } else { None }).await
    }

    pub async fn released(&mut self) -> v1::Released {
        self.wait(|event| if let agent_event::Event::Released(released) = event { Some(released) } else { None }).await
    }

    /// Skips to the next word of refused credentials.
    pub async fn denied(&mut self) -> v1::Denied {
        self.wait(|event| if let agent_event::Event::Denied(denied) = event { Some(denied) } else { None }).await
    }

    /// Binds, and waits for the answer.
    pub async fn bind(&mut self, bind: v1::Bind) -> Result<v1::Bound, v1::BindRefused> {
        self.say(control_command::Command::Bind(bind)).await;
        self.wait(|event| match event {
            agent_event::Event::Bound(bound) => Some(Ok(bound)),
            agent_event::Event::BindRefused(refused) => Some(Err(refused)),
            _ => None,
        })
        .await
    }

    /// Waits for a report whose slot 0 `fits`.
    pub async fn slot(&mut self, mut fits: impl FnMut(&v1::SlotState) -> bool) -> v1::SlotState {
        self.wait(|event| match event {
            agent_event::Event::Report(report) => report.slots.into_iter().next().filter(|slot| fits(slot)),
            _ => None,
        })
        .await
    }
}

/// The SDK's end of a session's stream.
pub struct Stream {
    frames: mpsc::Sender<ClientFrame>,
    incoming: Streaming<ServerFrame>,
}

impl Stream {
    pub async fn say(&self, frame: client_frame::Frame) {
        self.frames.send(ClientFrame { frame: Some(frame) }).await.expect("the stream takes frames");
    }

    /// The next frame; `None` when the stream is over.
    pub async fn next(&mut self) -> Option<server_frame::Frame> {
        let frame = tokio::time::timeout(PATIENCE, self.incoming.message()).await.expect("a frame in time");
        frame.ok().flatten().and_then(|frame| frame.frame)
    }

    /// Skips to the next reply.
    pub async fn reply(&mut self) -> v1::Reply {
        loop {
            match self.next().await.expect("the stream stands") {
                server_frame::Frame::Reply(reply) => return reply,
                server_frame::Frame::Ended(ended) => panic!("the session ended: {ended:?}"),
                _ => {}
            }
        }
    }

    /// Skips to the end.
    pub async fn ended(&mut self) -> v1::Ended {
        loop {
            if let server_frame::Frame::Ended(ended) = self.next().await.expect("Ended comes before the stream's end") {
                return ended;
            }
        }
    }
}
