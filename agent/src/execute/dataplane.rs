//! The DataPlane service: streams of one session, and the connections that carry its bulk bytes.

use std::pin::Pin;
use std::sync::Arc;
use std::time::Duration;

use bytes::Bytes;
use futures::{Stream, stream};
use tokio::sync::mpsc;
use tokio_stream::wrappers::ReceiverStream;
use tonic::{Request, Response, Status, Streaming};
use torch_remote_agent::services::data_plane_server::DataPlane;
use torch_remote_agent::socket::Peer;
use torch_remote_proto::server::{Incarnation, Input, StreamId};
use torch_remote_proto::v1::{
    Chunk, ClientFrame, DownloadRequest, Refused, ServerFrame, TransferAck, client_frame, server_frame,
};
use torch_remote_proto::violation::Violation;

use crate::session::{Client, FRAMES, Frames, Session};
use crate::transfer::Refusal;

/// The service of one lease.
#[derive(Debug, Clone)]
pub struct Service {
    session: Arc<Session>,
}

/// A stream says Hello within this time.
const GREETING: Duration = Duration::from_secs(10);
/// Longest chunk of bulk bytes.
const CHUNK: usize = 1 << 20;

impl Service {
    /// For a session.
    pub fn new(session: Arc<Session>) -> Service {
        Service { session }
    }

    /// The process whose call it is.
    fn admit<T>(&self, request: &Request<T>) -> Result<Incarnation, Status> {
        let text = |name| request.metadata().get(name).and_then(|value| value.to_str().ok());
        let secret = text("tr-secret").and_then(unhex);
        let admitted = text("tr-lease").zip(secret).and_then(|(lease, secret)| self.session.admits(lease, &secret));
        let incarnation = admitted.ok_or_else(|| {
            Status::unauthenticated("SessionLost: tr-lease and tr-secret are not those of this slot's session")
        })?;
        Peer::of(request).admission.give();
        Ok(incarnation)
    }
}

#[tonic::async_trait]
impl DataPlane for Service {
    type SessionStream = ReceiverStream<Result<ServerFrame, Status>>;
    type DownloadStream = Pin<Box<dyn Stream<Item = Result<Chunk, Status>> + Send>>;

    async fn session(&self, request: Request<Streaming<ClientFrame>>) -> Result<Response<Self::SessionStream>, Status> {
        let (frames, outgoing) = mpsc::channel(FRAMES);
        let peer = Peer::of(&request);
        tokio::spawn(converse(Arc::clone(&self.session), request.into_inner(), frames, peer));
        Ok(Response::new(ReceiverStream::new(outgoing)))
    }

    async fn upload(&self, request: Request<Streaming<Chunk>>) -> Result<Response<TransferAck>, Status> {
        let incarnation = self.admit(&request)?;
        let mut chunks = request.into_inner();
        let mut acknowledged = TransferAck::default();
        while let Some(chunk) = chunks.message().await? {
            if chunk.data.len() > CHUNK {
                return Err(Status::invalid_argument("a chunk is longer than 1 MiB"));
            }
            let received = self.session.transfers.chunk(incarnation.0, &chunk).await;
            let received = received.map_err(|refusal| match refusal {
                Refusal::Gap { .. } => Status::out_of_range(refusal.to_string()),
                Refusal::Announced(_) => Status::invalid_argument(refusal.to_string()),
                Refusal::Superseded => Status::unauthenticated(refusal.to_string()),
            })?;
            acknowledged = TransferAck { transfer: chunk.transfer, received };
        }
        Ok(Response::new(acknowledged))
    }

    async fn download(&self, request: Request<DownloadRequest>) -> Result<Response<Self::DownloadStream>, Status> {
        let incarnation = self.admit(&request)?;
        let DownloadRequest { transfer, offset } = request.into_inner();
        let data = self
            .session
            .transfers
            .bytes(incarnation.0, transfer)
            .ok_or_else(|| Status::not_found(format!("transfer {transfer} is not staged")))?;
        if offset > data.len() as u64 {
            return Err(Status::out_of_range(format!("transfer {transfer} has {} bytes", data.len())));
        }
        Ok(Response::new(Box::pin(stream::iter(chunks(transfer, offset as usize, data)))))
    }
}

fn chunks(transfer: u64, offset: usize, data: Bytes) -> impl Iterator<Item = Result<Chunk, Status>> {
    let total = data.len();
    (offset..total).step_by(CHUNK).map(move |start| {
        let end = (start + CHUNK).min(total);
        Ok(Chunk { transfer, offset: start as u64, data: data.slice(start..end), total: total as u64 })
    })
}

/// Reads one stream to its end.
async fn converse(session: Arc<Session>, mut incoming: Streaming<ClientFrame>, frames: Frames, peer: Peer) {
    let hello = match tokio::time::timeout(GREETING, incoming.message()).await {
        Ok(Ok(Some(ClientFrame { frame: Some(client_frame::Frame::Hello(hello)) }))) => hello,
        Ok(Ok(Some(_))) => return refuse(&frames),
        // Silent, gone or broken before it said who it is.
        Ok(Ok(None) | Err(_)) | Err(_) => return,
    };
    let stream = session.stream();
    session.hello(stream, hello, Client { frames, peer: peer.address });
    if session.carried_by(stream) {
        peer.admission.give();
    }
    // Refused, replaced, or not read: nothing that it says is heard any more.
    while session.serves(stream) {
        match incoming.message().await {
            Ok(Some(ClientFrame { frame: Some(frame) })) => session.input(Input::Frame(stream, frame)),
            Ok(Some(ClientFrame { frame: None })) => return unknown(&session, stream),
            Ok(None) => break,
            Err(status) => {
                tracing::debug!(%status, "a session's stream broke");
                break;
            }
        }
    }
    session.input(Input::Closed(stream));
}

fn refuse(frames: &Frames) {
    let refused = Refused {
        reason: Violation::HelloExpected.reason().to_owned(),
        message: Violation::HelloExpected.to_string(),
        retry_after_ms: 0,
    };
    if frames.try_send(Ok(ServerFrame { frame: Some(server_frame::Frame::Refused(refused)) })).is_err() {
        tracing::debug!("a stream without hello was gone before it was refused");
    }
}

/// A frame without content on the session's stream breaks the protocol; on any other it is nobody's.
fn unknown(session: &Session, stream: StreamId) {
    if session.carried_by(stream) {
        session.violated(&Violation::UnknownFrame);
    }
    session.input(Input::Closed(stream));
}

fn unhex(text: &str) -> Option<Vec<u8>> {
    if !text.len().is_multiple_of(2) || !text.is_ascii() {
        return None;
    }
    (0..text.len()).step_by(2).map(|i| u8::from_str_radix(&text[i..i + 2], 16).ok()).collect()
}
