//! Gets a page over HTTP/1.1, with TLS or without, and looks at its status and its body.

use std::net::{IpAddr, SocketAddr};

use bytes::Bytes;
use http_body_util::{BodyExt, Empty};
use hyper::body::Incoming;
use hyper::client::conn::http1;
use hyper::header::{ACCEPT, CONNECTION, HOST, USER_AGENT};
use hyper::{Request, Response};
use hyper_util::rt::TokioIo;
use tokio::io::{AsyncRead, AsyncWrite};

use super::tcp::connect;
use super::tls::TlsClients;
use crate::{Failure, Http};

/// As much of a body as is searched.
const LARGEST_BODY: usize = 1 << 20;

pub async fn ask(
    address: SocketAddr,
    source: Option<IpAddr>,
    http: &Http,
    tls: &TlsClients,
) -> Result<(), Failure> {
    let stream = connect(address, source).await?;
    match &http.tls {
        None => get(stream, address, http).await,
        Some(settings) => {
            let name = settings.name.as_deref().or(http.host.as_deref());
            let stream = tls.connect(stream, address.ip(), name, settings.verify);
            get(stream.await?, address, http).await
        }
    }
}

async fn get<S>(stream: S, address: SocketAddr, http: &Http) -> Result<(), Failure>
where
    S: AsyncRead + AsyncWrite + Unpin,
{
    let host = http.host.clone().unwrap_or_else(|| address.to_string());
    let request = Request::get(&http.path)
        .header(HOST, host)
        .header(USER_AGENT, "lbd")
        .header(ACCEPT, "*/*")
        .header(CONNECTION, "close")
        .body(Empty::<Bytes>::new());
    let request = request.map_err(|error| Failure::Http(error.to_string()))?;
    let (mut sender, connection) = http1::handshake(TokioIo::new(stream))
        .await
        .map_err(broken)?;
    let asked = async { look_at(sender.send_request(request).await.map_err(broken)?, http).await };
    tokio::pin!(asked);
    tokio::select! {
        looked = &mut asked => looked,
        // What has arrived is there to be looked at when the server hangs up.
        ended = connection => match ended {
            Ok(()) => asked.await,
            Err(error) => Err(broken(error)),
        },
    }
}

async fn look_at(response: Response<Incoming>, http: &Http) -> Result<(), Failure> {
    let got = response.status().as_u16();
    if !http.status.contains(got) {
        let wanted = http.status.to_string();
        return Err(Failure::Status { got, wanted });
    }
    let Some(wanted) = &http.body else {
        return Ok(());
    };
    let mut body = response.into_body();
    let mut read = Vec::new();
    while let Some(frame) = body.frame().await {
        let frame = frame.map_err(broken)?;
        read.extend_from_slice(frame.data_ref().map_or(&[][..], |data| data));
        if contains(&read, wanted.as_bytes()) {
            return Ok(());
        }
        if read.len() > LARGEST_BODY {
            break;
        }
    }
    Err(Failure::Lacks {
        what: "body",
        wanted: format!("{wanted:?}"),
    })
}

/// Whether `part` is somewhere in `whole`.
pub fn contains(whole: &[u8], part: &[u8]) -> bool {
    part.is_empty() || whole.windows(part.len()).any(|window| window == part)
}

fn broken(error: hyper::Error) -> Failure {
    use std::error::Error;
    // The cause says more than hyper's own words for it.
    let cause = error.source().map(ToString::to_string);
    Failure::Http(cause.unwrap_or_else(|| error.to_string()))
}
