//! Channels to agents.

use std::io;
use std::time::Duration;

use hyper_util::rt::TokioIo;
use tokio::net::UnixStream;
use tonic::transport::{Channel, Endpoint};
use torch_remote_api::agent::Listen;

/// Until a connection stands.
const CONNECT: Duration = Duration::from_secs(5);
/// Between two signs of life of the connection itself.
const KEEP_ALIVE: Duration = Duration::from_secs(5);

/// A channel to where an agent listens. TCP is plain, so it is for loopback and for a provider's own relay.
pub(super) async fn channel(control: &Listen) -> Result<Channel, tonic::transport::Error> {
    let address = match control {
        // A name is needed for the requests' authority, and never resolved.
        Listen::Unix(_) => "http://agent".to_owned(),
        Listen::Tcp(address) => format!("http://{address}"),
    };
    let endpoint = Endpoint::from_shared(address)?
        .connect_timeout(CONNECT)
        .http2_keep_alive_interval(KEEP_ALIVE)
        .keep_alive_timeout(KEEP_ALIVE);
    match control {
        Listen::Tcp(_) => endpoint.connect().await,
        Listen::Unix(path) => {
            let path = path.clone();
            let connector = tower::service_fn(move |_: http::Uri| {
                let path = path.clone();
                async move { Ok::<_, io::Error>(TokioIo::new(UnixStream::connect(path).await?)) }
            });
            endpoint.connect_with_connector(connector).await
        }
    }
}
