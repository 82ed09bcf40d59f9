//! The control socket without a daemon around it.

use std::io;
use std::path::PathBuf;
use std::sync::Arc;

use lb::Engine;
use lb_config::Settings;
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::UnixStream;
use tokio::runtime::{Builder, Runtime};

use super::office::Office;
use super::server;
use crate::health::Health;

/// Answers as the control socket of a daemon without interfaces would, for tests that send whatever comes to mind.
pub struct Rehearsal {
    runtime: Runtime,
    office: Arc<Office>,
}

impl Rehearsal {
    /// A daemon that has just started, with nothing in its configuration and no file to read it from.
    ///
    /// # Errors
    ///
    /// If there can be no event loop.
    pub fn new() -> io::Result<Rehearsal> {
        let settings = Settings::default();
        let engine = Engine::new(&settings.balancer)
            .map_err(|errors| io::Error::other(format!("{errors:?}")))?;
        let runtime = Builder::new_current_thread().enable_all().build()?;
        let engine = Arc::new(engine);
        let health = Health::start(Arc::clone(&engine), settings.health.clone())?;
        let office = Office::new(engine, Arc::new(health), None, PathBuf::from("/"), settings);
        Ok(Rehearsal {
            runtime,
            office: Arc::new(office),
        })
    }

    /// What is answered to a client that sends a whole request and waits.
    ///
    /// # Errors
    ///
    /// If there are no sockets.
    pub fn answer(&self, request: &[u8]) -> io::Result<Vec<u8>> {
        self.converse(request, false)
    }

    /// What is answered to a client that sends these bytes and hangs up, whatever they were the beginning of.
    ///
    /// # Errors
    ///
    /// If there are no sockets.
    pub fn answer_cut_short(&self, bytes: &[u8]) -> io::Result<Vec<u8>> {
        self.converse(bytes, true)
    }

    fn converse(&self, bytes: &[u8], hangs_up: bool) -> io::Result<Vec<u8>> {
        self.runtime.block_on(async {
            let (ours, theirs) = UnixStream::pair()?;
            let (mut reader, mut writer) = ours.into_split();
            let mut answer = Vec::new();
            let talk = async move {
                // The other side may have heard enough.
                let _ = writer.write_all(bytes).await;
                if hangs_up {
                    let _ = writer.shutdown().await;
                }
                let read = reader.read_to_end(&mut answer).await;
                (read, answer)
            };
            let router = server::router(Arc::clone(&self.office));
            let ((read, answer), ()) = tokio::join!(talk, server::converse(theirs, router));
            // A side that hangs up with something unread resets the connection.
            match read {
                Err(error) if error.kind() != io::ErrorKind::ConnectionReset => Err(error),
                _ => Ok(answer),
            }
        })
    }
}
