//! What each end calls the other's mistakes, and how it refuses a client that does not fit.

use std::time::Duration;

use bytes::Bytes;
use torch_remote_proto::client::{self, Client, ConnectionId, Held, Loss, Settings};
use torch_remote_proto::codec::MAX_BATCH_BYTES;
use torch_remote_proto::server::{self, Greeting, Incarnation, Offer, Server, StreamId, Token};
use torch_remote_proto::v1::{self, client_frame, hello::Credential, reply, server_frame};
use torch_remote_proto::version::DATA_PROTOCOL;
use torch_remote_proto::violation::Violation;

const NOW: Duration = Duration::from_secs(1);
const STREAM: StreamId = StreamId(1);
const FIRST: Incarnation = Incarnation(1);
const LINK: ConnectionId = ConnectionId(1);

fn offer() -> Offer {
    Offer {
        lease_uid: "lease".to_owned(),
        device: "cpu".to_owned(),
        torch: "2.13.1".to_owned(),
        max_unacknowledged_bytes: 1 << 20,
        inline_write_bytes: 64,
        inline_read_bytes: 64,
        memory_bytes: 0,
        staging_bytes: 64,
    }
}

fn greeting(attach: bool, jti: &str) -> Box<Greeting> {
    let credential = if attach { Credential::Attach(String::new()) } else { Credential::Token(String::new()) };
    let hello = v1::Hello {
        protocol: DATA_PROTOCOL,
        client: "test".to_owned(),
        torch: "2.13.0".to_owned(),
        credential: Some(credential),
        replies_seen: 0,
    };
    let token = Token::Valid { id: jti.to_owned(), attach };
    Box::new(Greeting { hello, token, fresh_secret: [7; 32], next_id: 1 })
}

/// A server with an open session on [`STREAM`].
fn open() -> Server {
    let hello = server::Input::Hello(STREAM, greeting(false, "jti"));
    Server::new(offer()).step(hello, NOW).expect("a Hello breaks nothing").0
}

fn step(server: Server, input: server::Input) -> (Server, Vec<server::Output>) {
    server.step(input, NOW).expect("it breaks nothing")
}

fn batch(seq: u64, bytes: usize) -> client_frame::Frame {
    client_frame::Frame::Batch(v1::Batch { seq, commands: Bytes::from(vec![0; bytes]) })
}

/// Why, when to ask again, and whether the audit is to know.
fn refused(outputs: &[server::Output]) -> (&str, u64, bool) {
    match outputs {
        [server::Output::Send(_, server_frame::Frame::Refused(refused)), said @ .., server::Output::Close(_)] => {
            let denied = match said {
                [] => false,
                [server::Output::Denied(_, refusal)] if refusal.reason() == refused.reason => true,
                other => panic!("said beside it: {other:?}"),
            };
            (&refused.reason, refused.retry_after_ms, denied)
        }
        other => panic!("not refused: {other:?}"),
    }
}

/// The last frame breaks the protocol, those before do not.
fn broken(mut server: Server, frames: Vec<client_frame::Frame>) -> &'static str {
    for frame in frames {
        match server.step(server::Input::Frame(STREAM, frame), NOW) {
            Ok((next, _)) => server = next,
            Err(violation) => return violation.reason(),
        }
    }
    "nothing"
}

#[test]
fn each_mistake_of_a_client_has_its_name() {
    let hello = client_frame::Frame::Hello(greeting(false, "jti").hello);
    assert_eq!(broken(open(), vec![hello]), "HelloTwice");
    assert_eq!(broken(open(), vec![batch(1, 1), batch(3, 1)]), "BatchGap");
    assert_eq!(broken(open(), vec![batch(1, MAX_BATCH_BYTES + 1)]), "BatchTooLong");
    let flood = |bytes: usize, batches: u64| broken(open(), (1..=batches).map(|seq| batch(seq, bytes)).collect());
    assert_eq!(flood(MAX_BATCH_BYTES, 1), "nothing", "the batch that crosses the line was allowed");
    assert_eq!(flood(MAX_BATCH_BYTES, 2), "WindowExceeded");
    assert_eq!(flood(0, 1 << 15), "WindowExceeded", "empty batches are not free");
    let ahead = client_frame::Frame::RepliesSeen(v1::RepliesSeen { seq: 1 });
    assert_eq!(broken(open(), vec![ahead]), "RepliesSeenAhead");
}

#[test]
fn replies_that_a_client_does_not_see_hold_the_executor_and_more_of_them_end_the_session() {
    let data = |bytes: usize| reply::Result::Data(Bytes::from(vec![0; bytes]));
    let mut server = open();
    for request in 0..64 {
        assert!(!server.replies_full(FIRST), "after {request} replies");
        server = step(server, server::Input::Reply(FIRST, request, data(1 << 20))).0;
    }
    assert!(server.replies_full(FIRST), "64 MiB wait");
    assert!(!server.replies_full(Incarnation(2)));
    let seen = client_frame::Frame::RepliesSeen(v1::RepliesSeen { seq: 1 });
    server = step(server, server::Input::Frame(STREAM, seen)).0;
    assert!(!server.replies_full(FIRST));
    let mut server = open();
    for request in 0..1 << 16 {
        server = step(server, server::Input::Reply(FIRST, request, data(0))).0;
    }
    assert!(server.replies_full(FIRST));
    let violation = server.step(server::Input::Reply(FIRST, 0, data(0)), NOW).expect_err("too many");
    assert_eq!(violation.reason(), "RepliesNotSeen");
}

#[test]
fn a_client_of_another_protocol_or_another_torch_is_told_what_to_install() {
    let with = |change: fn(&mut v1::Hello)| {
        let mut greeting = greeting(false, "jti");
        change(&mut greeting.hello);
        let (server, outputs) = step(Server::new(offer()), server::Input::Hello(STREAM, greeting));
        assert_eq!(server.standing(), server::Standing::Bound, "nothing has changed");
        let (reason, retry, denied) = refused(&outputs);
        (reason.to_owned(), retry, denied)
    };
    assert_eq!(with(|hello| hello.protocol += 1), ("ProtocolMismatch".to_owned(), 0, false));
    assert_eq!(with(|hello| hello.torch = "2.12.0".to_owned()), ("TorchVersionMismatch".to_owned(), 0, false));
    assert_eq!(with(|hello| hello.credential = None), ("NoCredential".to_owned(), 0, true));
}

#[test]
fn an_attach_is_told_to_wait_while_the_process_before_is_heard_and_takes_over_after() {
    let attach = || server::Input::Hello(StreamId(2), greeting(true, "other"));
    let (server, outputs) = step(open(), attach());
    assert_eq!(refused(&outputs), ("SessionInUse", 500, true));
    let old = server.admits(&[7; 32]);
    assert_eq!(old, Some(FIRST));
    let (server, _) = step(server, server::Input::Closed(STREAM));
    let (server, outputs) = step(server, attach());
    assert_eq!(outputs[0], server::Output::Begin(Incarnation(2)));
    assert!(matches!(&outputs[1], server::Output::Send(StreamId(2), server_frame::Frame::Welcome(_))));
    assert_ne!(server.admits(&[7; 32]), old, "a bulk call is of the process whose secret it shows");
    let (_, outputs) = step(server, server::Input::Reply(FIRST, 1, reply::Result::Data(Bytes::new())));
    assert_eq!(outputs, Vec::new(), "answers to the process before go nowhere");
}

/// A client whose Hello is out.
fn greeted() -> Client {
    let settings = Settings {
        client: "test".to_owned(),
        torch: "2.13.0".to_owned(),
        open_timeout: Duration::from_secs(60),
        reconnect_window: Duration::from_secs(60),
    };
    hello(Client::new(settings, Held::Open("token".to_owned()), NOW), NOW, LINK)
}

fn hello(client: Client, now: Duration, link: ConnectionId) -> Client {
    let client = client.step(client::Input::Tick, now).expect("it connects").0;
    client.step(client::Input::Connected(link), now).expect("it says hello").0
}

fn welcome(secret: usize, batches_received: u64) -> server_frame::Frame {
    server_frame::Frame::Welcome(v1::Welcome {
        lease_uid: "lease".to_owned(),
        resume_secret: Bytes::from(vec![7; secret]),
        next_id: 1,
        device: "cpu".to_owned(),
        torch: "2.13.0".to_owned(),
        batches_received,
        max_unacknowledged_bytes: 1 << 20,
        inline_write_bytes: 64,
        inline_read_bytes: 64,
        memory_bytes: 0,
        staging_bytes: 64,
    })
}

fn established() -> Client {
    hear(greeted(), LINK, welcome(32, 0)).expect("a Welcome that fits").0
}

fn hear(
    client: Client,
    link: ConnectionId,
    frame: server_frame::Frame,
) -> Result<(Client, Vec<client::Output>), Violation> {
    client.step(client::Input::Frame(link, frame), NOW)
}

fn reason(result: Result<(Client, Vec<client::Output>), Violation>) -> &'static str {
    result.expect_err("it breaks the protocol").reason()
}

#[test]
fn each_mistake_of_an_executor_has_its_name() {
    assert_eq!(reason(hear(greeted(), LINK, welcome(31, 0))), "BadWelcome");
    assert_eq!(reason(hear(greeted(), LINK, welcome(32, 1))), "ReceivedAhead");
    let reply = server_frame::Frame::Reply(v1::Reply { seq: 2, request: 1, result: None });
    assert_eq!(reason(hear(established(), LINK, reply)), "ReplyGap");
    let received = server_frame::Frame::Received(v1::Received { seq: 1 });
    assert_eq!(reason(hear(established(), LINK, received)), "ReceivedAhead");
    let empty = server_frame::Frame::Reply(v1::Reply { seq: 1, request: 1, result: None });
    assert_eq!(reason(hear(established(), LINK, empty)), "UnknownFrame");
    assert_eq!(reason(hear(established(), LINK, welcome(32, 0))), "OutOfTurn");
    let client = established().step(client::Input::Submit(Bytes::from_static(b"\x02\x01")), NOW).expect("room").0;
    let client = hear(client, LINK, server_frame::Frame::Received(v1::Received { seq: 1 })).expect("it was sent").0;
    let lost = client::Input::Lost(LINK, Loss::Broken("cut".to_owned()));
    let client = client.step(lost, NOW).expect("it waits").0;
    let again = client.wake_at().expect("it tries again");
    let client = hello(client, again, ConnectionId(2));
    assert_eq!(reason(hear(client, ConnectionId(2), welcome(0, 0))), "BatchesForgotten");
}

#[test]
fn a_client_that_is_refused_for_now_asks_again_when_it_was_told_to() {
    let refused = v1::Refused { reason: "SessionInUse".to_owned(), message: "wait".to_owned(), retry_after_ms: 500 };
    let (client, outputs) = hear(greeted(), LINK, server_frame::Frame::Refused(refused)).expect("no violation");
    assert_eq!(outputs, vec![client::Output::Disconnect(LINK)]);
    assert_eq!(client.wake_at(), Some(NOW + Duration::from_millis(500)));
    let (client, outputs) = client.step(client::Input::Tick, NOW + Duration::from_millis(500)).expect("it tries");
    assert_eq!(outputs, vec![client::Output::Connect(ConnectionId(2))]);
    assert_eq!(client.ending(), None);
}
