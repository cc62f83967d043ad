//! One connection for bulk bytes: gRPC calls framed by hand, so that a payload is copied once, between the tensor's memory and the HTTP/2 frame.

use bytes::{Buf, Bytes};
use futures::stream;
use http::{HeaderMap, Request, Response};
use http_body::Frame;
use http_body_util::{BodyExt, Full, StreamBody};
use prost::Message;
use tonic::Status;
use tonic::body::Body;
use tonic::transport::Channel;
use torch_remote_proto::chunk::{CHUNK_BYTES, ChunkReader, head};
use torch_remote_proto::v1::{DownloadRequest, TransferAck};
use tower::{Service, ServiceExt};

use super::lent::Placed;
use super::{Access, Lent, Source};
use crate::connect;

const UPLOAD: &str = "http://executor/torchremote.agent.v1.DataPlane/Upload";
const DOWNLOAD: &str = "http://executor/torchremote.agent.v1.DataPlane/Download";
/// The answer to an upload is a few bytes.
const LONGEST_ANSWER: usize = 4096;

/// Why a transfer stopped.
#[derive(Debug)]
pub(super) enum Broken {
    /// The connection: it may go on from where it was.
    Cut(String),
    /// The executor says no.
    Refused(String),
    /// The lender's call is over.
    TakenBack,
}

/// A connection, made when first needed and again after a cut.
#[derive(Debug)]
pub(crate) struct Carrier {
    access: Access,
    channel: Option<Channel>,
}

impl Carrier {
    pub(super) fn new(access: Access) -> Self {
        Carrier { access, channel: None }
    }

    /// Sends an upload, after a cut from where the executor says it is.
    pub(super) async fn upload(
        &mut self,
        transfer: u64,
        total: u64,
        source: &Source,
        ask_first: bool,
    ) -> Result<(), Broken> {
        let from = if ask_first {
            let question = Full::new(Bytes::from(head(transfer, 0, total, 0)));
            self.acknowledged(Body::new(question)).await?
        } else {
            0
        };
        if from == total {
            return Ok(());
        }
        let source = source.clone();
        // Each chunk is two frames: its head, and its bytes as they lie.
        let frames = stream::unfold((from, None::<Bytes>), move |(offset, data)| {
            let source = source.clone();
            async move {
                if let Some(data) = data {
                    let next = offset + data.len() as u64;
                    return Some((Ok(Frame::data(data)), (next, None)));
                }
                if offset == total {
                    return None;
                }
                let length = (total - offset).min(CHUNK_BYTES as u64) as usize;
                match source.chunk(offset, length).await {
                    Some(data) => {
                        let head = Bytes::from(head(transfer, offset, total, data.len()));
                        Some((Ok(Frame::data(head)), (offset, Some(data))))
                    }
                    None => Some((Err(Status::cancelled("taken back")), (total, None))),
                }
            }
        });
        let received = self.acknowledged(Body::new(StreamBody::new(frames))).await?;
        if received == total { Ok(()) } else { Err(Broken::Cut(format!("{received} of {total} bytes arrived"))) }
    }

    /// Receives a download from where `lent` is filled to.
    pub(super) async fn download(&mut self, transfer: u64, lent: &Lent) -> Result<(), Broken> {
        let request = DownloadRequest { transfer, offset: lent.filled() }.encode_to_vec();
        let framed = [&[0u8][..], &(request.len() as u32).to_be_bytes(), &request].concat();
        let response = self.call(DOWNLOAD, Body::new(Full::new(Bytes::from(framed)))).await?;
        check_status(response.headers())?;
        let mut body = response.into_body();
        let mut reader = ChunkReader::new();
        while let Some(frame) = body.frame().await {
            let frame = self.unless_cut(frame.map_err(|error| error.to_string()))?;
            match frame.into_data() {
                Ok(data) => {
                    let mut placed = Placed::Yes;
                    let readable = reader.feed(&data, |offset, piece| {
                        if placed == Placed::Yes {
                            placed = lent.fill(offset, piece);
                        }
                    });
                    readable.map_err(|error| Broken::Refused(error.to_string()))?;
                    match placed {
                        Placed::Yes => {}
                        Placed::TakenBack => return Err(Broken::TakenBack),
                        Placed::Misplaced => {
                            let why = "the executor sent bytes of another place than those asked for";
                            return Err(Broken::Refused(why.to_owned()));
                        }
                    }
                }
                Err(frame) => check_status(frame.trailers_ref().unwrap_or(&HeaderMap::new()))?,
            }
        }
        if lent.filled() == lent.length() { Ok(()) } else { Err(Broken::Cut("the download ended early".to_owned())) }
    }

    /// Calls Upload and returns how many bytes the executor has.
    async fn acknowledged(&mut self, body: Body) -> Result<u64, Broken> {
        let response = self.call(UPLOAD, body).await?;
        check_status(response.headers())?;
        let limited = http_body_util::Limited::new(response.into_body(), LONGEST_ANSWER);
        let collected = self.unless_cut(limited.collect().await.map_err(|error| error.to_string()))?;
        if let Some(trailers) = collected.trailers() {
            check_status(trailers)?;
        }
        let mut answer = collected.to_bytes();
        if answer.len() < 5 {
            return Err(Broken::Cut("no answer to an upload".to_owned()));
        }
        answer.advance(5);
        let ack = TransferAck::decode(answer).map_err(|error| Broken::Refused(error.to_string()))?;
        Ok(ack.received)
    }

    async fn call(&mut self, path: &'static str, body: Body) -> Result<Response<Body>, Broken> {
        if self.channel.is_none() {
            let connected = connect::connect(&self.access.endpoints, &self.access.meter).await;
            self.channel = Some(connected.map_err(|loss| Broken::Cut(format!("{loss:?}")))?);
        }
        let channel = self.channel.as_mut().expect("made above");
        let request = Request::post(path)
            .header("content-type", "application/grpc")
            .header("te", "trailers")
            .header("tr-lease", &self.access.lease)
            .header("tr-secret", &self.access.secret)
            .body(body)
            .map_err(|error| Broken::Refused(error.to_string()))?;
        let called = match channel.ready().await {
            Ok(channel) => channel.call(request).await,
            Err(error) => Err(error),
        };
        self.unless_cut(called.map_err(|error| error.to_string()))
    }

    /// A connection that failed is not used again.
    fn unless_cut<T>(&mut self, result: Result<T, String>) -> Result<T, Broken> {
        result.map_err(|why| {
            self.channel = None;
            Broken::Cut(why)
        })
    }
}

/// gRPC's status, from headers or trailers; absent from headers of a call that goes on.
fn check_status(headers: &HeaderMap) -> Result<(), Broken> {
    match Status::from_header_map(headers) {
        None => Ok(()),
        Some(status) => match status.code() {
            tonic::Code::Ok => Ok(()),
            tonic::Code::Unavailable
            | tonic::Code::Cancelled
            | tonic::Code::Unknown
            | tonic::Code::Internal
            | tonic::Code::Aborted => Err(Broken::Cut(status.message().to_owned())),
            tonic::Code::InvalidArgument
            | tonic::Code::DeadlineExceeded
            | tonic::Code::NotFound
            | tonic::Code::AlreadyExists
            | tonic::Code::PermissionDenied
            | tonic::Code::ResourceExhausted
            | tonic::Code::FailedPrecondition
            | tonic::Code::OutOfRange
            | tonic::Code::Unimplemented
            | tonic::Code::DataLoss
            | tonic::Code::Unauthenticated => {
                Err(Broken::Refused(format!("{:?}: {}", status.code(), status.message())))
            }
        },
    }
}
