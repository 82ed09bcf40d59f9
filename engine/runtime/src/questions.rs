//! What others ask of a worker while it works.
//!
//! A question is answered on the worker's thread between two turns, one a turn, so it must be short: packets wait. What
//! takes long is asked for in slices.

use std::sync::mpsc::{self, Receiver, Sender, SyncSender, sync_channel};
use std::time::Duration;

use lb_conn::ConnTable;
use lb_model::{NextHops, Time, Waker};

use crate::decisions::Decisions;
use crate::observer::Observer;
use crate::schedulers::Schedulers;
use crate::snapshot::Snapshot;

/// What a worker lets be seen between two turns.
pub struct Inside<'a> {
    /// Its clock.
    pub now: Time,
    /// Its conns.
    pub conns: &'a mut ConnTable,
    /// The configuration that it follows.
    pub snapshot: &'a Snapshot,
    /// Of the snapshot's services.
    pub schedulers: &'a Schedulers,
    /// The next hops that it follows.
    pub next_hops: &'a NextHops,
    /// Its last new conns.
    pub decisions: &'a Decisions,
    /// Who sees its packets.
    pub observers: &'a mut Vec<Box<dyn Observer>>,
}

/// A question, with whatever it takes to deliver the answer.
pub(crate) type Question = Box<dyn FnOnce(&mut Inside<'_>) + Send>;

/// How long a worker may take to answer. One that takes longer does not work any more.
const PATIENCE: Duration = Duration::from_secs(5);

/// Asks one worker; for threads that may wait.
#[derive(Clone)]
pub struct Asker {
    questions: Sender<Question>,
    waker: Option<Waker>,
}

impl Asker {
    /// The worker's answer; `None` if it is gone.
    pub fn ask<T: Send + 'static>(
        &self,
        question: impl FnOnce(&mut Inside<'_>) -> T + Send + 'static,
    ) -> Option<T> {
        let (reply, answer): (SyncSender<T>, Receiver<T>) = sync_channel(1);
        let question = move |inside: &mut Inside<'_>| {
            // Whoever asked may have given up.
            let _ = reply.try_send(question(inside));
        };
        self.questions.send(Box::new(question)).ok()?;
        if let Some(wake) = &self.waker {
            wake();
        }
        answer.recv_timeout(PATIENCE).ok()
    }
}

/// The worker's end.
pub(crate) struct Questions {
    asker: Asker,
    asked: Receiver<Question>,
}

impl Questions {
    /// `waker` ends the worker's sleep.
    pub(crate) fn new(waker: Option<Waker>) -> Questions {
        let (questions, asked) = mpsc::channel();
        Questions {
            asker: Asker { questions, waker },
            asked,
        }
    }

    pub(crate) fn asker(&self) -> Asker {
        self.asker.clone()
    }

    #[inline]
    pub(crate) fn next(&mut self) -> Option<Question> {
        self.asked.try_recv().ok()
    }
}
