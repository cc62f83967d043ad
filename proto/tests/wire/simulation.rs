//! Both machines over a link that breaks, in one thread, from one seed: each batch runs once and in order, each reply arrives once and in order.

use std::collections::VecDeque;
use std::time::Duration;

use bytes::Bytes;
use torch_remote_proto::client::{self, Client, ConnectionId, Held, Loss, Settings};
use torch_remote_proto::server::{self, Greeting, Incarnation, Offer, Server, Standing, StreamId, Token};
use torch_remote_proto::v1::{Done, client_frame, hello::Credential, reply, server_frame};

/// What is taken out of the machines, to see that the test notices.
#[derive(Debug, Clone, Copy, PartialEq)]
enum Fault {
    None,
    /// A batch that comes again is taken for a new one.
    RunsRepeats,
    /// A reply that comes again is taken for a new one.
    DeliversRepeats,
    /// The client does not send again what was not acknowledged.
    ForgetsHistory,
}

struct Random(u64);

impl Random {
    fn below(&mut self, bound: u64) -> u64 {
        self.0 = self.0.wrapping_add(0x9e37_79b9_7f4a_7c15);
        let mut mixed = self.0;
        mixed = (mixed ^ (mixed >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        mixed = (mixed ^ (mixed >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
        (mixed ^ (mixed >> 31)) % bound
    }
}

/// One connection, with what is on its way. Stream and connection share their number.
struct Link {
    number: u64,
    up: VecDeque<client_frame::Frame>,
    down: VecDeque<server_frame::Frame>,
}

struct World {
    random: Random,
    fault: Fault,
    now: Duration,
    client: Option<Client>,
    server: Option<Server>,
    link: Option<Link>,
    connecting: Option<ConnectionId>,
    closing: Vec<StreamId>,
    queue: VecDeque<(Incarnation, u64, Bytes)>,
    hellos: u64,
    ran: Vec<u64>,
    replied: Vec<u64>,
    runs: u64,
    deliveries: u64,
    cuts: u64,
    opened: u64,
    /// Downloads that the server knows to be done.
    downloaded: Vec<u64>,
    over: Option<String>,
}

impl World {
    fn new(seed: u64, fault: Fault) -> Self {
        let settings = Settings {
            client: "simulation".to_owned(),
            torch: "2.13.0".to_owned(),
            open_timeout: Duration::from_secs(60),
            reconnect_window: Duration::from_secs(1800),
        };
        let offer = Offer {
            lease_uid: "lease".to_owned(),
            device: "cpu".to_owned(),
            torch: "2.13.1".to_owned(),
            max_unacknowledged_bytes: 1024,
            inline_write_bytes: 64,
            inline_read_bytes: 64,
            memory_bytes: 0,
            staging_bytes: 64,
        };
        World {
            random: Random(seed),
            fault,
            now: Duration::ZERO,
            client: Some(Client::new(settings, Held::Open("token".to_owned()), Duration::ZERO)),
            server: Some(Server::new(offer)),
            link: None,
            connecting: None,
            closing: Vec::new(),
            queue: VecDeque::new(),
            hellos: 0,
            ran: Vec::new(),
            replied: Vec::new(),
            runs: 0,
            deliveries: 0,
            cuts: 0,
            opened: 0,
            downloaded: Vec::new(),
            over: None,
        }
    }

    fn client(&mut self, input: client::Input) {
        let Some(client) = self.client.take() else { return };
        let outputs = match client.step(input, self.now) {
            Ok((next, outputs)) => {
                self.client = Some(next);
                outputs
            }
            Err(violation) => return self.over = Some(violation.reason().to_owned()),
        };
        let mut resumed = false;
        for output in outputs {
            match output {
                client::Output::Connect(connection) => self.connecting = Some(connection),
                client::Output::Send(connection, frame) => {
                    let forgotten = resumed
                        && self.fault == Fault::ForgetsHistory
                        && matches!(frame, client_frame::Frame::Batch(_));
                    if let Some(link) = self.link.as_mut().filter(|link| link.number == connection.0 && !forgotten) {
                        link.up.push_back(frame);
                    }
                }
                client::Output::Disconnect(connection) => {
                    if self.link.as_ref().is_some_and(|link| link.number == connection.0) {
                        self.link = None;
                        self.closing.push(StreamId(connection.0));
                    }
                }
                client::Output::Opened(_) => self.opened += 1,
                client::Output::Resumed => resumed = true,
                client::Output::Reply(request, _) => {
                    self.deliveries += 1;
                    self.replied.push(request);
                }
                client::Output::Over(ending) => self.over = Some(ending.reason),
                client::Output::Acknowledged
                | client::Output::TransferAck(_)
                | client::Output::Notice(_)
                | client::Output::RoundTrip(_) => {}
            }
        }
    }

    fn server(&mut self, input: server::Input) {
        let Some(server) = self.server.take() else { return };
        let outputs = match server.step(input, self.now) {
            Ok((next, outputs)) => {
                self.server = Some(next);
                outputs
            }
            Err(violation) => return self.over = Some(violation.reason().to_owned()),
        };
        for output in outputs {
            match output {
                server::Output::Send(stream, frame) => {
                    if let Some(link) = self.link.as_mut().filter(|link| link.number == stream.0) {
                        link.down.push_back(frame);
                    }
                }
                server::Output::Run { incarnation, seq, commands } => {
                    self.runs += 1;
                    self.queue.push_back((incarnation, seq, commands));
                }
                server::Output::TransferDone(transfer) => self.downloaded.push(transfer),
                server::Output::Close(_)
                | server::Output::Denied(..)
                | server::Output::Begin(_)
                | server::Output::Ended { .. } => {}
            }
        }
    }

    /// The executor takes a batch; every third is a request.
    fn execute(&mut self) {
        let Some((incarnation, seq, commands)) = self.queue.pop_front() else { return };
        self.server(server::Input::Taken(incarnation, seq));
        let number = u64::from_le_bytes(commands[..8].try_into().expect("eight bytes"));
        self.ran.push(number);
        if number % 3 == 0 {
            self.server(server::Input::Reply(incarnation, number, reply::Result::Done(Done { executor_ns: number })));
        }
    }

    fn deliver_up(&mut self) {
        let Some(link) = self.link.as_mut() else { return };
        let (number, Some(mut frame)) = (link.number, link.up.pop_front()) else { return };
        if let client_frame::Frame::Hello(mut hello) = frame {
            self.hellos += 1;
            // A server may repeat more than it is asked to.
            hello.replies_seen = hello.replies_seen.saturating_sub(self.random.below(3));
            let token = match hello.credential {
                Some(Credential::Token(_)) => Token::Valid { id: "jti".to_owned(), attach: false },
                Some(Credential::Resume(_) | Credential::Attach(_)) | None => Token::Absent,
            };
            let greeting = Greeting { hello, token, fresh_secret: [self.hellos as u8; 32], next_id: 1 };
            return self.server(server::Input::Hello(StreamId(number), Box::new(greeting)));
        }
        if let client_frame::Frame::Batch(batch) = &mut frame
            && self.fault == Fault::RunsRepeats
            && batch.seq <= self.runs
        {
            batch.seq = self.runs + 1;
        }
        self.server(server::Input::Frame(StreamId(number), frame));
    }

    fn deliver_down(&mut self) {
        let Some(link) = self.link.as_mut() else { return };
        let (number, Some(mut frame)) = (link.number, link.down.pop_front()) else { return };
        if let server_frame::Frame::Reply(reply) = &mut frame
            && self.fault == Fault::DeliversRepeats
            && reply.seq <= self.deliveries
        {
            reply.seq = self.deliveries + 1;
        }
        self.client(client::Input::Frame(ConnectionId(number), frame));
    }

    /// The connection breaks: what is on its way is lost. Each end hears of it later, perhaps after the next Hello.
    fn cut(&mut self) {
        if let Some(link) = self.link.take() {
            self.cuts += 1;
            self.closing.push(StreamId(link.number));
            self.client(client::Input::Lost(ConnectionId(link.number), Loss::Broken("cut".to_owned())));
        }
    }

    fn connect(&mut self) {
        let Some(connection) = self.connecting.take() else { return };
        if self.random.below(4) == 0 {
            return self.client(client::Input::Lost(connection, Loss::Broken("no way".to_owned())));
        }
        self.link = Some(Link { number: connection.0, up: VecDeque::new(), down: VecDeque::new() });
        self.client(client::Input::Connected(connection));
    }

    fn submit(&mut self, number: u64) -> bool {
        let Some(client) = &self.client else { return false };
        if self.opened == 0 || client.unacknowledged_bytes() > 1024 {
            return false;
        }
        self.client(client::Input::Submit(Bytes::from([number.to_le_bytes(); 4].concat())));
        true
    }

    fn one_event(&mut self, cut_odds: u64) {
        self.now += Duration::from_millis(self.random.below(60));
        if self.client.as_ref().and_then(Client::wake_at).is_some_and(|at| at <= self.now) {
            self.client(client::Input::Tick);
        }
        match self.random.below(12) {
            0..=4 => self.deliver_up(),
            5..=8 => self.deliver_down(),
            9 => self.execute(),
            10 => self.connect(),
            _ => {
                if let Some(stream) = self.closing.pop() {
                    self.server(server::Input::Closed(stream));
                }
            }
        }
        if cut_odds > 0 && self.random.below(cut_odds) == 0 {
            self.cut();
        }
    }

    /// Submits `batches` while the link breaks, then lets everything settle.
    fn play(&mut self, batches: u64, cut_odds: u64) {
        let mut next = 0;
        for event in 0.. {
            assert!(event < 3_000_000, "stuck after {next} batches, {} cuts", self.cuts);
            if next == batches || self.over.is_some() {
                break;
            }
            if self.random.below(3) == 0 && self.submit(next) {
                next += 1;
            }
            self.one_event(cut_odds);
        }
        for _ in 0..200_000 {
            self.one_event(0);
            if self.ran.len() as u64 >= batches && self.replied.len() as u64 >= batches.div_ceil(3) {
                break;
            }
        }
    }

    fn exactly_once(&self, batches: u64) -> bool {
        self.over.is_none()
            && self.ran == (0..batches).collect::<Vec<_>>()
            && self.replied == (0..batches).step_by(3).collect::<Vec<_>>()
    }
}

const BATCHES: u64 = 3000;
/// One event in so many breaks the link.
const CUT_ODDS: u64 = 60;

#[test]
fn over_a_link_that_is_cut_thousands_of_times_each_batch_runs_once_and_each_reply_comes_once() {
    let mut cuts = 0;
    for seed in 0..20 {
        let mut world = World::new(seed, Fault::None);
        world.play(BATCHES, CUT_ODDS);
        assert!(
            world.exactly_once(BATCHES),
            "seed {seed}: ran {}, replied {}, over {:?}",
            world.ran.len(),
            world.replied.len(),
            world.over
        );
        cuts += world.cuts;
    }
    assert!(cuts > 5000, "only {cuts} cuts: the test shows nothing");
}

#[test]
fn without_the_guards_the_simulation_fails() {
    for fault in [Fault::RunsRepeats, Fault::DeliversRepeats, Fault::ForgetsHistory] {
        let mut world = World::new(7, fault);
        world.play(BATCHES, CUT_ODDS);
        assert!(!world.exactly_once(BATCHES), "{fault:?} goes unnoticed");
    }
}

#[test]
fn after_goodbye_the_session_is_over_on_both_ends() {
    let mut world = World::new(3, Fault::None);
    world.play(9, 0);
    world.client(client::Input::Goodbye);
    for _ in 0..1000 {
        world.one_event(0);
    }
    assert_eq!(world.over.as_deref(), Some("Released"));
    assert_eq!(world.server.expect("the server lives").standing(), Standing::Ended);
}

#[test]
fn an_executor_that_closed_without_a_word_and_does_not_answer_is_dead() {
    let mut world = World::new(5, Fault::None);
    world.play(9, 0);
    let link = world.link.take().expect("connected");
    world.client(client::Input::Lost(ConnectionId(link.number), Loss::Closed("reset".to_owned())));
    let start = world.now;
    while world.over.is_none() && world.now - start < Duration::from_secs(60) {
        world.now = world.client.as_ref().and_then(Client::wake_at).expect("it waits for something");
        world.client(client::Input::Tick);
        // The socket takes the connection; nobody speaks on it.
        if let Some(connection) = world.connecting.take() {
            world.client(client::Input::Connected(connection));
        }
    }
    assert_eq!(world.over.as_deref(), Some("ExecutorGone"));
    assert!(world.now - start < Duration::from_secs(5));
}

#[test]
fn the_end_of_a_download_is_heard_though_the_link_breaks_on_its_way() {
    let mut world = World::new(13, Fault::None);
    world.play(9, 0);
    world.client(client::Input::TransferDone(6));
    world.cut();
    for _ in 0..2000 {
        world.one_event(0);
    }
    assert_eq!(world.downloaded, vec![6]);
    assert_eq!(world.over, None);
}

#[test]
fn what_ends_the_session_on_the_executors_side_ends_it_on_the_clients_with_its_reason() {
    let mut world = World::new(11, Fault::None);
    world.play(9, 0);
    world.server(server::Input::End { reason: "Expired".to_owned(), message: "over".to_owned() });
    for _ in 0..2000 {
        world.one_event(0);
    }
    assert_eq!(world.over.as_deref(), Some("Expired"));
    assert_eq!(world.server.expect("the server lives").standing(), Standing::Ended);
}
