//! How the NIC chooses the queue of a reply, which local ports were chosen by: whether it still does.

use std::time::Duration;

use lb_model::{Rss, Time};
use lb_xsk::rss;

/// How often it is looked.
const PERIOD: Duration = Duration::from_secs(10);

/// An interface that told how it chooses queues when the workers were made.
pub struct QueueChoice {
    interface: String,
    told: Rss,
    differs: bool,
    looked: Time,
}

/// What there is to say.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
enum News {
    Differs,
    AsBefore,
}

impl QueueChoice {
    /// Of the interfaces. Workers must agree on one way, so where interfaces differ it is that of the last, which by custom
    /// is the servers' side. `None` if none tells.
    pub fn common(interfaces: &[String]) -> Option<QueueChoice> {
        let mut common: Option<QueueChoice> = None;
        for interface in interfaces {
            match rss(interface) {
                Ok(told) => {
                    if common.as_ref().is_some_and(|other| other.told != told) {
                        tracing::info!(
                            "{interface} chooses queues in another way than those before it"
                        );
                    }
                    tracing::info!(
                        "local ports are chosen so that {interface} puts replies on their conn's queue"
                    );
                    common = Some(QueueChoice {
                        interface: interface.clone(),
                        told,
                        differs: false,
                        looked: Time::ZERO,
                    });
                }
                Err(error) => {
                    tracing::info!("{interface} does not tell how it chooses queues: {error}");
                }
            }
        }
        common
    }

    /// As it was told.
    pub fn told(&self) -> &Rss {
        &self.told
    }

    /// Asks the interface again if it is time, and says what has changed.
    pub fn look(&mut self, now: Time) {
        if now.since(self.looked) < PERIOD {
            return;
        }
        self.looked = now;
        // One that is being set up anew answers next time.
        let Ok(told) = rss(&self.interface) else {
            return;
        };
        let news = self.news(&told);
        let interface = &self.interface;
        match news {
            Some(News::Differs) => tracing::warn!(
                "{interface} chooses queues in another way than at the start, by which local ports were chosen: replies \
                 of full NAT are handed over between workers until lbd is restarted, or the NIC's key and indirection \
                 table are as before"
            ),
            Some(News::AsBefore) => {
                tracing::info!("{interface} chooses queues as at the start again");
            }
            None => {}
        }
    }

    fn news(&mut self, told: &Rss) -> Option<News> {
        let differed = std::mem::replace(&mut self.differs, *told != self.told);
        match (differed, self.differs) {
            (false, true) => Some(News::Differs),
            (true, false) => Some(News::AsBefore),
            _ => None,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use lb_model::HashedFields;

    #[test]
    fn each_change_is_said_once() {
        let rss = |queues| Rss::new(vec![7; 40], queues, [HashedFields::Ports; 4]).expect("a NIC");
        let mut choice = QueueChoice {
            interface: "eth1".to_owned(),
            told: rss(vec![0, 1]),
            differs: false,
            looked: Time::ZERO,
        };
        let said = [vec![0, 1], vec![0, 0], vec![1, 1], vec![0, 1], vec![0, 1]]
            .map(|queues| choice.news(&rss(queues)));
        let (differs, as_before) = (Some(News::Differs), Some(News::AsBefore));
        assert_eq!(said, [None, differs, None, as_before, None]);
    }
}
