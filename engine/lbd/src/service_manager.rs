//! What systemd is told of us, where it is the one that started us.

use std::future::pending;

use sd_notify::{NotifyState, notify, watchdog_enabled};

/// We are at work.
pub fn ready() {
    tell(&[NotifyState::Ready]);
}

/// We are taking another configuration, and will be [`ready`] again.
pub fn reloading() {
    // When it began tells the manager which of its requests this answers (sd_notify(3)).
    match NotifyState::monotonic_usec_now() {
        Ok(now) => tell(&[NotifyState::Reloading, now]),
        Err(error) => tracing::warn!("the service manager could not be told: {error}"),
    }
}

/// We are on our way out.
pub fn stopping() {
    tell(&[NotifyState::Stopping]);
}

/// Says that we are alive as often as is asked for (WatchdogSec), while `is_healthy`; never ends.
pub async fn watched(is_healthy: impl Fn() -> bool) {
    let Some(limit) = watchdog_enabled() else {
        return pending().await;
    };
    // As sd_watchdog_enabled(3) advises.
    let mut beat = tokio::time::interval(limit / 2);
    loop {
        beat.tick().await;
        if is_healthy() {
            tell(&[NotifyState::Watchdog]);
        }
    }
}

fn tell(state: &[NotifyState<'_>]) {
    // Without NOTIFY_SOCKET there is nobody to tell, and that is no error.
    if let Err(error) = notify(state) {
        tracing::warn!("the service manager could not be told: {error}");
    }
}
