//! The task that speaks with one executor: it drives the client's state machine over real connections.
//!
//! Owns the connection of operators and replies, the clock, and when the writer looks at the outgoing buffer. Leaves every decision to
//! `torch_remote_proto::client`. Invariant: one task per session; nothing else touches its connection.

use std::future::Future;
use std::pin::Pin;
use std::sync::Arc;
use std::sync::atomic::Ordering;
use std::time::Duration;

use tokio::sync::mpsc::{self, UnboundedReceiver, UnboundedSender};
use tokio::time::Instant;
use tokio_stream::wrappers::UnboundedReceiverStream;
use tonic::transport::Channel;
use tonic::{Status, Streaming};
use torch_remote_proto::client::{Client, ConnectionId, Ending, Held, Input, Loss, Output, Settings};
use torch_remote_proto::v1::{ClientFrame, ServerFrame, Welcome, client_frame, server_frame};

use crate::connect::{self, Address, Endpoint};
use crate::nap::Nap;
use crate::notice;
use crate::session::{Limits, Order, Session};
use crate::stub::DataPlaneClient;
use crate::sync::LOOK;

/// Replies may be as large as `inline_read_bytes` and results of many tensors.
const LONGEST_FRAME: usize = 64 << 20;

/// Opens and holds one session's conversation until it is over.
pub(crate) struct Conversation {
    session: &'static Session,
    client: Option<Client>,
    endpoints: Arc<[Endpoint]>,
    line: Line,
    began: Instant,
}

type Pending<T> = Pin<Box<dyn Future<Output = T> + Send>>;

/// The connection.
enum Line {
    None,
    Connecting(ConnectionId, Pending<Result<Channel, Loss>>),
    /// The stream is asked for; frames may be sent.
    Opening(ConnectionId, UnboundedSender<ClientFrame>, Pending<Result<Streaming<ServerFrame>, Status>>),
    Open(ConnectionId, UnboundedSender<ClientFrame>, Box<Streaming<ServerFrame>>),
}

enum Event {
    Connected(ConnectionId, Channel),
    Frame(ConnectionId, server_frame::Frame),
    Lost(ConnectionId, Loss),
}

impl Conversation {
    pub(crate) fn new(
        session: &'static Session,
        settings: Settings,
        credential: Held,
        endpoints: Arc<[Endpoint]>,
    ) -> Self {
        let client = Some(Client::new(settings, credential, Duration::ZERO));
        Conversation { session, client, endpoints, line: Line::None, began: Instant::now() }
    }

    /// Runs until the session is over.
    pub(crate) async fn run(mut self, mut orders: UnboundedReceiver<Order>) {
        let nap = Nap::new();
        tokio::pin!(nap);
        let session = self.session;
        let alarm = tokio::time::sleep_until(self.began);
        tokio::pin!(alarm);
        let mut set_for = self.began;
        let mut looks_until = std::time::Instant::now();
        while self.client.is_some() {
            let due = self.due();
            if due != set_for {
                alarm.as_mut().reset(due);
                set_for = due;
            }
            tokio::select! {
                biased;
                () = session.wake.notified() => {
                    self.flush();
                    nap.as_mut().start();
                    looks_until = std::time::Instant::now() + LOOK;
                }
                event = next(&mut self.line) => self.event(event),
                () = nap.as_mut().over() => {
                    if self.flush() || !self.rest() {
                        nap.as_mut().start();
                    }
                }
                order = orders.recv() => match order {
                    Some(order) => self.order(order),
                    None => self.finish(Ending { reason: "Closed".to_owned(), message: "the session was closed".to_owned() }),
                },
                // A read is waited for: its answer may come sooner than a thread wakes.
                () = tokio::task::yield_now(), if session.asked() && std::time::Instant::now() < looks_until => {
                    std::thread::yield_now();
                }
                () = alarm.as_mut() => {
                    self.step(Input::Tick);
                    // An alarm that rang is over: it must be set again even for the same time.
                    set_for = self.began;
                }
            }
        }
    }

    /// When to tick.
    fn due(&self) -> Instant {
        let at = self.client.as_ref().and_then(Client::wake_at);
        at.map_or_else(|| Instant::now() + Duration::from_secs(3600), |at| self.began + at)
    }

    /// Submits what was appended; false if nothing was.
    fn flush(&mut self) -> bool {
        let batches = self.session.lock().take();
        if batches.is_empty() {
            return false;
        }
        self.session.counts.batches.fetch_add(batches.len() as u64, Ordering::Relaxed);
        for batch in batches {
            self.step(Input::Submit(batch));
        }
        self.publish();
        true
    }

    /// Goes to sleep unless something was appended meanwhile.
    fn rest(&self) -> bool {
        let mut outgoing = self.session.lock();
        let empty = outgoing.waiting_bytes() == 0;
        outgoing.awake = !empty;
        empty
    }

    fn publish(&self) {
        if let Some(client) = &self.client {
            self.session.set_unacknowledged(client.unacknowledged_bytes());
        }
    }

    fn order(&mut self, order: Order) {
        match order {
            Order::TransferDone(transfer) => self.step(Input::TransferDone(transfer)),
            Order::Goodbye => {
                self.flush();
                self.step(Input::Goodbye);
            }
            Order::Abandon(ending) => self.finish(ending),
            Order::Cut(bytes) if bytes <= 0 => {
                if let Some(connection) = self.line.connection() {
                    self.session.meter.budget.store(0, Ordering::Relaxed);
                    self.event(Event::Lost(connection, Loss::Broken("cut by a test".to_owned())));
                }
            }
            Order::Cut(bytes) => self.session.meter.budget.store(bytes, Ordering::Relaxed),
        }
    }

    fn event(&mut self, event: Event) {
        match event {
            Event::Connected(connection, channel) => {
                let (sender, receiver) = mpsc::unbounded_channel();
                let opening = Box::pin(async move {
                    let mut stub = DataPlaneClient::new(channel).max_decoding_message_size(LONGEST_FRAME);
                    stub.session(UnboundedReceiverStream::new(receiver)).await.map(tonic::Response::into_inner)
                });
                self.line = Line::Opening(connection, sender, opening);
                self.step(Input::Connected(connection));
            }
            Event::Frame(connection, frame) => self.step(Input::Frame(connection, frame)),
            Event::Lost(connection, loss) => {
                let loss = if matches!(self.line, Line::Open(..)) { self.by_whom(loss) } else { loss };
                self.line = Line::None;
                self.session.connected.store(false, Ordering::Relaxed);
                self.step(Input::Lost(connection, loss));
            }
        }
    }

    /// A stream on this host that breaks was closed by the executor's end, unless a test cut it.
    fn by_whom(&self, loss: Loss) -> Loss {
        let here = matches!(self.endpoints.first().map(|endpoint| &endpoint.address), Some(Address::Unix(_)));
        let cut = self.session.meter.budget.load(Ordering::Relaxed) <= 0;
        match loss {
            Loss::Broken(why) if here && !cut => Loss::Closed(why),
            Loss::Broken(_) | Loss::NobodyListens(_) | Loss::Closed(_) => loss,
        }
    }

    fn step(&mut self, input: Input) {
        let Some(client) = self.client.take() else { return };
        match client.step(input, self.began.elapsed()) {
            Ok((client, outputs)) => {
                self.client = Some(client);
                for output in outputs {
                    self.perform(output);
                }
            }
            Err(violation) => {
                let message = format!("the executor broke the protocol: {violation}");
                self.finish(Ending { reason: violation.reason().to_owned(), message });
            }
        }
    }

    fn perform(&mut self, output: Output) {
        match output {
            Output::Connect(connection) => {
                let (endpoints, meter) = (self.endpoints.clone(), self.session.meter.clone());
                meter.budget.store(i64::MAX, Ordering::Relaxed);
                self.line =
                    Line::Connecting(connection, Box::pin(async move { connect::connect(&endpoints, &meter).await }));
            }
            Output::Send(connection, frame) => self.line.send(connection, frame),
            Output::Disconnect(connection) => {
                if self.line.connection() == Some(connection) {
                    self.line = Line::None;
                    self.session.connected.store(false, Ordering::Relaxed);
                }
            }
            Output::Opened(welcome) => self.opened(&welcome),
            Output::Resumed => {
                self.session.counts.reconnects.fetch_add(1, Ordering::Relaxed);
                self.session.connected.store(true, Ordering::Relaxed);
            }
            Output::Acknowledged => self.publish(),
            Output::Reply(request, result) => self.session.answered(request, result),
            // Uploads hear how far they are from their own call.
            Output::TransferAck(_) => {}
            Output::Notice(notice) => notice::show(self.session.index, notice),
            Output::RoundTrip(time) => {
                self.session.counts.round_trip_us.store(time.as_micros() as i64, Ordering::Relaxed)
            }
            Output::Over(ending) => self.finish(ending),
        }
    }

    fn opened(&mut self, welcome: &Welcome) {
        let limits = Limits {
            first_id: crate::ids::reserve_from(welcome.next_id),
            kind: i32::from(welcome.device == "cuda"),
            unacknowledged_bytes: welcome.max_unacknowledged_bytes,
            inline_write_bytes: welcome.inline_write_bytes,
            inline_read_bytes: welcome.inline_read_bytes,
            memory_bytes: welcome.memory_bytes,
        };
        let secret = self.client.as_ref().and_then(Client::secret);
        if let Some((lease, secret)) = secret {
            self.session.bulk.open(lease, secret, self.endpoints.clone(), self.session.meter.clone());
        }
        self.session.limits.set(limits).expect("a session opens once");
        self.session.connected.store(true, Ordering::Relaxed);
        crate::devices::opened();
    }

    fn finish(&mut self, ending: Ending) {
        self.client = None;
        self.line = Line::None;
        self.session.finish(ending);
        crate::devices::opened();
    }
}

impl Line {
    fn connection(&self) -> Option<ConnectionId> {
        match self {
            Line::None => None,
            Line::Connecting(connection, _) | Line::Opening(connection, ..) | Line::Open(connection, ..) => {
                Some(*connection)
            }
        }
    }

    fn send(&self, connection: ConnectionId, frame: client_frame::Frame) {
        match self {
            Line::Opening(current, sender, _) | Line::Open(current, sender, _) if *current == connection => {
                // A closed channel means that the connection is gone: its Lost is on the way, and what was to be sent is in the history.
                drop(sender.send(ClientFrame { frame: Some(frame) }));
            }
            Line::None | Line::Connecting(..) | Line::Opening(..) | Line::Open(..) => {}
        }
    }
}

/// What happens next on the line. Cancel safe: all state is in `line`.
async fn next(line: &mut Line) -> Event {
    loop {
        match line {
            Line::None => return std::future::pending().await,
            Line::Connecting(connection, connecting) => {
                let connection = *connection;
                return match connecting.await {
                    Ok(channel) => Event::Connected(connection, channel),
                    Err(loss) => Event::Lost(connection, loss),
                };
            }
            Line::Opening(connection, sender, opening) => {
                let connection = *connection;
                match opening.await {
                    Ok(stream) => *line = Line::Open(connection, sender.clone(), Box::new(stream)),
                    Err(status) => return Event::Lost(connection, broken(&status)),
                }
            }
            Line::Open(connection, _, stream) => {
                let connection = *connection;
                return match stream.message().await {
                    Ok(Some(ServerFrame { frame: Some(frame) })) => Event::Frame(connection, frame),
                    Ok(Some(ServerFrame { frame: None })) => continue,
                    Ok(None) => Event::Lost(connection, Loss::Broken("the machine closed the stream".to_owned())),
                    Err(status) => Event::Lost(connection, broken(&status)),
                };
            }
        }
    }
}

fn broken(status: &Status) -> Loss {
    let mut text = status.message().to_owned();
    let mut source = std::error::Error::source(status);
    while let Some(error) = source {
        text = format!("{text}: {error}");
        source = error.source();
    }
    Loss::Broken(text)
}
