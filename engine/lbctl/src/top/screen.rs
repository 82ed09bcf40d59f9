//! The screen of `top`, and what its keys do.

use std::cmp::Reverse;

use lb_control::{Server, Service};
use ratatui::Frame;
use ratatui::crossterm::event::{KeyCode, KeyEvent, KeyModifiers};
use ratatui::layout::{Constraint, Layout, Rect};
use ratatui::style::{Modifier, Style};
use ratatui::text::{Line, Text};
use ratatui::widgets::{Paragraph, Row, Table, TableState};

use super::figures::Figures;
use crate::show::duration;

/// What is looked at.
#[derive(Clone, PartialEq, Eq, Debug, Default)]
enum Page {
    #[default]
    Services,
    /// The servers of a service.
    Servers(String),
    Workers,
    Drops,
}

/// What comes first.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Default)]
enum Order {
    /// As they were added.
    #[default]
    Added,
    Active,
    Packets,
    Name,
}

impl Order {
    const ALL: [Order; 4] = [Order::Added, Order::Active, Order::Packets, Order::Name];

    fn name(self) -> &'static str {
        match self {
            Order::Added => "as added",
            Order::Active => "active conns",
            Order::Packets => "packets/s",
            Order::Name => "name",
        }
    }

    fn next(self) -> Order {
        let at = Order::ALL
            .iter()
            .position(|order| *order == self)
            .unwrap_or(0);
        Order::ALL[(at + 1) % Order::ALL.len()]
    }
}

/// Whether it goes on.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Next {
    GoOn,
    End,
}

/// What is looked at, in which order, and where the cursor is.
#[derive(Default)]
pub struct Screen {
    page: Page,
    order: Order,
    cursor: TableState,
}

impl Screen {
    /// Does what a key stands for.
    pub fn key(&mut self, key: KeyEvent, figures: &Figures) -> Next {
        match key.code {
            KeyCode::Char('q') => return Next::End,
            KeyCode::Char('c') if key.modifiers.contains(KeyModifiers::CONTROL) => {
                return Next::End;
            }
            KeyCode::Char('s') => self.order = self.order.next(),
            KeyCode::Char('w') => self.turn_to(Page::Workers),
            KeyCode::Char('d') => self.turn_to(Page::Drops),
            KeyCode::Esc | KeyCode::Backspace | KeyCode::Left => self.turn_to(Page::Services),
            KeyCode::Down | KeyCode::Char('j') => self.cursor.select_next(),
            KeyCode::Up | KeyCode::Char('k') => self.cursor.select_previous(),
            KeyCode::Enter | KeyCode::Right if self.page == Page::Services => {
                let at = self.cursor.selected().unwrap_or(0);
                if let Some(service) = self.services(figures).get(at) {
                    self.turn_to(Page::Servers(service.service.clone()));
                }
            }
            _ => {}
        }
        Next::GoOn
    }

    fn turn_to(&mut self, page: Page) {
        self.page = page;
        self.cursor = TableState::default();
    }

    fn services<'f>(&self, figures: &'f Figures) -> Vec<&'f Service> {
        let mut services: Vec<&Service> = figures.services.iter().collect();
        match self.order {
            Order::Added => {}
            Order::Active => services.sort_by_key(|service| Reverse(active(service))),
            Order::Packets => services.sort_by_key(|service| Reverse(service.rates.in_packets)),
            Order::Name => services.sort_by(|a, b| a.service.cmp(&b.service)),
        }
        services
    }

    fn servers<'f>(&self, service: &'f Service) -> Vec<&'f Server> {
        let mut servers: Vec<&Server> = service.servers.iter().collect();
        match self.order {
            Order::Added => {}
            Order::Active => servers.sort_by_key(|server| Reverse(server.active)),
            Order::Packets => servers.sort_by_key(|server| Reverse(server.rates.in_packets)),
            Order::Name => servers.sort_by(|a, b| a.server.cmp(&b.server)),
        }
        servers
    }

    /// Draws all of it.
    pub fn draw(&mut self, frame: &mut Frame<'_>, figures: &Figures) {
        let areas = Layout::vertical([
            Constraint::Length(3),
            Constraint::Min(1),
            Constraint::Length(1),
        ]);
        let [head, body, foot] = areas.areas(frame.area());
        frame.render_widget(Paragraph::new(head_lines(figures)), head);
        match self.page.clone() {
            Page::Services => self.draw_services(frame, body, figures),
            Page::Servers(name) => self.draw_servers(frame, body, figures, &name),
            Page::Workers => self.draw_workers(frame, body, figures),
            Page::Drops => self.draw_drops(frame, body, figures),
        }
        let keys = format!(
            "q end  s sort: {}  Enter servers  Esc services  w workers  d drops",
            self.order.name()
        );
        frame.render_widget(Paragraph::new(keys).style(Modifier::DIM), foot);
    }

    fn draw_services(&mut self, frame: &mut Frame<'_>, area: Rect, figures: &Figures) {
        let services = self.services(figures);
        let rows: Vec<[String; 8]> = services
            .iter()
            .map(|service| {
                let inactive: u64 = service.servers.iter().map(|s| u64::from(s.inactive)).sum();
                let taking = service
                    .servers
                    .iter()
                    .filter(|s| s.weight > 0 && !s.overloaded);
                [
                    service.service.clone(),
                    service.scheduler.clone(),
                    format!("{}/{}", taking.count(), service.servers.len()),
                    active(service).to_string(),
                    inactive.to_string(),
                    service.rates.conns.to_string(),
                    service.rates.in_packets.to_string(),
                    service.rates.out_packets.to_string(),
                ]
            })
            .collect();
        let title = [
            "SERVICE",
            "SCHED",
            "SERVERS",
            "ACTIVE",
            "INACT",
            "CONN/S",
            "IN PKT/S",
            "OUT PKT/S",
        ];
        self.table(frame, area, title, rows, [30, 6, 8, 9, 9, 8, 10, 10]);
    }

    fn draw_servers(&mut self, frame: &mut Frame<'_>, area: Rect, figures: &Figures, name: &str) {
        let Some(service) = figures.services.iter().find(|s| s.service == name) else {
            let gone = format!("{name} is not a service any more");
            return frame.render_widget(Paragraph::new(gone), area);
        };
        let rows: Vec<[String; 8]> = self
            .servers(service)
            .iter()
            .map(|server| {
                [
                    server.server.clone(),
                    server.mode.clone(),
                    server.weight.to_string(),
                    server.active.to_string(),
                    server.inactive.to_string(),
                    server.rates.conns.to_string(),
                    server.rates.in_packets.to_string(),
                    server.rates.out_packets.to_string(),
                ]
            })
            .collect();
        let [title, body] =
            Layout::vertical([Constraint::Length(1), Constraint::Min(1)]).areas(area);
        let line = format!("{} {}", service.service, service.scheduler);
        frame.render_widget(Paragraph::new(line).style(Modifier::BOLD), title);
        let columns = [
            "SERVER",
            "MODE",
            "WEIGHT",
            "ACTIVE",
            "INACT",
            "CONN/S",
            "IN PKT/S",
            "OUT PKT/S",
        ];
        self.table(frame, body, columns, rows, [30, 6, 8, 9, 9, 8, 10, 10]);
    }

    fn draw_workers(&mut self, frame: &mut Frame<'_>, area: Rect, figures: &Figures) {
        let rows = (0..figures.status.workers).map(|worker| {
            let rate = |name| figures.worker_rate(name, worker).to_string();
            [
                worker.to_string(),
                rate("rx"),
                rate("tx"),
                rate("rx_bytes"),
                rate("tx_bytes"),
                rate("conn.open"),
                rate("conn.expire"),
            ]
        });
        let title = [
            "WORKER",
            "RX/S",
            "TX/S",
            "RX BYTE/S",
            "TX BYTE/S",
            "OPEN/S",
            "EXPIRE/S",
        ];
        self.table(
            frame,
            area,
            title,
            rows.collect(),
            [8, 10, 10, 14, 14, 10, 10],
        );
    }

    fn draw_drops(&mut self, frame: &mut Frame<'_>, area: Rect, figures: &Figures) {
        let rows = figures
            .reasons()
            .into_iter()
            .map(|(name, meaning, count, rate)| {
                [
                    name.to_owned(),
                    count.to_string(),
                    rate.to_string(),
                    meaning.to_owned(),
                ]
            });
        let title = ["REASON", "COUNT", "PER S", "MEANING"];
        self.table(frame, area, title, rows.collect(), [26, 12, 8, 100]);
    }

    fn table<const N: usize>(
        &mut self,
        frame: &mut Frame<'_>,
        area: Rect,
        title: [&'static str; N],
        rows: Vec<[String; N]>,
        widths: [u16; N],
    ) {
        // Numbers under each other; what stands first is a name, and what is wide is text.
        let cell = |(at, text): (usize, String)| match at > 0 && widths[at] < 20 {
            true => Text::from(text).right_aligned(),
            false => Text::from(text),
        };
        let row = |cells: [String; N]| Row::new(cells.into_iter().enumerate().map(cell));
        let rows = rows.into_iter().map(row);
        let title: Vec<Text<'_>> = title
            .iter()
            .enumerate()
            .map(|(at, name)| cell((at, (*name).to_owned())))
            .collect();
        let table = Table::new(rows, widths.map(Constraint::Length))
            .header(Row::new(title).style(Modifier::BOLD))
            .row_highlight_style(Style::new().add_modifier(Modifier::REVERSED));
        frame.render_stateful_widget(table, area, &mut self.cursor);
    }
}

fn active(service: &Service) -> u64 {
    service.servers.iter().map(|s| u64::from(s.active)).sum()
}

fn head_lines(figures: &Figures) -> Vec<Line<'static>> {
    let status = &figures.status;
    let interfaces = match &status.interfaces[..] {
        [] => "no interfaces".to_owned(),
        interfaces => interfaces.join(", "),
    };
    vec![
        Line::from(format!(
            "lbd {}  up {}  {interfaces}  {} workers",
            status.version,
            duration(status.uptime_seconds),
            status.workers
        )),
        Line::from(format!(
            "packets/s  rx {}  tx {}    conns {} of {}  opened/s {}  expired/s {}",
            figures.rate("rx"),
            figures.rate("tx"),
            status.conns,
            u64::from(status.capacity) * status.workers as u64,
            figures.rate("conn.open"),
            figures.rate("conn.expire"),
        )),
        Line::from(format!(
            "since start  received {}  sent {}  passed {}  dropped {}",
            status.received, status.sent, status.passed, status.dropped
        )),
    ]
}

#[cfg(test)]
mod tests {
    use lb_control::{Counter, Status, Traffic};
    use ratatui::Terminal;
    use ratatui::backend::TestBackend;

    use super::*;

    fn server(server: &str, weight: u32, active: u32, packets: u64) -> Server {
        Server {
            server: server.to_owned(),
            mode: "nat".to_owned(),
            weight,
            check: None,
            upper_threshold: 0,
            lower_threshold: 0,
            overloaded: false,
            active,
            inactive: 2,
            persistent: 0,
            totals: Traffic::default(),
            rates: traffic(packets),
        }
    }

    fn traffic(packets: u64) -> Traffic {
        Traffic {
            conns: packets / 10,
            in_packets: packets,
            out_packets: packets / 2,
            ..Traffic::default()
        }
    }

    fn service(name: &str, servers: Vec<Server>) -> Service {
        Service {
            service: name.to_owned(),
            scheduler: "wlc".to_owned(),
            persistence_seconds: None,
            one_packet: false,
            totals: Traffic::default(),
            rates: traffic(servers.iter().map(|s| s.rates.in_packets).sum()),
            servers,
        }
    }

    fn counter(name: &str, workers: [u64; 2], meaning: Option<&str>) -> Counter {
        Counter {
            name: name.to_owned(),
            value: workers.iter().sum(),
            workers: workers.to_vec(),
            meaning: meaning.map(str::to_owned),
        }
    }

    fn figures() -> Figures {
        let status = Status {
            version: "0.1.0".to_owned(),
            pid: 77,
            uptime_seconds: 93_784,
            interfaces: vec!["eth0".to_owned(), "eth1".to_owned()],
            workers: 2,
            busy_poll: false,
            services: 2,
            servers: 3,
            checked: 0,
            down: 0,
            suspects: 0,
            conns: 1_234,
            capacity: 1_000_000,
            received: 5_000,
            sent: 4_900,
            passed: 60,
            dropped: 40,
        };
        let counters = |rx: u64, drops: u64| {
            vec![
                counter("rx", [rx, 2 * rx], None),
                counter("tx", [rx, 2 * rx], None),
                counter("conn.open", [rx / 10, rx / 5], None),
                counter("punt.fragment", [0, 0], Some("A fragment.")),
                counter(
                    "drop.no_dest",
                    [drops, 0],
                    Some("The service has no server."),
                ),
            ]
        };
        let services = vec![
            service(
                "tcp 198.51.100.10:80",
                vec![
                    server("10.20.0.12:8080", 1, 3, 100),
                    server("10.20.0.11:8080", 0, 7, 40),
                ],
            ),
            service(
                "udp 198.51.100.10:53",
                vec![server("10.20.0.21:53", 1, 0, 900)],
            ),
        ];
        Figures::of(
            status,
            services,
            counters(3_000, 40),
            counters(1_000, 30),
            2.0,
        )
    }

    /// The screen after these keys, line by line without blanks at their ends.
    fn screen(keys: &[KeyCode]) -> String {
        let figures = figures();
        let mut screen = Screen::default();
        for key in keys {
            let key = KeyEvent::new(*key, KeyModifiers::NONE);
            assert_eq!(screen.key(key, &figures), Next::GoOn);
        }
        let mut terminal = Terminal::new(TestBackend::new(100, 12)).expect("memory");
        terminal
            .draw(|frame| screen.draw(frame, &figures))
            .expect("memory");
        let buffer = terminal.backend().buffer().clone();
        let lines = buffer.content.chunks(100).map(|cells| {
            let line: String = cells.iter().map(|cell| cell.symbol()).collect();
            line.trim_end().to_owned() + "\n"
        });
        lines.collect()
    }

    #[test]
    fn screens_are_as_they_were() {
        let folder = concat!(env!("CARGO_MANIFEST_DIR"), "/tests/screens");
        for (name, keys) in [
            ("services", &[][..]),
            (
                "services-by-packets",
                &[KeyCode::Char('s'), KeyCode::Char('s')],
            ),
            ("servers", &[KeyCode::Enter]),
            ("servers-by-active", &[KeyCode::Enter, KeyCode::Char('s')]),
            ("workers", &[KeyCode::Char('w')]),
            ("drops", &[KeyCode::Enter, KeyCode::Char('d')]),
        ] {
            let file = format!("{folder}/{name}.txt");
            let shown = screen(keys);
            // UPDATE_SCREENS=1 cargo test -p lbctl: then look at what has changed.
            if std::env::var_os("UPDATE_SCREENS").is_some() {
                std::fs::write(&file, &shown).expect("a folder");
            }
            let expected = std::fs::read_to_string(file).unwrap_or_default();
            assert_eq!(shown, expected, "{name}:\n{shown}");
        }
    }

    #[test]
    fn the_cursor_chooses_the_service_whose_servers_are_shown() {
        let shown = screen(&[KeyCode::Down, KeyCode::Down, KeyCode::Enter]);
        assert!(shown.contains("10.20.0.21:53"), "{shown}");
        assert!(!shown.contains("10.20.0.11"), "{shown}");
    }

    #[test]
    fn q_and_control_c_end_it() {
        for key in [
            KeyEvent::new(KeyCode::Char('q'), KeyModifiers::NONE),
            KeyEvent::new(KeyCode::Char('c'), KeyModifiers::CONTROL),
        ] {
            assert_eq!(Screen::default().key(key, &figures()), Next::End);
        }
    }
}
