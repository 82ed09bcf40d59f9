//! Requests to the daemon.

use std::io;
use std::path::{Path, PathBuf};

use bytes::Bytes;
use http_body_util::{BodyExt, Full};
use hyper::body::Incoming;
use hyper::client::conn::http1;
use hyper::header::{CONTENT_TYPE, HOST};
use hyper::{Method, Request, Response};
use hyper_util::rt::TokioIo;
use lb_control::Problem;
use serde::Serialize;
use serde::de::DeserializeOwned;
use tokio::net::UnixStream;
use tokio::runtime::{Builder, Runtime};

/// Why there is no answer.
#[derive(Debug, thiserror::Error)]
pub enum Error {
    /// Nobody listens.
    #[error("lbd is not running (no answer on {}); try: systemctl start lbd", .0.display())]
    NotRunning(PathBuf),
    /// The socket is not for this user.
    #[error("no permission for {}: it is root's and the group's", .0.display())]
    Forbidden(PathBuf),
    /// The daemon has no such thing.
    #[error("{0}")]
    NotFound(String),
    /// The daemon does not do it.
    #[error("{0}")]
    Refused(String),
    /// The connection broke, or what came is no answer of ours.
    #[error("lbd's answer: {0}")]
    Broken(String),
}

impl Error {
    /// What the program ends with.
    pub fn exit_code(&self) -> u8 {
        match self {
            Error::NotRunning(_) | Error::Forbidden(_) => 3,
            Error::NotFound(_) => 4,
            Error::Refused(_) | Error::Broken(_) => 1,
        }
    }

    fn broken(error: impl ToString) -> Error {
        Error::Broken(error.to_string())
    }
}

/// Asks the daemon behind one socket.
pub struct Client {
    socket: PathBuf,
    runtime: Runtime,
}

impl Client {
    /// For the daemon at `socket`; it is asked nothing yet.
    pub fn new(socket: &Path) -> io::Result<Client> {
        Ok(Client {
            socket: socket.to_owned(),
            runtime: Builder::new_current_thread().enable_all().build()?,
        })
    }

    /// Gets an answer.
    pub fn get<T: DeserializeOwned>(&self, path: &str) -> Result<T, Error> {
        let bytes = self.get_bytes(path)?;
        serde_json::from_slice(&bytes).map_err(Error::broken)
    }

    /// Gets an answer as it is.
    pub fn get_bytes(&self, path: &str) -> Result<Bytes, Error> {
        self.runtime
            .block_on(async { whole(self.ask(Method::GET, path, Bytes::new()).await?).await })
    }

    /// Gets an answer whose lines are handed to `each` as they come, until that has enough.
    pub fn get_lines<T: DeserializeOwned>(
        &self,
        path: &str,
        each: &mut dyn FnMut(T) -> io::Result<()>,
    ) -> Result<(), Error> {
        self.runtime.block_on(async {
            let answer = self.ask(Method::GET, path, Bytes::new()).await?;
            lines(answer, each).await
        })
    }

    /// Gets an answer whose bytes are handed to `each` as they come, until that has enough.
    pub fn get_stream(
        &self,
        path: &str,
        each: &mut dyn FnMut(&[u8]) -> io::Result<()>,
    ) -> Result<(), Error> {
        self.runtime.block_on(async {
            let mut body = self.ask(Method::GET, path, Bytes::new()).await?.into_body();
            while let Some(frame) = body.frame().await {
                let frame = frame.map_err(Error::broken)?;
                if frame.data_ref().is_some_and(|data| each(data).is_err()) {
                    break;
                }
            }
            Ok(())
        })
    }

    /// Posts a request.
    pub fn post<T: DeserializeOwned>(
        &self,
        path: &str,
        request: &impl Serialize,
    ) -> Result<T, Error> {
        let body = serde_json::to_vec(request).map_err(Error::broken)?;
        let bytes = self
            .runtime
            .block_on(async { whole(self.ask(Method::POST, path, body.into()).await?).await })?;
        serde_json::from_slice(&bytes).map_err(Error::broken)
    }

    /// Posts a request whose answer comes in lines; each is handed to `each` until that has enough.
    pub fn post_for_lines<T: DeserializeOwned>(
        &self,
        path: &str,
        request: &impl Serialize,
        each: &mut dyn FnMut(T) -> io::Result<()>,
    ) -> Result<(), Error> {
        let body = serde_json::to_vec(request).map_err(Error::broken)?;
        self.runtime.block_on(async {
            let answer = self.ask(Method::POST, path, body.into()).await?;
            lines(answer, each).await
        })
    }

    async fn ask(
        &self,
        method: Method,
        path: &str,
        body: Bytes,
    ) -> Result<Response<Incoming>, Error> {
        let stream =
            UnixStream::connect(&self.socket)
                .await
                .map_err(|error| match error.kind() {
                    io::ErrorKind::PermissionDenied => Error::Forbidden(self.socket.clone()),
                    _ => Error::NotRunning(self.socket.clone()),
                })?;
        let (mut sender, connection) = http1::handshake(TokioIo::new(stream))
            .await
            .map_err(Error::broken)?;
        tokio::spawn(connection);
        let request = Request::builder()
            .method(method)
            .uri(path)
            .header(HOST, "lbd")
            .header(CONTENT_TYPE, "application/json")
            .body(Full::new(body))
            .map_err(Error::broken)?;
        let answer = sender.send_request(request).await.map_err(Error::broken)?;
        let status = answer.status();
        if status.is_success() {
            return Ok(answer);
        }
        let body = answer.into_body().collect().await.map_err(Error::broken)?;
        let problem: Problem = serde_json::from_slice(&body.to_bytes())
            .map_err(|_| Error::Broken(format!("status {status}")))?;
        Err(match status.as_u16() {
            404 => Error::NotFound(problem.error),
            _ => Error::Refused(problem.error),
        })
    }
}

async fn whole(answer: Response<Incoming>) -> Result<Bytes, Error> {
    let body = answer.into_body().collect().await.map_err(Error::broken)?;
    Ok(body.to_bytes())
}

async fn lines<T: DeserializeOwned>(
    answer: Response<Incoming>,
    each: &mut dyn FnMut(T) -> io::Result<()>,
) -> Result<(), Error> {
    let mut body = answer.into_body();
    let mut pending: Vec<u8> = Vec::new();
    while let Some(frame) = body.frame().await {
        let frame = frame.map_err(Error::broken)?;
        let Some(data) = frame.data_ref() else {
            continue;
        };
        let mut rest = &data[..];
        while let Some(end) = rest.iter().position(|byte| *byte == b'\n') {
            pending.extend_from_slice(&rest[..end]);
            let line = serde_json::from_slice(&pending).map_err(Error::broken)?;
            pending.clear();
            rest = &rest[end + 1..];
            if each(line).is_err() {
                // Our own output has gone away, and with it the wish for more.
                return Ok(());
            }
        }
        pending.extend_from_slice(rest);
    }
    match pending.is_empty() {
        true => Ok(()),
        false => Err(Error::Broken("it ends in the middle of a line".into())),
    }
}
