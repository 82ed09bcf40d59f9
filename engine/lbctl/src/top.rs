//! `lbctl top`: what goes on, live.

mod figures;
mod screen;

use std::time::{Duration, Instant};

use ratatui::crossterm::event::{self, Event, KeyEventKind};

use crate::client::Client;
use crate::commands::Failure;
use figures::Figures;
use screen::{Next, Screen};

/// Shows the daemon's figures every `interval` seconds until told to end.
pub fn run(client: &Client, interval: u64) -> Result<(), Failure> {
    let interval = Duration::from_secs(interval);
    // Before the screen is taken: what is wrong now is said as by any other command.
    let mut figures = Figures::ask(client)?;
    let mut screen = Screen::default();
    let mut terminal = ratatui::try_init()?;
    let shown = (|| {
        let mut next_look = Instant::now() + interval;
        loop {
            terminal.draw(|frame| screen.draw(frame, &figures))?;
            if event::poll(next_look.saturating_duration_since(Instant::now()))? {
                let Event::Key(key) = event::read()? else {
                    continue;
                };
                if key.kind == KeyEventKind::Press && screen.key(key, &figures) == Next::End {
                    return Ok(());
                }
            }
            if Instant::now() >= next_look {
                figures = Figures::ask(client)?.after(&figures);
                next_look = Instant::now() + interval;
            }
        }
    })();
    ratatui::restore();
    shown
}
