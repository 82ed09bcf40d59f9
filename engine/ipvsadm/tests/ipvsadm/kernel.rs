//! The kernel's side of the recorded sessions: what Linux 6.1 keeps and refuses, without packets.

use std::net::{IpAddr, SocketAddr};

use lb_ipvsadm::{
    ConnRow, Daemon, EntryState, Ipvs, LocalAddressRow, Next, Refusal, Role, ServerRow,
    ServerSettings, ServiceId, ServiceRow, ServiceSettings, Timeouts, Traffic, Transport,
};

use lb_model::ConnState;

const SCHEDULERS: [&str; 13] = [
    "rr", "wrr", "lc", "wlc", "lblc", "lblcr", "dh", "sh", "sed", "nq", "fo", "ovf", "mh",
];

/// What a network namespace has.
pub struct Kernel {
    pub links: Vec<String>,
    /// Whether it lists three conns, as if there had been packets.
    pub has_conns: bool,
    services: Vec<ServiceRow>,
    timeouts: Timeouts,
    daemons: Vec<Daemon>,
}

impl Kernel {
    pub fn new() -> Kernel {
        Kernel {
            links: Vec::new(),
            has_conns: false,
            services: Vec::new(),
            timeouts: Timeouts {
                tcp_s: 900,
                tcp_fin_s: 120,
                udp_s: 300,
            },
            daemons: Vec::new(),
        }
    }

    fn find(&mut self, id: &ServiceId) -> Result<&mut ServiceRow, Refusal> {
        let service = self.services.iter_mut().find(|s| s.id == *id);
        service.ok_or(Refusal::NoSuchService)
    }
}

impl Ipvs for Kernel {
    fn add_service(&mut self, id: &ServiceId, settings: &ServiceSettings) -> Result<(), Refusal> {
        if self.find(id).is_ok() {
            return Err(Refusal::ServiceExists);
        }
        known_names(settings)?;
        self.services.insert(
            0,
            ServiceRow {
                id: *id,
                settings: settings.clone(),
                totals: Traffic::default(),
                rates: Traffic::default(),
                servers: Vec::new(),
                local_addresses: Vec::new(),
            },
        );
        Ok(())
    }

    fn edit_service(&mut self, id: &ServiceId, settings: &ServiceSettings) -> Result<(), Refusal> {
        let service = self.find(id)?;
        known_names(settings)?;
        service.settings = settings.clone();
        Ok(())
    }

    fn delete_service(&mut self, id: &ServiceId) -> Result<(), Refusal> {
        self.find(id)?;
        self.services.retain(|s| s.id != *id);
        Ok(())
    }

    fn flush(&mut self) -> Result<(), Refusal> {
        self.services.clear();
        Ok(())
    }

    fn add_server(&mut self, id: &ServiceId, server: &ServerSettings) -> Result<(), Refusal> {
        let service = self.find(id)?;
        sensible(server)?;
        if position(service, server.address).is_some() {
            return Err(Refusal::ServerExists);
        }
        if !is_unicast(server.address.ip()) {
            return Err(Refusal::Invalid);
        }
        let row = ServerRow {
            settings: *server,
            active: 0,
            inactive: 0,
            persistent: 0,
            totals: Traffic::default(),
            rates: Traffic::default(),
        };
        service.servers.insert(0, row);
        Ok(())
    }

    fn edit_server(&mut self, id: &ServiceId, server: &ServerSettings) -> Result<(), Refusal> {
        let service = self.find(id)?;
        sensible(server)?;
        let at = position(service, server.address).ok_or(Refusal::NoSuchServer)?;
        service.servers[at].settings = *server;
        Ok(())
    }

    fn delete_server(&mut self, id: &ServiceId, server: SocketAddr) -> Result<(), Refusal> {
        let service = self.find(id)?;
        let at = position(service, server).ok_or(Refusal::NoSuchServer)?;
        service.servers.remove(at);
        Ok(())
    }

    fn add_local_address(
        &mut self,
        id: &ServiceId,
        address: IpAddr,
        interface: Option<&str>,
    ) -> Result<(), Refusal> {
        let service = self.find(id)?;
        if service.local_addresses.iter().any(|l| l.address == address) {
            return Err(Refusal::LocalAddressExists);
        }
        service.local_addresses.push(LocalAddressRow {
            address,
            interface: interface.map(str::to_owned),
            of_mode: false,
            conflicts: 0,
            conns: 0,
        });
        Ok(())
    }

    fn delete_local_address(&mut self, id: &ServiceId, address: IpAddr) -> Result<(), Refusal> {
        let service = self.find(id)?;
        let at = service
            .local_addresses
            .iter()
            .position(|l| l.address == address);
        service
            .local_addresses
            .remove(at.ok_or(Refusal::NoSuchLocalAddress)?);
        Ok(())
    }

    fn zero(&mut self, id: Option<&ServiceId>) -> Result<(), Refusal> {
        id.map_or(Ok(()), |id| self.find(id).map(|_| ()))
    }

    fn services(&mut self) -> Result<Vec<ServiceRow>, Refusal> {
        Ok(self.services.clone())
    }

    fn service(&mut self, id: &ServiceId) -> Result<ServiceRow, Refusal> {
        self.find(id).cloned()
    }

    fn conns(&mut self, each: &mut dyn FnMut(&ConnRow<'_>) -> Next) -> Result<(), Refusal> {
        let tcp = Some(Transport::Tcp);
        let address = |text: &str| text.parse().expect("an address");
        let rows = [
            (
                tcp,
                899,
                EntryState::Conn(ConnState::Established),
                ["5.6.7.8:1025", "203.0.113.5:80", "10.20.0.12:8080"],
            ),
            (
                tcp,
                59,
                EntryState::Conn(ConnState::SynRecv),
                [
                    "[2001:db8:5::8]:1026",
                    "[2001:db8:f::7]:443",
                    "[2001:db8:20::31]:8443",
                ],
            ),
            (
                None,
                10_000,
                EntryState::Template { assured: false },
                ["5.6.7.8:0", "0.0.0.7:0", "10.20.0.12:0"],
            ),
        ];
        for (transport, expires_s, state, [client, virtual_service, server]) in rows {
            let row = ConnRow {
                transport,
                expires_s,
                state,
                client: address(client),
                virtual_service: address(virtual_service),
                server: address(server),
                engine: transport.is_none().then_some(("sip", "call-id")),
            };
            if self.has_conns && each(&row) == Next::Stop {
                break;
            }
        }
        Ok(())
    }

    fn table_size(&mut self) -> Result<u64, Refusal> {
        Ok(4096)
    }

    fn timeouts(&mut self) -> Result<Timeouts, Refusal> {
        Ok(self.timeouts)
    }

    fn set_timeouts(&mut self, timeouts: &Timeouts) -> Result<(), Refusal> {
        let set = |old: &mut u32, new: u32| {
            if new != 0 {
                *old = new;
            }
        };
        set(&mut self.timeouts.tcp_s, timeouts.tcp_s);
        set(&mut self.timeouts.tcp_fin_s, timeouts.tcp_fin_s);
        set(&mut self.timeouts.udp_s, timeouts.udp_s);
        Ok(())
    }

    fn start_daemon(&mut self, daemon: &Daemon) -> Result<(), Refusal> {
        if self.daemons.iter().any(|d| d.role == daemon.role) {
            return Err(Refusal::DaemonRuns);
        }
        if !self.links.contains(&daemon.interface) {
            return Err(Refusal::NoDevice);
        }
        self.daemons.push(Daemon {
            max_length: daemon.max_length.or(Some(1472)),
            group: daemon.group.or(Some(IpAddr::from([224, 0, 0, 81]))),
            port: daemon.port.or(Some(8848)),
            ttl: daemon.ttl.or(Some(1)),
            ..daemon.clone()
        });
        self.daemons.sort_by_key(|d| d.role == Role::Backup);
        Ok(())
    }

    fn stop_daemon(&mut self, role: Role, _: u8) -> Result<(), Refusal> {
        let before = self.daemons.len();
        self.daemons.retain(|d| d.role != role);
        if self.daemons.len() == before {
            return Err(Refusal::NoDaemon);
        }
        Ok(())
    }

    fn daemons(&mut self) -> Result<Vec<Daemon>, Refusal> {
        Ok(self.daemons.clone())
    }
}

fn known_names(settings: &ServiceSettings) -> Result<(), Refusal> {
    let engine = settings.engine.as_deref().unwrap_or("sip");
    if SCHEDULERS.contains(&settings.scheduler.as_str()) && engine == "sip" {
        Ok(())
    } else {
        Err(Refusal::NoScheduler)
    }
}

fn sensible(server: &ServerSettings) -> Result<(), Refusal> {
    if server.lower_threshold > server.upper_threshold {
        return Err(Refusal::OutOfRange);
    }
    Ok(())
}

fn is_unicast(address: IpAddr) -> bool {
    match address {
        IpAddr::V4(v4) => !(v4.is_unspecified() || v4.is_multicast() || v4.is_broadcast()),
        IpAddr::V6(v6) => {
            !(v6.is_unspecified() || v6.is_multicast() || v6.to_ipv4_mapped().is_some())
        }
    }
}

fn position(service: &ServiceRow, server: SocketAddr) -> Option<usize> {
    service
        .servers
        .iter()
        .position(|s| s.settings.address == server)
}
