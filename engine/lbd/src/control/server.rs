//! Connections, and what a client may cost.

use std::sync::Arc;
use std::time::Duration;

use axum::extract::{DefaultBodyLimit, Request};
use axum::middleware::{self, Next};
use axum::response::Response;
use axum::{Extension, Router};
use hyper::StatusCode;
use hyper::body::Body;
use hyper::server::conn::http1;
use hyper_util::rt::{TokioIo, TokioTimer};
use hyper_util::service::TowerToHyperService;
use tokio::net::{UnixListener, UnixStream};
use tokio::sync::Semaphore;
use tokio::time::{sleep, timeout};

use super::api;
use super::office::{Office, Peer};
use super::refusal::Refused;

/// Clients served at once; more wait to be accepted.
const CLIENTS: usize = 64;

/// From the connection to the end of the request's head.
const HEAD_LIMIT: Duration = Duration::from_secs(10);

/// From there to the beginning of the answer, the request's body included.
const REQUEST_LIMIT: Duration = Duration::from_secs(60);

/// A restore of half a million rules.
const BODY_LIMIT: usize = 64 << 20;

/// A request's head.
const HEAD_SIZE: usize = 16 << 10;

/// Answers clients until it is dropped.
pub async fn serve(listener: &UnixListener, office: Arc<Office>) {
    let router = router(office);
    let room = Arc::new(Semaphore::new(CLIENTS));
    while let Ok(place) = Arc::clone(&room).acquire_owned().await {
        match listener.accept().await {
            Ok((stream, _)) => {
                let router = router.clone();
                tokio::spawn(async move {
                    converse(stream, router).await;
                    drop(place);
                });
            }
            Err(error) => {
                tracing::warn!("control socket: {error}");
                // Out of descriptors, most likely: some come back.
                sleep(Duration::from_secs(1)).await;
            }
        }
    }
}

/// What requests are answered by.
pub fn router(office: Arc<Office>) -> Router {
    api::router(office)
        .layer(DefaultBodyLimit::max(BODY_LIMIT))
        .layer(middleware::from_fn(limit))
}

/// One request, one answer.
pub async fn converse(stream: UnixStream, router: Router) {
    let peer = match stream.peer_cred() {
        Ok(peer) => Peer {
            uid: peer.uid(),
            pid: peer.pid(),
        },
        Err(error) => return tracing::warn!("control socket: nobody is there: {error}"),
    };
    let service = TowerToHyperService::new(router.layer(Extension(peer)));
    let conversation = http1::Builder::new()
        .timer(TokioTimer::new())
        .header_read_timeout(HEAD_LIMIT)
        .keep_alive(false)
        .max_buf_size(HEAD_SIZE)
        .serve_connection(TokioIo::new(stream), service);
    if let Err(error) = conversation.await {
        tracing::debug!("control socket: {peer}: {error}");
    }
}

async fn limit(request: Request, next: Next) -> Result<Response, Refused> {
    if request.body().size_hint().lower() > BODY_LIMIT as u64 {
        return Err(Refused::new(
            StatusCode::PAYLOAD_TOO_LARGE,
            format!("the request's body is too long, allowed: {BODY_LIMIT} bytes"),
        ));
    }
    timeout(REQUEST_LIMIT, next.run(request))
        .await
        .map_err(|_| {
            Refused::new(
                StatusCode::REQUEST_TIMEOUT,
                "the request took too long to come in",
            )
        })
}
