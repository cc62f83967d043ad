//! The executor's end of the conversation, without IO.
//!
//! Owns who may speak (open, resume, attach), that each batch is run once and in order, and that each reply stays until it is seen. Leaves sockets, token
//! signatures, commands and the lease's deadlines to the agent. Invariant: a batch is handed over ([`Output::Run`]) exactly once per incarnation, in order
//! of its number, whatever streams come and go.

use std::collections::VecDeque;
use std::time::Duration;

use bytes::Bytes;

use crate::codec::{MAX_BATCH_BYTES, window_bytes};
use crate::v1::{
    self, Batch, Ended, Hello, KeepAliveAck, Notice, Received, Welcome, client_frame, hello::Credential, reply,
    server_frame,
};
use crate::version::{DATA_PROTOCOL, torch_fits};
use crate::violation::{Refusal, Violation};

mod replies;

use replies::Replies;

/// Number of a stream, chosen by the agent; never used twice.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct StreamId(pub u64);

/// Counts the processes that held the session: 1 for the first, one more with each attach.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct Incarnation(pub u32);

/// What the executor tells each client in Welcome, and checks by itself.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Offer {
    /// Lease bound to the slot.
    pub lease_uid: String,
    /// `cpu` or `cuda`.
    pub device: String,
    /// Of the executor.
    pub torch: String,
    /// Bytes of batches that may wait.
    pub max_unacknowledged_bytes: u64,
    /// Larger writes are WriteBulk. At most half of [`MAX_BATCH_BYTES`].
    pub inline_write_bytes: u64,
    /// Larger reads are ReadBulk.
    pub inline_read_bytes: u64,
    /// Limit of device memory, 0 = the device's.
    pub memory_bytes: u64,
    /// Uploads that may wait unread.
    pub staging_bytes: u64,
}

/// What the token of a Hello turned out to be. Signature, audience, lifetime, lease, slot and epoch are checked by the agent.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Token {
    /// The Hello carries none (a resume).
    Absent,
    /// It opens this lease at this epoch.
    Valid {
        /// `jti`.
        id: String,
        /// The claim `attach`.
        attach: bool,
    },
    /// It does not.
    Invalid {
        /// CamelCase.
        reason: String,
        /// What is wrong, and what to do.
        message: String,
    },
}

/// A Hello and what the agent adds to it.
#[derive(Debug, Clone, PartialEq)]
pub struct Greeting {
    /// As received.
    pub hello: Hello,
    /// The check of its token.
    pub token: Token,
    /// 32 fresh random bytes, used if a session opens.
    pub fresh_secret: [u8; 32],
    /// Above every storage id the executor has seen (1 on a new lease).
    pub next_id: u64,
}

/// What happens to the server.
#[derive(Debug, Clone, PartialEq)]
pub enum Input {
    /// First frame of a new stream.
    Hello(StreamId, Box<Greeting>),
    /// Any later frame.
    Frame(StreamId, client_frame::Frame),
    /// The stream is gone.
    Closed(StreamId),
    /// The executor took this batch from its queue.
    Taken(Incarnation, u64),
    /// The executor answers a request.
    Reply(Incarnation, u64, reply::Result),
    /// To be shown to the user; lost if nobody is connected.
    Notice(Notice),
    /// The agent ends the lease.
    End {
        /// CamelCase, as in Released.
        reason: String,
        /// For the user.
        message: String,
    },
}

/// What the agent is to do, in order.
#[derive(Debug, Clone, PartialEq)]
pub enum Output {
    /// Send a frame.
    Send(StreamId, server_frame::Frame),
    /// The credential of the stream's hello opens nothing: for the audit.
    Denied(StreamId, Refusal),
    /// End the stream after what was sent.
    Close(StreamId),
    /// Drop all storages and signatures, after the batches handed over before; what follows is of this incarnation.
    Begin(Incarnation),
    /// Queue a batch. Owed: [`Input::Taken`] when the executor takes it from the queue.
    Run {
        /// Whose.
        incarnation: Incarnation,
        /// Number of the batch.
        seq: u64,
        /// Whole commands.
        commands: Bytes,
    },
    /// The client has the last byte of a ReadBulk.
    TransferDone(u64),
    /// The lease is over; nothing follows.
    Ended {
        /// `Goodbye`, or as given in [`Input::End`].
        reason: String,
        /// For the user.
        message: String,
    },
}

/// How the session stands, for heartbeats and for the lease's deadlines.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Standing {
    /// No session opened yet.
    Bound,
    /// A stream carries the session.
    Connected {
        /// When the client was last heard.
        heard: Duration,
    },
    /// No stream carries it.
    Disconnected {
        /// When the client was last heard.
        heard: Duration,
        /// When the stream was lost.
        since: Duration,
    },
    /// The lease is over.
    Ended,
}

/// The machine.
///
/// ```text
///            token                     Closed
///   Bound ──────────▶ Open(Connected) ◀──────▶ Open(Disconnected)
///     │                    │   resume, attach          │
///     │ End                │ Goodbye, End              │ End
///     └───────────────▶ Ended ◀────────────────────────┘
/// ```
/// A Hello that does not fit is refused and changes nothing. A [`Violation`] consumes the machine: the agent sends [`violation_frame`] and ends the lease.
#[derive(Debug, Clone)]
pub struct Server {
    offer: Offer,
    state: State,
}

#[derive(Debug, Clone)]
enum State {
    Bound,
    Open(Box<Session>),
    Ended { reason: String, message: String },
}

#[derive(Debug, Clone)]
struct Session {
    incarnation: Incarnation,
    secret: [u8; 32],
    token_id: String,
    link: Link,
    heard: Duration,
    batches: Batches,
    replies: Replies,
}

#[derive(Debug, Clone, Copy)]
enum Link {
    Connected(StreamId),
    Lost(Duration),
}

/// Batches received; those not taken yet, with their lengths.
#[derive(Debug, Clone, Default)]
struct Batches {
    received: u64,
    taken: u64,
    acknowledged: u64,
    waiting: VecDeque<u64>,
    waiting_bytes: u64,
    unsaid_bytes: u64,
}

type Step = Result<(Server, Vec<Output>), Violation>;

impl Server {
    /// Bound to a lease, without a session.
    pub fn new(offer: Offer) -> Self {
        Server { offer, state: State::Bound }
    }

    /// How the session stands.
    pub fn standing(&self) -> Standing {
        match &self.state {
            State::Bound => Standing::Bound,
            State::Open(session) => match session.link {
                Link::Connected(_) => Standing::Connected { heard: session.heard },
                Link::Lost(since) => Standing::Disconnected { heard: session.heard, since },
            },
            State::Ended { .. } => Standing::Ended,
        }
    }

    /// The stream that carries the session.
    pub fn stream(&self) -> Option<StreamId> {
        match &self.state {
            State::Open(session) => session.stream(),
            State::Bound | State::Ended { .. } => None,
        }
    }

    /// The process whose resume secret this is, if it holds the session: what `tr-secret` of a bulk call must show. Takes the same time for every wrong one.
    pub fn admits(&self, secret: &[u8]) -> Option<Incarnation> {
        match &self.state {
            State::Open(session) => session.secret_fits(secret).then_some(session.incarnation),
            State::Bound | State::Ended { .. } => None,
        }
    }

    /// Whether so many replies to this process wait to be seen that the executor is to make no more until some are.
    pub fn replies_full(&self, incarnation: Incarnation) -> bool {
        match &self.state {
            State::Open(session) => session.incarnation == incarnation && session.replies.full(),
            State::Bound | State::Ended { .. } => false,
        }
    }

    /// Takes one input at boot-time `now`.
    ///
    /// # Errors
    /// [`Violation`]: the client broke the protocol on the session's stream; the lease is to end.
    pub fn step(self, input: Input, now: Duration) -> Step {
        match (self.state, input) {
            (state, Input::Hello(stream, greeting)) => {
                Ok(greet(Server { offer: self.offer, state }, stream, *greeting, now))
            }
            (State::Open(session), Input::Frame(stream, frame)) if session.stream() == Some(stream) => {
                on_frame(self.offer, session, frame, now)
            }
            // A stream that was replaced or refused may still deliver what was on its way.
            (state @ (State::Bound | State::Open(_) | State::Ended { .. }), Input::Frame(..)) => {
                stay(self.offer, state)
            }
            (State::Open(mut session), Input::Closed(stream)) => {
                if session.stream() == Some(stream) {
                    session.link = Link::Lost(now);
                }
                stay(self.offer, State::Open(session))
            }
            (State::Open(session), Input::Taken(incarnation, seq)) => taken(self.offer, session, incarnation, seq),
            (State::Open(session), Input::Reply(incarnation, request, result)) => {
                answer(self.offer, session, incarnation, (request, result))
            }
            (State::Open(session), Input::Notice(notice)) => {
                let outputs = session.send(server_frame::Frame::Notice(notice));
                Ok((Server { offer: self.offer, state: State::Open(session) }, outputs))
            }
            (State::Open(session), Input::End { reason, message }) => Ok(end(self.offer, &session, reason, message)),
            (State::Bound, Input::End { reason, message }) => {
                let outputs = vec![Output::Ended { reason: reason.clone(), message: message.clone() }];
                Ok((Server { offer: self.offer, state: State::Ended { reason, message } }, outputs))
            }
            (
                state @ (State::Bound | State::Ended { .. }),
                Input::Closed(_) | Input::Taken(..) | Input::Reply(..) | Input::Notice(_),
            ) => stay(self.offer, state),
            (state @ State::Ended { .. }, Input::End { .. }) => stay(self.offer, state),
        }
    }
}

/// What to send on the session's stream when the machine answered a violation.
pub fn violation_frame(violation: &Violation) -> server_frame::Frame {
    let mut message = violation.to_string();
    if let Violation::Malformed(source) = violation {
        message = format!("{message}: {source}");
    }
    server_frame::Frame::Ended(Ended { reason: violation.reason().to_owned(), message })
}

fn stay(offer: Offer, state: State) -> Step {
    Ok((Server { offer, state }, Vec::new()))
}

fn greet(server: Server, stream: StreamId, greeting: Greeting, now: Duration) -> (Server, Vec<Output>) {
    let admitted = check(&server, &greeting, now);
    match admitted {
        Ok(Admission::Open) => open(server, stream, greeting, now),
        Ok(Admission::Resume) => resume(server, stream, greeting.hello.replies_seen, now),
        Err(refusal) => {
            let mut outputs = vec![Output::Send(stream, server_frame::Frame::Refused(refusal.frame()))];
            if refusal.denies() {
                outputs.push(Output::Denied(stream, refusal));
            }
            outputs.push(Output::Close(stream));
            (server, outputs)
        }
    }
}

enum Admission {
    /// A new incarnation.
    Open,
    /// The same client again.
    Resume,
}

/// A client not heard for this long may be replaced by an attach though its stream still stands.
const ATTACH_AFTER: Duration = Duration::from_secs(10);

fn check(server: &Server, greeting: &Greeting, now: Duration) -> Result<Admission, Refusal> {
    let hello = &greeting.hello;
    if hello.protocol != DATA_PROTOCOL {
        return Err(Refusal::ProtocolMismatch { theirs: hello.protocol, ours: DATA_PROTOCOL });
    }
    if !torch_fits(&hello.torch, &server.offer.torch) {
        return Err(Refusal::TorchVersionMismatch { theirs: hello.torch.clone(), ours: server.offer.torch.clone() });
    }
    let credential = hello.credential.as_ref().ok_or(Refusal::NoCredential)?;
    if let Credential::Resume(resume) = credential {
        return check_resume(server, resume, hello.replies_seen);
    }
    let (id, may_attach) = match &greeting.token {
        Token::Valid { id, attach } => (id, *attach),
        Token::Invalid { reason, message } => {
            return Err(Refusal::Token { reason: reason.clone(), message: message.clone() });
        }
        Token::Absent => return Err(Refusal::NoCredential),
    };
    let attach = matches!(credential, Credential::Attach(_));
    if attach && !may_attach {
        return Err(Refusal::AttachNotAllowed);
    }
    match &server.state {
        State::Bound => Ok(Admission::Open),
        State::Open(session) if attach => match session.link {
            Link::Lost(_) => Ok(Admission::Open),
            Link::Connected(_) if now.saturating_sub(session.heard) > ATTACH_AFTER => Ok(Admission::Open),
            Link::Connected(_) => Err(Refusal::SessionInUse),
        },
        // The answer to the first Hello may have been lost with its stream: the same token opens again while nothing has happened.
        State::Open(session) if session.token_id == *id && session.batches.received == 0 => match session.link {
            Link::Lost(_) => Ok(Admission::Open),
            Link::Connected(_) => Err(Refusal::SessionConnected),
        },
        State::Open(_) => Err(Refusal::SessionOpened),
        State::Ended { reason, message } => {
            Err(Refusal::LeaseEnded { reason: reason.clone(), message: message.clone() })
        }
    }
}

fn check_resume(server: &Server, resume: &v1::Resume, replies_seen: u64) -> Result<Admission, Refusal> {
    match &server.state {
        State::Bound => Err(Refusal::SessionLost),
        State::Ended { reason, message } if resume.lease_uid == server.offer.lease_uid => {
            Err(Refusal::LeaseEnded { reason: reason.clone(), message: message.clone() })
        }
        State::Ended { .. } => Err(Refusal::SessionLost),
        State::Open(session) => {
            let fits = resume.lease_uid == server.offer.lease_uid && session.secret_fits(&resume.secret);
            if fits && replies_seen <= session.replies.sent() {
                Ok(Admission::Resume)
            } else {
                Err(Refusal::SessionLost)
            }
        }
    }
}

fn open(server: Server, stream: StreamId, greeting: Greeting, now: Duration) -> (Server, Vec<Output>) {
    let mut outputs = Vec::new();
    let previous = match &server.state {
        State::Open(session) => {
            outputs.extend(session.stream().map(Output::Close));
            session.incarnation.0
        }
        State::Bound | State::Ended { .. } => 0,
    };
    let token_id = match greeting.token {
        Token::Valid { id, .. } => id,
        Token::Absent | Token::Invalid { .. } => String::new(),
    };
    let session = Session {
        incarnation: Incarnation(previous + 1),
        secret: greeting.fresh_secret,
        token_id,
        link: Link::Connected(stream),
        heard: now,
        batches: Batches::default(),
        replies: Replies::default(),
    };
    outputs.push(Output::Begin(session.incarnation));
    let secret = Bytes::copy_from_slice(&session.secret);
    let welcome = welcome(&server.offer, secret, greeting.next_id, 0);
    outputs.push(Output::Send(stream, server_frame::Frame::Welcome(welcome)));
    (Server { offer: server.offer, state: State::Open(Box::new(session)) }, outputs)
}

fn resume(server: Server, stream: StreamId, replies_seen: u64, now: Duration) -> (Server, Vec<Output>) {
    let State::Open(mut session) = server.state else {
        unreachable!("a resume is admitted only to an open session");
    };
    let mut outputs: Vec<Output> = session.stream().map(Output::Close).into_iter().collect();
    session.link = Link::Connected(stream);
    session.heard = now;
    session.batches.say();
    session.replies.seen(replies_seen);
    let welcome = welcome(&server.offer, Bytes::new(), 0, session.batches.acknowledged);
    outputs.push(Output::Send(stream, server_frame::Frame::Welcome(welcome)));
    outputs.extend(session.replies.kept().map(|reply| Output::Send(stream, server_frame::Frame::Reply(reply.clone()))));
    (Server { offer: server.offer, state: State::Open(session) }, outputs)
}

fn welcome(offer: &Offer, resume_secret: Bytes, next_id: u64, batches_received: u64) -> Welcome {
    Welcome {
        lease_uid: offer.lease_uid.clone(),
        resume_secret,
        next_id,
        device: offer.device.clone(),
        torch: offer.torch.clone(),
        batches_received,
        max_unacknowledged_bytes: offer.max_unacknowledged_bytes,
        inline_write_bytes: offer.inline_write_bytes,
        inline_read_bytes: offer.inline_read_bytes,
        memory_bytes: offer.memory_bytes,
        staging_bytes: offer.staging_bytes,
    }
}

fn on_frame(offer: Offer, mut session: Box<Session>, frame: client_frame::Frame, now: Duration) -> Step {
    session.heard = now;
    let outputs = match frame {
        client_frame::Frame::Batch(batch) => session.batch(batch, offer.max_unacknowledged_bytes)?,
        client_frame::Frame::KeepAlive(keep_alive) => {
            let mut outputs = session.acknowledge();
            outputs.extend(session.send(server_frame::Frame::KeepAliveAck(KeepAliveAck { nonce: keep_alive.nonce })));
            outputs
        }
        client_frame::Frame::RepliesSeen(seen) => {
            if seen.seq > session.replies.sent() {
                return Err(Violation::RepliesSeenAhead { sent: session.replies.sent(), got: seen.seq });
            }
            session.replies.seen(seen.seq);
            Vec::new()
        }
        client_frame::Frame::TransferDone(done) => vec![Output::TransferDone(done.transfer)],
        client_frame::Frame::Goodbye(_) => {
            return Ok(end(offer, &session, "Goodbye".to_owned(), "released by its holder".to_owned()));
        }
        client_frame::Frame::Hello(_) => return Err(Violation::HelloTwice),
    };
    Ok((Server { offer, state: State::Open(session) }, outputs))
}

fn taken(offer: Offer, mut session: Box<Session>, incarnation: Incarnation, seq: u64) -> Step {
    let mut outputs = Vec::new();
    if incarnation == session.incarnation {
        session.batches.take(seq);
        if session.batches.unsaid_bytes >= offer.max_unacknowledged_bytes / 16 {
            outputs = session.acknowledge();
        }
    }
    Ok((Server { offer, state: State::Open(session) }, outputs))
}

fn answer(offer: Offer, mut session: Box<Session>, incarnation: Incarnation, answer: (u64, reply::Result)) -> Step {
    let mut outputs = Vec::new();
    if incarnation == session.incarnation {
        let reply = session.replies.keep(answer.0, answer.1)?;
        outputs = session.send(server_frame::Frame::Reply(reply));
    }
    Ok((Server { offer, state: State::Open(session) }, outputs))
}

fn end(offer: Offer, session: &Session, reason: String, message: String) -> (Server, Vec<Output>) {
    let frame = server_frame::Frame::Ended(Ended { reason: reason.clone(), message: message.clone() });
    let mut outputs = session.send(frame);
    outputs.extend(session.stream().map(Output::Close));
    outputs.push(Output::Ended { reason: reason.clone(), message: message.clone() });
    (Server { offer, state: State::Ended { reason, message } }, outputs)
}

impl Session {
    fn stream(&self) -> Option<StreamId> {
        match self.link {
            Link::Connected(stream) => Some(stream),
            Link::Lost(_) => None,
        }
    }

    fn send(&self, frame: server_frame::Frame) -> Vec<Output> {
        self.stream().map(|stream| Output::Send(stream, frame)).into_iter().collect()
    }

    fn secret_fits(&self, secret: &[u8]) -> bool {
        secret.len() == self.secret.len()
            && secret.iter().zip(self.secret).fold(0u8, |differs, (theirs, ours)| differs | (theirs ^ ours)) == 0
    }

    fn batch(&mut self, batch: Batch, allowed: u64) -> Result<Vec<Output>, Violation> {
        let expected = self.batches.received + 1;
        if batch.seq > expected {
            return Err(Violation::BatchGap { expected, got: batch.seq });
        }
        if batch.seq < expected {
            return Ok(Vec::new());
        }
        if batch.commands.len() > MAX_BATCH_BYTES {
            return Err(Violation::BatchTooLong(batch.commands.len() as u64));
        }
        self.batches.receive(window_bytes(batch.commands.len()));
        // The batch that crosses the line was allowed when the client began to send it.
        if self.batches.waiting_bytes > allowed.saturating_add(MAX_BATCH_BYTES as u64) {
            return Err(Violation::WindowExceeded { held: self.batches.waiting_bytes, allowed });
        }
        Ok(vec![Output::Run { incarnation: self.incarnation, seq: batch.seq, commands: batch.commands }])
    }

    /// Received, if there is something new to say.
    fn acknowledge(&mut self) -> Vec<Output> {
        if !self.batches.say() {
            return Vec::new();
        }
        self.send(server_frame::Frame::Received(Received { seq: self.batches.acknowledged }))
    }
}

impl Batches {
    fn receive(&mut self, bytes: u64) {
        self.received += 1;
        self.waiting.push_back(bytes);
        self.waiting_bytes += bytes;
    }

    fn take(&mut self, seq: u64) {
        while self.taken < seq.min(self.received) {
            let bytes = self.waiting.pop_front().expect("a batch received and not taken waits");
            self.taken += 1;
            self.waiting_bytes -= bytes;
            self.unsaid_bytes += bytes;
        }
    }

    /// Marks all that was taken as acknowledged; false if nothing is new.
    fn say(&mut self) -> bool {
        let news = self.taken > self.acknowledged;
        self.acknowledged = self.taken;
        self.unsaid_bytes = 0;
        news
    }
}
